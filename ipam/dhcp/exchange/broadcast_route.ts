/**
 * How packets of an exchange get out of a namespace and into it, as pure text: what
 * to look at, and the script that prepares the way, runs a program, and puts
 * everything back however that ends.
 *
 * While the interface has no address, a broadcast needs a route, and the kernel's
 * reverse path filter drops the answers. The route comes first and goes last, and
 * its protocol number tells what the filter was: whatever is killed meanwhile, the
 * next exchange in the namespace knows what to put back.
 *
 * @module
 */
import type { Goal } from "./exchange4.ts";
import type { Ip } from "../../../host/ip.ts";
import { shellQuote } from "../../../host/command.ts";
import { parseIp } from "../../../host/ip.ts";
import { parseIpJson } from "../../../host/ip_json.ts";

/** What matters of a namespace. */
export interface Facts {
  /** Interfaces by name. */
  readonly links: ReadonlyMap<string, LinkFacts>;
  /** What exchanges left that were killed. */
  readonly stale: readonly Trace[];
  /** 0 where there is no such variable. */
  readonly filters: Filters;
}

/** What matters of an interface. */
export interface LinkFacts {
  /** The kernel's number of it. */
  readonly index: number;
  /** Whether it is administratively up. */
  readonly up: boolean;
  /** Hardware address; absent where the hardware is not Ethernet. */
  readonly chaddr?: Uint8Array;
  /** IPv4 addresses that a packet may have as its source. */
  readonly addresses: readonly Ip[];
}

/** `rp_filter` of all interfaces and of one; the greater one counts. */
export interface Filters {
  readonly all: number;
  readonly dev: number;
}

/** A temporary route that was left, and the filters as they were. */
export interface Trace {
  readonly dev: string;
  readonly proto: number;
}

/** Protocol numbers of our temporary routes: the first one and two digits of base 3. */
const firstProto = 220;
const filterValues = 3;
const lastProto = firstProto + filterValues ** 2 - 1;

const everywhere = "255.255.255.255";
/** The table that keeps other addresses out of packets that must have none. */
const table = "denocni-dhcp";
const separator = "@";

/** A script that shows what {@linkcode parseFacts} reads. */
export function lookScript(dev: string): string {
  return [
    "ip -N -j -4 route show table main || exit",
    `echo '${separator}'`,
    ...["all", dev].map((name) =>
      `filter=0; { read -r filter <${shellQuote(filterPath(name))}; } 2>/dev/null; echo "$filter"`
    ),
    `echo '${separator}'`,
    "exec ip -j address show",
  ].join("\n");
}

function filterPath(name: string): string {
  return `/proc/sys/net/ipv4/conf/${name}/rp_filter`;
}

interface RawRoute {
  readonly dst?: string;
  readonly dev?: string;
  readonly protocol?: string;
}

interface RawLink {
  readonly ifname?: string;
  readonly ifindex: number;
  readonly flags?: readonly string[];
  readonly link_type?: string;
  readonly address?: string;
  readonly addr_info?: readonly {
    readonly family: string;
    readonly local?: string;
    readonly scope: string;
  }[];
}

/** Reads what {@linkcode lookScript} shows. */
export function parseFacts(text: string): Facts {
  const [routes = "", filters = "", links = ""] = text.split(`\n${separator}\n`);
  const [all = 0, dev = 0] = filters.split("\n").map(Number);
  return {
    links: new Map(
      parseIpJson<RawLink>(links).filter(({ ifname }) => ifname !== undefined)
        .map((raw) => [raw.ifname!, linkFacts(raw)]),
    ),
    stale: parseIpJson<RawRoute>(routes).filter(isOurs)
      .map(({ dev, protocol }) => ({ dev: dev!, proto: Number(protocol) })),
    filters: { all, dev },
  };
}

function isOurs({ dst, dev, protocol }: RawRoute): boolean {
  const proto = Number(protocol);
  return dst === everywhere && dev !== undefined && proto >= firstProto && proto <= lastProto;
}

function linkFacts(
  { ifindex, flags = [], link_type, address = "", addr_info = [] }: RawLink,
): LinkFacts {
  const chaddr = link_type === "ether" && /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(address)
    ? Uint8Array.fromHex(address.replaceAll(":", ""))
    : undefined;
  return {
    index: ifindex,
    up: flags.includes("UP"),
    ...(chaddr && { chaddr }),
    addresses: addr_info
      .filter(({ family, scope, local }) => family === "inet" && scope !== "host" && local)
      .map(({ local }) => parseIp(local!)!),
  };
}

