/**
 * Port mappings in iptables, as the reference writes them: shared chains made
 * once, and a chain for each container, entered from `CNI-HOSTPORT-DNAT`.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatCidr, formatIp } from "../../host/ip.ts";
import type { ChainRule, SavedRule, SavedTable } from "../../host/iptables.ts";
import {
  addition,
  assertion,
  comment,
  deletion,
  jumpsTo,
  optionOf,
  quote,
  restore,
  ruleSpec,
  tableText,
  targetOf,
} from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import { hashName } from "../../recipes/names.ts";
import type { Mapping } from "./conf.ts";
import {
  describeMappings,
  formatPorts,
  hasHostAddress,
  mappingsOf,
  portsOverlap,
  protocols,
} from "./conf.ts";
import { wantsLocalnet } from "./localnet.ts";

const dnatChain = "CNI-HOSTPORT-DNAT";
const setMarkChain = "CNI-HOSTPORT-SETMARK";
const masqueradeChain = "CNI-HOSTPORT-MASQ";
/** Early releases of the reference keep a chain for each container here, too. */
const snatChain = "CNI-HOSTPORT-SNAT";
/** Our chain in table `raw`. */
const guardChain = "CNI-HOSTPORT-GUARD";

/** Ports that one rule of `multiport` can name; a range counts for two. */
const multiportLimit = 15;

/** Names of a container's chains on a network. */
export interface ContainerChains {
  readonly dnat: string;
  /** DEL removes it; ADD does not make it. */
  readonly snat: string;
}

/** Derives the names of a container's chains; attachments of one container to one network share them. */
export async function containerChains(
  network: string,
  containerId: string,
): Promise<ContainerChains> {
  const text = network + containerId;
  return { dnat: await hashName(28, "CNI-DN-", text), snat: await hashName(28, "CNI-SN-", text) };
}

