/**
 * Whether an agent serves a socket. The kernel knows: a living agent has the lock beside it.
 *
 * @module
 */
import { failureOf } from "../../../host/files.ts";
import { holderOf } from "../../../host/lock.ts";

/** Path of the lock that the agent of a socket has as long as it lives. */
export function lockOf(socket: string): string {
  return `${socket}.lock`;
}

/** Whether an agent of ours serves a socket; the reference's does not count, for it keeps no files. */
export function isServed(socket: string): boolean {
  return !unlessServed(socket, () => {});
}

/**
 * Does something in place of the agent of a socket, which cannot be started meanwhile. Tells
 * whether it did: it does not where one runs, nor where that cannot be learnt.
 */
export function unlessServed(socket: string, task: () => void): boolean {
  const path = lockOf(socket);
  let file: Deno.FsFile | undefined;
  const failure = failureOf(() => file = Deno.openSync(path));
  using opened = file;
  const isFree = opened ? isLockable(opened, path) : failure instanceof Deno.errors.NotFound;
  if (isFree) task();
  return isFree;
}

/** Locks a file if nobody else has; an early runtime, which could only wait, looks who has. */
export function isLockable(file: Partial<Deno.FsFile>, path: string): boolean {
  return file.tryLockSync?.(true) ?? holderOf(path) === undefined;
}
