/**
 * What a namespace's links, addresses, routes, rules, neighbours and queueing disciplines are, a
 * line each, without what changes by itself (indexes, counters, timers).
 *
 * @module
 */
import type { Attributes, Message } from "./netlink.ts";
import { attributesOf, dump, littleEndian, viewOf } from "./netlink.ts";

/** Lines by section. */
export interface KernelLines {
  readonly links: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
  readonly rules: readonly string[];
  readonly neighbours: readonly string[];
  /** `undefined` where one of them has options, which `tc` knows how to show. */
  readonly qdiscs: readonly string[] | undefined;
  /** Whether one of the links is a bridge. */
  readonly hasBridge: boolean;
  /** Whether IPv6 addresses have their routes ({@linkcode isUsable}). */
  readonly usable: boolean;
  /** Whether nftables has a table, or may have one. */
  readonly hasTables: boolean;
}

const inet = 2;
const inet6 = 10;
const netfilter = 12;

/** Reads the namespace in which this thread is. */
export function kernelLines(): KernelLines {
  const all = (type: number, headerLength: number, family = 0) =>
    dump({ type, headerLength, family }) ?? [];
  const links = all(request.link, 16).map(linkOf);
  const names: Names = new Map(links.map(({ index, name }) => [index, name]));
  const addresses = all(request.address, 8).map((message) => addressOf(message, links));
  const routes = all(request.route, 12).filter(isConfigured).map((it) => routeLine(it, names));
  const qdiscs = all(request.qdisc, 20).map((message) => qdiscOf(message, names));
  return {
    links: links.map((link) => linkLine(link, names)),
    addresses: addresses.map(addressLine).filter(isLasting),
    routes: routes.filter(isLasting),
    rules: [inet, inet6].flatMap((family) => all(request.rule, 12, family)).map(ruleLine),
    neighbours: all(request.neighbour, 12).filter(isPermanent).map((it) => neighbour(it, names)),
    qdiscs: qdiscs.every(isPlain) ? qdiscs.map(qdiscLine) : undefined,
    hasBridge: links.some(({ kind }) => kind === "bridge"),
    usable: isUsable(addresses, routes),
    hasTables: dump({ type: request.table, headerLength: 4, protocol: netfilter })?.length !== 0,
  };
}

/** Types of messages: `RTM_GETLINK` and so on, and `NFT_MSG_GETTABLE`. */
const request = {
  link: 18,
  address: 22,
  route: 26,
  neighbour: 30,
  rule: 34,
  qdisc: 38,
  table: 0x0a01,
} as const;

type Names = ReadonlyMap<number, string>;

interface Link {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  readonly kind: string | undefined;
  readonly message: Message;
}

function linkOf(message: Message): Link {
  const info = nested(message.attributes, 18);
  return {
    index: message.header.getInt32(4, littleEndian),
    name: text(message.attributes.get(3))!,
    isUp: (message.header.getUint32(8, littleEndian) & up) !== 0,
    kind: text(info.get(1)),
    message,
  };
}

/** Flags of a link. */
const up = 0x1;
const allMulticast = 0x200;

function linkLine(
  { name, kind, isUp, message: { header, attributes } }: Link,
  names: Names,
): string {
  const flags = header.getUint32(8, littleEndian);
  const info = nested(attributes, 18);
  const alias = text(attributes.get(20));
  return words(
    name,
    kind ?? "plain",
    isUp ? "up" : "down",
    word("mtu", number(attributes.get(4))),
    word("mac", hardwareAddress(attributes.get(1))),
    word("master", nameOf(number(attributes.get(10)), names)),
    alias && `alias "${alias}"`,
    word("promiscuity", number(attributes.get(30)) || undefined),
    flags & allMulticast ? "allmulti" : undefined,
    word("qlen", number(attributes.get(13)) || undefined),
    ...details(kindDetails[kind ?? ""], nested(info, 2)),
    ...details(portDetails[text(info.get(4)) ?? ""], nested(info, 5)),
  );
}

/** Attributes by the word that stands for them. */
type Details = Readonly<Record<string, number>>;

/** What is worth seeing of links by their kind (`linux/if_link.h`). */
const kindDetails: Readonly<Record<string, Details>> = {
  bond: { mode: 1 },
  bridge: { vlan_filtering: 7 },
  ipvlan: { mode: 1 },
  ipvtap: { mode: 1 },
  macvlan: { mode: 1 },
  macvtap: { mode: 1 },
  vlan: { id: 1 },
  vrf: { table: 1 },
  vxlan: { id: 1 },
};

