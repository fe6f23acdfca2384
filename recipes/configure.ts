/**
 * Configures the container's interface from a result: kernel variables,
 * addresses, up; then routes.
 *
 * @module
 */
import type { NetnsRef } from "../host/command.ts";
import { addAddress } from "../host/ip_addr.ts";
import type { Cidr, Family, Ip } from "../host/ip.ts";
import { formatCidr, network, parseCidr, parseIp } from "../host/ip.ts";
import type { Link } from "../host/ip_link.ts";
import { parseLinks, setLink, showLink } from "../host/ip_link.ts";
import type { Host } from "../ns/machine.ts";
import type { RouteSpec } from "../host/ip_route.ts";
import { prependRoute, removeRoute } from "../host/ip_route.ts";
import type { Step } from "../host/step.ts";
import { sysctl } from "../host/step.ts";
import { CniError, codes } from "../cni/error.ts";
import type { IpConfig, Result, Route } from "../cni/types.ts";

/** Where and how an interface is configured. */
export interface ConfigurePlan {
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** The interface inside it. */
  readonly ifName: string;
  /** `ips` and `routes` are used. */
  readonly result: Pick<Result, "ips" | "routes">;
  /** Whether IPv6 addresses go through duplicate address detection; off makes them usable at once. */
  readonly dad: boolean;
  /** Whether each address brings a route to its prefix, as it does by default. */
  readonly prefixRoutes?: boolean;
  /** Meaning of a refusal to set the interface up. */
  readonly refusals?: Step["meaning"] | undefined;
}

/** The parsed addresses of a result, with their gateways. */
export interface Address {
  /** Address and prefix. */
  readonly cidr: Cidr;
  /** Gateway of the address, where it has one. */
  readonly gateway: Ip | undefined;
}

/** Reads the addresses of a result. Throws code 7 for one that is none. */
export function addressesOf(result: Pick<Result, "ips">): Address[] {
  return result.ips.map((ip: IpConfig) => ({
    cidr: cidrOrThrow(ip.address, "address"),
    gateway: ip.gateway === undefined ? undefined : ipOrThrow(ip.gateway),
  }));
}

/**
 * The addresses an attachment had, for a DEL: from the record, else from the
 * container's interface; `undefined` when nobody knows any more.
 */
export function knownAddresses(
  prevResult: Result | undefined,
  inside: Link | undefined,
): Cidr[] | undefined {
  if (prevResult) return addressesOf(prevResult).map(({ cidr }) => cidr);
  return inside?.addresses
    .filter(({ scope }) => scope === "global")
    .map(({ address, prefix }) => cidrOrThrow(`${address}/${prefix}`, "address"));
}

/** Variables, addresses and up; nothing here needs an undo of its own, it goes with the link. */
export function configureInterface(plan: ConfigurePlan): Step[] {
  const { netns, ifName } = plan;
  const addresses = addressesOf(plan.result);
  return [
    ...(addresses.some(({ cidr }) => cidr.family === 6) ? enableIpv6(plan) : []),
    ...detection(plan),
    ...addresses.map(({ cidr }) => ({
      why: `add address ${formatCidr(cidr)} to container interface "${ifName}"`,
      do: addAddress(ifName, {
        cidr,
        netns,
        nodad: !plan.dad,
        noprefixroute: plan.prefixRoutes === false,
      }),
      // Of IPv6 the kernel may have made it already, by what a router says; it stays the kernel's.
      ...(cidr.family === 6 && { tolerate: ["exists" as const] }),
    })),
    ...bringUp(plan),
  ];
}

/** Adds the result's routes to an interface that is up. */
export function addRoutes(
  { netns, ifName, result }: Pick<ConfigurePlan, "netns" | "ifName" | "result">,
): Step[] {
  return routesOf(result).map((spec) => ({
    why: `add route ${formatCidr(spec.dst)} to container interface "${ifName}"`,
    do: prependRoute({ ...spec, dev: ifName, netns }),
  }));
}

/** Removes routes that {@linkcode addRoutes} has added; those that are gone are no failure. */
export function removeRoutes(
  { netns, ifName, result }: Pick<ConfigurePlan, "netns" | "ifName" | "result">,
): Step[] {
  return routesOf(result).map((spec) => ({
    why: `remove route ${formatCidr(spec.dst)} from container interface "${ifName}"`,
    do: removeRoute({ ...spec, dev: ifName, netns }),
    tolerate: ["missing"],
  }));
}

/** How long duplicate address detection may take, in milliseconds, and how often it is looked at. */
const detectionLimit = 5_000;
const detectionInterval = 50;

/**
 * Waits until no address of the interface is tentative; without a carrier nothing is
 * detected. Throws when an address is taken already.
 */
