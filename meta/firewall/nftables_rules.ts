/**
 * Rules of containers in nftables: tables of our own, in which an attachment has
 * elements of sets. The same rules can stand in a chain that the administrator's
 * chain jumps to, or set a mark that the administrator's rules match.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatIp } from "../../host/ip.ts";
import type { NftElement, NftListing, TableName } from "../../host/nft.ts";
import { comment, nftEcho, nftTransaction, tableWords } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import type { NftOwner, ValidIdentities } from "../../recipes/nft_owner.ts";
import { isOwnedBy, staleIdentities } from "../../recipes/nft_owner.ts";
import type { ChainName } from "./conf.ts";
import { tableOf } from "./conf.ts";
import type { Ingress } from "./ingress.ts";

/** Our table. */
export const firewallTable: TableName = { family: "inet", name: "denocni_firewall" };

/** Our table for packets that stay on a bridge. */
export const bridgeTable: TableName = { family: "bridge", name: "denocni_firewall" };

const table = tableWords(firewallTable);
const bridgeWords = tableWords(bridgeTable);

/** Start of the names that we use in tables that are not ours. */
const prefix = "denocni_";

/** Our chain in a table that is not ours, to which `insertInto` makes a jump. */
export const entryChain = `${prefix}containers`;

/** What a plan is made from. */
export interface NftFirewall {
  readonly owner: NftOwner;
  readonly addresses: readonly Cidr[];
  /** Bits to set in the mark of the containers' packets. */
  readonly mark: number | undefined;
  readonly insertInto: readonly ChainName[];
  readonly ingress: Ingress | undefined;
  /** Another back end lets the packets pass. */
  readonly ingressOnly?: boolean;
}

/** An element that must stand in a set. */
export interface FirewallElement {
  /** `FAMILY TABLE` */
  readonly table: string;
  readonly set: string;
  readonly key: string;
}

