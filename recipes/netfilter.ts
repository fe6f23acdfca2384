/**
 * What the recipes and plugins that write netfilter rules share: plans on an
 * assumption, listings of what is there, and what a rollback takes back.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import { ActionError } from "../host/error.ts";
import type { Family } from "../host/ip.ts";
import type { SavedTable, Table } from "../host/iptables.ts";
import { parseSave, restore, restoreTool, save, tableText } from "../host/iptables.ts";
import type { NftListing, TableName } from "../host/nft.ts";
import { emptyListing, listTable, nftTransaction, parseListing } from "../host/nft.ts";
import type { Reason } from "../host/reason.ts";
import { hasTool } from "../host/spawn.ts";
import type { Step } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import { run } from "../ns/machine.ts";
import { removeAll } from "./removal.ts";

/** Failures that no listing explains. */
const lasting: ReadonlySet<Reason> = new Set<Reason>(["denied", "busy", "full"]);

/**
 * Applies steps that were planned on an assumption about what is there. When they
 * fail in a way that a wrong assumption explains, `otherwise` lists what is there
 * and does the same from that. Gives the output of the steps that succeeded.
 */
export async function applyAssuming(
  host: Host,
  { assumed, otherwise }: {
    readonly assumed: readonly Step[];
    readonly otherwise: (failure: ActionError) => Promise<string>;
  },
): Promise<string> {
  try {
    return await host.apply(assumed);
  } catch (error) {
    if (!(error instanceof ActionError) || lasting.has(error.reason)) throw error;
    return await otherwise(error);
  }
}

/**
 * Lists a table, plans, applies, and does so once more if others have changed
 * the rules in between. A table that does not exist needs no plan.
 */
export async function applyListed<T>(
  host: Host,
  { list, plan }: {
    readonly list: () => Promise<T | undefined>;
    readonly plan: (listed: T) => readonly Step[];
  },
): Promise<void> {
  const again = async () => {
    const listed = await list();
    return listed === undefined ? [] : plan(listed);
  };
  await applyAssuming(host, {
    assumed: await again(),
    otherwise: async () => await host.apply(await again()),
  });
}

/** Runs removals side by side, because each of them waits for a program. Throws as {@linkcode removeAll}. */
export async function removeTogether(
  why: string,
  tasks: readonly (() => Promise<void>)[],
): Promise<void> {
  const outcomes = await Promise.allSettled(tasks.map((task) => task()));
  await removeAll(outcomes.map((outcome) => ({
    why,
    run: () => outcome.status === "rejected" ? Promise.reject(outcome.reason) : Promise.resolve(),
  })));
}

/** Removes rules from a table of iptables in both families, or in some. Throws as {@linkcode removeAll}. */
export async function removeFromIptables(
  host: Host,
  { why, table, families = [4, 6], plan }: {
    readonly why: string;
    readonly table: Table;
    readonly families?: readonly Family[];
    readonly plan: (saved: SavedTable, family: Family) => readonly Step[];
  },
): Promise<void> {
  const tasks = families.map((family) => () =>
    applyListed(host, {
      list: () => listIptables(host, { family, table }),
      plan: (saved) => plan(saved, family),
    })
  );
  await removeTogether(why, tasks);
}

/** A table of iptables; `undefined` when the program or the table is missing on this host. */
export async function listIptables(
  host: Host,
  { family, table }: { readonly family: Family; readonly table: Table },
): Promise<SavedTable | undefined> {
  if (!hasTool(restoreTool(family))) return undefined;
  const text = await host.query(save(family, table), {
    why: `list table "${table}" of ${family === 4 ? "iptables" : "ip6tables"}`,
    tolerate: ["missing", "unsupported"],
  });
  return text === undefined ? undefined : parseSave(text);
}

/** A table of nftables; `undefined` when there is none, or no nft. */
export async function listNft(host: Host, table: TableName): Promise<NftListing | undefined> {
  if (!hasTool("nft")) return undefined;
  const text = await host.query(listTable(table), {
    why: `list table "${table.name}" of nft`,
    tolerate: ["missing", "unsupported"],
  });
  return text === undefined ? undefined : text === "" ? emptyListing : parseListing(text);
}

/** Lines that delete rules of a chain (`FAMILY TABLE CHAIN`). */
export function deleteRules(
  chain: string,
  rules: readonly { readonly handle: number }[],
): string[] {
  return rules.map(({ handle }) => `delete rule ${chain} handle ${handle}`);
}

/** Makes a rollback delete rules, by the handles that nft has printed. */
export function deleteOnRollback(
  host: Host,
  { why, chain, rules, chains = [] }: {
    readonly why: string;
    readonly chain: string;
    readonly rules: readonly { readonly handle: number }[];
    /** Chains (`FAMILY TABLE CHAIN`) that go with the rules. */
    readonly chains?: readonly string[];
  },
): void {
  if (rules.length === 0) return;
  const lines = [...deleteRules(chain, rules), ...deleteChains(chains)];
  host.onRollback(why, () => runUndo(nftTransaction(lines), why));
}

/**
 * Makes a rollback list a table and run what `plan` makes of that, for rules whose
 * handles nft has not printed.
 */
export function planOnRollback(
  host: Host,
  { why, table, plan }: {
    readonly why: string;
    readonly table: TableName;
    readonly plan: (listing: NftListing) => readonly Step[];
  },
): void {
  host.onRollback(why, async () => {
    const listing = await listNft(host, table);
    for (const { do: action } of listing ? plan(listing) : []) {
      if (action.kind === "command") await runUndo(action, why);
    }
  });
}

async function runUndo(undo: Command, why: string): Promise<void> {
  const output = await run(undo);
  if (output.code === 0) return;
  const error = ActionError.fromOutput({ why, do: undo }, output);
  if (error.reason !== "missing") throw error;
}

/** Lines that delete chains with what is in them, whether they exist or not. */
export function deleteChains(chains: readonly string[]): string[] {
  return [
    ...chains.flatMap((chain) => [`add chain ${chain}`, `flush chain ${chain}`]),
    ...chains.map((chain) => `delete chain ${chain}`),
  ];
}

/** Rules that must be in a table of iptables. */
export interface ExpectedRules {
  readonly family: Family;
  readonly table: Table;
  /** `CHAIN rule…`, as they follow `-A`. */
  readonly rules: readonly string[];
}

/**
 * Has iptables itself look for rules, because it prints them in other words. Starts
 * one process when all are there. Gives a line for each that is not.
 */
export async function missingRules(host: Host, expected: ExpectedRules): Promise<string[]> {
  const { family, table, rules } = expected;
  if (rules.length === 0 || await exist(host, expected)) return [];
  const missing: string[] = [];
  for (const rule of rules) {
    if (await exist(host, { family, table, rules: [rule] })) continue;
    const tool = family === 4 ? "iptables" : "ip6tables";
    missing.push(`rule "-A ${rule}" is missing from table "${table}" of ${tool}`);
  }
  return missing;
}

async function exist(host: Host, { family, table, rules }: ExpectedRules): Promise<boolean> {
  const lines = rules.map((rule) => `-C ${rule}`);
  const answer = await host.query(restore(family, tableText(table, lines)), {
    why: `look for rules in table "${table}"`,
    tolerate: ["missing", "unsupported", "other"],
  });
  return answer !== undefined;
}
