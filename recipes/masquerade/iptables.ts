/**
 * Masquerade rules in iptables: a chain of the container's own, entered from
 * `POSTROUTING` by its addresses. Chain names, rules and comments are the
 * reference's.
 *
 * @module
 */
import type { ValidAttachments } from "../../cni/attachment_key.ts";
import type { Cidr, Family } from "../../host/ip.ts";
import {
  byFamily,
  formatCidr,
  formatIp,
  network as networkOf,
  parseIpOrCidr,
  sameIp,
} from "../../host/ip.ts";
import type { SavedRule, SavedTable } from "../../host/iptables.ts";
import {
  comment,
  deletion,
  jumpsTo,
  optionOf,
  restore,
  tableText,
  targetOf,
} from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../backend.ts";
import { applyIptables, requireBackend } from "../backend.ts";
import { hashName, keptNames } from "../names.ts";
import { listIptables, missingRules, removeFromIptables } from "../netfilter.ts";
import type { MasqueradeDriver, MasqueradeOwner } from "./driver.ts";

/** Masquerading by iptables: one process for each family. */
export const masqueradeByIptables: MasqueradeDriver = {
  add,
  check,
  del,
  gc,
  status: () => requireBackend("iptables"),
};

/** Name of a container's masquerade chain on a network; all its attachments there share it. */
export function masqueradeChain(network: string, containerId: string): Promise<string> {
  return hashName(28, "CNI-", network + containerId);
}

/** Input of a plan for one family. */
export interface IptablesMasquerade {
  readonly family: Family;
  readonly network: string;
  readonly containerId: string;
  readonly chain: string;
  /** The family's addresses, with the prefixes of their subnets. */
  readonly addresses: readonly Cidr[];
}

async function plansOf(
  { network, containerId }: MasqueradeOwner,
  addresses: readonly Cidr[],
): Promise<IptablesMasquerade[]> {
  const chain = await masqueradeChain(network, containerId);
  return byFamily(addresses).map(([family, own]) => (
    { family, network, containerId, chain, addresses: own }
  ));
}

async function add(
  owner: MasqueradeOwner,
  { addresses, giveWay }: AddRequest,
): Promise<readonly Cidr[]> {
  const left: Cidr[] = [];
  for (const plan of await plansOf(owner, addresses)) {
    if (!await addFamily(owner.host, { plan, giveWay })) left.push(...plan.addresses);
  }
  return left;
}

function addFamily(
  host: Host,
  { plan, giveWay }: { readonly plan: IptablesMasquerade; readonly giveWay: boolean },
): Promise<boolean> {
  const { family } = plan;
  return applyIptables(host, {
    family,
    giveWay,
    assumed: planMasquerade(plan),
    otherwise: async () => {
      const saved = await listIptables(host, { family, table: "nat" });
      return saved && await host.apply(replanMasquerade(plan, saved));
    },
  });
}

/** Rules for a container that has none; it fails where the chain exists. */
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
 * The same for a container that has a chain already. It writes the chain anew when
 * only these addresses use it. Else another attachment does, and it adds what is
 * missing.
 */
export function replanMasquerade(plan: IptablesMasquerade, saved: SavedTable): Step[] {
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

/** Lines for what a shared chain lacks. Subnets to spare go to its head, before the masquerade. */
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
  /** Its matches, as `iptables-save` prints them. */
  readonly destination: string;
  /** Goes behind all others. */
  readonly last?: boolean;
}

/** Rules inside the chain: those that spare a subnet come before the masquerade. */
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

/** Whether a jump is for an address; early releases wrote its subnet. */
function isFrom(rule: SavedRule, address: Cidr): boolean {
  const source = parseIpOrCidr(optionOf(rule, "-s") ?? "");
  return source !== undefined &&
    (sameIp(source, address) || sameIp(source, networkOf(address)));
}

async function check(owner: MasqueradeOwner, addresses: readonly Cidr[]): Promise<string[]> {
  const problems: string[] = [];
  for (const plan of await plansOf(owner, addresses)) {
    const rules = [...chainRules(plan), ...jumps(plan)].map(({ text }) => text);
    problems.push(...await missingRules(owner.host, { family: plan.family, table: "nat", rules }));
  }
  return problems;
}

async function del(
  { host, network, containerId }: MasqueradeOwner,
  addresses: readonly Cidr[] | undefined,
): Promise<void> {
  const chain = await masqueradeChain(network, containerId);
  await removeFromIptables(host, {
    why: "remove masquerade rules",
    table: "nat",
    plan: (saved, family) => planMasqueradeRemoval(saved, { family, chain, addresses }),
  });
}

/**
 * Removes the jumps from these addresses, or all when the addresses are unknown,
 * and the chain with its last jump.
 */
export function planMasqueradeRemoval(
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

async function gc(host: Host, { network, valid }: ValidAttachments): Promise<void> {
  const keep = await keptNames(valid, ({ containerId }) => masqueradeChain(network, containerId));
  await removeFromIptables(host, {
    why: "remove stale masquerade rules",
    table: "nat",
    plan: (saved, family) => planMasqueradeGc(saved, { family, network, keep }),
  });
}

/** Removes the chains with a network's name in their rules' comments, except those to keep. */
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
