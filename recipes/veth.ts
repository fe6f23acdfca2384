/**
 * The veth pair between host and container: made in place, found again by its
 * mark, removed from the host's side.
 *
 * @module
 */
import type { NetnsRef } from "../host/command.ts";
import type { Family } from "../host/ip.ts";
import type { Link } from "../host/ip_link.ts";
import { addVeth, deleteLink, setLink, showLink, showLinks } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import { sysctl } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Result } from "../cni/types.ts";
import type { AttachmentNames } from "./attachment.ts";
import { queryLinks } from "./links.ts";
import { contradictsResult, isHostEndOf, staleLinks } from "./attachment.ts";

/** A new pair. */
export interface VethPlan {
  /** Names of the attachment. */
  readonly own: AttachmentNames;
  /** Hardware address asked for; the attachment's own when absent. */
  readonly mac?: string | undefined;
  /** Name inside the container. */
  readonly ifName: string;
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** Bytes, of both ends; 0 for the kernel's default. */
  readonly mtu: number;
}

/**
 * Creates the pair with both ends named and addressed and the peer inside the
 * container already. The host end stays down; the container end too.
 */
export function createVeth({ own, mac, ifName, netns, mtu }: VethPlan): Step[] {
  return [
    {
      why: `create veth pair "${own.hostVeth}" to container interface "${ifName}"`,
      do: addVeth({
        end: { name: own.hostVeth, address: own.hostMac },
        peer: { name: ifName, address: mac ?? own.containerMac, netns },
        mtu,
      }),
      undo: deleteLink(own.hostVeth),
    },
    {
      why: `mark "${own.hostVeth}" as ours`,
      do: setLink(own.hostVeth, { alias: own.alias }),
    },
  ];
}

/**
 * A link on the host takes no router advertisements and no redirects from a
 * container (CVE-2020-10749); written before the link is up.
 */
export function refuseAdvertisements(dev: string): Step[] {
  return [
    `net/ipv6/conf/${dev}/accept_ra`,
    `net/ipv6/conf/${dev}/accept_redirects`,
    `net/ipv4/conf/${dev}/accept_redirects`,
  ].map((key) => ({
    why: `set ${key} to 0`,
    do: sysctl(key, 0, { optional: true }),
  }));
}

/** Lets a link on the host hold addresses of these families; a host may disable IPv6 for every new link. */
export function enableFamilies(dev: string, families: readonly Family[]): Step[] {
  if (!families.includes(6)) return [];
  const key = `net/ipv6/conf/${dev}/disable_ipv6`;
  return [{ why: `set ${key} to 0`, do: sysctl(key, 0) }];
}

/** Where a DEL looks for the pair. */
export interface VethSearch {
  /** Names of the attachment. */
  readonly own: AttachmentNames;
  /** Name inside the container. */
  readonly ifName: string;
  /** The container's namespace while it is alive. */
  readonly netns: NetnsRef | undefined;
  /** The recorded result of the ADD, where the runtime gave one. */
  readonly prevResult: Result | undefined;
}

/** A pair that a DEL has found. */
export interface FoundVeth {
  /** Host end. */
  readonly link: Link;
  /** Container end, where it was looked at. */
  readonly inside?: Link;
}

/**
 * Finds the host end of an attachment's pair: by its name and mark, else (a pair
 * that the reference made) as the peer of the container's interface, unless the
 * mark or the recorded result says that the interface is somebody else's.
 */
export async function findVeth(
  host: Host,
  search: VethSearch,
): Promise<FoundVeth | undefined> {
  const { own, ifName, netns } = search;
  const [named] = await queryLinks(host, showLink(own.hostVeth));
  if (named && isHostEndOf(named, own)) return { link: named };
  if (!netns) return undefined;
  const [inside] = await queryLinks(host, showLink(ifName, { netns }));
  if (!inside || inside.kind !== "veth") return undefined;
  const link = (await queryLinks(host, showLinks())).find((link) => isVethPair(link, inside));
  return link && !isForeign(link, inside, search) ? { link, inside } : undefined;
}

/** Whether these are the host's and the container's end of one pair. */
export function isVethPair(link: Link, inside: Link): boolean {
  return link.kind === "veth" && link.index === inside.linkIndex &&
    link.linkIndex === inside.index;
}

/** A path may have come to name another container's namespace (a reused process id). */
function isForeign(link: Link, inside: Link, search: VethSearch): boolean {
  if (link.alias?.startsWith("cni:")) return link.alias !== search.own.alias;
  return !isRecorded(link, search.prevResult) && contradictsResult(inside, search);
}

/** Of an interface that tuning has given its own address back only the host end is as it is recorded. */
function isRecorded({ name, mac }: Link, result: Result | undefined): boolean {
  return result?.interfaces.some((entry) =>
    entry.name === name && !entry.sandbox && entry.mac?.toLowerCase() === mac
  ) ?? false;
}

/**
 * Removes an attachment's pair, if there is one. Gives the container's end as it
 * was, where it was looked at.
 */
export async function removeVeth(host: Host, search: VethSearch): Promise<Link | undefined> {
  const found = await findVeth(host, search);
  if (found) await host.apply([removal(found.link)]);
  return found?.inside;
}

/** Both ends go with one. */
function removal({ name }: Link): Step {
  return { why: `remove veth "${name}"`, do: deleteLink(name), tolerate: ["missing"] };
}

/** Removes the pairs of a network's attachments that are not valid any more. */
export async function gcVeths(
  host: Host,
  { network, valid }: {
    readonly network: string;
    readonly valid: readonly AttachmentKey[];
  },
): Promise<void> {
  const links = await queryLinks(host, showLinks());
  const stale = await staleLinks(links, network, valid);
  await host.apply(stale.map(removal));
}
