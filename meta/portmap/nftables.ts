/**
 * Port mappings in nftables: a table of our own in which a mapping is one
 * element of a map. Looking one up, adding one and removing one take the same
 * time however many there are, and a port can be held by one container only.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatCidr, formatIp, network as networkOf } from "../../host/ip.ts";
import type { NftElement, NftListing, TableName } from "../../host/nft.ts";
import { comment, nftTransaction, tableWords } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import type { Owner } from "../../recipes/netfilter.ts";
import { deleteChains, deleteRules } from "../../recipes/netfilter.ts";
import type { Mapping, Ports, Protocol } from "./conf.ts";
import { formatPorts, hasHostAddress, mappingsOf } from "./conf.ts";
import { describeMapping } from "./iptables.ts";

/** Our table. The reference's are called `ip cni_hostport` and `ip6 cni_hostport`. */
export const hostportTable: TableName = { family: "inet", name: "denocni_hostport" };

/** The reference's tables. */
export const referenceTables: readonly TableName[] = [
  { family: "ip", name: "cni_hostport" },
  { family: "ip6", name: "cni_hostport" },
];

const table = tableWords(hostportTable);

/** Rules of containers with conditions are entered from here, by a jump each. */
const conditionalChain = "conditional";

/** `FAMILY TABLE CHAIN` of {@linkcode conditionalChain}. */
const conditionalWords = `${table} ${conditionalChain}`;

/** Chain with the rules of an attachment that has conditions. */
function ownChain({ identity }: Owner): string {
  return `c-${identity}`;
}

