/**
 * The container's interface where it is no end of a veth pair: a link made by
 * itself (dummy, tap) or below a master (macvlan, ipvlan, vlan). Named and marked,
 * configured, found again, removed.
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Dns, Result } from "../cni/types.ts";
import type { Command, NetnsRef } from "../host/command.ts";
import type { Link } from "../host/ip_link.ts";
import { addLink, deleteLink, setLink, showLinks } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import { compareContainer, gatherCheck, throwDifferences } from "./check.ts";
import { addRoutes, bringUp, configureInterface, waitForDetection } from "./configure.ts";
import { containerNetns, liveNetns } from "./container.ts";
import { overrideDns } from "./dns.ts";
import { addAddresses, delWithIpam, needsInterface } from "./ipam.ts";
import { queryLinks } from "./links.ts";
import type { Master } from "./master.ts";
import type { AttachmentNames } from "./attachment.ts";
import { attachmentNames, contradictsResult } from "./attachment.ts";

/** Keys of the configuration that every such plugin has. */
export interface ContainerLinkConf {
  /** IPAM plugin; an empty type means that there is none. */
  readonly ipam: { readonly type: string };
  /** Name resolution for the result, in place of the IPAM plugin's. */
  readonly dns?: Dns | undefined;
}

/** A new link of a container. */
export interface ContainerLink {
  /** Names of the attachment. */
  readonly own: AttachmentNames;
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** The interface inside it. */
  readonly ifName: string;
  /** Kind and its own words, as after `ip link add … type`. */
  readonly type: readonly string[];
  /** Bytes; the kernel's default when 0 or absent. */
  readonly mtu?: number | undefined;
  /** Hardware address; the kernel's choice when absent. */
  readonly mac?: string | undefined;
  /** Meaning of a refusal to make it. */
  readonly meaning?: Step["meaning"];
}

/**
 * Makes a link below a master: under a temporary name, for it may be made from a
 * namespace that has a link of the wanted name; then named and marked.
 */
export function createOnMaster(master: Master, link: ContainerLink): Step[] {
  const { own: { temporaryName }, netns, type, mtu, mac: address, meaning } = link;
  const parent = master.link.name;
  return [
    {
      why: `create ${type[0]} on "${parent}"`,
      do: addLink({
        name: temporaryName,
        parent,
        mtu,
        address,
        type,
        netns: master.netns,
        into: master.netns ? undefined : netns,
      }),
      undo: deleteLink(temporaryName, { netns }),
      meaning: {
        unsupported: `the kernel lacks the module for it, or "${parent}" takes none`,
        ...meaning,
      },
    },
    ...nameAndMark(temporaryName, link),
  ];
}

/** Gives a link inside the container its name and mark at once. */
export function nameAndMark(
  name: string,
  { own, netns, ifName }: Pick<ContainerLink, "own" | "netns" | "ifName">,
): Step[] {
  return [{
    why: `name container interface "${ifName}"`,
    do: setLink(name, { rename: ifName, alias: own.alias, netns }),
    undo: deleteLink(ifName, { netns }),
    meaning: taken,
  }];
}

/** Meaning of a refusal of a name. */
const taken: NonNullable<Step["meaning"]> = {
  exists: "the container has an interface of that name already",
};

/** Makes a link inside the container that stands on nothing. */
export function createInContainer({ mtu, mac, type, ...link }: ContainerLink): Step[] {
  const { ifName, netns } = link;
  return createLinkBy(addLink({ name: ifName, mtu, address: mac, type, netns }), link);
}

/** Makes a link inside the container by another command than `ip link add`. */
export function createLinkBy(
  make: Command,
  { own, netns, ifName, meaning }: Omit<ContainerLink, "type" | "mtu" | "mac">,
): Step[] {
  return [
    {
      why: `create container interface "${ifName}"`,
      do: make,
      undo: deleteLink(ifName, { netns }),
      meaning: { ...taken, ...meaning },
    },
    {
      why: `mark container interface "${ifName}" as ours`,
      do: setLink(ifName, { alias: own.alias, netns }),
    },
  ];
}

/** A container's interface that is about to be. */
export interface ContainerLinkSpec {
  /** Makes the link, and leaves it down. */
  readonly create: readonly Step[];
  /** Hardware address. */
  readonly mac: string;
  /** Bytes; absent in the result when 0. */
  readonly mtu: number;
  /** Detect duplicates of IPv6 addresses: others may be on the same network. */
  readonly dad: boolean;
  /** The addresses, where they come from elsewhere than IPAM. */
  readonly addresses?: Result | undefined;
  /** Meaning of a refusal to set the link up. */
  readonly refusals?: Step["meaning"];
}

