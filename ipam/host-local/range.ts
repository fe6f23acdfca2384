/**
 * Ranges and range sets: what addresses an attachment may get. A set gives one
 * address, from the first of its ranges that has one.
 *
 * @module
 */
import type { Decoder } from "../../cni/decode.ts";
import { list, map, object, optional, refine, required, scalar } from "../../cni/decode.ts";
import { addressCountIssues, ipOrEmpty } from "../../cni/sections.ts";
import type { Cidr, Family, Ip } from "../../host/ip.ts";
import {
  contains,
  firstHost,
  formatCidr,
  formatIp,
  lastAddress,
  network,
  parseCidr,
  parseIp,
  parseIpOrCidr,
  width,
} from "../../host/ip.ts";

/** Consecutive addresses of one subnet. */
export interface Range {
  readonly subnet: Cidr;
  /** First address handed out. */
  readonly start: Ip;
  /** Last address handed out, `start` or higher. */
  readonly end: Ip;
  /** Reported with each address and never handed out. */
  readonly gateway: Ip;
}

/** Ranges of one family that do not overlap. */
export type RangeSet = readonly Range[];

/** Consecutive addresses, both ends included. */
export interface Interval {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}

const bareCidr: Decoder<Cidr> = scalar(
  "IP address with prefix length",
  (value) => typeof value === "string" ? parseCidr(value) : undefined,
);

const bareIp: Decoder<Ip> = map(ipOrEmpty(), (text) => parseIp(text)!);

/** Keys of a range beside `subnet`. */
const bounds = {
  rangeStart: optional(
    bareIp,
    "First address to hand out; the first of the subnet when absent.",
  ),
  rangeEnd: optional(
    bareIp,
    "Last address to hand out; when absent the last of the subnet, for IPv4 the one before the broadcast address.",
  ),
  gateway: optional(
    bareIp,
    "Reported with each address, never handed out; the first of the subnet when absent.",
  ),
} as const;

/** Keys of a single range directly in `ipam`: it counts only when `subnet` is there. */
export const legacyKeys = {
  subnet: optional(bareCidr, "Subnet of a single range, in place of `ranges`."),
  ...bounds,
} as const;

/** A range as the configuration gives it. */
interface RawRange {
  readonly subnet: Cidr;
  readonly rangeStart: Ip | undefined;
  readonly rangeEnd: Ip | undefined;
  readonly gateway: Ip | undefined;
}

/** One range. */
export const rangeDecoder: Decoder<Range> = map(
  refine(
    object({
      subnet: required(bareCidr, "Network address and prefix length."),
      ...bounds,
    }),
    checkRange,
  ),
  toRange,
);

/** A list of range sets: the `ranges` key and the `ipRanges` capability. */
export const rangeSetsDecoder: Decoder<Range[][]> = list(list(rangeDecoder));

/** A request for an address: the prefix length may stand there and is ignored. */
export const requestDecoder: Decoder<Ip> = scalar(
  "IP address with or without prefix length",
  (value) => typeof value === "string" ? parseRequest(value) : undefined,
);

/** Reads a requested address; `undefined` when the text is none. */
export function parseRequest(text: string): Ip | undefined {
  const parsed = parseIpOrCidr(text);
  return parsed && { family: parsed.family, bits: parsed.bits };
}

/** Addresses to leave out: one, a subnet, or `first-last`. */
export const intervalDecoder: Decoder<Interval> = scalar(
  "IP address, subnet or `first-last`",
  (value) => typeof value === "string" ? parseInterval(value) : undefined,
);

function parseInterval(text: string): Interval | undefined {
  const [first, last, ...rest] = text.split("-").map((part) => part.trim());
  if (last === undefined) {
    const cidr = parseIpOrCidr(text);
    return cidr && between(network(cidr), lastAddress(cidr));
  }
  const [from, to] = [parseIp(first!), parseIp(last)];
  return from && to && rest.length === 0 ? between(from, to) : undefined;
}

function between(from: Ip, to: Ip): Interval | undefined {
  if (from.family !== to.family || from.bits > to.bits) return undefined;
  return { family: from.family, first: from.bits, last: to.bits };
}

