/**
 * The state of stateless address autoconfiguration (SLAAC, RFC 4862) on a link, read from the output of
 * iproute2: whether the kernel has made an address, and if not, why.
 *
 * @module
 */
import type { IpConfig } from "../../cni/types.ts";
import type { Cidr, Ip } from "../../host/ip.ts";
import { contains, formatCidr, formatIp, isDefault, parseCidr, parseIp } from "../../host/ip.ts";
import { parseIpJson } from "../../host/ip_json.ts";
import { fullPrefix } from "../../host/ip_route.ts";

/** Output of iproute2, with names or with numbers (`-N`). */
export interface IpOutput {
  /** `ip -j -6 addr show dev X` */
  readonly addresses: string;
  /** `ip -j -6 route show`, of one link or of all, of table main or of all. */
  readonly routes: string;
}

/** How far the autoconfiguration of a link has come. */
export type SlaacState =
  /**
   * The addresses for a result. Their lifetimes do not matter: routers extend them. The kernel has the
   * routes, too; they must not be added again without a lifetime.
   */
  | { readonly kind: "ready"; readonly ips: readonly IpConfig[] }
  /** There is no address yet; the message is the error if that stays so until the deadline. */
  | { readonly kind: "waiting"; readonly message: string }
  /** There will be no address: another host has it. */
  | { readonly kind: "duplicate"; readonly message: string };

interface RawAddress {
  family: string;
  local?: string;
  prefixlen: number;
  scope: string;
  /** Origin of the address; older kernels and releases do not tell. */
  protocol?: string;
  dynamic?: boolean;
  temporary?: boolean;
  tentative?: boolean;
  dadfailed?: boolean;
  deprecated?: boolean;
}

interface RawLink {
  ifname?: string;
  flags?: string[];
  addr_info?: RawAddress[];
}

interface RawHop {
  gateway?: string;
  dev?: string;
}

interface RawRoute extends RawHop {
  dst: string;
  /** Absent for `unicast`. */
  type?: string;
  /** Absent for `main`. */
  table?: string;
  protocol?: string;
  metric?: number;
  pref?: string;
  /** Seconds. */
  expires?: number;
  nexthops?: RawHop[];
}

/** An address of the link. */
interface Address extends RawAddress {
  readonly cidr: Cidr;
}

/** A route over the link; a route with several next hops becomes one for each. */
interface LinkRoute extends RawRoute {
  readonly to: Cidr;
  readonly via: Ip | undefined;
}

/** Names and numbers that iproute2 prints for the same value. */
const words = {
  byRouter: ["kernel_ra", "2"],
  ra: ["ra", "9"],
  kernel: ["kernel", "2"],
  unicast: [undefined, "unicast", "1"],
  main: [undefined, "main", "254"],
} as const;

/** Length of a prefix that makes an address on Ethernet: the interface identifier is the other half. */
const prefixLength = 64;
/** Metric of a route that names none. */
const usualMetric = 1024;
const linkLocal: Cidr = { family: 6, bits: 0xfe80n << 112n, prefix: 10 };

/** Reads the state of link `dev`. */
export function readSlaacState(dev: string, printed: IpOutput): SlaacState {
  const links = parseIpJson<RawLink>(printed.addresses);
  const link = links.find(({ ifname }) => ifname === dev);
  const addresses = addressesOf(link);
  const made = autoconfigured(addresses);
  const local = addresses.filter(({ cidr }) => contains(linkLocal, cidr));
  const duplicate = [...made, ...local].find(({ dadfailed }) => dadfailed);
  if (duplicate) return { kind: "duplicate", message: duplicateText(dev, duplicate) };
  const routes = routesLinkRoute(dev, printed.routes);
  const usable = made.filter(({ deprecated }) => !deprecated);
  if (usable.length > 0 && !usable.some(({ tentative }) => tentative)) return ready(usable, routes);
  const missing = missingLink(link, local) ?? missingAddress(made) ??
    missingPrefix(dev, routes.filter((route) => isAdvertised(route, addresses)));
  return { kind: "waiting", message: `Cannot autoconfigure an address on "${dev}": ${missing}` };
}

function addressesOf(link: RawLink | undefined): Address[] {
  return (link?.addr_info ?? []).flatMap((raw) => {
    const cidr = raw.family === "inet6" ? parseCidr(`${raw.local}/${raw.prefixlen}`) : undefined;
    return cidr ? [{ ...raw, cidr }] : [];
  });
}

