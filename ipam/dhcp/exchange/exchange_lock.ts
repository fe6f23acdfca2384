/**
 * The lock for one exchange at a time in a namespace: two would disturb each other's routes. It is not
 * the lock of the namespace's own file, for which other plugins wait only some seconds: an exchange may
 * last minutes.
 *
 * @module
 */
import type { Host } from "../../../ns/machine.ts";
import type { NetnsIdentity } from "../../../ns/netns.ts";
import { removeFile } from "../../../host/files.ts";
import { lockFile } from "../../../host/lock.ts";

/** Folder of the locks. The file of a lock is removed with it, unless a kill leaves it. */
export const lockDir = "/run/cni/denocni";

/** How to wait for the lock. */
export interface ExchangeLockOptions {
  readonly host: Host;
  /** Milliseconds to wait. */
  readonly within: number;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Folder of the locks; the one of all our programs when absent. */
  readonly dir?: string | undefined;
}

/** A held lock; it is released when it is disposed of. */
export interface ExchangeLock extends Disposable {
  /** Path of its file. Only the holder of the lock may remove it. */
  readonly path: string;
}

/**
 * Waits for the lock of a namespace. Gives a text about its holder when the time is over, and
 * `undefined` when the signal is aborted.
 */
export async function lockExchange(
  { dev, ino }: NetnsIdentity,
  { host, within, signal, dir = lockDir }: ExchangeLockOptions,
): Promise<ExchangeLock | string | undefined> {
  await host.apply([{ why: "make the folder of locks", do: { kind: "mkdir", path: dir } }]);
  const path = `${dir}/dhcp-${dev}-${ino}.lock`;
  const end = performance.now() + within;
  for (;;) {
    if (signal?.aborted) return undefined;
    const deadline = Math.max(end - performance.now(), 0);
    const locking = await unlessAborted(lock(path, deadline), signal);
    if (locking === undefined) return undefined;
    if (locking.is === "held") return `${locking.by} holds an exchange in the container`;
    // The holder before has removed the file, and another file may be there by now.
    if (locking.isCurrent) return { path, [Symbol.dispose]: () => giveBack(locking) };
    giveBack(locking);
  }
}

type Locked = { readonly is: "locked"; readonly file: Deno.FsFile; readonly path: string } & {
  /** Whether the file is still the one that everybody else locks. */
  readonly isCurrent: boolean;
};

type Taken = Locked | { readonly is: "held"; readonly by: string };

async function lock(path: string, deadline: number): Promise<Taken> {
  const locking = await lockFile(path, { mode: 0o600, deadline }).catch(orRemoved);
  if (locking.is === "held") return locking;
  const { ino } = await locking.file.stat();
  const found = await Deno.stat(path).catch(orNothing);
  return { ...locking, path, isCurrent: found?.ino === ino };
}

/** The file was removed just when the time was over: the holder is not known any more. */
function orRemoved(error: unknown): { readonly is: "held"; readonly by: string } {
  orNothing(error);
  return { is: "held", by: "a process that has just ended" };
}

function orNothing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

function giveBack({ isCurrent, path, file }: Locked): void {
  if (isCurrent) removeFile(path);
  file.close();
}

/** Waits for a lock or the signal; releases a lock that comes after the signal. */
async function unlessAborted(
  taking: Promise<Taken>,
  signal: AbortSignal | undefined,
): Promise<Taken | undefined> {
  if (!signal) return await taking;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const stop = () => resolve(undefined);
  signal.addEventListener("abort", stop, { once: true });
  const first = await Promise.race([taking, promise]);
  signal.removeEventListener("abort", stop);
  if (!first) taking.then((it) => it.is === "locked" && giveBack(it));
  return first;
}