/** Reports what is wrong with a range; `path` names the key. */
export function checkRange(
  { subnet, rangeStart, rangeEnd }: RawRange,
  report: (path: string, message: string) => void,
): void {
  const cidr = formatCidr(subnet);
  if (subnet.prefix > width(subnet.family) - 2) {
    return report("subnet", `Network ${cidr} too small to allocate from`);
  }
  const base = network(subnet);
  if (base.bits !== subnet.bits) {
    return report(
      "subnet",
      `Network has host bits set. For a subnet mask of length ${subnet.prefix} the network address is ${
        formatIp(base)
      }`,
    );
  }
  const { start, end } = toRange({ subnet, rangeStart, rangeEnd, gateway: undefined });
  const outside = (name: string, ip: Ip) => `${name} ${formatIp(ip)} not in network ${cidr}`;
  if (!contains(subnet, start) || (rangeEnd && start.bits > rangeEnd.bits && rangeStart)) {
    return report("rangeStart", outside("RangeStart", start));
  }
  if (!contains(subnet, end) || end.bits < start.bits) {
    report("rangeEnd", outside("RangeEnd", end));
  }
}

/** Fills in what the configuration leaves open. */
export function toRange({ subnet, rangeStart, rangeEnd, gateway }: RawRange): Range {
  const last = lastAddress(subnet);
  const lastUsable = subnet.family === 4 ? { ...last, bits: last.bits - 1n } : last;
  return {
    subnet,
    start: rangeStart ?? firstHost(subnet),
    end: rangeEnd ?? lastUsable,
    gateway: gateway ?? firstHost(subnet),
  };
}

/** Whether the range hands out this address (its gateway counts as inside). */
export function inRange({ start, end }: Range, ip: Ip): boolean {
  return start.family === ip.family && start.bits <= ip.bits && ip.bits <= end.bits;
}

/** The range of a set that an address lies in. */
export function rangeOf(set: RangeSet, ip: Ip): Range | undefined {
  return set.find((range) => inRange(range, ip));
}

/** Whether two ranges share an address. */
export function rangesOverlap(a: Range, b: Range): boolean {
  return a.start.family === b.start.family && a.start.bits <= b.end.bits &&
    b.start.bits <= a.end.bits;
}

/** `192.168.0.1-192.168.0.254` */
export function formatRange({ start, end }: Range): string {
  return `${formatIp(start)}-${formatIp(end)}`;
}

/** `192.168.0.1-192.168.0.254,172.16.1.1-172.16.1.254` */
export function formatSet(set: RangeSet): string {
  return set.map(formatRange).join(",");
}

/** Everything wrong with the sets together, in the reference's words. */
export function setIssues(sets: readonly RangeSet[], cniVersion: string): string[] {
  if (sets.length === 0) return ["no IP ranges specified"];
  const issues = sets.flatMap(withinSet);
  if (issues.length > 0) return issues;
  return [...perFamily(sets, cniVersion), ...acrossSets(sets)];
}

function withinSet(set: RangeSet, index: number): string[] {
  const issue = (text: string) => [`invalid range set ${index}: ${text}`];
  const first = set[0];
  if (!first) return issue("empty range set");
  if (set.some((range) => range.subnet.family !== first.subnet.family)) {
    return issue("mixed address families");
  }
  for (const [a, b] of pairs(set)) {
    if (rangesOverlap(a, b)) {
      return issue(`subnets ${formatRange(a)} and ${formatRange(b)} overlap`);
    }
  }
  return [];
}

function perFamily(sets: readonly RangeSet[], cniVersion: string): string[] {
  return addressCountIssues(sets.map((set) => set[0]!.subnet.family), cniVersion);
}

function acrossSets(sets: readonly RangeSet[]): string[] {
  const issues: string[] = [];
  sets.forEach((set, i) => {
    for (let j = i + 1; j < sets.length; j++) {
      const shared = set.some((a) => sets[j]!.some((b) => rangesOverlap(a, b)));
      if (shared) issues.push(`range set ${i} overlaps with ${j}`);
    }
  });
  return issues;
}

function* pairs<T>(items: readonly T[]): Generator<[T, T]> {
  for (const [i, a] of items.entries()) {
    for (const b of items.slice(i + 1)) yield [a, b];
  }
}
