/**
 * Links that many attachments share. An ADD that fails takes back the bridge it
 * has made; it must not do so while another ADD is about to join that bridge.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import { ActionError } from "../host/error.ts";
import { lockFile } from "../host/lock.ts";
import type { Host } from "../ns/machine.ts";

/** Gone after a reboot, as the links are. */
const dir = "/run/cni/denocni/links";

/** Milliseconds to wait for somebody who takes the link back. */
const deadline = 15_000;

/** The lock file of a link, for {@linkcode "../host/step.ts".Step.undoLock}. */
export function sharedLinkLock(name: string): string {
  return `${dir}/${name}.lock`;
}

const nothing: Disposable = { [Symbol.dispose]() {} };

/**
 * Keeps a shared link from being taken back until the value is disposed of: by
 * then the link must have the caller's port. Throws code 11 when the wait is over.
 * On a host where no lock can be made nobody can have it for an undo either.
 */
export async function holdSharedLink(host: Host, name: string): Promise<Disposable> {
  if (host.dryRun) return nothing;
  const path = sharedLinkLock(name);
  const locking = await openLock(path);
  if (!locking) return nothing;
  if (locking.is === "locked") return locking.file;
  throw new CniError(
    codes.tryAgainLater,
    `Cannot join "${name}": "${path}" is held by ${locking.by} for more than ${deadline} ms`,
  );
}

async function openLock(path: string) {
  try {
    Deno.mkdirSync(dir, { recursive: true });
    return await lockFile(path, { mode: 0o600, deadline, shared: true });
  } catch (error) {
    const refused = error instanceof ActionError || error instanceof Deno.errors.PermissionDenied ||
      error instanceof Deno.errors.NotCapable || isReadOnly(error);
    if (refused) return undefined;
    throw error;
  }
}

/** Deno has no class of its own for a read-only file system. */
function isReadOnly(error: unknown): boolean {
  return error instanceof Error && error.message.includes("Read-only file system");
}
