/**
 * Whether an agent serves a socket: a running agent holds the lock beside it.
 *
 * @module
 */
import { failureOf } from "../../../host/files.ts";
import { holderOf } from "../../../host/lock.ts";

/** Path of the lock that the agent of a socket holds as long as it runs. */
export function agentLockPath(socket: string): string {
  return `${socket}.lock`;
}

/** Whether an agent of ours serves a socket. The reference's agent does not count: it keeps no files. */
export function isAgentRunning(socket: string): boolean {
  return !unlessAgentRuns(socket, () => {});
}

/**
 * Runs a task in place of the agent of a socket, which cannot start meanwhile. Tells whether it has run
 * the task: it does not when an agent runs, nor when that cannot be found out.
 */
export function unlessAgentRuns(socket: string, task: () => void): boolean {
  const path = agentLockPath(socket);
  let file: Deno.FsFile | undefined;
  const failure = failureOf(() => file = Deno.openSync(path));
  using opened = file;
  const isFree = opened ? isLockable(opened, path) : failure instanceof Deno.errors.NotFound;
  if (isFree) task();
  return isFree;
}

/** Locks a file if nobody else has. An early runtime, which could only wait, looks for the holder instead. */
export function isLockable(file: Partial<Deno.FsFile>, path: string): boolean {
  return file.tryLockSync?.(true) ?? holderOf(path) === undefined;
}
