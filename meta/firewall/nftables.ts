/**
 * Rules of containers in nftables: tables of our own, in which an attachment is
 * some elements of sets. The same rules can stand in a chain that the
 * administrator's rules enter, or set a mark that they look at.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatIp } from "../../host/ip.ts";
import type { NftElement, NftListing, TableName } from "../../host/nft.ts";
import { comment, nftShowing, nftTransaction, tableWords } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import type { Owner } from "../../recipes/netfilter.ts";
import { identityLength } from "../../recipes/netfilter.ts";
import type { Place } from "./conf.ts";
import { tableOf } from "./conf.ts";
import type { Ingress } from "./ingress.ts";

/** Our table. */
export const firewallTable: TableName = { family: "inet", name: "denocni_firewall" };

/** Our table for packets that stay on a bridge. */
export const bridgeTable: TableName = { family: "bridge", name: "denocni_firewall" };

const table = tableWords(firewallTable);
const bridgeWords = tableWords(bridgeTable);

/** Starts the names of everything in tables that are not ours. */
const prefix = "denocni_";

/** Chain that an administrator's chain gets a jump to. */
export const entryChain = `${prefix}containers`;

/** What a plan is made from. */
export interface NftFirewall {
  readonly owner: Owner;
  readonly addresses: readonly Cidr[];
  /** Bits to set in the mark of the containers' packets. */
  readonly mark: number | undefined;
  readonly places: readonly Place[];
  readonly ingress: Ingress | undefined;
  /** Another back end lets the packets pass. */
  readonly ingressOnly?: boolean;
}

