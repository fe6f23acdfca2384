/**
 * Mapped ports as elements of maps: a port is one element, and so is a range that
 * keeps its ports.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatCidr, formatIp, network as networkOf } from "../../host/ip.ts";
import type { NftElement } from "../../host/nft.ts";
import type { NftOwner } from "../../recipes/nft_owner.ts";
import type { Mapping, Ports, Protocol } from "./conf.ts";
import { formatPorts, hasHostAddress, mappingsOf } from "./conf.ts";

/** What a plan for all families is made from. */
export interface NftPortmap {
  readonly owner: NftOwner;
  /** The container's address of each family, with the prefix of its subnet. */
  readonly targets: readonly Cidr[];
  readonly mappings: readonly Mapping[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  readonly conditions: Readonly<Record<Family, readonly string[]>>;
}

/** An element that must stand in a set or map. */
export type PortmapElement = Omit<NftElement, "comment">;

const numbers: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** Every element of an attachment: its ports, unless it has conditions, and the sources to masquerade. */
export function portmapElements(plan: NftPortmap): PortmapElement[] {
  return plan.targets.flatMap((target) => {
    const mappings = mappingsOf(plan.mappings, target.family);
    if (mappings.length === 0) return [];
    const ports = hasConditions(plan, target)
      ? []
      : mappings.flatMap((mapping) => portElements(mapping, target));
    return [...ports, ...masqueradeElements(plan, target)];
  });
}

/** Whether a target, or any, has conditions. */
export function hasConditions(plan: NftPortmap, target?: Cidr): boolean {
  return (target ? [target] : plan.targets).some(({ family }) =>
    plan.conditions[family].length > 0
  );
}

/** A range that keeps its ports is one element. nft cannot move a range, so another one has an element a port. */
function portElements(mapping: Mapping, target: Cidr): PortmapElement[] {
  const { protocol, host, container, hostIp } = mapping;
  const proto = numbers[protocol];
  const address = formatIp(target);
  const special = hasHostAddress(mapping);
  const prefix = special ? `${formatIp(hostIp!)} . ` : "";
  if (isWholeRange(mapping)) {
    const everywhere = target.family === 4 ? "0.0.0.0/0 . " : "::/0 . ";
    const key = `${prefix || everywhere}${proto} . ${formatPorts(host)}`;
    return [{ set: `ranges${target.family}`, key, value: address }];
  }
  return eachPort(host, (port, index) => ({
    set: `${special ? "hostip_" : ""}ports${target.family}`,
    key: `${prefix}${proto} . ${port}`,
    value: `${address} . ${container.first + index}`,
  }));
}

/** Whether a range keeps its ports. */
export function isWholeRange({ host, container }: Mapping): boolean {
  return host.last > host.first && host.first === container.first;
}

/** One value for each port. */
export function eachPort<T>({ first, last }: Ports, make: (port: number, index: number) => T): T[] {
  return Array.from({ length: last - first + 1 }, (_, index) => make(first + index, index));
}

/** Pairs of source and container between which a reply would not come back without masquerade. */
function masqueradeElements({ snat, masqAll }: NftPortmap, target: Cidr): PortmapElement[] {
  if (!snat) return [];
  const everyone = target.family === 4 ? "0.0.0.0/0" : "::/0";
  const sources = masqAll
    ? [everyone]
    : [formatCidr(networkOf(target)), ...(target.family === 4 ? ["127.0.0.0/8"] : [])];
  return sources.map((source) => ({
    set: `masquerade${target.family}`,
    key: `${withoutFullPrefix(source)} . ${formatIp(target)}`,
    value: undefined,
  }));
}

/** nft prints a prefix of full length as an address. */
function withoutFullPrefix(cidr: string): string {
  return cidr.replace(/^(.*\..*)\/32$|^(.*:.*)\/128$/, "$1$2");
}

/** Whether two elements are the same key of the same set. */
export function isSameElement(a: PortmapElement, b: PortmapElement): boolean {
  return a.set === b.set && a.key === b.key;
}
