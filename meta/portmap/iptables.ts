/**
 * Port mappings in iptables, as the reference writes them: shared chains made
 * once, and a chain for each container, entered from `CNI-HOSTPORT-DNAT`.
 *
 * @module
 */
import type { Cidr, Family } from "../../host/ip.ts";
import { formatCidr, formatIp } from "../../host/ip.ts";
import type { SavedRule, SavedTable } from "../../host/iptables.ts";
import {
  comment,
  deletion,
  jumpsTo,
  optionOf,
  quote,
  restore,
  tableText,
  targetOf,
} from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import { hashName } from "../../recipes/names.ts";
import type { Mapping } from "./conf.ts";
import {
  formatMapping,
  formatPorts,
  hasHostAddress,
  mappingsOf,
  portsMeet,
  protocols,
} from "./conf.ts";

const dnatChain = "CNI-HOSTPORT-DNAT";
const setMarkChain = "CNI-HOSTPORT-SETMARK";
const masqueradeChain = "CNI-HOSTPORT-MASQ";
/** Early releases of the reference also kept a chain for each container here. */
const snatChain = "CNI-HOSTPORT-SNAT";
/** Ours, in table `raw`. */
const guardChain = "CNI-HOSTPORT-GUARD";

/** Ports that one rule of `multiport` can name; a range counts for two. */
const multiportLimit = 15;

/** Names of a container's chains on a network. */
export interface Chains {
  readonly dnat: string;
  /** Only removed, never made. */
  readonly snat: string;
}

