/**
 * STATUS: whether an ADD could work.
 *
 * @module
 */
import { CniError, codes, toCniError } from "../cni/error.ts";
import type { Tool } from "../host/command.ts";
import { toolDirs } from "../host/command.ts";
import { hasTool } from "../host/spawn.ts";

/** Throws code 50 when the host lacks one of these programs. Starts nothing. */
export function requireTools(tools: readonly Tool[]): void {
  const missing = tools.filter((tool) => !hasTool(tool));
  if (missing.length === 0) return;
  throw new CniError(
    codes.notAvailable,
    `Cannot serve ADD: program ${missing.map((tool) => `"${tool}"`).join(", ")} is missing`,
    `looked in ${toolDirs.join(", ")}`,
  );
}

/** Gives what a look at something that ADD needs gives; throws with code 50 what it throws. */
export function requireUsable<T>(look: () => T): T {
  try {
    return look();
  } catch (error) {
    const { msg, details } = toCniError(error);
    throw new CniError(codes.notAvailable, msg, details, { cause: error });
  }
}