/** The same of ports, by the kind of their master. */
const portDetails: Readonly<Record<string, Details>> = {
  bridge: { hairpin: 4, isolated: 33 },
};

function details(wanted: Details = {}, attributes: Attributes): (string | undefined)[] {
  return Object.entries(wanted)
    .map(([name, type]) => word(name, number(attributes.get(type)) || undefined));
}

/** An address of a link. */
export interface LinkAddress {
  readonly dev: string;
  readonly family: "inet" | "inet6";
  readonly local: string;
  readonly length: number;
  readonly scope: string;
  readonly broadcast: string | undefined;
  /** Whether the kernel still looks for others that have it. */
  readonly isTentative: boolean;
  readonly linkIsUp: boolean;
}

const tentative = 0x40;

function addressOf({ header, attributes }: Message, links: readonly Link[]): LinkAddress {
  const link = links.find(({ index }) => index === header.getUint32(4, littleEndian));
  return {
    dev: link?.name ?? "elsewhere",
    family: header.getUint8(0) === inet ? "inet" : "inet6",
    local: address(attributes.get(2) ?? attributes.get(1))!,
    length: header.getUint8(1),
    scope: scopeOf(header.getUint8(3)) ?? "global",
    broadcast: address(attributes.get(4)),
    isTentative: (number(attributes.get(8))! & tentative) !== 0,
    linkIsUp: link?.isUp ?? false,
  };
}

function addressLine({ dev, family, local, length, scope, broadcast }: LinkAddress): string {
  return words(dev, family, `${local}/${length}`, word("scope", scope), word("brd", broadcast));
}

/**
 * Whether IPv6 addresses have their routes: the kernel makes them a little later, also for one
 * that it does not look for duplicates of (Linux, `net/ipv6/addrconf.c`, `addrconf_dad_work`).
 */
export function isUsable(addresses: readonly LinkAddress[], routes: readonly string[]): boolean {
  return addresses
    .filter(({ family, linkIsUp, isTentative }) => family === "inet6" && linkIsUp && !isTentative)
    .every(({ local, dev }) =>
      routes.some((route) => route.startsWith(`local ${local}/128 dev ${dev} `))
    );
}

function scopeOf(scope: number): string | undefined {
  const names: Readonly<Record<number, string>> = { 200: "site", 253: "link", 254: "host" };
  return scope === 0 ? undefined : names[scope] ?? String(scope);
}

/** Link-local addresses and their routes come by themselves, some time after a link has come up. */
function isLasting(line: string): boolean {
  return !/\b(fe80::|ff00::\/8)/.test(line);
}

/** Types of routes and of rules' actions, by number. */
const routeTypes = [
  ...["unspec", "unicast", "local", "broadcast", "anycast", "multicast"],
  ...["blackhole", "unreachable", "prohibit", "throw", "nat"],
];
const unicast = 1;
const main = 254;
/** Flags of a route. */
const onLink = 0x4;
const cloned = 0x200;

/** Whether a route is none that the kernel remembers of a single destination. */
function isConfigured({ header }: Message): boolean {
  return (header.getUint32(8, littleEndian) & cloned) === 0;
}

function routeLine({ header, attributes }: Message, names: Names): string {
  const [, length, , , , protocol, scope, type] = new Uint8Array(8).map((_, at) =>
    header.getUint8(at)
  );
  const table = number(attributes.get(15)) ?? header.getUint8(4);
  const flags = header.getUint32(8, littleEndian);
  const destination = address(attributes.get(1));
  const family = header.getUint8(0) === inet ? "inet" : "inet6";
  return words(
    type === unicast ? undefined : routeTypes[type!],
    destination ? `${destination}/${length}` : `default ${family}`,
    word("from", address(attributes.get(2))),
    ...hop(attributes, names),
    ...hops(attributes.get(9), names).sort(),
    word("table", table === main ? undefined : table),
    word("proto", protocol),
    word("scope", scopeOf(scope!)),
    word("src", address(attributes.get(7))),
    word("metric", number(attributes.get(6))),
    flags & onLink ? "onlink" : undefined,
    ...others(attributes, routeAttributes),
  );
}

/** What a route says by words, and its timers. */
const routeAttributes: ReadonlySet<number> = new Set([1, 2, 4, 5, 6, 7, 9, 12, 15]);

function hop(attributes: Attributes, names: Names): (string | undefined)[] {
  return [
    word("via", address(attributes.get(5))),
    word("dev", nameOf(number(attributes.get(4)), names)),
  ];
}

