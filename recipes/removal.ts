/**
 * Removals that keep going: every task is tried, and what failed is reported
 * together at the end.
 *
 * @module
 */
import { CniError, codes, toCniError } from "../cni/error.ts";

/** One task of a DEL or GC. */
export interface Removal {
  /** Purpose, as it follows "Cannot". */
  readonly why: string;
  /** Left out when false. */
  readonly when?: boolean;
  /** Does it; a failure does not keep the other tasks from running. */
  readonly run: () => Promise<void>;
  /** Left out when a task before it failed: an address is not given away while a link still has it. */
  readonly onlyIfClean?: boolean;
}

/** Runs every task. Throws the first failure, with the others in its details. */
export async function removeAll(tasks: readonly Removal[]): Promise<void> {
  const failures: CniError[] = [];
  for (const { why, when = true, run, onlyIfClean } of tasks) {
    if (!when || (onlyIfClean && failures.length > 0)) continue;
    try {
      await run();
    } catch (error) {
      failures.push(named(why, toCniError(error)));
    }
  }
  const [first, ...others] = failures;
  if (!first) return;
  const details = [first.details, ...others.map((error) => error.message)];
  throw new CniError(
    first.code === codes.internal ? codes.cleanupFailed : first.code,
    first.msg,
    details.filter(Boolean).join("; "),
  );
}

/** Messages of ours start with "Cannot"; any other gets told what was being done. */
function named(why: string, error: CniError): CniError {
  if (error.msg.startsWith("Cannot")) return error;
  return new CniError(error.code, `Cannot ${why}: ${error.msg}`, error.details);
}