/** What a plan for all families is made from. */
export interface NftPortmap {
  readonly owner: Owner;
  /** The container's address of each family, with the prefix of its subnet. */
  readonly targets: readonly Cidr[];
  readonly mappings: readonly Mapping[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  readonly conditions: Readonly<Record<Family, readonly string[]>>;
}

/** An element that must stand in a set or map. */
export type Element = Omit<NftElement, "comment">;

const numbers: Readonly<Record<Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** Every element of an attachment: its ports, unless it has conditions, and whom it masquerades. */
export function elementsOf(plan: NftPortmap): Element[] {
  return plan.targets.flatMap((target) => {
    const mappings = mappingsOf(plan.mappings, target.family);
    if (mappings.length === 0) return [];
    const ports = hasConditions(plan, target)
      ? []
      : mappings.flatMap((mapping) => portElements(mapping, target));
    return [...ports, ...masqueradeElements(plan, target)];
  });
}

/** Whether a target, or any, has conditions. */
export function hasConditions(plan: NftPortmap, target?: Cidr): boolean {
  return (target ? [target] : plan.targets).some(({ family }) =>
    plan.conditions[family].length > 0
  );
}

/** A range is one element where its ports stay the same; nft cannot move a range, so others go one by one. */
function portElements(mapping: Mapping, target: Cidr): Element[] {
  const { protocol, host, container, hostIp } = mapping;
  const proto = numbers[protocol];
  const address = formatIp(target);
  const special = hasHostAddress(mapping);
  const prefix = special ? `${formatIp(hostIp!)} . ` : "";
  if (isWholeRange(mapping)) {
    const everywhere = target.family === 4 ? "0.0.0.0/0 . " : "::/0 . ";
    const key = `${prefix || everywhere}${proto} . ${formatPorts(host)}`;
    return [{ set: `ranges${target.family}`, key, value: address }];
  }
  return each(host, (port, index) => ({
    set: `${special ? "hostip_" : ""}ports${target.family}`,
    key: `${prefix}${proto} . ${port}`,
    value: `${address} . ${container.first + index}`,
  }));
}

function isWholeRange({ host, container }: Mapping): boolean {
  return host.last > host.first && host.first === container.first;
}

function each<T>({ first, last }: Ports, make: (port: number, index: number) => T): T[] {
  return Array.from({ length: last - first + 1 }, (_, index) => make(first + index, index));
}

/** Sources whose mapped connections would not find their way back, with the container's address. */
function masqueradeElements({ snat, masqAll }: NftPortmap, target: Cidr): Element[] {
  if (!snat) return [];
  const everyone = target.family === 4 ? "0.0.0.0/0" : "::/0";
  const sources = masqAll
    ? [everyone]
    : [formatCidr(networkOf(target)), ...(target.family === 4 ? ["127.0.0.0/8"] : [])];
  return sources.map((source) => ({
    set: `masquerade${target.family}`,
    key: `${withoutFullPrefix(source)} . ${formatIp(target)}`,
    value: undefined,
  }));
}

/** nft prints a prefix of full length as an address. */
function withoutFullPrefix(cidr: string): string {
  return cidr.replace(/^(.*\..*)\/32$|^(.*:.*)\/128$/, "$1$2");
}

/**
 * The table as it must be, and the attachment's elements, which fail if they
 * exist: whoever holds one is found by a look at the table.
 */
export function planNftPortmap(plan: NftPortmap): Step[] {
  const created = creation(plan, elementsOf(plan));
  return [step(plan, [...scaffold(plan), ...created], elementsOf(plan))];
}

/** What of a listing stands in an attachment's way. */
export interface Found {
  readonly listing: NftListing;
  /** Elements that another attachment of the container holds: they stay. */
  readonly kept: readonly NftElement[];
  /** Elements of an address that was somebody else's before: they go. */
  readonly replaced: readonly NftElement[];
}

/** The same from what is there: what the attachment has is replaced. */
export function planNftPortmapAgain(
  plan: NftPortmap,
  { listing, kept, replaced }: Found,
): Step[] {
  const wanted = elementsOf(plan).filter((element) =>
    !kept.some((other) => sameKey(element, other))
  );
  const lines = [
    ...scaffold(plan),
    ...removalLines(listing, plan.owner.identity),
    ...replaced.map(deletion),
    ...creation(plan, wanted),
  ];
  return [step(plan, lines, wanted)];
}

function step(plan: NftPortmap, lines: readonly string[], elements: readonly Element[]): Step {
  return {
    why: plan.targets.map((target) => describeMapping(plan.mappings, target)).join(", "),
    do: nftTransaction(lines),
    ...(elements.length > 0 && { undo: nftTransaction(elements.map(deletion)) }),
  };
}

/** Whether two elements have the same place. */
export function sameKey(a: Element, b: Element): boolean {
  return a.set === b.set && a.key === b.key;
}

function creation(plan: NftPortmap, elements: readonly Element[]): string[] {
  const remark = comment(plan.owner.comment);
  return [
    ...elements.map(({ set, key, value }) =>
      `create element ${table} ${set} { ${key} ${remark}${
        value === undefined ? "" : ` : ${value}`
      } }`
    ),
    ...conditionalRules(plan),
  ];
}

function deletion({ set, key }: Element): string {
  return `delete element ${table} ${set} { ${key} }`;
}

/** A chain with a rule for each mapping behind the conditions, and a jump to it. */
function conditionalRules(plan: NftPortmap): string[] {
  const chain = ownChain(plan.owner);
  const rules = plan.targets.filter((target) => hasConditions(plan, target)).flatMap((target) =>
    mappingsOf(plan.mappings, target.family).flatMap((mapping) =>
      conditionalRule(plan, { mapping, target }).map((rule) => `add rule ${table} ${chain} ${rule}`)
    )
  );
  if (rules.length === 0) return [];
  return [
    `create chain ${table} ${chain}`,
    ...rules,
    `add rule ${conditionalWords} jump ${chain} ${comment(plan.owner.comment)}`,
  ];
}

function conditionalRule(
  plan: NftPortmap,
  { mapping, target }: { readonly mapping: Mapping; readonly target: Cidr },
): string[] {
  const ip = target.family === 4 ? "ip" : "ip6";
  const address = target.family === 4 ? formatIp(target) : `[${formatIp(target)}]`;
  const { protocol, host, container, hostIp } = mapping;
  const words = [
    `meta nfproto ipv${target.family}`,
    ...plan.conditions[target.family],
    ...(hasHostAddress(mapping) ? [`${ip} daddr ${formatIp(hostIp!)}`] : []),
    `${protocol} dport`,
  ].join(" ");
  if (isWholeRange(mapping)) {
    return [`${words} ${formatPorts(host)} dnat ${ip} to ${formatIp(target)}`];
  }
  return each(
    host,
    (port, index) => `${words} ${port} dnat ${ip} to ${address}:${container.first + index}`,
  );
}

/** Sets and maps, with their types. */
function sets(): string[] {
  const perFamily = (family: Family) => {
    const address = family === 4 ? "ipv4_addr" : "ipv6_addr";
    const port = "inet_proto . inet_service";
    return [
      `map ${table} ports${family} { type ${port} : ${address} . inet_service; }`,
      `map ${table} hostip_ports${family} { type ${address} . ${port} : ${address} . inet_service; }`,
      `map ${table} ranges${family} { type ${address} . ${port} : ${address}; flags interval; }`,
      `set ${table} masquerade${family} { type ${address} . ${address}; flags interval; }`,
    ];
  };
  return [...perFamily(4), ...perFamily(6)].map((text) => `add ${text}`);
}

/** A chain of the table, whose rules are written anew by every ADD. */
export interface SharedChain {
  readonly name: string;
  /** Type, hook and priority of a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

/**
 * DNAT comes after the rules of services (-100), whose more specific ones must
 * win (CVE-2019-9946), and only where the destination is this host
 * (CVE-2025-67499). Masquerade comes before the general one (100), which spares
 * the subnet. The guard goes with `route_localnet` (CVE-2020-8558).
 */
export function sharedChains(plan: Pick<NftPortmap, "snat" | "targets">): SharedChain[] {
  const guarded = plan.snat && plan.targets.some(({ family }) => family === 4);
  return [
    { name: conditionalChain, rules: [] },
    { name: "hostports4", rules: lookups(4) },
    { name: "hostports6", rules: lookups(6) },
    {
      name: "hostports",
      rules: [
        `jump ${conditionalChain}`,
        "meta nfproto ipv4 jump hostports4",
        // The kernel does not route from ::1 to a container: what the host itself has there stays.
        "ip6 daddr != ::1 jump hostports6",
      ],
    },
    ...["prerouting", "output"].map((hook) => ({
      name: hook,
      hook: `type nat hook ${hook} priority -90;`,
      rules: ["fib daddr type local jump hostports"],
    })),
    {
      name: "postrouting",
      hook: "type nat hook postrouting priority 90;",
      rules: [
        "ct status dnat ip saddr . ip daddr @masquerade4 masquerade",
        "ct status dnat ip6 saddr . ip6 daddr @masquerade6 masquerade",
      ],
    },
    ...(guarded ? [guard] : []),
  ];
}

const guard: SharedChain = {
  name: "guard",
  hook: "type filter hook prerouting priority -300;",
  rules: [
    'iifname != "lo" ip daddr 127.0.0.0/8 drop',
    'iifname != "lo" ip saddr 127.0.0.0/8 drop',
  ],
};

/** Addresses of the host before any address, single ports before ranges. */
function lookups(family: Family): string[] {
  const ip = family === 4 ? "ip" : "ip6";
  const port = "meta l4proto . th dport";
  return [
    `dnat ${ip} to ${ip} daddr . ${port} map @hostip_ports${family}`,
    `dnat ${ip} to ${ip} daddr . ${port} map @ranges${family}`,
    `dnat ${ip} to ${port} map @ports${family}`,
  ];
}

/** Adds what is missing and writes the shared rules anew; jumps to containers with conditions stay. */
function scaffold(plan: NftPortmap): string[] {
  const chains = sharedChains(plan);
  return [
    `add table ${table} { comment "Port mappings of denocni"; }`,
    ...sets(),
    ...chains.map(({ name, hook }) => `add chain ${table} ${name}${hook ? ` { ${hook} }` : ""}`),
    ...chains.filter(({ rules }) => rules.length > 0).flatMap(({ name, rules }) => [
      `flush chain ${table} ${name}`,
      ...rules.map((rule) => `add rule ${table} ${name} ${rule}`),
    ]),
  ];
}

/** Lines that remove what carries an identity, or starts with one's first part. */
function removalLines(listing: NftListing, identity: string): string[] {
  const owned = ({ comment }: { readonly comment: string | undefined }) =>
    comment?.startsWith(identity) ?? false;
  const chains = listing.chains.filter((chain) => chain.startsWith(`c-${identity}`));
  return [
    ...listing.elements.filter(owned).map(deletion),
    ...deleteRules(
      conditionalWords,
      listing.rules.filter((rule) => rule.chain === conditionalChain && owned(rule)),
    ),
    ...deleteChains(chains.map((chain) => `${table} ${chain}`)),
  ];
}

/** What is listed of our table and of the reference's. */
export interface Listed {
  readonly own: NftListing;
  readonly reference: readonly NftListing[];
}

/** Removes what carries an attachment's identity, and what the reference made for the container. */
export function planNftRemoval(
  { own, reference }: Listed,
  { identities, containerId }: {
    readonly identities: readonly string[];
    /** The reference knows its rules by the container alone; absent: they stay. */
    readonly containerId?: string;
  },
): Step[] {
  const lines = [
    ...identities.flatMap((identity) => removalLines(own, identity)),
    ...reference.flatMap(({ rules }) => rules)
      .filter(({ chain }) => ["hostports", "hostip_hostports", "masquerading"].includes(chain))
      .filter((rule) => containerId !== undefined && rule.comment === containerId)
      .map(({ family, table, chain, handle }) =>
        `delete rule ${family} ${table} ${chain} handle ${handle}`
      ),
  ];
  if (lines.length === 0) return [];
  return [{ why: "remove port mappings", do: nftTransaction(lines) }];
}

/** Whether a comment is of some attachment of this container; its end may be cut. */
export function isOfContainer(remark: string | undefined, containerId: string): boolean {
  const [, id = ""] = / id: (\S+)$/.exec(remark ?? "") ?? [];
  return id !== "" && containerId.startsWith(id);
}

/** A line for each element, rule or chain that is missing. */
export function compareNft(
  listing: NftListing | undefined,
  plan: NftPortmap,
  containerId: string,
): string[] {
  if (!listing) return [`table "${table}" of nft is missing`];
  const lacking = sharedChains(plan).filter(({ name, rules }) =>
    !listing.chains.includes(name) ||
    listing.rules.filter(({ chain }) => chain === name).length < rules.length
  );
  const conditional = conditionalRules(plan).length > 0;
  const entered = listing.rules.some(({ chain, comment }) =>
    chain === conditionalChain && comment?.startsWith(plan.owner.identity)
  );
  return [
    ...lacking.map(({ name }) => `rules are missing from chain "${table} ${name}" of nft`),
    ...elementsOf(plan).flatMap((element) => compareElement(listing, element, containerId)),
    ...(conditional && !entered ? [`no rule enters chain "${table} ${ownChain(plan.owner)}"`] : []),
  ];
}

function compareElement(listing: NftListing, element: Element, containerId: string): string[] {
  const found = listing.elements.find((other) => sameKey(element, other));
  const where = `element "${element.key}" of "${table} ${element.set}"`;
  if (!found) return [`${where} is missing`];
  if (!isOfContainer(found.comment, containerId)) return [`${where} belongs to ${found.comment}`];
  if (element.value !== undefined && found.value !== element.value) {
    return [`${where} leads to "${found.value}", expected "${element.value}"`];
  }
  return [];
}

/** Whether the reference's rules map the ports of every address, by its own measure: their number. */
export function isCoveredByReference(
  reference: readonly NftListing[],
  plan: NftPortmap,
  containerId: string,
): boolean {
  return plan.targets.every(({ family }) => {
    const rules = reference.flatMap(({ rules }) => rules).filter((rule) =>
      rule.family === (family === 4 ? "ip" : "ip6") && rule.comment === containerId
    );
    const count = (name: string) => rules.filter(({ chain }) => chain === name).length;
    const masquerading = !plan.snat ? 0 : family === 4 && !plan.masqAll ? 2 : 1;
    return count("hostports") >= mappingsOf(plan.mappings, family).length &&
      count("masquerading") >= masquerading;
  });
}