/** A chain whose rules every ADD writes anew. */
interface Chain {
  readonly table: string;
  readonly name: string;
  /** Type, hook and priority of a base chain. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

/** Sets of addresses, and the families that their table can hold. */
interface AddressSets {
  readonly table: string;
  /** Name of the set for a family. */
  readonly set: (family: Family) => string;
  readonly families: readonly Family[];
}

const both: readonly Family[] = [4, 6];

const ownSets: AddressSets = { table, set: (family) => `addresses${family}`, families: both };

function setsBeside(into: ChainName): AddressSets {
  return {
    table: tableWords(tableOf(into)),
    set: (family) => `${prefix}addresses${family}`,
    families: both.filter((family) => into.family === "inet" || into.family === ipWord(family)),
  };
}

/** `mark_0x00100000` */
function markName(mark: number): string {
  return `mark_0x${mark.toString(16).padStart(8, "0")}`;
}

function markSets(mark: number): AddressSets {
  return { table, set: (family) => `${markName(mark)}_addresses${family}`, families: both };
}

function ipWord(family: Family): "ip" | "ip6" {
  return family === 4 ? "ip" : "ip6";
}

function allSets({ mark, insertInto, ingressOnly }: NftFirewall): AddressSets[] {
  if (ingressOnly) return [];
  return [ownSets, ...(mark === undefined ? [] : [markSets(mark)]), ...insertInto.map(setsBeside)];
}

/** The attachment's own elements: its addresses, and its ports of an isolated bridge. */
export function attachmentElements(plan: NftFirewall): FirewallElement[] {
  const { addresses, ingress } = plan;
  const ports = ingress?.policy === "isolated" ? ingress.ports : [];
  return [
    ...allSets(plan).flatMap(({ table, set, families }) =>
      addresses.filter(({ family }) => families.includes(family))
        .map((address) => ({ table, set: set(address.family), key: formatIp(address) }))
    ),
    ...ports.map((key) => ({ table: bridgeWords, set: "isolated", key })),
  ];
}

/** Elements that all containers of a bridge share. */
export function sharedElements({ ingress }: Pick<NftFirewall, "ingress">): FirewallElement[] {
  if (!ingress) return [];
  const { bridge, policy } = ingress;
  const pair = `${bridge} . ${bridge}`;
  return [
    { table, set: "bridges", key: bridge },
    { table, set: policy === "isolated" ? "isolated" : "same", key: pair },
  ];
}

/** Rules for the addresses of sets: out, back in, and in through a mapped port. */
function passRules({ set, families }: AddressSets, verdict: string): string[] {
  return families.flatMap((family) => {
    const [ip, name] = [ipWord(family), set(family)];
    return [
      `ct state established,related ${ip} daddr @${name} ${verdict}`,
      `ct status dnat ${ip} daddr @${name} ${verdict}`,
      `${ip} saddr @${name} ${verdict}`,
    ];
  });
}

/** Every chain; one that others jump to comes before them. */
export function firewallChains(plan: NftFirewall): Chain[] {
  const { mark, insertInto, ingress, ingressOnly } = plan;
  const policy = ingress ? policyChains(ingress) : [];
  if (ingressOnly) return policy;
  return [
    { table, name: "admin", rules: [] },
    { table, name: "containers", rules: ["jump admin", ...passRules(ownSets, "accept")] },
    {
      table,
      name: "forward",
      hook: "type filter hook forward priority -10;",
      rules: ["jump containers"],
    },
    ...(mark === undefined ? [] : markChains(mark)),
    ...insertInto.flatMap(chainsBeside),
    ...policy,
  ];
}

/** Chains that set a mark before the host's own tables see a packet, forwarded or for the host. */
function markChains(mark: number): Chain[] {
  const name = markName(mark);
  const verdict = `meta mark set meta mark or 0x${mark.toString(16)}`;
  return [
    { table, name, rules: passRules(markSets(mark), verdict) },
    ...["forward", "input"].map((hook) => ({
      table,
      name: `${name}_${hook}`,
      hook: `type filter hook ${hook} priority -5;`,
      rules: [`jump ${name}`],
    })),
  ];
}

function chainsBeside(into: ChainName): Chain[] {
  const sets = setsBeside(into);
  const admin = `${prefix}admin`;
  return [
    { table: sets.table, name: admin, rules: [] },
    {
      table: sets.table,
      name: entryChain,
      rules: [`jump ${admin}`, ...passRules(sets, "accept")],
    },
  ];
}

/** Chains of a policy. A drop is final in any table, so that their order among tables does not matter. */
function policyChains({ policy }: Ingress): Chain[] {
  return [
    {
      table,
      name: "ingress",
      hook: "type filter hook forward priority -20;",
      rules: [
        "iifname . oifname @isolated drop",
        "iifname . oifname @same return",
        "iifname @bridges oifname @bridges drop",
      ],
    },
    ...(policy === "isolated"
      ? [{
        table: bridgeWords,
        name: "forward",
        hook: "type filter hook forward priority -20;",
        rules: ["ether type { ip, ip6 } iifname @isolated oifname @isolated drop"],
      }]
      : []),
  ];
}

/** `TABLE NAME { TYPE }` of every set. */
function setsOf(plan: NftFirewall): string[] {
  const types: Readonly<Record<Family, string>> = { 4: "ipv4_addr", 6: "ipv6_addr" };
  return [
    ...allSets(plan).flatMap(({ table, set, families }) =>
      families.map((family) => `${table} ${set(family)} { type ${types[family]}; }`)
    ),
    ...(plan.ingress
      ? [
        `${table} bridges { type ifname; }`,
        `${table} same { type ifname . ifname; }`,
        `${table} isolated { type ifname . ifname; }`,
      ]
      : []),
    ...(plan.ingress?.policy === "isolated" ? [`${bridgeWords} isolated { type ifname; }`] : []),
  ];
}

/** Adds what is missing and writes the shared rules anew; the administrator's chain stays as it is. */
function scaffold(plan: NftFirewall): string[] {
  const chains = firewallChains(plan);
  const ours = [table, ...(plan.ingress?.policy === "isolated" ? [bridgeWords] : [])];
  return [
    ...ours.map((name) => `add table ${name} { comment "Firewall of denocni"; }`),
    ...setsOf(plan).map((set) => `add set ${set}`),
    ...chains.map(({ table, name, hook }) =>
      `add chain ${table} ${name}${hook ? ` { ${hook} }` : ""}`
    ),
    ...chains.filter(({ rules }) => rules.length > 0).flatMap(rewrite),
    ...sharedElements(plan).map((element) => `add element ${text(element)}`),
  ];
}

function rewrite({ table, name, rules }: Chain): string[] {
  return [
    `flush chain ${table} ${name}`,
    ...rules.map((rule) => `add rule ${table} ${name} ${rule}`),
  ];
}

/** An element as a command takes it; names of links need quotes. */
function text({ table, set, key }: FirewallElement, remark = ""): string {
  const links = /^(bridges|same|isolated)$/.test(set);
  const words = links ? key.split(" . ").map((name) => `"${name}"`).join(" . ") : key;
  return `${table} ${set} { ${[words, remark].filter(Boolean).join(" ")} }`;
}

/** The whole plan for an attachment that has nothing; it fails where one of its elements exists. */
export function planNftFirewall(plan: NftFirewall): Step[] {
  return replanNftFirewall(plan, new Map());
}

/** Listings by `FAMILY TABLE`. */
export type NftListings = ReadonlyMap<string, NftListing>;

/**
 * The same from what is there: own elements stay, and one that another attachment
 * has left behind goes over to this one.
 */
export function replanNftFirewall(plan: NftFirewall, listings: NftListings): Step[] {
  const { owner, addresses, insertInto } = plan;
  const wanted = attachmentElements(plan).map((element) => ({
    element,
    at: find(listings, element),
  }));
  const foreign = wanted.filter(({ at }) => at && !isOwnedBy(at, owner.identity));
  const created = wanted.filter(({ at }) => !at || !isOwnedBy(at, owner.identity));
  const lines = [
    ...scaffold(plan),
    ...foreign.map(({ element }) => `delete element ${text(element)}`),
    ...created.map(({ element }) => `create element ${text(element, comment(owner.comment))}`),
  ];
  const shown = insertInto.map((into) => `list chain ${chainWords(into)}`);
  const undo = created.map(({ element }) => `delete element ${text(element)}`);
  return [{
    why: `let packets of ${addresses.map(formatIp).join(", ")} pass`,
    do: insertInto.length > 0 ? nftEcho([...lines, ...shown]) : nftTransaction(lines),
    ...(undo.length > 0 && { undo: nftTransaction(undo) }),
    ...(insertInto.length > 0 && {
      meaning: { missing: "are the tables and chains of insertInto there?" },
    }),
  }];
}

/** `FAMILY TABLE CHAIN` */
function chainWords({ family, table, chain }: ChainName): string {
  return `${family} ${table} ${chain}`;
}

function find(listings: NftListings, { table, set, key }: FirewallElement): NftElement | undefined {
  return listings.get(table)?.elements.find((other) => other.set === set && other.key === key);
}

/** Whether the output of an ADD shows that a chain leads to ours, by our jump or another. */
export function isEntered(printed: string, into: ChainName): boolean {
  let [table, chain] = ["", ""];
  return printed.split("\n").some((line) => {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table;
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain;
    return `${table} ${chain}` === chainWords(into) && entersHere.test(line);
  });
}

const entersHere = new RegExp(`\\b(jump|goto) ${entryChain}\\b`);

/**
 * Puts a jump at the head of a chain, unless a jump to ours is anywhere: a chain
 * that rules lead to cannot be deleted, so that all of it fails and changes nothing.
 */
export function planJump(into: ChainName): Step[] {
  const chains = chainsBeside(into);
  const entry = chains.find(({ name }) => name === entryChain)!;
  const where = `${entry.table} ${entryChain}`;
  return [{
    why: `insert a jump into chain "${into.chain}" of table "${entry.table}"`,
    do: nftTransaction([
      `flush chain ${where}`,
      `delete chain ${where}`,
      `create chain ${where}`,
      ...rewrite(entry),
      `insert rule ${entry.table} ${into.chain} jump ${entryChain} ${comment("denocni")}`,
    ]),
    tolerate: ["busy"],
  }];
}

/** Deletes the elements that carry one of these identities. */
export function planNftFirewallRemoval(
  listings: NftListings,
  identities: readonly string[],
): Step[] {
  const lines = [...listings].flatMap(([table, { elements }]) =>
    elements
      .filter((element) => identities.some((identity) => isOwnedBy(element, identity)))
      .map(({ set, key }) => `delete element ${text({ table, set, key })}`)
  );
  if (lines.length === 0) return [];
  return [{ why: "remove firewall rules", do: nftTransaction(lines) }];
}

/** Deletes the elements of a network's attachments that are none of the valid ones. */
export function planNftFirewallGc(listings: NftListings, valid: ValidIdentities): Step[] {
  const elements = [...listings.values()].flatMap(({ elements }) => elements);
  return planNftFirewallRemoval(listings, staleIdentities(elements, valid));
}

/** A line for each element, rule or jump that is missing. */
export function compareNftFirewall(plan: NftFirewall, listings: NftListings): string[] {
  const lacking = firewallChains(plan).filter(({ table, name, rules }) => {
    const listing = listings.get(table);
    const there = listing?.rules.filter(({ chain }) => chain === name).length ?? 0;
    return !listing?.chains.includes(name) || there < rules.length;
  });
  return [
    ...lacking.map(({ table, name }) => `rules are missing from chain "${table} ${name}" of nft`),
    ...sharedElements(plan).filter((element) => !find(listings, element)).map(missingElement),
    ...attachmentElements(plan).flatMap((element) => {
      const found = find(listings, element);
      if (!found) return [missingElement(element)];
      return isOwnedBy(found, plan.owner.identity)
        ? []
        : [`element "${element.key}" of "${element.table} ${element.set}" belongs to others`];
    }),
    ...plan.insertInto.filter((into) => !entersIn(listings, into)).map((into) =>
      `chain "${chainWords(into)}" of nft does not enter "${entryChain}"`
    ),
  ];
}

function missingElement({ table, set, key }: FirewallElement): string {
  return `element "${key}" of "${table} ${set}" is missing`;
}

function entersIn(listings: NftListings, into: ChainName): boolean {
  return listings.get(tableWords(tableOf(into)))?.rules.some(({ chain, expr }) =>
    chain === into.chain && JSON.stringify(expr).includes(`{"target":"${entryChain}"}`)
  ) ?? false;
}
