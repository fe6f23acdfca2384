/**
 * One exchange at a time in a namespace: two would disturb each other's routes. The
 * lock is not the one of the namespace's own file, which other plugins wait for no
 * longer than some seconds: an exchange may last minutes.
 *
 * @module
 */
import type { Host } from "../../ns/machine.ts";
import type { NetnsIdentity } from "../../ns/netns.ts";
import { lockFile } from "../../host/lock.ts";

/** Where the locks are; each is gone when nobody has it. */
const dir = "/run/cni/denocni";

/** How a turn is waited for. */
export interface TurnOptions {
  readonly host: Host;
  /** Milliseconds to wait. */
  readonly within: number;
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits for the turn in a namespace, which lasts until it is disposed of. Gives who has it when
 * the wait is over, and `undefined` when it was called off.
 */
export async function awaitTurn(
  { dev, ino }: NetnsIdentity,
  { host, within, signal }: TurnOptions,
): Promise<Disposable | string | undefined> {
  await host.apply([{ why: "make the folder of locks", do: { kind: "mkdir", path: dir } }]);
  const path = `${dir}/dhcp-${dev}-${ino}.lock`;
  const end = performance.now() + within;
  for (;;) {
    if (signal?.aborted) return undefined;
    const deadline = Math.max(end - performance.now(), 0);
    const locking = await unlessAborted(lockFile(path, { mode: 0o600, deadline }), signal);
    if (locking === undefined) return undefined;
    if (locking.is === "held") return `${locking.by} holds an exchange in the container`;
    // Whoever had it before has removed the file, and another one may be there by now.
    if (await isAt(path, locking.file)) return turn(path, locking.file);
    locking.file.close();
  }
}

function turn(path: string, file: Deno.FsFile): Disposable {
  return {
    [Symbol.dispose]() {
      Deno.removeSync(path);
      file.close();
    },
  };
}

async function isAt(path: string, file: Deno.FsFile): Promise<boolean> {
  const { ino } = await file.stat();
  return await Deno.stat(path).then((found) => found.ino === ino, isNothing);
}

function isNothing(error: unknown): false {
  if (error instanceof Deno.errors.NotFound) return false;
  throw error;
}

/** A lock that comes after the wait was called off is given back. */
async function unlessAborted(
  locking: ReturnType<typeof lockFile>,
  signal: AbortSignal | undefined,
): Promise<Awaited<typeof locking> | undefined> {
  if (!signal) return await locking;
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const stop = () => resolve(undefined);
  signal.addEventListener("abort", stop, { once: true });
  const first = await Promise.race([locking, promise]);
  signal.removeEventListener("abort", stop);
  if (!first) locking.then((it) => it.is === "locked" && it.file.close());
  return first;
}