/** The next hops of a multipath route; the kernel may list them in any order. */
function hops(bytes: Uint8Array<ArrayBuffer> | undefined, names: Names): string[] {
  if (!bytes?.length) return [];
  const view = viewOf(bytes);
  const length = view.getUint16(0, littleEndian);
  const hop = words(
    `nexthop weight ${view.getUint8(3) + 1}`,
    word("dev", nameOf(view.getInt32(4, littleEndian), names)),
    word("via", address(attributesOf(bytes.subarray(8, length)).get(5))),
  );
  return [hop, ...hops(bytes.subarray(length), names)];
}

const lookup = 1;

function ruleLine({ header, attributes }: Message): string {
  const [, toLength, fromLength, , , , , action] = new Uint8Array(8).map((_, at) =>
    header.getUint8(at)
  );
  const [to, from] = [address(attributes.get(1)), address(attributes.get(2))];
  const domain = number(attributes.get(19)) ? "[l3mdev-table]" : undefined;
  const actions: Readonly<Record<number, string>> = { [lookup]: "lookup" };
  return `${number(attributes.get(6)) ?? 0}:\t` + words(
    "from",
    from ? `${from}/${fromLength}` : "all",
    to && `to ${to}/${toLength}`,
    word("iif", text(attributes.get(3))),
    word("oif", text(attributes.get(17))),
    word("fwmark", number(attributes.get(10))),
    actions[action!] ?? `action ${action}`,
    domain ?? String(number(attributes.get(15)) ?? header.getUint8(4)),
    ...others(attributes, ruleAttributes),
  );
}

/** What a rule says by words; who made it; and what says nothing: no limit, for interfaces and lengths of prefixes. */
const ruleAttributes: ReadonlySet<number> = new Set([1, 2, 3, 6, 10, 15, 17, 19, 21]);

const permanent = 0x80;

function isPermanent({ header }: Message): boolean {
  return header.getUint16(8, littleEndian) === permanent;
}

function neighbour({ header, attributes }: Message, names: Names): string {
  return words(
    address(attributes.get(1)),
    word("dev", nameOf(header.getInt32(4, littleEndian), names)),
    word("lladdr", hardwareAddress(attributes.get(2))),
  );
}

interface Qdisc {
  readonly kind: string;
  readonly dev: string;
}

function qdiscOf({ header, attributes }: Message, names: Names): Qdisc {
  const dev = nameOf(header.getInt32(4, littleEndian), names)!;
  return { kind: text(attributes.get(1))!, dev };
}

function isPlain({ kind }: Qdisc): boolean {
  return kind === "noqueue";
}

/** As `tc qdisc show` has it, which shows those of a namespace where one has options. */
function qdiscLine({ dev }: Qdisc): string {
  return `qdisc noqueue 0: dev ${dev} root`;
}

/** Values that mean nothing: zero, and all bits set. */
const nothing = /^(00)*$|^(ff)+$/;

/** Attributes that have no word. */
function others(attributes: Attributes, known: ReadonlySet<number>): string[] {
  return [...attributes]
    .map(([type, value]) => ({ type, hex: value.toHex() }))
    .filter(({ type, hex }) => !known.has(type) && !nothing.test(hex))
    .map(({ type, hex }) => `attribute ${type} ${hex}`);
}

function nested(attributes: Attributes, type: number): Attributes {
  return attributesOf(attributes.get(type) ?? new Uint8Array());
}

function words(...all: readonly (string | undefined)[]): string {
  return all.filter(Boolean).join(" ");
}

function word(key: string, value: string | number | undefined): string | undefined {
  return value === undefined ? undefined : `${key} ${value}`;
}

function nameOf(index: number | undefined, names: Names): string | undefined {
  return index === undefined || index === 0 ? undefined : names.get(index) ?? "elsewhere";
}

function text(bytes: Uint8Array | undefined): string | undefined {
  return bytes && new TextDecoder().decode(bytes).replace(/\0$/, "");
}

/** A number of one, two or four bytes. */
function number(bytes: Uint8Array<ArrayBuffer> | undefined): number | undefined {
  if (!bytes) return undefined;
  const view = viewOf(bytes);
  if (bytes.length === 1) return view.getUint8(0);
  return bytes.length === 2 ? view.getUint16(0, littleEndian) : view.getUint32(0, littleEndian);
}

function hardwareAddress(bytes: Uint8Array | undefined): string | undefined {
  return bytes && [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

function address(bytes: Uint8Array<ArrayBuffer> | undefined): string | undefined {
  if (!bytes) return undefined;
  if (bytes.length === 4) return bytes.join(".");
  const view = viewOf(bytes);
  const groups = Array.from({ length: 8 }, (_, at) => view.getUint16(2 * at).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