/** The way of one exchange. */
export interface Passage {
  /** The address of the interface that packets are sent from; absent where they have none. */
  readonly from?: Ip | undefined;
  /** Text of what is done before, and after. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** Plans the way of an exchange through an interface that is there. */
export function passageOf(
  goal: Goal,
  { dev, facts }: { readonly dev: string; readonly facts: Facts },
): Passage {
  const { addresses } = facts.links.get(dev)!;
  const from = isConfigured(goal)
    ? addresses.find(({ bits }) => bits === goal.address.bits)
    : undefined;
  const swept = facts.stale.flatMap(sweep);
  const way = from || goal.kind === "renew" || goal.kind === "release"
    ? { before: [], after: [] }
    : broadcasting(dev, facts);
  return {
    from,
    before: [...swept, ...way.before],
    after: [...(isAnswered(goal) ? [] : [awaitNeighbour(dev)]), ...way.after],
  };
}

/** Whether the client has the address (RFC 2131 section 4.4.1, table 5: it stands in `ciaddr`). */
function isConfigured(goal: Goal): goal is Goal & { readonly address: Ip } {
  return goal.kind === "renew" || goal.kind === "rebind" || goal.kind === "release";
}

function isAnswered({ kind }: Goal): boolean {
  return kind !== "release" && kind !== "decline";
}

function broadcasting(dev: string, facts: Facts): Omit<Passage, "from"> {
  const filters = filtersBefore(dev, facts);
  const proto = protoOf(filters);
  const hides = [...facts.links.values()].some(({ addresses }) => addresses.length > 0);
  const { up, index } = facts.links.get(dev)!;
  const name = shellQuote(dev);
  return {
    before: [
      ...(up ? [] : [`ip link set dev ${name} up || fail`]),
      `ip route prepend ${everywhere} dev ${name} proto ${proto} || fail`,
      ...setFilters(dev, { filters, open: true }),
      ...(hides ? [hideAddresses(dev, index)] : []),
    ],
    after: [...(hides ? [showAddresses] : []), ...putBack({ dev, proto })],
  };
}

/** The filters as they were before any exchange: what was left tells it better than the kernel. */
function filtersBefore(dev: string, { stale, filters }: Facts): Filters {
  const left = stale.map((trace) => ({ dev: trace.dev, ...filtersOf(trace.proto) }));
  const limit = (value: number) => Math.min(value, filterValues - 1);
  return {
    all: limit(Math.max(filters.all, ...left.map(({ all }) => all))),
    dev: limit(left.find((trace) => trace.dev === dev)?.own ?? filters.dev),
  };
}

function protoOf({ all, dev }: Filters): number {
  return firstProto + all * filterValues + dev;
}

function filtersOf(proto: number): { readonly all: number; readonly own: number } {
  const number = proto - firstProto;
  return { all: Math.floor(number / filterValues), own: number % filterValues };
}

/** Takes away whatever an exchange may have left. */
function sweep(trace: Trace): string[] {
  return [showAddresses, ...putBack(trace)];
}

/** Takes back what an exchange has changed, the route last. */
function putBack({ dev, proto }: Trace): string[] {
  const { all, own } = filtersOf(proto);
  return [
    ...setFilters(dev, { filters: { all, dev: own }, open: false }),
    `ip route del ${everywhere} dev ${shellQuote(dev)} proto ${proto} 2>/dev/null`,
  ];
}

/**
 * A filter that is 0 needs no opening, and was not opened; one that is not 0 is somebody else's
 * by now. The kernel gives a shell that reads byte by byte no end of the line: `read` sets the
 * variable and fails.
 */
function setFilters(
  dev: string,
  { filters, open }: { readonly filters: Filters; readonly open: boolean },
): string[] {
  const values = [["all", filters.all], [dev, filters.dev]] as const;
  return values.filter(([, value]) => value > 0).map(([name, value]) => {
    const path = shellQuote(filterPath(name));
    const write = open
      ? `echo 0 >${path}`
      : `read -r filter <${path}; [ "$filter" = 0 ] && echo ${value} >${path}`;
    return `{ ${write}; } 2>/dev/null`;
  });
}

/**
 * A client without an address sends from 0.0.0.0 (RFC 2131 section 4.1); the kernel takes any
 * address of the namespace instead. Where it cannot be kept from that, that is what is sent.
 */
function hideAddresses(dev: string, index: number): string {
  // nft has no way to write these characters in a name; a number may be another one's name.
  const out = /["*\\]/.test(dev) ? `oif ${index}` : `oifname "${dev}"`;
  const match = `${out} ip daddr ${everywhere} udp sport 68 udp dport 67`;
  return [
    "nft -f - <<'END' 2>/dev/null",
    `table ip ${table}`,
    `delete table ip ${table}`,
    `table ip ${table} {`,
    "chain out {",
    "type filter hook postrouting priority 300",
    `${match} ip saddr set 0.0.0.0`,
    "}",
    "}",
    "END",
  ].join("\n");
}

const showAddresses = `nft delete table ip ${table} 2>/dev/null`;

/** Waits, at most a second, until no packet waits for a neighbour's hardware address. */
function awaitNeighbour(dev: string): string {
  const waiting = `ip -4 neigh show dev ${shellQuote(dev)} nud incomplete 2>/dev/null`;
  return `n=0
while [ $n -lt 20 ] && [ -n "$(${waiting})" ]; do
n=$((n + 1))
sleep 0.05
done`;
}

/** Exit status of the script when the way could not be prepared. */
export const unprepared = 90;

/**
 * The script that runs its arguments as a program on this way. It outlives signals that end the
 * program, and whoever reads what it says, so that it can put everything back: in the end the file
 * of the lock, too, where whoever had it was killed.
 */
export function passageScript({ before, after }: Passage, lock?: string): string {
  return [
    "trap : HUP INT PIPE TERM",
    "after() {",
    ":",
    ...after,
    ...(lock === undefined ? [] : [removeLock(shellQuote(lock))]),
    "}",
    `fail() { after; exit ${unprepared}; }`,
    ...before,
    '"$@"',
    "status=$?",
    "after",
    "exit $status",
  ].join("\n");
}

/** Only whoever locks the file may remove it. */
function removeLock(path: string): string {
  return `[ ! -e ${path} ] || flock --nonblock ${path} rm -f ${path} 2>/dev/null`;
}

/** The script that puts back what exchanges have left that were killed. */
export function sweepScript({ stale }: Facts): string {
  return [...stale.flatMap(sweep), ":"].join("\n");
}
