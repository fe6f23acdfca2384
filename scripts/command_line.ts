/**
 * What the tasks have in common: reading options, and failing with a sentence.
 *
 * @module
 */
import type { Args, ParseOptions } from "@std/cli/parse-args";
import { parseArgs } from "@std/cli/parse-args";

/** Reads a command line. Throws when it has an option that is not among those declared. */
export function readOptions(args: readonly string[], options: ParseOptions): Args {
  return parseArgs(args, {
    ...options,
    unknown: (arg) => {
      if (arg.startsWith("-")) throw new Error(`Cannot use "${arg}": no such option`);
      return true;
    },
  });
}

/** Runs a task; a failure is a message on stderr and status 1. */
export async function runTask(task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
