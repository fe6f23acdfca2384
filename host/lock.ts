/**
 * `flock` with a deadline, as other programs take it, too.
 *
 * @module
 */
import { ActionError } from "./error.ts";
import { readProc } from "./proc.ts";

/** A lock, or who has it. */
export type LockOutcome =
  /** Closing the file unlocks it. */
  | { readonly is: "locked"; readonly file: Deno.FsFile }
  /** `process 1234 (/opt/cni/bin/host-local, started 12 s ago)` */
  | { readonly is: "held"; readonly by: string };

/** How a file is locked. */
export interface LockOptions {
  /** Permission bits of a new file. */
  readonly mode: number;
  /** Milliseconds to wait. */
  readonly deadline: number;
  /** With others who share it; against all others when absent. */
  readonly shared?: boolean;
}

/**
 * Opens the file, making it with this mode when it is missing, and waits for its
 * lock for at most `deadline` milliseconds. Throws an {@linkcode ActionError}
 * when the file cannot be opened.
 */
export async function lockFile(
  path: string,
  options: LockOptions,
): Promise<LockOutcome> {
  return await awaitLock(open(path, options.mode), { path, ...options });
}

/** Waits for the lock of an open file, which is closed when the wait is over. */
async function awaitLock(
  file: Deno.FsFile,
  { path, deadline, shared }: Omit<LockOptions, "mode"> & { readonly path: string },
): Promise<LockOutcome> {
  const locked = file.lock(!shared);
  if (await endsWithin(locked, deadline)) return { is: "locked", file };
  // The wait itself cannot be called off: when it ends, the lock is given back at once.
  locked.finally(() => file.close()).catch(() => {});
  return { is: "held", by: describeHolder(path) };
}

/**
 * Waits for the lock of a file that is there already and may be the kernel's: it is neither made
 * nor written to. Gives `undefined` where Deno does not open it (below `/proc`) or it is gone.
 */
export async function lockExisting(
  path: string,
  { deadline }: Pick<LockOptions, "deadline">,
): Promise<LockOutcome | undefined> {
  const file = openExisting(path);
  return file && await awaitLock(file, { path, deadline });
}

function openExisting(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { read: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw ActionError.fromSystem(`open "${path}"`, { kind: "write", path, text: "" }, error);
  }
}

function open(path: string, mode: number): Deno.FsFile {
  try {
    return Deno.openSync(path, { write: true, create: true, mode });
  } catch (error) {
    throw ActionError.fromSystem(`open "${path}"`, { kind: "write", path, text: "" }, error);
  }
}

async function endsWithin(task: Promise<void>, deadline: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), deadline);
  });
  try {
    return await Promise.race([task.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** The process that has the lock of a file; `undefined` when there is none that can be seen. */
export function holderOf(path: string): number | undefined {
  return parseHolder(read("/proc/locks") ?? "", Deno.statSync(path));
}

function describeHolder(path: string): string {
  const pid = holderOf(path);
  if (pid === undefined) return "a process that cannot be seen from here";
  const command = read(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ").trim();
  const age = processAge(pid);
  const started = age === undefined ? "" : `, started ${formatAge(age)} ago`;
  return `process ${pid} (${command || "unknown command"}${started})`;
}

/** A process may end while it is looked at. */
function read(path: string): string | undefined {
  try {
    return readProc(path);
  } catch {
    return undefined;
  }
}

/** The process that holds a `flock` on a file, from the text of `/proc/locks`. */
export function parseHolder(
  locks: string,
  { dev, ino }: { readonly dev: number; readonly ino: number | null },
): number | undefined {
  const holders = [...locks.matchAll(
    /^\d+: FLOCK +ADVISORY +\w+ +(-?\d+) ([0-9a-f]+):([0-9a-f]+):(\d+) /gm,
  )].filter((match) => match[4] === String(ino));
  // A file system may show another device number there than `stat` does.
  const exact = holders.find(([, , major, minor]) =>
    parseInt(major!, 16) === majorOf(dev) && parseInt(minor!, 16) === minorOf(dev)
  );
  const pid = Number((exact ?? holders[0])?.[1]);
  return pid > 0 ? pid : undefined;
}

function majorOf(dev: number): number {
  return dev >>> 8 & 0xfff;
}

function minorOf(dev: number): number {
  return dev & 0xff | dev >>> 12 & 0xfff00;
}

/** Milliseconds since a process was started. */
function processAge(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  const uptime = parseFloat(read("/proc/uptime") ?? "");
  // The fields after the command, which itself may hold anything: the start is the 20th, in 1/100 s.
  const started = Number(stat?.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  const age = uptime * 1000 - started * 10;
  return Number.isFinite(age) ? Math.max(0, age) : undefined;
}

const units = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]] as const;

/** `350 ms`, `12 s`, `5 min`, `3 h`, `2 d` */
export function formatAge(milliseconds: number): string {
  const [unit, size] = units.find(([, size]) => milliseconds >= size) ?? ["ms", 1];
  return `${Math.floor(milliseconds / size)} ${unit}`;
}
