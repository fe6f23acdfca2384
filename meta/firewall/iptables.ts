/**
 * Rules of a container in iptables, as the reference writes them: a shared chain
 * entered from `FORWARD`, in which every address has two rules, and before them
 * a chain for the administrator's own.
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
  restore,
  splitWords,
  tableText,
  targetOf,
} from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import type { Ingress, Rule } from "./ingress.ts";
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

const whole = ({ chain, text }: Rule) => `${chain} ${text}`;
const addition = (rule: Rule) => `${rule.first ? "-I" : "-A"} ${whole(rule)}`;

/** Rules that all containers share; those of a policy go before the others. */
export function sharedRules({ adminChain, ingress, ingressOnly }: IptablesFirewall): Rule[] {
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

/** Rules of addresses: what they have asked for comes in, and everything of theirs goes out. */
export function addressRules(
  { addresses, ingressOnly }: Pick<IptablesFirewall, "addresses" | "ingressOnly">,
): Rule[] {
  return ingressOnly ? [] : addresses.map(formatCidr).flatMap((address) => [
    {
      chain: forwardChain,
      text: `-d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    },
    { chain: forwardChain, text: `-s ${address} -j ACCEPT` },
  ]);
}

/**
 * Rules of addresses that have none, on a host that has the shared ones. It
 * asserts the latter: where they are missing nothing is changed and it fails.
 */
export function planFirewall(plan: IptablesFirewall): Step[] {
  const shared = sharedRules(plan).map((rule) => `-C ${whole(rule)}`);
  return [step(plan, { before: shared, added: addressRules(plan) })];
}

/** Asserts that everything is there already. */
export function planConfirmation(plan: IptablesFirewall): Step[] {
  const all = [...sharedRules(plan), ...addressRules(plan)];
  return [step(plan, { before: all.map((rule) => `-C ${whole(rule)}`), added: [] })];
}

/** The same from what is there: whatever is missing, shared or own. */
export function planFirewallAgain(plan: IptablesFirewall, saved: SavedTable): Step[] {
  const before = sharedLines(plan, saved);
  const added = addressRules(plan).filter((rule) => !isThere(rule, saved));
  return before.length + added.length > 0 ? [step(plan, { before, added })] : [];
}

function step(
  { family, addresses }: IptablesFirewall,
  { before, added }: { readonly before: readonly string[]; readonly added: readonly Rule[] },
): Step {
  return {
    why: `let packets of ${addresses.map(formatIp).join(", ")} pass`,
    do: restore(family, tableText("filter", [...before, ...added.map(addition)])),
    ...(added.length > 0 && {
      undo: restore(family, tableText("filter", added.map((rule) => `-D ${whole(rule)}`))),
    }),
  };
}

/** Lines that make the shared chains and rules that are missing. */
function sharedLines(plan: IptablesFirewall, saved: SavedTable): string[] {
  const rules = sharedRules(plan);
  const names = rules.flatMap(({ chain, text }) => [chain, / -j (\S+)/.exec(` ${text}`)![1]!]);
  const own = new Set(names.filter((name) => name.startsWith("CNI-") || name === plan.adminChain));
  const absent = rules.filter((rule) => !isThere(rule, saved));
  return [
    ...[...own].filter((chain) => !saved.chains.has(chain)).map((chain) => `-N ${chain}`),
    ...absent.map(addition),
    ...policyFirst(saved, absent),
  ];
}

/** The way to the policies is put first again when another jump stands before it, or is about to. */
function policyFirst(saved: SavedTable, absent: readonly Rule[]): string[] {
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

/** Whether packets are let pass before the policies have seen them. */
function isPolicyLate(saved: SavedTable): boolean {
  const [policy] = entries(saved, ingressChain);
  const [pass] = entries(saved, forwardChain);
  return policy !== undefined && pass !== undefined &&
    saved.rules.indexOf(policy) > saved.rules.indexOf(pass);
}

/** Whether a rule is listed; releases of the reference differ in their comments. */
function isThere({ chain, text }: Rule, saved: SavedTable): boolean {
  const wanted = essence(splitWords(text));
  return saved.rules.some((rule) => rule.chain === chain && essence(rule.words) === wanted);
}

/** A rule's words but for its comment, whatever their order. */
function essence(words: readonly string[]): string {
  const at = words.indexOf("--comment");
  const rest = at < 1 ? words : [...words.slice(0, at - 2), ...words.slice(at + 2)];
  return rest.toSorted().join(" ");
}

/** A line for each rule that is missing from what is listed. */
export function compareSaved(plan: IptablesFirewall, saved: SavedTable | undefined): string[] {
  const table = `table "filter" of ${plan.family === 4 ? "iptables" : "ip6tables"}`;
  if (!saved) return [`${table} is missing`];
  const missing = [...sharedRules(plan), ...addressRules(plan)]
    .filter((rule) => !isThere(rule, saved))
    .map((rule) => `rule "-A ${whole(rule)}" is missing from ${table}`);
  if (!plan.ingress || !isPolicyLate(saved)) return missing;
  return [...missing, `${table} enters "${forwardChain}" before "${ingressChain}"`];
}

/** Removes the rules of addresses, each as often as it is there. The shared ones stay. */
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
