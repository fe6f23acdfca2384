/**
 * Puts rules of attachments back after something has flushed them: a reload of
 * the host's firewall. From what is remembered; no part of the protocol.
 *
 * @module
 */
import type { CniError } from "../error.ts";
import type { JsonObject } from "../types.ts";
import type { Attachment, Chain } from "./chain.ts";
import { attachmentCall, checkNames, described } from "./chain.ts";
import { toCniError } from "../error.ts";
import { join } from "./errors.ts";
import type { Executor } from "./executor.ts";

/** Outcome of a repair for one plugin. */
export interface Repaired {
  /** Type of the plugin. */
  readonly type: string;
  /** A line for each thing that was missing and is there again. */
  readonly missing: readonly string[];
  /** It is not ours, so that nothing could be done. */
  readonly foreign?: true;
}

/** Repairs the part of every plugin in order. Goes on after failures and throws them together. */
export async function repairChain(
  executor: Executor,
  { chain, attachment, prevResult }: {
    readonly chain: Chain;
    readonly attachment: Attachment;
    readonly prevResult: JsonObject;
  },
): Promise<Repaired[]> {
  checkNames(chain, attachment);
  const failures: CniError[] = [];
  const done: Repaired[] = [];
  for (const plugin of chain.plugins) {
    const { type } = plugin;
    try {
      await described(chain, plugin, "repair", async () => {
        const found = await executor.find(type);
        const call = attachmentCall("CHECK", { chain, plugin, attachment, prevResult });
        if (found.repair) done.push({ type, missing: await found.repair(call) });
        else done.push({ type, missing: [], foreign: true });
      });
    } catch (error) {
      failures.push(toCniError(error));
    }
  }
  if (failures.length > 0) throw join(failures);
  return done;
}
