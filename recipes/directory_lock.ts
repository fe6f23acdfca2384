/**
 * A lock over looks at something and changes that follow from them, taken on a
 * directory: no file is left of it.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { Host } from "../ns/machine.ts";

/** Milliseconds to wait for the lock. */
const deadline = 15_000;

/**
 * Runs a task while no other holds the directory. Where the directory does not
 * exist nobody has anything to guard, and the task just runs; so does a dry run.
 * Throws code 11 when the wait is over.
 */
export async function withDirectoryLock<T>(
  { host, path }: { readonly host: Host; readonly path: string },
  task: () => Promise<T>,
): Promise<T> {
  const dir = host.dryRun ? undefined : openDir(path);
  if (!dir) return await task();
  try {
    await lock(dir, path);
    return await task();
  } finally {
    dir.close();
  }
}

function openDir(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function lock(dir: Deno.FsFile, path: string): Promise<void> {
  let timer: number | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new CniError(
      codes.tryAgainLater,
      `Cannot lock "${path}": held for more than ${deadline} ms`,
    );
    timer = setTimeout(() => reject(error), deadline);
  });
  try {
    await Promise.race([dir.lock(true), late]);
  } finally {
    clearTimeout(timer);
  }
}