/** An element that must stand in a set. */
export interface Element {
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

function placeSets(place: Place): AddressSets {
  return {
    table: tableWords(tableOf(place)),
    set: (family) => `${prefix}addresses${family}`,
    families: both.filter((family) => place.family === "inet" || place.family === ipWord(family)),
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

function allSets({ mark, places, ingressOnly }: NftFirewall): AddressSets[] {
  if (ingressOnly) return [];
  return [ownSets, ...(mark === undefined ? [] : [markSets(mark)]), ...places.map(placeSets)];
}

/** The attachment's own elements: its addresses, and its ports of an isolated bridge. */
export function ownElements(plan: NftFirewall): Element[] {
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
export function sharedElements({ ingress }: Pick<NftFirewall, "ingress">): Element[] {
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

/** Every chain, those that are entered first. */
export function chainsOf(plan: NftFirewall): Chain[] {
  const { mark, places, ingress, ingressOnly } = plan;
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
    ...places.flatMap(placeChains),
    ...policy,
  ];
}

/** Before the host's own tables, whose priority is 0; on the way to the host, too. */
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

function placeChains(place: Place): Chain[] {
  const sets = placeSets(place);
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

/** A drop is final in whichever table it is, so that their order to others does not matter. */
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
  const chains = chainsOf(plan);
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
function text({ table, set, key }: Element, remark = ""): string {
  const links = /^(bridges|same|isolated)$/.test(set);
  const words = links ? key.split(" . ").map((name) => `"${name}"`).join(" . ") : key;
  return `${table} ${set} { ${[words, remark].filter(Boolean).join(" ")} }`;
}

/** Everything, for an attachment that has nothing: an element that exists makes it fail. */
export function planNft(plan: NftFirewall): Step[] {
  return planNftAgain(plan, new Map());
}

/** What is listed, by `FAMILY TABLE`. */
export type Listings = ReadonlyMap<string, NftListing>;

/**
 * The same from what is there: own elements stay, and one that another attachment
 * has left behind goes over to this one.
 */
export function planNftAgain(plan: NftFirewall, listings: Listings): Step[] {
  const { owner, addresses, places } = plan;
  const wanted = ownElements(plan).map((element) => ({ element, at: find(listings, element) }));
  const foreign = wanted.filter(({ at }) => at && !isOf(at, owner.identity));
  const created = wanted.filter(({ at }) => !at || !isOf(at, owner.identity));
  const lines = [
    ...scaffold(plan),
    ...foreign.map(({ element }) => `delete element ${text(element)}`),
    ...created.map(({ element }) => `create element ${text(element, comment(owner.comment))}`),
  ];
  const shown = places.map(({ chain, ...place }) => `list chain ${tableOfWords(place)} ${chain}`);
  const undo = created.map(({ element }) => `delete element ${text(element)}`);
  return [{
    why: `let packets of ${addresses.map(formatIp).join(", ")} pass`,
    do: places.length > 0 ? nftShowing([...lines, ...shown]) : nftTransaction(lines),
    ...(undo.length > 0 && { undo: nftTransaction(undo) }),
    ...(places.length > 0 && {
      meaning: { missing: "are the tables and chains of insertInto there?" },
    }),
  }];
}

function tableOfWords({ family, table }: Omit<Place, "chain">): string {
  return `${family} ${table}`;
}

function find(listings: Listings, { table, set, key }: Element): NftElement | undefined {
  return listings.get(table)?.elements.find((other) => other.set === set && other.key === key);
}

function isOf({ comment }: NftElement, identity: string): boolean {
  return comment?.startsWith(identity) ?? false;
}

/** Whether what an ADD has printed shows that a place leads to our chain, by our jump or another. */
export function isEntered(printed: string, place: Place): boolean {
  let [table, chain] = ["", ""];
  return printed.split("\n").some((line) => {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table;
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain;
    return table === tableOfWords(place) && chain === place.chain && entersHere.test(line);
  });
}

const entersHere = new RegExp(`\\b(jump|goto) ${entryChain}\\b`);

/**
 * Puts a jump at the head of a place, unless one is anywhere: a chain that rules
 * lead to cannot be deleted, and then all of it fails and nothing is changed.
 */
export function planJump(place: Place): Step[] {
  const chains = placeChains(place);
  const entry = chains.find(({ name }) => name === entryChain)!;
  const where = `${entry.table} ${entryChain}`;
  return [{
    why: `insert a jump into chain "${place.chain}" of table "${entry.table}"`,
    do: nftTransaction([
      `flush chain ${where}`,
      `delete chain ${where}`,
      `create chain ${where}`,
      ...rewrite(entry),
      `insert rule ${entry.table} ${place.chain} jump ${entryChain} ${comment("denocni")}`,
    ]),
    tolerate: ["busy"],
  }];
}

/** Deletes the elements that carry one of these identities, or start with a network's. */
export function planNftRemoval(listings: Listings, identities: readonly string[]): Step[] {
  const lines = [...listings].flatMap(([table, { elements }]) =>
    elements
      .filter((element) => identities.some((identity) => isOf(element, identity)))
      .map(({ set, key }) => `delete element ${text({ table, set, key })}`)
  );
  if (lines.length === 0) return [];
  return [{ why: "remove firewall rules", do: nftTransaction(lines) }];
}

/** Identities of a network's attachments that are not kept. */
export function staleIdentities(
  listings: Listings,
  { first, keep }: { readonly first: string; readonly keep: ReadonlySet<string> },
): string[] {
  const all = [...listings.values()].flatMap(({ elements }) => elements)
    .flatMap(({ comment }) =>
      comment?.startsWith(`${first}-`) ? comment.slice(0, identityLength) : []
    );
  return [...new Set(all)].filter((identity) => !keep.has(identity));
}

/** A line for each element, rule or jump that is missing. */
export function compareNft(plan: NftFirewall, listings: Listings): string[] {
  const lacking = chainsOf(plan).filter(({ table, name, rules }) => {
    const listing = listings.get(table);
    const there = listing?.rules.filter(({ chain }) => chain === name).length ?? 0;
    return !listing?.chains.includes(name) || there < rules.length;
  });
  return [
    ...lacking.map(({ table, name }) => `rules are missing from chain "${table} ${name}" of nft`),
    ...sharedElements(plan).filter((element) => !find(listings, element)).map(missingElement),
    ...ownElements(plan).flatMap((element) => {
      const found = find(listings, element);
      if (!found) return [missingElement(element)];
      return isOf(found, plan.owner.identity)
        ? []
        : [`element "${element.key}" of "${element.table} ${element.set}" belongs to others`];
    }),
    ...plan.places.filter((place) => !entersIn(listings, place)).map((place) =>
      `chain "${tableOfWords(place)} ${place.chain}" of nft does not enter "${entryChain}"`
    ),
  ];
}

function missingElement({ table, set, key }: Element): string {
  return `element "${key}" of "${table} ${set}" is missing`;
}

function entersIn(listings: Listings, place: Place): boolean {
  return listings.get(tableOfWords(place))?.rules.some(({ chain, expr }) =>
    chain === place.chain && JSON.stringify(expr).includes(`{"target":"${entryChain}"}`)
  ) ?? false;
}
