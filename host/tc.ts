/**
 * `tc`: builders and readers for what shaping needs: token buckets, filters on
 * what comes in and goes out, and redirection.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Cidr } from "./ip.ts";
import { formatCidr, network } from "./ip.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";

/** A token bucket. */
export interface Tbf {
  /** Bytes a second. */
  readonly rate: number;
  /** Bytes that go at once after a pause; a larger packet never goes. */
  readonly burst: number;
  /** Bytes that wait at most. */
  readonly limit: number;
}

/** Where filters see the packets of a link. */
export type Hook = "ingress" | "egress";

/** A disc that only has filters: `clsact` has them in both directions. */
export type HookKind = "ingress" | "clsact";

/** Packets by the network of one address. */
export interface AddressMatch {
  /** Source or destination. */
  readonly field: "src" | "dst";
  /** The network the address is in. */
  readonly subnet: Cidr;
}

/** A filter on a hook. Filters of one priority must be for one protocol. */
export interface U32Filter {
  /** Where it is hung. */
  readonly hook: Hook;
  /** Kind of the packets. */
  readonly protocol: "all" | "ip" | "ipv6";
  /** The lowest is asked first. */
  readonly priority: number;
  /** Every packet when absent. */
  readonly match?: AddressMatch | undefined;
  /** The link that packets go out by instead; absent: they pass, and no other filter is asked. */
  readonly redirect?: string | undefined;
}

/** `tc qdisc add dev X root handle 1: tbf rate Nbit burst Nb limit Nb` */
export function addTbf(
  dev: string,
  { rate, burst, limit }: Tbf,
  { netns }: NetnsOption = {},
): Command {
  return command("tc", [
    ...["qdisc", "add", "dev", dev, "root", "handle", "1:", "tbf"],
    ...["rate", `${BigInt(rate) * 8n}bit`, "burst", `${burst}b`, "limit", `${limit}b`],
  ], { netns });
}

/** `tc qdisc add dev X parent 1:1 handle 10: fq_codel`: the queue of a token bucket. */
export function addFqCodel(dev: string, { netns }: NetnsOption = {}): Command {
  const args = ["qdisc", "add", "dev", dev, "parent", "1:1", "handle", "10:", "fq_codel"];
  return command("tc", args, { netns });
}

/** `tc qdisc del dev X root` */
export function deleteRoot(dev: string, { netns }: NetnsOption = {}): Command {
  return command("tc", ["qdisc", "del", "dev", dev, "root"], { netns });
}

/** `tc qdisc add dev X ingress|clsact` */
export function addHook(dev: string, kind: HookKind, { netns }: NetnsOption = {}): Command {
  return command("tc", ["qdisc", "add", "dev", dev, kind], { netns });
}

/** `tc qdisc del dev X parent ffff:fff1`: whichever kind it is of, with its filters. */
export function deleteHook(dev: string, { netns }: NetnsOption = {}): Command {
  return command("tc", ["qdisc", "del", "dev", dev, "parent", "ffff:fff1"], { netns });
}

/**
 * `tc filter add dev X ingress protocol ip prio 16 u32 match ip dst 10.0.0.0/8 flowid 1:1
 * [action mirred egress redirect dev Y]`
 */
export function addFilter(dev: string, filter: U32Filter, { netns }: NetnsOption = {}): Command {
  const { hook, protocol, priority, match, redirect } = filter;
  return command("tc", [
    ...["filter", "add", "dev", dev, hook, "protocol", protocol, "prio", String(priority)],
    ...["u32", "match", ...matchWords(match), "flowid", "1:1"],
    ...(redirect ? ["action", "mirred", "egress", "redirect", "dev", redirect] : []),
  ], { netns });
}

function matchWords(match: AddressMatch | undefined): string[] {
  if (!match || match.subnet.prefix === 0) return ["u32", "0", "0"];
  const { field, subnet } = match;
  return [subnet.family === 4 ? "ip" : "ip6", field, formatCidr(network(subnet))];
}

/** `tc -raw -j qdisc show`: of every link of a namespace, with exact numbers. */
export function showQdiscs({ netns }: NetnsOption = {}): Command {
  return command("tc", ["-raw", "-j", "qdisc", "show"], { netns });
}

/** `tc -j filter show dev X ingress|egress` */
export function showFilters(dev: string, hook: Hook, { netns }: NetnsOption = {}): Command {
  return command("tc", ["-j", "filter", "show", "dev", dev, hook], { netns });
}

/** A queueing discipline as the kernel tells it. */
export interface Qdisc {
  /** The link it is on. */
  readonly dev: string;
  /** `tbf`, `ingress`, `fq_codel`, … */
  readonly kind: string;
  /** `1:` */
  readonly handle: string;
  /** Handle of the class that it is in; absent at the root. */
  readonly parent: string | undefined;
  /** Whether it is at the root of the link. */
  readonly root: boolean;
  /** Of a token bucket. */
  readonly tbf: KernelTbf | undefined;
}

