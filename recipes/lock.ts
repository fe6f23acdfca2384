/**
 * What a lock that cannot be had is to a caller.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { LockOutcome } from "../host/lock.ts";

/**
 * The locked file; closing it unlocks. Throws code 11 that names who has had it for `deadline`
 * milliseconds.
 */
export function requireLock(
  locking: LockOutcome,
  { path, deadline }: { readonly path: string; readonly deadline: number },
): Deno.FsFile {
  if (locking.is === "locked") return locking.file;
  throw new CniError(
    codes.tryAgainLater,
    `Cannot lock "${path}" within ${deadline} ms: held by ${locking.by}`,
  );
}