export async function waitForDetection(
  host: Host,
  { netns, ifName }: Pick<ConfigurePlan, "netns" | "ifName">,
): Promise<void> {
  if (host.dryRun) return;
  const end = Date.now() + detectionLimit;
  for (;;) {
    const text = await host.query(showLink(ifName, { netns }), {
      why: `look at container interface "${ifName}"`,
    });
    const { carrier = false, addresses = [] } = parseLinks(text ?? "")[0] ?? {};
    if (!carrier) return;
    const taken = addresses.find(({ dadFailed }) => dadFailed);
    if (taken) throw duplicate(ifName, `address ${taken.address} is in use on the link already`);
    const pending = addresses.find(({ tentative }) => tentative);
    if (!pending) return;
    if (Date.now() >= end) {
      throw duplicate(
        ifName,
        `address ${pending.address} is still tentative after ${detectionLimit} ms`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, detectionInterval));
  }
}

function duplicate(ifName: string, state: string): CniError {
  return new CniError(codes.refused, `Cannot use container interface "${ifName}": ${state}`);
}

/** Sets the container's interface up. */
export function bringUp(
  { netns, ifName, refusals }: Pick<ConfigurePlan, "netns" | "ifName" | "refusals">,
): Step[] {
  return [{
    why: `set container interface "${ifName}" up`,
    do: setLink(ifName, { up: true, netns }),
    ...(refusals && { meaning: refusals }),
  }];
}

function enableIpv6({ netns, ifName }: ConfigurePlan): Step[] {
  return [
    variable(netns, "net/ipv6/conf/lo/disable_ipv6", 0),
    variable(netns, `net/ipv6/conf/${ifName}/disable_ipv6`, 0),
    variable(netns, `net/ipv6/conf/${ifName}/keep_addr_on_down`, 1),
  ];
}

/** Detection as asked for, and an announcement to the neighbours once the link is up. */
function detection({ netns, ifName, dad }: ConfigurePlan): Step[] {
  const ipv6 = `net/ipv6/conf/${ifName}`;
  return [
    ...(dad ? [variable(netns, `${ipv6}/enhanced_dad`, 1, true)] : []),
    variable(netns, `${ipv6}/accept_dad`, dad ? 1 : 0, true),
    variable(netns, `${ipv6}/ndisc_notify`, 1, true),
    variable(netns, `net/ipv4/conf/${ifName}/arp_notify`, 1, true),
  ];
}

function variable(
  netns: NetnsRef,
  key: string,
  value: number,
  optional = false,
): Step {
  return {
    why: `set ${key} to ${value} in the container`,
    do: sysctl(key, value, { netns, optional }),
  };
}

/** The routes of a result: a missing gateway is the first one of the family; exact repeats go once. */
function routesOf(
  result: Pick<Result, "ips" | "routes">,
): Omit<RouteSpec, "dev">[] {
  const gateways = firstGateways(result);
  const specs = result.routes.map((route) => routeSpec(route, gateways));
  const seen = new Set<string>();
  return specs.filter((spec) => {
    const key = JSON.stringify(
      spec,
      (_, value) => typeof value === "bigint" ? `${value}` : value,
    );
    return !seen.has(key) && seen.add(key);
  });
}

/** The first gateway of each family among the addresses of a result. */
export function firstGateways(
  result: Pick<Result, "ips">,
): ReadonlyMap<Family, Ip> {
  const gateways = new Map<Family, Ip>();
  for (const { gateway } of addressesOf(result)) {
    if (gateway && !gateways.has(gateway.family)) {
      gateways.set(gateway.family, gateway);
    }
  }
  return gateways;
}

function routeSpec(
  route: Route,
  gateways: ReadonlyMap<Family, Ip>,
): Omit<RouteSpec, "dev"> {
  const dst = network(cidrOrThrow(route.dst, "route"));
  return {
    dst,
    via: route.gw === undefined ? gateways.get(dst.family) : ipOrThrow(route.gw),
    scope: dst.family === 4 ? route.scope ?? "global" : undefined,
    metric: route.priority || undefined,
    table: route.table || undefined,
    mtu: route.mtu || undefined,
    advmss: route.advmss || undefined,
  };
}

function cidrOrThrow(text: string, what: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr) return cidr;
  throw new CniError(
    codes.invalidNetworkConfig,
    `Cannot use ${what} "${text}": not an IP prefix`,
  );
}

function ipOrThrow(text: string): Ip {
  const ip = parseIp(text);
  if (ip) return ip;
  throw new CniError(
    codes.invalidNetworkConfig,
    `Cannot use gateway "${text}": not an IP address`,
  );
}
