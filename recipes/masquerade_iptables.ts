/**
 * Masquerade rules in iptables: a chain of the container's own, entered from
 * `POSTROUTING` by its addresses. Chain names, rules and comments are the
 * reference's.
 *
 * @module
 */
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Cidr, Family } from "../host/ip.ts";
import { formatCidr, formatIp, network as networkOf, parseIpOrCidr, sameIp } from "../host/ip.ts";
import type { SavedRule, SavedTable } from "../host/iptables.ts";
import {
  comment,
  deletion,
  jumpsTo,
  optionOf,
  restore,
  restoreTool,
  tableText,
  targetOf,
} from "../host/iptables.ts";
import { hasTool } from "../host/spawn.ts";
import type { Step } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import { hashName } from "./names.ts";
import { applyAssuming, applyListed, listIptables, missingRules } from "./netfilter.ts";

/** Whose rules they are; both attachments of a container that is twice on a network share a chain. */
export interface MasqueradeOwner {
  readonly host: Host;
  readonly network: string;
  readonly containerId: string;
}

/** Name of a container's masquerade chain on a network. */
export function masqueradeChain(network: string, containerId: string): Promise<string> {
  return hashName(28, "CNI-", network + containerId);
}

/** What a plan for one family is made from. */
export interface IptablesMasquerade {
  readonly family: Family;
  readonly network: string;
  readonly containerId: string;
  readonly chain: string;
  /** The family's addresses, with the prefixes of their subnets. */
  readonly addresses: readonly Cidr[];
}

/**
 * Adds the rules, one process for each family. Gives the addresses of families
 * that iptables cannot do here, which with `only` is an error.
 */
export async function addIptables(
  owner: MasqueradeOwner,
  addresses: readonly Cidr[],
  { only }: { readonly only: boolean },
): Promise<readonly Cidr[]> {
  const rest: Cidr[] = [];
  const { network, containerId } = owner;
  const chain = await masqueradeChain(network, containerId);
  for (const family of [4, 6] as const) {
    const own = addresses.filter((address) => address.family === family);
    if (own.length === 0) continue;
    const plan = { family, network, containerId, chain, addresses: own };
    if (!await addFamily(owner.host, { plan, only })) rest.push(...own);
  }
  return rest;
}

/** False when iptables cannot do it here. */
async function addFamily(
  host: Host,
  { plan, only }: { readonly plan: IptablesMasquerade; readonly only: boolean },
): Promise<boolean> {
  if (!only && !hasTool(restoreTool(plan.family))) return false;
  let done = true;
  await applyAssuming(host, {
    assumed: planMasquerade(plan),
    otherwise: async (failure) => {
      const saved = await listIptables(host, { family: plan.family, table: "nat" });
      if (saved) return await host.apply(planMasqueradeAgain(plan, saved));
      if (only) throw failure;
      done = false;
      return "";
    },
  });
  return done;
}

/** Rules for a container that has none: creating the chain fails if it does. */
export function planMasquerade(plan: IptablesMasquerade): Step[] {
  const { chain } = plan;
  const rules = [...chainRules(plan), ...jumps(plan)].map(({ text }) => `-A ${text}`);
  return [
    step(plan, {
      lines: [`-N ${chain}`, ...rules],
      undo: [...jumps(plan).map(({ text }) => `-D ${text}`), `-F ${chain}`, `-X ${chain}`],
    }),
  ];
}

/**
 * The same for a container that has a chain already. The chain is written anew
 * when nothing but these addresses uses it; else another attachment does, and
 * only what is missing is added.
 */
export function planMasqueradeAgain(plan: IptablesMasquerade, saved: SavedTable): Step[] {
  const { chain, addresses } = plan;
  if (!saved.chains.has(chain)) return planMasquerade(plan);
  const there = jumpsTo(saved, chain);
  const own = there.filter((rule) => addresses.some((address) => isFrom(rule, address)));
  const kept = there.filter((rule) => !own.includes(rule));
  const added = jumps(plan);
  const undo = added.map(({ text }) => `-D ${text}`);
  const lines = [...own.map(deletion), ...added.map(({ text }) => `-A ${text}`)];
  if (kept.length > 0) return [step(plan, { lines: [...lines, ...insertions(plan, saved)], undo })];
  return [
    step(plan, {
      lines: [`:${chain} - [0:0]`, ...chainRules(plan).map(({ text }) => `-A ${text}`), ...lines],
      undo: [...undo, `-F ${chain}`, `-X ${chain}`],
    }),
  ];
}

/** What a shared chain lacks: subnets to spare go to its head, before the masquerade. */
function insertions(plan: IptablesMasquerade, saved: SavedTable): string[] {
  const there = saved.rules
    .filter(({ chain }) => chain === plan.chain)
    .map((rule) => optionOf(rule, "-d"));
  return chainRules(plan)
    .filter(({ destination }) => !there.includes(destination))
    .map(({ text, last }) => `${last ? "-A" : "-I"} ${text}`);
}

interface RuleText {
  /** `CHAIN rule…`, as it follows `-A`. */
  readonly text: string;
  /** What it matches, as `iptables-save` prints it. */
  readonly destination: string;
  /** Whether it belongs behind all others. */
  readonly last?: boolean;
}