/** Gives the addresses that the kernel has made of a prefix, without temporary ones (RFC 8981). */
function autoconfigured(addresses: readonly Address[]): Address[] {
  const tells = addresses.some(({ protocol }) => protocol !== undefined);
  return addresses.filter(({ scope, dynamic, temporary, prefixlen, protocol }) =>
    (scope === "global" || scope === "0") && dynamic && !temporary &&
    prefixlen === prefixLength && (!tells || isOneOf(words.byRouter, protocol))
  );
}

function isOneOf(list: readonly (string | undefined)[], word: string | undefined): boolean {
  return list.includes(word);
}

function routesLinkRoute(dev: string, json: string): LinkRoute[] {
  const main = parseIpJson<RawRoute>(json).filter(({ type, table }) =>
    isOneOf(words.unicast, type) && isOneOf(words.main, table)
  );
  return main.flatMap((route) => {
    const to = parseCidr(fullPrefix(route.dst, 6));
    const hops = (route.nexthops ?? [route]).filter((hop) => (hop.dev ?? route.dev) === dev);
    return to ? hops.map(({ gateway }) => ({ ...route, to, via: parseIp(gateway ?? "") })) : [];
  });
}

function ready(addresses: readonly Address[], routes: readonly LinkRoute[]): SlaacState {
  const router = routerOf(routes);
  const gateway = router && formatIp(router);
  return {
    kind: "ready",
    ips: addresses.map(({ cidr }) => ({
      address: formatCidr(cidr),
      ...(gateway !== undefined && { gateway }),
    })),
  };
}

const ranks: Readonly<Record<string, number>> = { high: 0, medium: 1, low: 2 };

/** Gives the router that the kernel prefers (RFC 4191): an address has one gateway in a result. */
function routerOf(routes: readonly LinkRoute[]): Ip | undefined {
  const rank = ({ pref = "medium" }: LinkRoute) => ranks[pref] ?? 1;
  const metric = ({ metric = usualMetric }: LinkRoute) => metric;
  const [best] = routes.filter(({ to, via, protocol }) =>
    isDefault(to) && via && contains(linkLocal, via) && isOneOf(words.ra, protocol)
  ).toSorted((a, b) => metric(a) - metric(b) || rank(a) - rank(b));
  return best?.via;
}

/**
 * Whether a router must have advertised a route. The kernel makes a route for a prefix on the link, too,
 * also for an address that somebody has added; such a route does not expire.
 */
function isAdvertised(
  { to, protocol, expires }: LinkRoute,
  addresses: readonly Address[],
): boolean {
  if (isOneOf(words.ra, protocol)) return true;
  const given = addresses.some(({ dynamic, cidr }) => !dynamic && contains(to, cidr));
  return isOneOf(words.kernel, protocol) && to.prefix < 128 && !contains(linkLocal, to) &&
    (expires !== undefined || !given);
}

function duplicateText(dev: string, { cidr }: Address): string {
  return `Cannot use the address "${formatIp(cidr)}" of "${dev}": ` +
    "another host on the link has it (duplicate address detection failed)";
}

function missingLink(link: RawLink | undefined, local: readonly Address[]): string | undefined {
  if (!link) return "there is no such link";
  const flags = link.flags ?? [];
  if (!flags.includes("UP")) return "the link is down";
  if (flags.includes("NO-CARRIER")) return "the link has no carrier";
  if (local.length === 0) return "it has no link-local address; is IPv6 switched off?";
  return local.every(({ tentative }) => tentative) ? unfinished(local[0]!) : undefined;
}

function missingAddress(made: readonly Address[]): string | undefined {
  const tentative = made.find((address) => address.tentative);
  if (tentative) return unfinished(tentative);
  const [deprecated] = made;
  return deprecated && `the prefix of "${formatCidr(deprecated.cidr)}" is no longer preferred`;
}

function unfinished({ cidr }: Address): string {
  return `duplicate address detection has not ended for "${formatIp(cidr)}"`;
}

function missingPrefix(dev: string, advertised: readonly LinkRoute[]): string {
  const [first] = advertised;
  if (!first) {
    return "no router advertisement was received; " +
      `is a router on this link, and is net.ipv6.conf.${dev}.accept_ra on?`;
  }
  const via = advertised.find((route) => route.via)?.via;
  const router = via ? `the router "${formatIp(via)}"` : "a router";
  return `${router} advertised no prefix with the autonomous flag, or another host has the ` +
    `address; does this network want DHCPv6, and is net.ipv6.conf.${dev}.autoconf on?`;
}
