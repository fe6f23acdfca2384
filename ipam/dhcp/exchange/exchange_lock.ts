/**
 * One exchange at a time in a namespace: two would disturb each other's routes. The
 * lock is not the one of the namespace's own file, which other plugins wait for no
 * longer than some seconds: an exchange may last minutes.
 *
 * @module
 */
import type { Host } from "../../../ns/machine.ts";
import type { NetnsIdentity } from "../../../ns/netns.ts";
import { removeFile } from "../../../host/files.ts";
import { lockFile } from "../../../host/lock.ts";

/** Where the locks are; each is gone when nobody has it, unless a kill has left it. */
export const locksDir = "/run/cni/denocni";

/** How a turn is waited for. */
export interface TurnOptions {
  readonly host: Host;
  /** Milliseconds to wait. */
  readonly within: number;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Folder of the locks; the one of all our programs when absent. */
  readonly dir?: string | undefined;
}

/** A turn; it lasts until it is disposed of. */
export interface Turn extends Disposable {
  /** Path of its file. Whoever locks it may remove it, and nobody else. */
  readonly path: string;
}

/**
 * Waits for the turn in a namespace. Gives who has it when
 * the wait is over, and `undefined` when it was called off.
 */
export async function awaitTurn(
  { dev, ino }: NetnsIdentity,
  { host, within, signal, dir = locksDir }: TurnOptions,
): Promise<Turn | string | undefined> {
  await host.apply([{ why: "make the folder of locks", do: { kind: "mkdir", path: dir } }]);
  const path = `${dir}/dhcp-${dev}-${ino}.lock`;
  const end = performance.now() + within;
  for (;;) {
    if (signal?.aborted) return undefined;
    const deadline = Math.max(end - performance.now(), 0);
    const locking = await unlessAborted(lock(path, deadline), signal);
    if (locking === undefined) return undefined;
    if (locking.is === "held") return `${locking.by} holds an exchange in the container`;
    // Whoever had it before has removed the file, and another one may be there by now.
    if (locking.isCurrent) return { path, [Symbol.dispose]: () => giveBack(locking) };
    giveBack(locking);
  }
}

type Locked = { readonly is: "locked"; readonly file: Deno.FsFile; readonly path: string } & {
  /** Whether it is still the file that everybody else waits for. */
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

/** The file went just when the wait was over: who had it is not known any more. */
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

/** A lock that comes after the wait was called off is given back. */
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
