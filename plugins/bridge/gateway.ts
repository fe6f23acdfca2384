/**
 * The bridge as the gateway of its subnets: which addresses it gets, and the
 * default routes that lead to them.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { IpConfig, Result, Route } from "../../cni/types.ts";
import { addAddress, deleteAddress } from "../../host/ip_addr.ts";
import type { Cidr } from "../../host/ip.ts";
import {
  distinctCidrs,
  firstHost,
  formatCidr,
  formatIp,
  isDefault,
  overlaps,
  parseCidr,
  parseIp,
  sameIp,
} from "../../host/ip.ts";
import type { Link, LinkAddress } from "../../host/ip_link.ts";
import { showPorts } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import type { Address } from "../../recipes/configure.ts";
import { addressesOf } from "../../recipes/configure.ts";
import { sharedLinkLock } from "../../recipes/shared_link.ts";

/** Whether and how a network wants its bridge to be the gateway. */
export interface GatewayConf {
  readonly isGateway: boolean;
  readonly isDefaultGateway: boolean;
}

/** Addresses of a result with a gateway each (the subnet's first address where IPAM names none). */
export function withGateways(ips: readonly IpConfig[], { isGateway }: GatewayConf): IpConfig[] {
  return ips.map((ip) => {
    if (ip.gateway !== undefined || !isGateway) return ip;
    return { ...ip, gateway: formatIp(firstHost(parseCidr(ip.address)!)) };
  });
}

/** The routes, with one default route for each family that has none yet. */
export function withDefaultRoutes(result: Result, { isDefaultGateway }: GatewayConf): Route[] {
  if (!isDefaultGateway) return result.routes;
  const has = new Set(
    result.routes.map(({ dst }) => parseCidr(dst)).filter((dst) => dst && isDefault(dst))
      .map((dst) => dst!.family),
  );
  const missing = addressesOf(result).filter(({ gateway }) =>
    gateway && !has.has(gateway.family) && has.add(gateway.family)
  );
  return [
    ...result.routes,
    ...missing.map(({ gateway }) => ({
      dst: gateway!.family === 4 ? "0.0.0.0/0" : "::/0",
      gw: formatIp(gateway!),
    })),
  ];
}

/** The addresses that make a link the gateway of a result's subnets, each once. */
export function gatewayCidrs(addresses: readonly Address[]): Cidr[] {
  const cidrs = addresses
    .filter(({ gateway }) => gateway)
    .map(({ cidr, gateway }) => ({ ...gateway!, prefix: cidr.prefix }));
  return distinctCidrs(cidrs);
}

/** Where gateway addresses go. */
export interface GatewayTarget {
  readonly name: string;
  /** The link as it is; absent when the plan makes it. */
  readonly link: Link | undefined;
  /** The bridge whose ports use the addresses. */
  readonly bridge: string;
  readonly forceAddress: boolean;
}

/**
 * Gives a link its gateway addresses. One that it has already stays; another
 * IPv4 address, or an IPv6 one of an overlapping subnet, conflicts: it goes with
 * `forceAddress` and is an error (code 102) without.
 */
export function holdGateways(target: GatewayTarget, cidrs: readonly Cidr[]): Step[] {
  const present = (target.link?.addresses ?? []).map(toCidr);
  return cidrs.flatMap((cidr) => {
    if (present.some((other) => same(other, cidr))) return [];
    const conflicts = present.filter((other) => conflict(other, cidr) && !wanted(cidrs, other));
    if (conflicts.length > 0 && !target.forceAddress) throw refused(target, conflicts[0]!, cidr);
    return [...conflicts.map((other) => drop(target, other)), hold(target, cidr)];
  });
}

function toCidr({ address, prefix }: LinkAddress): Cidr {
  return { ...parseIp(address)!, prefix };
}

function same(a: Cidr, b: Cidr): boolean {
  return sameIp(a, b) && a.prefix === b.prefix;
}

function wanted(cidrs: readonly Cidr[], other: Cidr): boolean {
  return cidrs.some((cidr) => same(cidr, other));
}

const linkLocal = parseCidr("fe80::/10")!;

function conflict(other: Cidr, cidr: Cidr): boolean {
  if (other.family !== cidr.family) return false;
  if (cidr.family === 4) return true;
  return !overlaps(linkLocal, other) && overlaps(other, cidr);
}

function refused({ name }: GatewayTarget, other: Cidr, cidr: Cidr): CniError {
  return new CniError(
    codes.alreadyExists,
    `Cannot add gateway ${formatCidr(cidr)}: "${name}" already has an IP address different from ${
      formatCidr(cidr)
    }, namely ${formatCidr(other)}`,
    `set "forceAddress" to replace it, or run: ip addr del ${formatCidr(other)} dev ${name}`,
  );
}

function drop({ name }: GatewayTarget, cidr: Cidr): Step {
  return {
    why: `remove conflicting address ${formatCidr(cidr)} from "${name}"`,
    do: deleteAddress(name, { cidr }),
    undo: addAddress(name, { cidr, nodad: true }),
    tolerate: ["missing"],
  };
}

/** An address of a link that the plan makes goes, or stays, with the link. */
function hold({ name, link, bridge }: GatewayTarget, cidr: Cidr): Step {
  return {
    why: `add gateway ${formatCidr(cidr)} to "${name}"`,
    do: addAddress(name, { cidr, nodad: true }),
    ...(link && {
      undo: deleteAddress(name, { cidr }),
      keepIf: showPorts(bridge),
      undoLock: sharedLinkLock(bridge),
    }),
    tolerate: ["exists"],
  };
}