/** Derives the names of a container's chains; attachments of one container to one network share them. */
export async function chainsOf(network: string, containerId: string): Promise<Chains> {
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

/** A rule that must stand in a chain. */
export interface Rule {
  readonly chain: string;
  readonly text: string;
  /** Goes to the head of its chain. */
  readonly first?: boolean;
}

const whole = ({ chain, text }: Rule) => `${chain} ${text}`;
const addition = (rule: Rule) => `${rule.first ? "-I" : "-A"} ${whole(rule)}`;

/**
 * Rules of a container that has none, on a host that has the shared ones. It
 * asserts both: when one of them is not so, nothing is changed and it fails.
 */
export function planPortmap(plan: IptablesPortmap): Step[] {
  return [step(plan, {
    raw: guardRules(plan).map((rule) => `-C ${whole(rule)}`),
    nat: [
      ...sharedRules(plan).map((rule) => `-C ${whole(rule)}`),
      `-N ${plan.chain}`,
      ...ownRules(plan).map(addition),
    ],
  })];
}

/** What is in the tables. */
export interface Saved {
  readonly nat: SavedTable;
  /** Absent where the guard is not wanted. */
  readonly raw?: SavedTable | undefined;
}

/** The same from what is there: shared rules that are missing, and the container's own anew. */
export function planPortmapAgain(plan: IptablesPortmap, { nat, raw }: Saved): Step[] {
  return [step(plan, {
    raw: raw ? missing(guardRules(plan), raw) : [],
    nat: [
      ...missing(sharedRules(plan), nat),
      ...entriesOf(nat, plan.chain).map(deletion),
      `:${plan.chain} - [0:0]`,
      ...ownRules(plan).map(addition),
    ],
  })];
}

/** The rules that a table lacks, as they follow `-A`. */
export function missingRulesOf(rules: readonly Rule[], saved: SavedTable): string[] {
  return rules.filter((rule) => !isThere(rule, saved)).map(whole);
}

/** Lines for the shared chains and rules that a table lacks. */
function missing(rules: readonly Rule[], saved: SavedTable): string[] {
  const absent = rules.filter((rule) => !isThere(rule, saved));
  const chains = new Set(
    rules.flatMap(({ chain, text }) => [chain, / -j (CNI-\S+)$/.exec(text)?.[1] ?? ""]),
  );
  const made = [...chains].filter((chain) => /^CNI-/.test(chain) && !saved.chains.has(chain));
  return [...made.map((chain) => `-N ${chain}`), ...absent.map(addition)];
}

/**
 * Whether a shared rule is listed. Jumps are known by their target alone: a
 * second one would only repeat the first. Others are known by every value that
 * iptables prints as it was given.
 */
function isThere({ chain, text }: Rule, saved: SavedTable): boolean {
  const target = / -j (\S+)/.exec(` ${text}`)![1]!;
  const values = /(?:--set-xmark|--mark|-d|-s) (\S+)/.exec(text)?.[1];
  return saved.rules.some((rule) =>
    rule.chain === chain && targetOf(rule) === target &&
    (values === undefined || rule.words.includes(values))
  );
}

/** Shared rules of table `nat`: marks and masquerade where they are wanted, and the ways in. */
export function sharedRules(plan: IptablesPortmap): Rule[] {
  const mark = markOf(plan);
  const marking: Rule[] = plan.snat && !plan.externalSetMarkChain
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
export function guardRules(plan: IptablesPortmap): Rule[] {
  if (!wantsLocalnet(plan)) return [];
  return [
    { chain: guardChain, text: "-d 127.0.0.0/8 -j DROP" },
    { chain: guardChain, text: "-s 127.0.0.0/8 -j DROP" },
    { chain: "PREROUTING", text: `! -i lo -j ${guardChain}` },
  ];
}

/** Whether connections from the host to 127.0.0.1 shall be mapped. */
export function wantsLocalnet(
  { snat, target }: Pick<IptablesPortmap, "snat" | "target">,
): boolean {
  return snat && target.family === 4;
}

/** Everything of the container's own: its chain's rules, then the ways in. */
export function ownRules(plan: IptablesPortmap): Rule[] {
  return [...chainRules(plan), ...entryRules(plan)];
}

/** Rules inside the container's chain. */
export function chainRules(plan: IptablesPortmap): Rule[] {
  return specificFirst(mappingsOf(plan.mappings, plan.target.family)).flatMap((mapping) =>
    mappingRules(plan, mapping).map((text) => ({ chain: plan.chain, text }))
  );
}

/** A mapping of one address goes before one of any address that would hide it; else the order stays. */
function specificFirst(mappings: Mapping[]): Mapping[] {
  const hidden = mappings.some((one, index) =>
    hasHostAddress(one) &&
    mappings.slice(0, index).some((other) => !hasHostAddress(other) && portsMeet(one, other))
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

/** A range keeps its ports where they are the same, and else is moved as a whole. */
function destination(target: Cidr, { host, container }: Mapping): string {
  const address = formatIp(target);
  const bracketed = target.family === 4 ? address : `[${address}]`;
  if (host.first === host.last) return `${bracketed}:${container.first}`;
  if (host.first === container.first) return address;
  return `${bracketed}:${formatPorts(container)}/${host.first}`;
}

/** Rules that enter the container's chain, by protocol and up to 15 ports each. */
export function entryRules(plan: IptablesPortmap): Rule[] {
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
    ...entryRules(plan).map((rule) => `-D ${whole(rule)}`),
    `-F ${chain}`,
    `-X ${chain}`,
  ];
  return {
    why: describeMapping(plan.mappings, target),
    do: restore(target.family, tableText("raw", raw) + tableText("nat", nat)),
    undo: restore(target.family, tableText("nat", undo)),
  };
}

/** `map host port 8080/tcp to 10.0.0.2` */
export function describeMapping(mappings: readonly Mapping[], target: Cidr): string {
  const own = mappingsOf(mappings, target.family).map(formatMapping).join(", ");
  return `map host port ${own} to ${formatIp(target)}`;
}

function entriesOf(nat: SavedTable, chain: string): SavedRule[] {
  return jumpsTo(nat, chain).filter((rule) => rule.chain === dnatChain);
}

/** Removes chains with everything that enters them; nothing where they are not. */
export function planChainRemoval(
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

/** A network's container chains in a table, but for some. */
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
  return [...sharedRules(plan), ...ownRules(plan)].map(whole);
}