/** What a plan for one family is made from. */
export interface IptablesPortmap {
  readonly network: string;
  readonly containerId: string;
  readonly chain: string;
  /** The container's address, with the prefix of its subnet. */
  readonly target: Cidr;
  /** All mappings, those of the other family too. */
  readonly mappings: readonly Mapping[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  /** 0–31 */
  readonly markBit: number;
  readonly externalSetMarkChain?: string | undefined;
  readonly conditions: readonly string[];
}

/**
 * Rules of a container that has none, on a host that has the shared ones. The
 * transaction asserts both; it fails and changes nothing where either is wrong.
 */
export function planPortmap(plan: IptablesPortmap): Step[] {
  return [step(plan, {
    raw: guardRules(plan).map(assertion),
    nat: [
      ...sharedPortmapRules(plan).map(assertion),
      `-N ${plan.chain}`,
      ...containerRules(plan).map(addition),
    ],
  })];
}

/** What is in the tables of one family. */
export interface PortmapTables {
  readonly nat: SavedTable;
  /** Absent where the guard is not wanted. */
  readonly raw?: SavedTable | undefined;
}

/** The same from what is there: adds the shared rules that are missing, and writes the container's anew. */
export function replanPortmap(plan: IptablesPortmap, { nat, raw }: PortmapTables): Step[] {
  return [step(plan, {
    raw: raw ? sharedLines(guardRules(plan), raw) : [],
    nat: [
      ...sharedLines(sharedPortmapRules(plan), nat),
      ...entriesOf(nat, plan.chain).map(deletion),
      `:${plan.chain} - [0:0]`,
      ...containerRules(plan).map(addition),
    ],
  })];
}

/** The rules that a table lacks, as they follow `-A`. */
export function absentRules(rules: readonly ChainRule[], saved: SavedTable): string[] {
  return rules.filter((rule) => !isThere(rule, saved)).map(ruleSpec);
}

/** Lines for the shared chains and rules that a table lacks. */
function sharedLines(rules: readonly ChainRule[], saved: SavedTable): string[] {
  const absent = rules.filter((rule) => !isThere(rule, saved));
  const chains = new Set(
    rules.flatMap(({ chain, text }) => [chain, / -j (CNI-\S+)$/.exec(text)?.[1] ?? ""]),
  );
  const made = [...chains].filter((chain) => /^CNI-/.test(chain) && !saved.chains.has(chain));
  return [...made.map((chain) => `-N ${chain}`), ...absent.map(addition)];
}

/**
 * Whether a shared rule is listed. The target alone tells a jump, because a second
 * one would only repeat the first. The values that iptables prints as they were
 * given tell any other rule.
 */
function isThere({ chain, text }: ChainRule, saved: SavedTable): boolean {
  const target = / -j (\S+)/.exec(` ${text}`)![1]!;
  const values = /(?:--set-xmark|--mark|-d|-s) (\S+)/.exec(text)?.[1];
  return saved.rules.some((rule) =>
    rule.chain === chain && targetOf(rule) === target &&
    (values === undefined || rule.words.includes(values))
  );
}

/** Shared rules of table `nat`: marks and masquerade where the plan wants them, and the entries. */
export function sharedPortmapRules(plan: IptablesPortmap): ChainRule[] {
  const mark = markOf(plan);
  const marking: ChainRule[] = plan.snat && !plan.externalSetMarkChain
    ? [
      {
        chain: setMarkChain,
        text: `${comment("CNI portfwd masquerade mark")} -j MARK --set-xmark ${mark}`,
      },
      { chain: masqueradeChain, text: `-m mark --mark ${mark} -j MASQUERADE` },
      // Before the masquerade rules of bridge and ptp, which spare the subnet.
      {
        chain: "POSTROUTING",
        text: `${comment("CNI portfwd requiring masquerade")} -j ${masqueradeChain}`,
        first: true,
      },
    ]
    : [];
  const entries = ["PREROUTING", "OUTPUT"].map((chain) => ({
    chain,
    text: `-m addrtype --dst-type LOCAL -j ${dnatChain}`,
  }));
  return [...marking, ...entries];
}

function markOf({ markBit }: IptablesPortmap): string {
  const mark = `0x${(2 ** markBit).toString(16)}`;
  return `${mark}/${mark}`;
}

/**
 * Rules of table `raw` that go with `route_localnet`, which would let neighbours
 * reach what listens on 127.0.0.1 (CVE-2020-8558).
 */
export function guardRules(plan: IptablesPortmap): ChainRule[] {
  if (!wantsLocalnet(plan)) return [];
  return [
    { chain: guardChain, text: "-d 127.0.0.0/8 -j DROP" },
    { chain: guardChain, text: "-s 127.0.0.0/8 -j DROP" },
    { chain: "PREROUTING", text: `! -i lo -j ${guardChain}` },
  ];
}

/** All rules of the container's own: those in its chain, then those that enter it. */
export function containerRules(plan: IptablesPortmap): ChainRule[] {
  return [...chainRules(plan), ...entryRules(plan)];
}

/** Rules inside the container's chain. */
export function chainRules(plan: IptablesPortmap): ChainRule[] {
  return specificFirst(mappingsOf(plan.mappings, plan.target.family)).flatMap((mapping) =>
    mappingRules(plan, mapping).map((text) => ({ chain: plan.chain, text }))
  );
}

/** Puts a mapping of one address before a mapping of any address that would hide it; else keeps the order. */
function specificFirst(mappings: Mapping[]): Mapping[] {
  const hidden = mappings.some((one, index) =>
    hasHostAddress(one) &&
    mappings.slice(0, index).some((other) => !hasHostAddress(other) && portsOverlap(one, other))
  );
  if (!hidden) return mappings;
  return mappings.toSorted((a, b) => Number(hasHostAddress(b)) - Number(hasHostAddress(a)));
}

function mappingRules(plan: IptablesPortmap, mapping: Mapping): string[] {
  const { target, snat, masqAll } = plan;
  const { protocol, host, hostIp } = mapping;
  const base = `-p ${protocol} --dport ${formatPorts(host, ":")}` +
    (hasHostAddress(mapping) ? ` -d ${formatIp(hostIp!)}` : "");
  const everyone = target.family === 4 ? "0.0.0.0/0" : "::/0";
  const sources = [
    masqAll ? everyone : formatCidr(target),
    ...(target.family === 4 && !masqAll ? ["127.0.0.1"] : []),
  ];
  const mark = plan.externalSetMarkChain ?? setMarkChain;
  return [
    ...(snat ? sources.map((source) => `${base} -s ${source} -j ${mark}`) : []),
    `${base} -j DNAT --to-destination ${destination(target, mapping)}`,
  ];
}

/** A range keeps its ports where both sides have the same, and else moves as a whole. */
function destination(target: Cidr, { host, container }: Mapping): string {
  const address = formatIp(target);
  const bracketed = target.family === 4 ? address : `[${address}]`;
  if (host.first === host.last) return `${bracketed}:${container.first}`;
  if (host.first === container.first) return address;
  return `${bracketed}:${formatPorts(container)}/${host.first}`;
}

/** Rules that enter the container's chain, by protocol and up to 15 ports each. */
export function entryRules(plan: IptablesPortmap): ChainRule[] {
  const { network, containerId, conditions } = plan;
  const remark = comment(`${commentPrefix("dnat", network)}${containerId}"`);
  const extra = conditions.map((word) => `${quote(word)} `).join("");
  // One address of the host wins over any address, whoever comes first.
  const first = plan.mappings.some(hasHostAddress);
  return protocols.flatMap((protocol) =>
    chunks(plan.mappings.filter((mapping) => mapping.protocol === protocol)).map((chunk) => ({
      chain: dnatChain,
      ...(first && { first }),
      text: `${remark} -m multiport -p ${protocol} --destination-ports ${
        chunk.map(({ host }) => formatPorts(host, ":")).join(",")
      } ${extra}-j ${plan.chain}`,
    }))
  );
}

function chunks(mappings: readonly Mapping[]): Mapping[][] {
  const result: Mapping[][] = [];
  let left = 0;
  for (const mapping of mappings) {
    const weight = mapping.host.first === mapping.host.last ? 1 : 2;
    if (weight > left) {
      result.push([]);
      left = multiportLimit;
    }
    result.at(-1)!.push(mapping);
    left -= weight;
  }
  return result;
}

function commentPrefix(kind: "dnat" | "snat", network: string): string {
  return `${kind} name: "${network}" id: "`;
}

function step(
  plan: IptablesPortmap,
  { raw, nat }: { readonly raw: readonly string[]; readonly nat: readonly string[] },
): Step {
  const { chain, target } = plan;
  const undo = [
    ...entryRules(plan).map(deletion),
    `-F ${chain}`,
    `-X ${chain}`,
  ];
  return {
    why: describeMappings(plan.mappings, target),
    do: restore(target.family, tableText("raw", raw) + tableText("nat", nat)),
    undo: restore(target.family, tableText("nat", undo)),
  };
}

function entriesOf(nat: SavedTable, chain: string): SavedRule[] {
  return jumpsTo(nat, chain).filter((rule) => rule.chain === dnatChain);
}

/** Removes chains, as far as they exist, with every rule that enters them. */
export function planPortmapRemoval(
  nat: SavedTable,
  { family, chains }: { readonly family: Family; readonly chains: readonly string[] },
): Step[] {
  const jumps = chains.flatMap((chain) => jumpsTo(nat, chain));
  const there = chains.filter((chain) => nat.chains.has(chain));
  const lines = [
    ...jumps.map(deletion),
    ...there.map((chain) => `-F ${chain}`),
    ...there.map((chain) => `-X ${chain}`),
  ];
  if (lines.length === 0) return [];
  return [{ why: "remove port mappings", do: restore(family, tableText("nat", lines)) }];
}

/** A network's container chains in a table, except those to keep. */
export function staleChains(
  nat: SavedTable,
  { network, keep }: { readonly network: string; readonly keep: ReadonlySet<string> },
): string[] {
  const own = (rule: SavedRule) =>
    ([["dnat", dnatChain], ["snat", snatChain]] as const).some(([kind, chain]) =>
      rule.chain === chain &&
      optionOf(rule, "--comment")?.startsWith(commentPrefix(kind, network))
    );
  const chains = nat.rules.filter(own).map((rule) => targetOf(rule) ?? "");
  return [...new Set(chains)].filter((chain) =>
    /^CNI-(DN|SN)-[0-9a-f]{21}$/.test(chain) && !keep.has(chain)
  );
}

/**
 * Every rule that must be in table `nat`, as they follow `-A`. The guard is not
 * among them: an attachment that the reference made has none.
 */
export function expectedRules(plan: IptablesPortmap): string[] {
  return [...sharedPortmapRules(plan), ...containerRules(plan)].map(ruleSpec);
}
