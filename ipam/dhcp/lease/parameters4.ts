/**
 * The configuration parameters of a DHCPACK, as parts of a CNI result.
 *
 * @module
 */
import type { Dns, IpConfig, Route } from "../../../cni/types.ts";
import type { Cidr, Ip } from "../../../host/ip.ts";
import type { Message4, Options4 } from "../codec/message4.ts";
import type { ClasslessRoute } from "../codec/options4.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { contains, formatCidr, formatIp, network } from "../../../host/ip.ts";
import { option4, readOption4 } from "../codec/options4.ts";

/** Parts of a CNI result that come from one lease. */
export interface LeaseParameters {
  readonly ip: IpConfig;
  readonly routes: readonly Route[];
  /** Empty without name servers and domains of the server. The reference drops DNS. */
  readonly dns: Dns;
  /** Bytes; absent when the link keeps its own MTU. */
  readonly mtu?: number;
}

/** Parameters that the configuration adds. */
export interface ParameterOptions {
  /** Metric of every route; 0 and absent leave it to the kernel. */
  readonly priority?: number | undefined;
}

/** `scope link` of the kernel. */
const linkScope = 253;
const anywhere: Cidr = { family: 4, bits: 0n, prefix: 0 };
const highest = 0xffff_ffffn;
/** Most routes of one lease: a message may hold thousands, and each is a command. */
const mostRoutes = 256;

/**
 * Reads the parameters of a DHCPACK. Throws a `CniError` of code 104 when the prefix length of the
 * address is not known: option 1 is missing or malformed. Without option 1 the prefix length is 32 when
 * the server gives classless routes that reach each of their routers over the link: then a mask would
 * add nothing.
 */
export function leaseParameters4(
  ack: Message4,
  { priority = 0 }: ParameterOptions = {},
): LeaseParameters {
  const { options } = ack;
  const gateway = usable(readOption4(options, option4.routers))[0];
  const mtu = readOption4(options, option4.mtu);
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

/** Drops addresses by which some servers say «none». */
function usable(list: readonly Ip[] = []): Ip[] {
  return list.filter(({ bits }) => bits !== 0n && bits !== highest);
}

/** Whether {@linkcode leaseParameters4} can read it. */
export function hasPrefixLength({ options }: Message4): boolean {
  return knownPrefix(options) !== undefined;
}

function knownPrefix(options: Options4): number | undefined {
  const alone = !options.has(option4.subnetMask.code) && complete(classlessRoutes(options));
  return alone ? 32 : readOption4(options, option4.subnetMask);
}

function prefixOf(options: Options4): number {
  const prefix = knownPrefix(options);
  if (prefix !== undefined) return prefix;
  const bytes = options.get(option4.subnetMask.code);
  throw new CniError(
    codes.noAddress,
    bytes
      ? `Cannot use the subnet mask "${
        bytes.subarray(0, 8).toHex()
      }" of the DHCPACK: it is not ones before zeros`
      : "DHCP option Subnet Mask not found in DHCPACK",
  );
}

/** Whether the routes alone tell how to reach each of their routers. */
function complete(routes: readonly ClasslessRoute[]): boolean {
  const onLink = routes.filter(({ gw }) => gw.bits === 0n);
  const reached = (gw: Ip) => onLink.some(({ dst }) => contains(dst, gw));
  return routes.length > 0 && routes.every(({ gw }) => gw.bits === 0n || reached(gw));
}

/** Reads the classless routes. A malformed option counts as absent, like one without routes. */
function classlessRoutes(options: Options4): readonly ClasslessRoute[] {
  return readOption4(options, option4.classlessRoutes) ??
    readOption4(options, option4.msClasslessRoutes) ?? [];
}

/** Gives the classless routes alone (RFC 3442), or else the classful ones and the default route. */
function routesOf(options: Options4, gateway: Ip | undefined): Route[] {
  const classless = classlessRoutes(options);
  if (classless.length > 0) {
    return classless.map(({ dst, gw }) => ({
      ...via(dst, gw),
      ...(gw.bits === 0n && { scope: linkScope }),
    }));
  }
  const classful = (readOption4(options, option4.staticRoutes) ?? [])
    .filter(({ dst }) => dst.bits !== 0n)
    .map(({ dst, gw }) => via(network({ ...dst, prefix: classOf(dst) }), gw));
  return gateway ? [...classful, via(anywhere, gateway)] : classful;
}

function via(dst: Cidr, gw: Ip): Route {
  return { dst: formatCidr(dst), gw: formatIp(gw) };
}

/** Prefix length of an address's class. */
function classOf({ bits }: Ip): number {
  const first = bits >> 24n;
  return first < 128n ? 8 : first < 192n ? 16 : 24;
}

function dnsOf(options: Options4): Dns {
  const nameservers = usable(readOption4(options, option4.nameServers)).map(formatIp);
  const domain = readOption4(options, option4.domainName);
  const search = readOption4(options, option4.searchList);
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search && { search: [...search] }),
  };
}

/** Whether two leases have the same parameters. */
export function sameParameters(a: LeaseParameters, b: LeaseParameters): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
