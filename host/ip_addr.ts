/**
 * `ip addr`: builders, and the reader of what it takes to give an address again.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Cidr } from "./ip.ts";
import { formatCidr } from "./ip.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";

/** How an address is added. */
export interface AddressOptions extends NetnsOption {
  /** Leave out duplicate address detection (IPv6 only): usable at once. */
  readonly nodad?: boolean;
  /** Leave out the route to the prefix that the kernel adds with an address. */
  readonly noprefixroute?: boolean;
}

/**
 * `ip addr add A/P [brd +] dev X [nodad] [noprefixroute]`: a broadcast address for IPv4 prefixes
 * below 31, as the reference sets it and iproute2 by itself does not.
 */
export function addAddress(
  dev: string,
  { cidr, ...options }: AddressOptions & { cidr: Cidr },
): Command {
  const broadcast = cidr.family === 4 && cidr.prefix < 31 ? ["brd", "+"] : [];
  const nodad = options.nodad && cidr.family === 6 ? ["nodad"] : [];
  return command("ip", [
    ...["addr", "add", formatCidr(cidr), ...broadcast],
    ...["dev", dev, ...nodad],
    ...(options.noprefixroute ? ["noprefixroute"] : []),
  ], options);
}

/** How long an address may be used, and preferred to others; `Infinity` has no end. Seconds. */
export interface Lifetimes {
  /** Seconds until the address goes. */
  readonly valid: number;
  /** At most the valid one; 0 is deprecated. */
  readonly preferred: number;
}

/**
 * `ip addr replace A/P dev X valid_lft N preferred_lft N`: adds an address that ends, or gives the
 * one that is there these times from now.
 */
export function replaceAddress(
  dev: string,
  { cidr, lifetimes, netns }: NetnsOption & { cidr: Cidr; lifetimes: Lifetimes },
): Command {
  const time = (seconds: number) => Number.isFinite(seconds) ? String(seconds) : "forever";
  const { valid, preferred } = lifetimes;
  return command("ip", [
    ...["addr", "replace", formatCidr(cidr), "dev", dev],
    ...["valid_lft", time(valid), "preferred_lft", time(preferred)],
  ], { netns });
}

/** `ip addr del A/P dev X` */
export function deleteAddress(
  dev: string,
  { cidr, netns }: NetnsOption & { cidr: Cidr },
): Command {
  return command("ip", ["addr", "del", formatCidr(cidr), "dev", dev], {
    netns,
  });
}

/** An address with everything it was given with. */
export interface ConfiguredAddress {
  /** Canonical text without the prefix length. */
  readonly address: string;
  /** Length of the prefix in bits. */
  readonly prefix: number;
  /** The other end, of an address that has one. */
  readonly peer?: string;
  /** Broadcast address, canonical text. */
  readonly broadcast?: string;
  /** `eth0:1`; absent when it is the link's name. */
  readonly label?: string;
  /** `global`, `link`, `host` or a number. */
  readonly scope: string;
  /** Metric of the route to the prefix. */
  readonly metric?: number;
  /** Whether it skips duplicate address detection. */
  readonly nodad?: boolean;
  /** Whether it brings no route to its prefix. */
  readonly noprefixroute?: boolean;
}

/**
 * `ip addr add A [peer B]/P [brd C] [label L] scope S [metric N] [nodad] [noprefixroute] dev X`: gives
 * a link an address that it had.
 */
export function addConfiguredAddress(dev: string, given: ConfiguredAddress): Command {
  const { address, prefix, peer, broadcast, label, scope, metric } = given;
  const ends = peer ? [address, "peer", `${peer}/${prefix}`] : [`${address}/${prefix}`];
  return command("ip", [
    ...["addr", "add", ...ends],
    ...(broadcast ? ["brd", broadcast] : []),
    ...(label ? ["label", label] : []),
    ...["scope", scope],
    ...(metric ? ["metric", String(metric)] : []),
    ...(given.nodad ? ["nodad"] : []),
    ...(given.noprefixroute ? ["noprefixroute"] : []),
    ...["dev", dev],
  ]);
}

interface RawGiven {
  family: string;
  local?: string;
  prefixlen: number;
  /** The other end. */
  address?: string;
  broadcast?: string;
  label?: string;
  scope: string;
  metric?: number;
  nodad?: boolean;
  noprefixroute?: boolean;
  dynamic?: boolean;
}

/**
 * The addresses that somebody gave a link, from the JSON of `ip addr show`. Those that come by
 * themselves are left out: with a lifetime (by a lease or a router) and the kernel's own of IPv6.
 */
export function parseConfiguredAddresses(json: string, dev: string): ConfiguredAddress[] {
  const links = parseIpJson<{ ifname?: string; addr_info?: RawGiven[] }>(json);
  const given = links.find(({ ifname }) => ifname === dev)?.addr_info ?? [];
  return given.filter(isGiven).map((raw) => ({
    address: raw.local!,
    prefix: raw.prefixlen,
    ...(raw.address !== undefined && { peer: raw.address }),
    ...(raw.broadcast !== undefined && { broadcast: raw.broadcast }),
    ...(raw.label !== undefined && raw.label !== dev && { label: raw.label }),
    scope: raw.scope,
    ...(raw.metric !== undefined && { metric: raw.metric }),
    ...(raw.nodad && { nodad: true }),
    ...(raw.noprefixroute && { noprefixroute: true }),
  }));
}

function isGiven({ family, local, scope, dynamic }: RawGiven): boolean {
  return local !== undefined && !dynamic && !(family === "inet6" && scope === "link");
}
