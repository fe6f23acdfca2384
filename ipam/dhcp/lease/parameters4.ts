/**
 * What a DHCPACK gives an interface: the parts of a CNI result.
 *
 * @module
 */
import type { Dns, IpConfig, Route } from "../../../cni/types.ts";
import type { Cidr, Ip } from "../../../host/ip.ts";
import type { Route4 } from "../codec/options4.ts";
import type { Message, Options } from "../codec/message4.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { contains, formatCidr, formatIp, network } from "../../../host/ip.ts";
import { option, readOption } from "../codec/options4.ts";

/** Parts of a result that come from one lease. */
export interface Granted {
  readonly ip: IpConfig;
  readonly routes: readonly Route[];
  /** Empty where the server says nothing; the reference drops it. */
  readonly dns: Dns;
  /** Bytes; where the server gives none, the link keeps its own. */
  readonly mtu?: number;
}

/** What the configuration adds. */
export interface GrantOptions {
  /** Metric of every route; 0 and absent leave it to the kernel. */
  readonly priority?: number | undefined;
}

/** `scope link` of the kernel. */
const linkScope = 253;
const anywhere: Cidr = { family: 4, bits: 0n, prefix: 0 };
const highest = 0xffff_ffffn;
/** Routes of one lease that are taken: a message may hold thousands, and each is a command. */
const mostRoutes = 256;

/**
 * Reads a DHCPACK. Throws a `CniError` of code 104 when the prefix length of the
 * address is not known: option 1 is missing or malformed. Missing, it is taken
 * for 32 when the server gives classless routes that reach each of their routers
 * over the link, because nothing is left then for a mask to say.
 */
export function grantedBy(ack: Message, { priority = 0 }: GrantOptions = {}): Granted {
  const { options } = ack;
  const gateway = usable(readOption(options, option.routers))[0];
  const mtu = readOption(options, option.mtu);
  const metric = priority === 0 ? {} : { priority };
  return {
    ip: {
      address: formatCidr({ ...ack.yiaddr, prefix: prefixOf(options) }),
      ...(gateway && { gateway: formatIp(gateway) }),
    },
    routes: routesOf(options, gateway).slice(0, mostRoutes).map((route) => ({
      ...route,
      ...metric,
    })),
    dns: dnsOf(options),
    ...(mtu !== undefined && { mtu }),
  };
}

/** Some servers say «none» with an address that is none. */
function usable(list: readonly Ip[] = []): Ip[] {
  return list.filter(({ bits }) => bits !== 0n && bits !== highest);
}

/** Whether {@linkcode grantedBy} can read it. */
export function isComplete({ options }: Message): boolean {
  return knownPrefix(options) !== undefined;
}

function knownPrefix(options: Options): number | undefined {
  const alone = !options.has(option.subnetMask.code) && complete(classlessRoutes(options));
  return alone ? 32 : readOption(options, option.subnetMask);
}

function prefixOf(options: Options): number {
  const prefix = knownPrefix(options);
  if (prefix !== undefined) return prefix;
  const bytes = options.get(option.subnetMask.code);
  throw new CniError(
    codes.noAddress,
    bytes
      ? `Cannot use the subnet mask "${
        bytes.subarray(0, 8).toHex()
      }" of the DHCPACK: it is not ones before zeros`
      : "DHCP option Subnet Mask not found in DHCPACK",
  );
}

/** Whether the routes alone say how to reach every router among them. */
function complete(routes: readonly Route4[]): boolean {
  const onLink = routes.filter(({ gw }) => gw.bits === 0n);
  const reached = (gw: Ip) => onLink.some(({ dst }) => contains(dst, gw));
  return routes.length > 0 && routes.every(({ gw }) => gw.bits === 0n || reached(gw));
}

/** A malformed option counts as absent, like one without routes. */
function classlessRoutes(options: Options): readonly Route4[] {
  return readOption(options, option.classlessRoutes) ??
    readOption(options, option.msClasslessRoutes) ?? [];
}

/** Classless routes alone (RFC 3442), or else the classful ones and the default route. */
function routesOf(options: Options, gateway: Ip | undefined): Route[] {
  const classless = classlessRoutes(options);
  if (classless.length > 0) {
    return classless.map(({ dst, gw }) => ({
      ...via(dst, gw),
      ...(gw.bits === 0n && { scope: linkScope }),
    }));
  }
  const classful = (readOption(options, option.staticRoutes) ?? [])
    .filter(({ dst }) => dst.bits !== 0n)
    .map(({ dst, gw }) => via(network({ ...dst, prefix: classOf(dst) }), gw));
  return gateway ? [...classful, via(anywhere, gateway)] : classful;
}

function via(dst: Cidr, gw: Ip): Route {
  return { dst: formatCidr(dst), gw: formatIp(gw) };
}

/** Prefix length before there were any. */
function classOf({ bits }: Ip): number {
  const first = bits >> 24n;
  return first < 128n ? 8 : first < 192n ? 16 : 24;
}

function dnsOf(options: Options): Dns {
  const nameservers = usable(readOption(options, option.nameServers)).map(formatIp);
  const domain = readOption(options, option.domainName);
  const search = readOption(options, option.searchList);
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search && { search: [...search] }),
  };
}

/** Whether two leases give an interface the same. */
export function sameGrant(a: Granted, b: Granted): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