/** A token bucket as the kernel has it. */
export interface KernelTbf {
  /** Bytes a second. */
  readonly rate: number;
  /** The burst as the time that it takes at this rate, in ticks of 64 ns. */
  readonly ticks: number;
  /** Bytes. */
  readonly limit: number;
}

interface RawQdisc {
  dev?: string;
  kind: string;
  handle: string;
  parent?: string;
  root?: boolean;
  options?: { rate?: number; burst_raw?: string; limit?: number };
}

/** Reads the JSON of {@linkcode showQdiscs}. */
export function parseQdiscs(json: string): Qdisc[] {
  return parseIpJson<RawQdisc>(json).map(({ dev, kind, handle, parent, root, options }) => ({
    dev: dev ?? "",
    kind,
    handle,
    parent,
    root: root ?? false,
    tbf: kind !== "tbf" ? undefined : {
      rate: options?.rate ?? 0,
      ticks: parseInt(options?.burst_raw ?? "0", 16),
      limit: options?.limit ?? 0,
    },
  }));
}

/** Ticks in a microsecond; the kernel's since 2.6.31. */
const ticksPerMicrosecond = 15.625;

/** The shortest and the longest time, in ticks, that programs make of a burst as they round. */
export function burstTicks({ rate, burst }: Pick<Tbf, "rate" | "burst">): [number, number] {
  const microseconds = burst * 1e6 / rate;
  return [
    Math.floor(Math.floor(microseconds) * ticksPerMicrosecond) - 1,
    Math.ceil(microseconds * ticksPerMicrosecond) + 1,
  ];
}

/** Longest time of a burst, in seconds: the kernel counts its ticks in 32 bits. */
export const longestBurst = 274;

/** A filter as the kernel tells it. */
export interface KernelFilter {
  /** Kind of the packets. */
  readonly protocol: string;
  /** The lowest is asked first. */
  readonly priority: number;
  /** Its comparisons, `value/mask@offset` each; none matches every packet. */
  readonly keys: readonly string[];
  /** The link that packets are redirected to. */
  readonly redirect: string | undefined;
}

interface RawFilter {
  protocol: string;
  pref: number;
  options?: Record<string, unknown> & { flowid?: string; actions?: RawAction[] };
}

interface RawAction {
  kind: string;
  mirred_action?: string;
  direction?: string;
  to_dev?: string;
}

interface RawKey {
  readonly value: string;
  readonly mask: string;
  readonly off: number;
}

/** Reads the JSON of {@linkcode showFilters}. */
export function parseFilters(json: string): KernelFilter[] {
  return parseIpJson<RawFilter>(numberKeys(json)).filter(({ options }) => options?.flowid)
    .map(({ protocol, pref, options }) => ({
      protocol,
      priority: pref,
      keys: Object.entries(options!).filter(([name]) => name.startsWith("match "))
        .map(([, key]) => key as RawKey)
        .filter(({ mask }) => parseInt(mask, 16) !== 0)
        .map(({ value, mask, off }) =>
          keyText(parseInt(value, 16), { mask: parseInt(mask, 16), offset: off })
        ),
      redirect: options!.actions?.map(redirectOf)[0],
    }));
}

/** iproute2 gives every key of a filter the same name, of which JSON keeps the last. */
function numberKeys(json: string): string {
  let count = 0;
  return json.replaceAll('"match":', () => `"match ${count++}":`);
}

function redirectOf({ kind, mirred_action, direction, to_dev }: RawAction): string | undefined {
  return kind === "mirred" && mirred_action === "redirect" && direction === "egress"
    ? to_dev
    : undefined;
}

function keyText(value: number, { mask, offset }: { mask: number; offset: number }): string {
  const hex = (number: number) => number.toString(16).padStart(8, "0");
  return `${hex(value)}/${hex(mask)}@${offset}`;
}

const offsets = { 4: { src: 12, dst: 16 }, 6: { src: 8, dst: 24 } } as const;

/** Comparisons of the kernel for a match, in the form of {@linkcode KernelFilter}. */
export function keysOf(match: AddressMatch | undefined): string[] {
  if (!match) return [];
  const { family, bits, prefix } = network(match.subnet);
  const start = offsets[family][match.field];
  const words = family === 4 ? 1 : 4;
  return Array.from({ length: words }, (_, index) => {
    const length = Math.min(Math.max(prefix - index * 32, 0), 32);
    const value = Number(bits >> BigInt((words - 1 - index) * 32) & 0xffff_ffffn);
    return { length, text: keyText(value, { mask: maskOf(length), offset: start + index * 4 }) };
  }).filter(({ length }) => length > 0).map(({ text }) => text);
}

function maskOf(length: number): number {
  return 2 ** 32 - 2 ** (32 - length);
}
