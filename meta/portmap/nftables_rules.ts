/**
 * Port mappings in nftables: a table of our own in which a mapping is an element
 * of a map. To look one up, to add and to remove one take the same time however
 * many there are, and only one container can hold a port.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatIp } from "../../host/ip.ts";
import type { NftElement, NftListing, TableName } from "../../host/nft.ts";
import { comment, nftTransaction, tableWords } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import { deleteChains, deleteRules } from "../../recipes/netfilter.ts";
import type { NftOwner } from "../../recipes/nft_owner.ts";
import { isOwnedBy } from "../../recipes/nft_owner.ts";
import type { Mapping } from "./conf.ts";
import { describeMappings, formatPorts, hasHostAddress, mappingsOf } from "./conf.ts";
import { wantsLocalnet } from "./localnet.ts";
import type { NftPortmap, PortmapElement } from "./nftables_elements.ts";
import {
  eachPort,
  hasConditions,
  isSameElement,
  isWholeRange,
  portmapElements,
} from "./nftables_elements.ts";

/** Our table. The reference's are called `ip cni_hostport` and `ip6 cni_hostport`. */
export const hostportTable: TableName = { family: "inet", name: "denocni_hostport" };

/** The reference's tables. */
export const referenceTables: readonly TableName[] = [
  { family: "ip", name: "cni_hostport" },
  { family: "ip6", name: "cni_hostport" },
];

const table = tableWords(hostportTable);

/** Chain with a jump to each chain of an attachment that has conditions. */
const conditionalChain = "conditional";

/** `FAMILY TABLE CHAIN` of {@linkcode conditionalChain}. */
const conditionalWords = `${table} ${conditionalChain}`;

/** Chain with the rules of an attachment that has conditions. */
function ownChain({ identity }: NftOwner): string {
  return `c-${identity}`;
}

/**
 * The table as it must be, and the attachment's elements. Where an element exists
 * it fails and changes nothing, and a listing tells who holds it.
 */
export function planNftPortmap(plan: NftPortmap): Step[] {
  const created = creation(plan, portmapElements(plan));
  return [step(plan, [...scaffold(plan), ...created], portmapElements(plan))];
}

/** A listing, and the elements that an attachment wants and others hold. */
export interface HeldElements {
  readonly listing: NftListing;
  /** Those of another attachment of the container: they stay. */
  readonly kept: readonly NftElement[];
  /** Those of an address that was somebody else's before: they go. */
  readonly replaced: readonly NftElement[];
}

/** The same from what is there: it replaces what the attachment has. */
export function replanNftPortmap(
  plan: NftPortmap,
  { listing, kept, replaced }: HeldElements,
): Step[] {
  const wanted = portmapElements(plan).filter((element) =>
    !kept.some((other) => isSameElement(element, other))
  );
  const lines = [
    ...scaffold(plan),
    ...removalLines(listing, plan.owner.identity),
    ...replaced.map(deletion),
    ...creation(plan, wanted),
  ];
  return [step(plan, lines, wanted)];
}

function step(
  plan: NftPortmap,
  lines: readonly string[],
  elements: readonly PortmapElement[],
): Step {
  return {
    why: plan.targets.map((target) => describeMappings(plan.mappings, target)).join(", "),
    do: nftTransaction(lines),
    ...(elements.length > 0 && { undo: nftTransaction(elements.map(deletion)) }),
  };
}

function creation(plan: NftPortmap, elements: readonly PortmapElement[]): string[] {
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

function deletion({ set, key }: PortmapElement): string {
  return `delete element ${table} ${set} { ${key} }`;
}

/** A chain with the conditions and a rule for each mapping, and a jump to it. */
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
  return eachPort(
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

/** A chain whose rules every ADD writes anew. */
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
export function portmapChains(plan: Pick<NftPortmap, "snat" | "targets">): SharedChain[] {
  const guarded = plan.targets.some((target) => wantsLocalnet({ snat: plan.snat, target }));
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
  const chains = portmapChains(plan);
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

/** Lines that remove what carries an identity. */
function removalLines(listing: NftListing, identity: string): string[] {
  const chains = listing.chains.filter((chain) => chain.startsWith(`c-${identity}`));
  return [
    ...listing.elements.filter((element) => isOwnedBy(element, identity)).map(deletion),
    ...deleteRules(
      conditionalWords,
      listing.rules.filter((rule) => rule.chain === conditionalChain && isOwnedBy(rule, identity)),
    ),
    ...deleteChains(chains.map((chain) => `${table} ${chain}`)),
  ];
}

/** Our table and the reference's, as nft lists them. */
export interface HostportTables {
  readonly own: NftListing;
  readonly reference: readonly NftListing[];
}

/** Removes the objects with these identities, and the reference's rules of a container. */
export function planNftPortmapRemoval(
  { own, reference }: HostportTables,
  { identities, containerId }: {
    readonly identities: readonly string[];
    /** Container whose rules of the reference go, too. */
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
export function compareNftPortmap(
  listing: NftListing | undefined,
  plan: NftPortmap,
  containerId: string,
): string[] {
  if (!listing) return [`table "${table}" of nft is missing`];
  const lacking = portmapChains(plan).filter(({ name, rules }) =>
    !listing.chains.includes(name) ||
    listing.rules.filter(({ chain }) => chain === name).length < rules.length
  );
  const conditional = conditionalRules(plan).length > 0;
  const entered = listing.rules.some(({ chain, comment }) =>
    chain === conditionalChain && isOwnedBy({ comment }, plan.owner.identity)
  );
  return [
    ...lacking.map(({ name }) => `rules are missing from chain "${table} ${name}" of nft`),
    ...portmapElements(plan).flatMap((element) => compareElement(listing, element, containerId)),
    ...(conditional && !entered ? [`no rule enters chain "${table} ${ownChain(plan.owner)}"`] : []),
  ];
}

function compareElement(
  listing: NftListing,
  element: PortmapElement,
  containerId: string,
): string[] {
  const found = listing.elements.find((other) => isSameElement(element, other));
  const where = `element "${element.key}" of "${table} ${element.set}"`;
  if (!found) return [`${where} is missing`];
  if (!isOfContainer(found.comment, containerId)) return [`${where} belongs to ${found.comment}`];
  if (element.value !== undefined && found.value !== element.value) {
    return [`${where} leads to "${found.value}", expected "${element.value}"`];
  }
  return [];
}

/** Whether the reference's rules map the ports of every address; like the reference it counts them. */
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
