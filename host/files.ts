/**
 * Files that are whole or absent, whatever happens to the process or the disk.
 *
 * @module
 */

/** How a file is written. */
export interface WriteOptions {
  /** Permission bits; 0600 when absent. */
  readonly mode?: number;
  /** Throw `Deno.errors.AlreadyExists` when the file is there already. */
  readonly exclusive?: boolean;
  /** Wait until the content is on the disk. */
  readonly sync?: boolean;
  /**
   * The temporary file, on the same file system; a new name beside the file when
   * absent. One that a killed process left is replaced.
   */
  readonly temporary?: string;
}

let serial = 0;

/**
 * Writes a temporary file beside `path`, then links or renames it into place.
 * A full disk or a kill at any moment leaves the old file, or none, and at most
 * a file whose name starts with `.tmp-`.
 */
export function writeFileAtomic(
  path: string,
  text: string,
  options: WriteOptions = {},
): void {
  const slash = path.lastIndexOf("/");
  const temporary = options.temporary ??
    `${path.slice(0, slash)}/.tmp-${Deno.pid}-${serial++}`;
  // Never written over: it may be a second link to a file that is in use.
  if (options.temporary) removeFile(temporary);
  try {
    using file = Deno.openSync(temporary, {
      write: true,
      createNew: true,
      mode: options.mode ?? 0o600,
    });
    writeAll(file, new TextEncoder().encode(text));
    if (options.sync) file.syncSync();
    if (options.exclusive) Deno.linkSync(temporary, path);
    else Deno.renameSync(temporary, path);
    if (options.sync) syncDirectory(path.slice(0, slash + 1));
  } finally {
    removeFile(temporary);
  }
}

/** A new name is on the disk once its directory is. */
function syncDirectory(path: string): void {
  using directory = Deno.openSync(path, { read: true });
  directory.syncSync();
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) {
    done += file.writeSync(bytes.subarray(done));
  }
}

/** Reads a text file, or gives `undefined` when there is none. */
export function readFileIfExists(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Reads a JSON file of our own; one that is missing or damaged gives `undefined`. */
export function readOwnJson(path: string): unknown {
  const text = readFileIfExists(path);
  try {
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Changes a cache, which may fail without harm. Tells whether it worked. */
export function changeCache(change: () => void): boolean {
  try {
    change();
    return true;
  } catch {
    return false;
  }
}

/** Does something with files; gives the error in place of throwing it. */
export function failureOf(task: () => void): Error | undefined {
  try {
    task();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** Whether there is a directory of this path. */
export function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}

/** When a file was written, in milliseconds since 1970; `undefined` when there is none. */
export function writtenAt(path: string): number | undefined {
  try {
    return Deno.statSync(path).mtime?.getTime();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Removes a file; one that is gone already is a success. Tells whether there was one. */
export function removeFile(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Names in a directory in byte order; none when the directory is missing. */
export function listNames(dir: string): string[] {
  try {
    return [...Deno.readDirSync(dir)].map((entry) => entry.name).sort(byBytes);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Byte order of UTF-8, which is code point order; `Array.sort` alone orders UTF-16 units. */
export function byBytes(a: string, b: string): number {
  const [x, y] = [[...a], [...b]];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const difference = x[i]!.codePointAt(0)! - y[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}
