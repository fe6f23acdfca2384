/**
 * Rules of a container in iptables, as the reference writes them: a shared chain
 * entered from `FORWARD`, in which every address has two rules, and before them
 * a chain for the administrator's own.
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
  restore,
  ruleSpec,
  splitWords,
  tableText,
  targetOf,
} from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import type { Ingress } from "./ingress.ts";
import { ingressChain, ingressRules } from "./ingress.ts";

const forwardChain = "CNI-FORWARD";

/** What a plan for one family is made from. */
export interface IptablesFirewall {
  readonly family: Family;
  /** The container's addresses of the family, as prefixes of full length. */
  readonly addresses: readonly Cidr[];
  readonly adminChain: string;
  readonly ingress?: Ingress | undefined;
  /** Another back end lets the packets pass. */
  readonly ingressOnly?: boolean;
}

/** Rules that all containers share; those of a policy go before the others. */
export function sharedFirewallRules(
  { adminChain, ingress, ingressOnly }: IptablesFirewall,
): ChainRule[] {
  const policy = ingress ? ingressRules(ingress) : [];
  if (ingressOnly) return policy;
  return [
    {
      chain: "FORWARD",
      text: `${comment("CNI firewall plugin rules")} -j ${forwardChain}`,
      first: true,
    },
    {
      chain: forwardChain,
      text: `${comment("CNI firewall plugin admin overrides")} -j ${adminChain}`,
      first: true,
    },
    ...policy,
  ];
}

/** Rules of addresses: replies to them come in, and everything from them goes out. */
export function addressRules(
  { addresses, ingressOnly }: Pick<IptablesFirewall, "addresses" | "ingressOnly">,
): ChainRule[] {
  return ingressOnly ? [] : addresses.map(formatCidr).flatMap((address) => [
    {
      chain: forwardChain,
      text: `-d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    },
    { chain: forwardChain, text: `-s ${address} -j ACCEPT` },
  ]);
}

/**
 * Rules of addresses that have none, on a host that has the shared ones. The
 * transaction asserts the latter; where one is missing it fails and changes nothing.
 */
export function planFirewall(plan: IptablesFirewall): Step[] {
  const shared = sharedFirewallRules(plan).map(assertion);
  return [step(plan, { before: shared, added: addressRules(plan) })];
}

/** Asserts that everything is there already. */
export function planFirewallAssertion(plan: IptablesFirewall): Step[] {
  const all = [...sharedFirewallRules(plan), ...addressRules(plan)];
  return [step(plan, { before: all.map(assertion), added: [] })];
}

/** The same from what is there: adds whatever is missing, shared or own. */
export function replanFirewall(plan: IptablesFirewall, saved: SavedTable): Step[] {
  const before = sharedLines(plan, saved);
  const added = addressRules(plan).filter((rule) => !isThere(rule, saved));
  return before.length + added.length > 0 ? [step(plan, { before, added })] : [];
}

function step(
  { family, addresses }: IptablesFirewall,
  { before, added }: { readonly before: readonly string[]; readonly added: readonly ChainRule[] },
): Step {
  return {
    why: `let packets of ${addresses.map(formatIp).join(", ")} pass`,
    do: restore(family, tableText("filter", [...before, ...added.map(addition)])),
    ...(added.length > 0 && {
      undo: restore(family, tableText("filter", added.map(deletion))),
    }),
  };
}

/** Lines that make the shared chains and rules that are missing. */
function sharedLines(plan: IptablesFirewall, saved: SavedTable): string[] {
  const rules = sharedFirewallRules(plan);
  const names = rules.flatMap(({ chain, text }) => [chain, / -j (\S+)/.exec(` ${text}`)![1]!]);
  const own = new Set(names.filter((name) => name.startsWith("CNI-") || name === plan.adminChain));
  const absent = rules.filter((rule) => !isThere(rule, saved));
  return [
    ...[...own].filter((chain) => !saved.chains.has(chain)).map((chain) => `-N ${chain}`),
    ...absent.map(addition),
    ...policyFirst(saved, absent),
  ];
}

/** Lines that put the jump to the policies first again, where another jump stands before it or comes to. */
function policyFirst(saved: SavedTable, absent: readonly ChainRule[]): string[] {
  const overtaken = absent.some(({ text }) => text.endsWith(` -j ${forwardChain}`));
  if (!overtaken && !isPolicyLate(saved)) return [];
  return entries(saved, ingressChain).flatMap((rule) => [
    deletion(rule),
    `-I FORWARD ${rule.text}`,
  ]);
}

function entries(saved: SavedTable, chain: string): SavedRule[] {
  return jumpsTo(saved, chain).filter((rule) => rule.chain === "FORWARD");
}

/** Whether packets pass before the policies see them. */
function isPolicyLate(saved: SavedTable): boolean {
  const [policy] = entries(saved, ingressChain);
  const [pass] = entries(saved, forwardChain);
  return policy !== undefined && pass !== undefined &&
    saved.rules.indexOf(policy) > saved.rules.indexOf(pass);
}

/** Whether a rule is listed; releases of the reference differ in their comments. */
function isThere({ chain, text }: ChainRule, saved: SavedTable): boolean {
  const wanted = essence(splitWords(text));
  return saved.rules.some((rule) => rule.chain === chain && essence(rule.words) === wanted);
}

/** A rule's words without its comment, in one order. */
function essence(words: readonly string[]): string {
  const at = words.indexOf("--comment");
  const rest = at < 1 ? words : [...words.slice(0, at - 2), ...words.slice(at + 2)];
  return rest.toSorted().join(" ");
}

/** A line for each rule that is missing from what is listed. */
export function compareFirewall(plan: IptablesFirewall, saved: SavedTable | undefined): string[] {
  const table = `table "filter" of ${plan.family === 4 ? "iptables" : "ip6tables"}`;
  if (!saved) return [`${table} is missing`];
  const missing = [...sharedFirewallRules(plan), ...addressRules(plan)]
    .filter((rule) => !isThere(rule, saved))
    .map((rule) => `rule "-A ${ruleSpec(rule)}" is missing from ${table}`);
  if (!plan.ingress || !isPolicyLate(saved)) return missing;
  return [...missing, `${table} enters "${forwardChain}" before "${ingressChain}"`];
}

/** Removes every copy of the rules of addresses. The shared ones stay. */
export function planFirewallRemoval(
  saved: SavedTable,
  { family, addresses }: Pick<IptablesFirewall, "family" | "addresses">,
): Step[] {
  const gone = new Set(addressRules({ addresses }).map(({ text }) => essence(splitWords(text))));
  const own = (rule: SavedRule) =>
    rule.chain === forwardChain && targetOf(rule) === "ACCEPT" && gone.has(essence(rule.words));
  const lines = saved.rules.filter(own).map(deletion);
  if (lines.length === 0) return [];
  return [{ why: "remove firewall rules", do: restore(family, tableText("filter", lines)) }];
}