/** Makes the link and configures it: up, with the addresses and routes of IPAM, if there is one. */
export async function addContainerLink(
  req: Request<ContainerLinkConf>,
  link: ContainerLinkSpec,
): Promise<Result> {
  const { ifName } = req;
  const target = { netns: containerNetns(req), ifName, refusals: link.refusals };
  let create = link.create;
  if (!link.addresses && await needsInterface(req)) {
    await req.host.apply([...create, ...bringUp(target)]);
    create = [];
  }
  const ipam = link.addresses ?? await addAddresses(req);
  const result = resultOf(req, { link, ipam });
  await req.host.apply([
    ...create,
    ...configureContainerLink({ ...target, result, dad: link.dad }),
  ]);
  if (link.dad && ipam.ips.some(({ address }) => address.includes(":"))) {
    await waitForDetection(req.host, target);
  }
  return result;
}

function resultOf(
  { conf, ifName, netns }: Request<ContainerLinkConf>,
  { link: { mac, mtu }, ipam }: { link: ContainerLinkSpec; ipam: Result },
): Result {
  return {
    interfaces: [{ name: ifName, mac, ...(mtu > 0 && { mtu }), sandbox: netns }],
    ips: ipam.ips.map((ip) => ({ ...ip, interface: 0 })),
    routes: ipam.routes,
    dns: overrideDns(conf.dns, ipam.dns),
  };
}

/** Up, and with addresses and routes where there are any. */
export function configureContainerLink(plan: Parameters<typeof configureInterface>[0]): Step[] {
  if (plan.result.ips.length === 0) return bringUp(plan);
  return [...configureInterface(plan), ...addRoutes(plan)];
}

/** Kind of the links of a plugin. */
export interface LinkKind {
  /** As iproute2 names it. */
  readonly kind: string;
  /** More to compare in a CHECK; gives a line for each difference. */
  readonly compare?: (link: Link) => Promise<string[]> | string[];
}

/** A line when a link is down, for {@linkcode LinkKind.compare}. */
export function compareUp({ name, up }: Link): string[] {
  return up ? [] : [`container interface "${name}" is down`];
}

/** CHECK of such an interface. */
export async function checkContainerLink(
  req: Request<ContainerLinkConf>,
  { kind, compare = () => [] }: LinkKind,
): Promise<void> {
  if (req.conf.ipam.type) await req.ipam.check();
  const { result, facts } = await gatherCheck(req);
  throwDifferences(req.network, [
    ...compareContainer(req, facts, { result, kind }),
    ...(facts.link ? await compare(facts.link) : []),
  ]);
}

/** DEL of such an interface: the link, and its addresses. */
export async function delContainerLink(
  req: Request<ContainerLinkConf>,
  { kind }: LinkKind,
): Promise<void> {
  await delWithIpam(req, [
    { why: "remove the container's interface", run: () => removeContainerLink(req, kind) },
  ]);
}

async function removeContainerLink(req: Request<unknown>, kind: string): Promise<void> {
  const netns = liveNetns(req);
  if (!netns) return;
  const own = await attachmentNames(req);
  const links = await queryLinks(req.host, showLinks({ netns }));
  const found = links.find((link) => isMarked(link, own)) ??
    links.find((link) => link.kind === kind && isUnmarked(link, req));
  if (!found) return;
  await req.host.apply([{
    why: `remove container interface "${found.name}"`,
    do: deleteLink(found.name, { netns }),
    tolerate: ["missing"],
  }]);
}

/** A link that an ADD of ours has made, and may not have finished. */
function isMarked({ name, alias }: Link, own: AttachmentNames): boolean {
  return alias === own.alias || name === own.temporaryName;
}

/** A link that the reference has made, or an ADD of ours that was killed before the mark. */
function isUnmarked(link: Link, req: Request<unknown>): boolean {
  if (link.name !== req.ifName || link.alias?.startsWith("cni:")) return false;
  return !contradictsResult(link, req);
}

/** GC: the links go with their namespaces; what IPAM keeps does not. */
export async function gcContainerLink(req: GcRequest<ContainerLinkConf>): Promise<void> {
  if (req.conf.ipam.type) await req.ipam.gc();
}
