/**
 * The temporary route for the packets of a DHCPv4 exchange, as pure text: a script that gathers facts,
 * and one that prepares the route, runs a program, and restores everything however the program ends.
 *
 * While the interface has no address, a broadcast needs a route, and the kernel's reverse path filter
 * (`rp_filter`) drops the answers. The route comes first and goes last, and its protocol number tells
 * the values of the filter: whatever is killed meanwhile, the next exchange in the namespace knows what
 * to restore.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { ExchangeGoal4 } from "./client_message4.ts";
import { shellQuote } from "../../../host/command.ts";
import { parseIp } from "../../../host/ip.ts";
import { parseIpJson } from "../../../host/ip_json.ts";

/** Facts about a namespace. */
export interface NetnsFacts {
  /** Interfaces by name. */
  readonly links: ReadonlyMap<string, LinkFacts>;
  /** Temporary routes that killed exchanges have left. */
  readonly stale: readonly LeftRoute[];
  /** Values of the reverse path filter; 0 where there is no such variable. */
  readonly filters: RpFilters;
}

/** Facts about an interface. */
export interface LinkFacts {
  /** The kernel's index of the interface. */
  readonly index: number;
  /** Whether it is administratively up. */
  readonly up: boolean;
  /** Hardware address; absent when the hardware is not Ethernet. */
  readonly chaddr?: Uint8Array;
  /** IPv4 addresses that may be the source of a packet. */
  readonly addresses: readonly Ip[];
}

/** `rp_filter` of all interfaces and of one; the greater one counts. */
export interface RpFilters {
  readonly all: number;
  readonly dev: number;
}

/** A temporary route that was left; its protocol number tells the values of the filter. */
export interface LeftRoute {
  readonly dev: string;
  readonly proto: number;
}

/** Protocol numbers of our temporary routes: the first one plus two digits of base 3. */
const firstProto = 220;
const filterValues = 3;
const lastProto = firstProto + filterValues ** 2 - 1;

const everywhere = "255.255.255.255";
/** The nftables table that keeps the namespace's addresses out of packets that must have none. */
const table = "denocni-dhcp";
const separator = "@";

/** Makes a script that prints what {@linkcode parseFacts} reads. */
export function factsScript(dev: string): string {
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

/** Reads what the script of {@linkcode factsScript} prints. */
export function parseFacts(text: string): NetnsFacts {
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

/** The route of one exchange. */
export interface BroadcastRoute {
  /** The interface's address from which packets are sent; absent when they have no source address. */
  readonly from?: Ip | undefined;
  /** Shell commands before and after the exchange. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** Plans the route of an exchange through an existing interface. */
export function planBroadcastRoute(
  goal: ExchangeGoal4,
  { dev, facts }: { readonly dev: string; readonly facts: NetnsFacts },
): BroadcastRoute {
  const { addresses } = facts.links.get(dev)!;
  const from = isConfigured(goal)
    ? addresses.find(({ bits }) => bits === goal.address.bits)
    : undefined;
  const restored = facts.stale.flatMap(restoreAll);
  const route = from || goal.kind === "renew" || goal.kind === "release"
    ? { before: [], after: [] }
    : broadcasting(dev, facts);
  return {
    from,
    before: [...restored, ...route.before],
    after: [...(isAnswered(goal) ? [] : [awaitNeighbour(dev)]), ...route.after],
  };
}

/** Whether the client has its address, which is in `ciaddr` then (RFC 2131 section 4.4.1, table 5). */
function isConfigured(goal: ExchangeGoal4): goal is ExchangeGoal4 & { readonly address: Ip } {
  return goal.kind === "renew" || goal.kind === "rebind" || goal.kind === "release";
}

function isAnswered({ kind }: ExchangeGoal4): boolean {
  return kind !== "release" && kind !== "decline";
}

function broadcasting(dev: string, facts: NetnsFacts): Omit<BroadcastRoute, "from"> {
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
    after: [...(hides ? [showAddresses] : []), ...restore({ dev, proto })],
  };
}

/** Gives the filter before any exchange: routes that were left tell it better than the kernel. */
function filtersBefore(dev: string, { stale, filters }: NetnsFacts): RpFilters {
  const left = stale.map((trace) => ({ dev: trace.dev, ...filtersOf(trace.proto) }));
  const limit = (value: number) => Math.min(value, filterValues - 1);
  return {
    all: limit(Math.max(filters.all, ...left.map(({ all }) => all))),
    dev: limit(left.find((trace) => trace.dev === dev)?.own ?? filters.dev),
  };
}

function protoOf({ all, dev }: RpFilters): number {
  return firstProto + all * filterValues + dev;
}

function filtersOf(proto: number): { readonly all: number; readonly own: number } {
  const number = proto - firstProto;
  return { all: Math.floor(number / filterValues), own: number % filterValues };
}

/** Removes everything that an exchange may have left. */
function restoreAll(trace: LeftRoute): string[] {
  return [showAddresses, ...restore(trace)];
}

/** Restores what an exchange has changed, the route last. */
function restore({ dev, proto }: LeftRoute): string[] {
  const { all, own } = filtersOf(proto);
  return [
    ...setFilters(dev, { filters: { all, dev: own }, open: false }),
    `ip route del ${everywhere} dev ${shellQuote(dev)} proto ${proto} 2>/dev/null`,
  ];
}

/**
 * Opens the filter (sets it to 0), or restores it. A filter that was 0 needs neither. One that is no
 * longer 0 when it is restored has been set by somebody else. The kernel gives a shell that reads byte
 * by byte no end of the line: `read` sets the variable and fails.
 */
function setFilters(
  dev: string,
  { filters, open }: { readonly filters: RpFilters; readonly open: boolean },
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
 * Makes packets leave from 0.0.0.0, as a client without an address sends (RFC 2131 section 4.1); the
 * kernel would take any address of the namespace. Without nft, packets have such an address.
 */
function hideAddresses(dev: string, index: number): string {
  // nft cannot write these characters in a name. It may take an index for the name of another link.
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

/** Waits at most a second until no packet waits for a neighbour's hardware address. */
function awaitNeighbour(dev: string): string {
  const waiting = `ip -4 neigh show dev ${shellQuote(dev)} nud incomplete 2>/dev/null`;
  return `n=0
while [ $n -lt 20 ] && [ -n "$(${waiting})" ]; do
n=$((n + 1))
sleep 0.05
done`;
}

/** Exit status of the script when the route could not be prepared. */
export const setUpFailedStatus = 90;

/**
 * Makes the script that runs its arguments as a program with this route. It survives the signals that
 * end the program, and the reader of its output, so that it can restore everything. In the end it also
 * removes the file of the lock, if the lock's holder was killed.
 */
export function broadcastRouteScript({ before, after }: BroadcastRoute, lock?: string): string {
  return [
    "trap : HUP INT PIPE TERM",
    "after() {",
    ":",
    ...after,
    ...(lock === undefined ? [] : [removeLock(shellQuote(lock))]),
    "}",
    `fail() { after; exit ${setUpFailedStatus}; }`,
    ...before,
    '"$@"',
    "status=$?",
    "after",
    "exit $status",
  ].join("\n");
}

/** Removes the file of a lock: only the holder of the lock may. */
function removeLock(path: string): string {
  return `[ ! -e ${path} ] || flock --nonblock ${path} rm -f ${path} 2>/dev/null`;
}

/** Makes the script that restores what killed exchanges have changed. */
export function cleanUpScript({ stale }: NetnsFacts): string {
  return [...stale.flatMap(restoreAll), ":"].join("\n");
}