/** Rules inside the chain: every subnet is spared before anything is masqueraded. */
function chainRules(plan: IptablesMasquerade): RuleText[] {
  const subnets = new Set(plan.addresses.map((address) => formatCidr(networkOf(address))));
  const multicast = plan.family === 4 ? "224.0.0.0/4" : "ff00::/8";
  const remark = commentOf(plan);
  return [
    ...[...subnets].map((destination) => ({
      destination,
      text: `${plan.chain} -d ${destination} -j ACCEPT ${remark}`,
    })),
    {
      destination: multicast,
      last: true,
      text: `${plan.chain} ! -d ${multicast} -j MASQUERADE ${remark}`,
    },
  ];
}

/** Rules that enter the chain, one for each address. */
function jumps(plan: IptablesMasquerade): Pick<RuleText, "text">[] {
  const sources = new Set(plan.addresses.map(formatIp));
  return [...sources].map((source) => ({
    text: `POSTROUTING -s ${source} -j ${plan.chain} ${commentOf(plan)}`,
  }));
}

function commentOf({ network, containerId }: IptablesMasquerade): string {
  return comment(`${commentPrefix(network)}${containerId}"`);
}

function commentPrefix(network: string): string {
  return `name: "${network}" id: "`;
}

function step(
  { family, addresses }: IptablesMasquerade,
  { lines, undo }: { readonly lines: readonly string[]; readonly undo: readonly string[] },
): Step {
  return {
    why: `masquerade ${addresses.map(formatIp).join(", ")}`,
    do: restore(family, tableText("nat", lines)),
    undo: restore(family, tableText("nat", undo)),
  };
}

/** Whether a jump is this address's; early releases wrote its subnet. */
function isFrom(rule: SavedRule, address: Cidr): boolean {
  const source = parseIpOrCidr(optionOf(rule, "-s") ?? "");
  return source !== undefined &&
    (sameIp(source, address) || sameIp(source, networkOf(address)));
}

/** A line for each rule of these addresses that is missing. */
export async function checkIptables(
  owner: MasqueradeOwner,
  addresses: readonly Cidr[],
): Promise<string[]> {
  const { host, network, containerId } = owner;
  const chain = await masqueradeChain(network, containerId);
  const problems: string[] = [];
  for (const family of [4, 6] as const) {
    const own = addresses.filter((address) => address.family === family);
    if (own.length === 0) continue;
    const plan = { family, network, containerId, chain, addresses: own };
    const rules = [...chainRules(plan), ...jumps(plan)].map(({ text }) => text);
    problems.push(...await missingRules(host, { family, table: "nat", rules }));
  }
  return problems;
}

/** Removes what belongs to the container in one family. */
export async function delIptables(
  { host, network, containerId }: MasqueradeOwner,
  { family, addresses }: {
    readonly family: Family;
    readonly addresses: readonly Cidr[] | undefined;
  },
): Promise<void> {
  const chain = await masqueradeChain(network, containerId);
  await applyListed(host, {
    list: () => listIptables(host, { family, table: "nat" }),
    plan: (saved) => planUnmasquerade(saved, { family, chain, addresses }),
  });
}

/**
 * Removes the jumps from these addresses, or all when they are not known, and
 * the chain with the last of them. What others jump from stays.
 */
export function planUnmasquerade(
  saved: SavedTable,
  { family, chain, addresses }: {
    readonly family: Family;
    readonly chain: string;
    readonly addresses: readonly Cidr[] | undefined;
  },
): Step[] {
  const there = jumpsTo(saved, chain);
  const gone = addresses
    ? there.filter((rule) => addresses.some((address) => isFrom(rule, address)))
    : there;
  const last = saved.chains.has(chain) && gone.length === there.length;
  return removal(family, [...gone.map(deletion), ...(last ? [`-F ${chain}`, `-X ${chain}`] : [])]);
}

function removal(family: Family, lines: readonly string[]): Step[] {
  if (lines.length === 0) return [];
  return [{ why: "remove masquerade rules", do: restore(family, tableText("nat", lines)) }];
}

/** Removes the chains of a network's containers that are none of these. */
export async function gcIptables(
  { host, network }: MasqueradeOwner,
  { family, valid }: { readonly family: Family; readonly valid: readonly AttachmentKey[] },
): Promise<void> {
  const chains = valid.map(({ containerId }) => masqueradeChain(network, containerId));
  const keep = new Set(await Promise.all(chains));
  await applyListed(host, {
    list: () => listIptables(host, { family, table: "nat" }),
    plan: (saved) => planMasqueradeGc(saved, { family, network, keep }),
  });
}

/** Removes the chains whose rules are commented with a network's name, but for some. */
export function planMasqueradeGc(
  saved: SavedTable,
  { family, network, keep }: {
    readonly family: Family;
    readonly network: string;
    readonly keep: ReadonlySet<string>;
  },
): Step[] {
  const stale = new Set(
    saved.rules
      .filter((rule) => optionOf(rule, "--comment")?.startsWith(commentPrefix(network)))
      .flatMap((rule) => [rule.chain, targetOf(rule) ?? ""])
      .filter((chain) => /^CNI-[0-9a-f]{24}$/.test(chain) && !keep.has(chain)),
  );
  const jumps = [...stale].flatMap((chain) => jumpsTo(saved, chain)).map(deletion);
  const chains = [...stale].filter((chain) => saved.chains.has(chain));
  return removal(family, [
    ...jumps,
    ...chains.map((chain) => `-F ${chain}`),
    ...chains.map((chain) => `-X ${chain}`),
  ]);
}
