/**
 * Finds the link that an attachment is shaped on: the host's end of its pair, or, where
 * there is none, the interface inside the container. Finds what a DEL removes.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Request } from "../../cni/plugin.ts";
import type { Result } from "../../cni/types.ts";
import type { Link } from "../../host/ip_link.ts";
import { showLinks } from "../../host/ip_link.ts";
import { parseFilters, parseQdiscs, showFilters, showQdiscs } from "../../host/tc.ts";
import type { Host } from "../../ns/machine.ts";
import { containerNetns, liveNetns } from "../../recipes/container.ts";
import { queryLinks } from "../../recipes/links.ts";
import { contradictsResult } from "../../recipes/attachment.ts";
import { isVethPair } from "../../recipes/veth.ts";
import type { IfbNames } from "./names.ts";
import { isOwnIfb, isReferenceIfb } from "./names.ts";
import type { KernelShaping, ShapedLink, ShapingLeftovers } from "./plan.ts";

/** The link that an attachment is shaped on, and every link of its namespace. */
export interface ShapedLinkFacts extends ShapedLink {
  readonly links: readonly Link[];
}

/**
 * Finds the link to shape, for ADD and CHECK. Throws code 7 when the plugins before have
 * made a pair that is not the container's interface, or when the interface is marked
 * as another attachment's; 103 when there is none.
 */
export async function requireShapedLink(
  req: Request<unknown>,
  { result, names }: { result: Result; names: IfbNames },
): Promise<ShapedLinkFacts> {
  if (result.interfaces.length === 0) refuse("no interfaces provided");
  const netns = containerNetns(req);
  const links = await queryLinks(req.host, showLinks({ netns }));
  const inside = links.find(({ name }) => name === req.ifName);
  if (!inside) {
    throw new CniError(
      codes.objectMissing,
      `Cannot find container interface "${req.ifName}": no such link`,
    );
  }
  if (isForeign(inside, names)) {
    refuse(`Cannot shape container interface "${req.ifName}": it belongs to another attachment`);
  }
  const listed = result.interfaces.filter(({ sandbox }) => !sandbox).map(({ name }) => name);
  if (inside.kind !== "veth") return { link: inside, netns, links };
  const all = await queryLinks(req.host, showLinks());
  const peer = findPeer(all, { inside, names });
  if (listed.length === 0) {
    return peer ? { link: peer, links: all } : { link: inside, netns, links };
  }
  if (peer && listed.includes(peer.name)) return { link: peer, links: all };
  return refuse("no veth peer of container interface found in host ns");
}

function refuse(words: string): never {
  throw new CniError(codes.invalidNetworkConfig, words);
}

/** The peer of the container's interface. Another pair may have the same two indexes, which belong to a namespace. */
function findPeer(
  links: readonly Link[],
  { inside, names }: { inside: Link; names: IfbNames },
): Link | undefined {
  if (inside.kind !== "veth") return undefined;
  return links.find((link) => isVethPair(link, inside) && !isForeign(link, names));
}

function isForeign({ alias }: Link, names: IfbNames): boolean {
  return alias !== undefined && alias.startsWith("cni:") && alias !== names.alias;
}

/** Finds what a DEL removes, on the host and in the container while it is alive. */
export async function findLeftovers(
  req: Request<unknown>,
  names: IfbNames,
): Promise<ShapingLeftovers[]> {
  const links = await queryLinks(req.host, showLinks());
  const ifbs = links.filter((link) => isOwnIfb(link, names) || isRecordedIfb(link, { req, names }));
  const own = links.find(({ kind, alias }) => kind === "veth" && alias === names.alias);
  const netns = liveNetns(req);
  if (own || !netns) return [leftoversOn(own, ifbs)];
  const within = await queryLinks(req.host, showLinks({ netns }));
  const inside = within.find((link) => isKnown(link, { req, names }));
  const peer = inside && findPeer(links, { inside, names });
  return [
    leftoversOn(peer, ifbs),
    {
      ...leftoversOn(peer ? undefined : inside, within.filter((link) => isOwnIfb(link, names))),
      netns,
    },
  ];
}

/** A device that the reference has made for this attachment, and not for another one of the container. */
function isRecordedIfb(
  link: Link,
  { req, names }: { req: Request<unknown>; names: IfbNames },
): boolean {
  return isReferenceIfb(link, names) &&
    (req.prevResult?.interfaces.some(({ name }) => name === link.name) ?? true);
}

/** Whether a link is certainly the attachment's: the path may name another container's namespace by now. */
function isKnown(link: Link, { req, names }: { req: Request<unknown>; names: IfbNames }): boolean {
  if (link.name !== req.ifName) return false;
  return link.alias === names.alias ||
    req.prevResult !== undefined && !isForeign(link, names) && !contradictsResult(link, req);
}

function leftoversOn(link: Link | undefined, ifbs: readonly Link[]): ShapingLeftovers {
  return { ifbs, ...(link && { link }) };
}

/** Queries everything that shapes a link. */
export async function queryShaping(
  host: Host,
  { link: { name }, netns, links }: ShapedLinkFacts,
): Promise<KernelShaping> {
  const ask = async (cmd: ReturnType<typeof showQdiscs>) =>
    await host.query(cmd, { why: `look at what shapes "${name}"`, tolerate: ["missing"] }) ?? "";
  const [qdiscs, ingress, egress] = [
    await ask(showQdiscs({ netns })),
    await ask(showFilters(name, "ingress", { netns })),
    await ask(showFilters(name, "egress", { netns })),
  ];
  return {
    ifbs: links.filter(({ kind }) => kind === "ifb"),
    qdiscs: parseQdiscs(qdiscs),
    filters: { ingress: parseFilters(ingress), egress: parseFilters(egress) },
  };
}
