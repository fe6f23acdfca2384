/**
 * Reads files of the kernel: `/proc` and `/sys`. Deno opens them only for a
 * program that has every permission, and a plugin has few; then a small program
 * does it, which takes about a millisecond. Variables are written by plans.
 *
 * @module
 */
import type { Tool } from "./command.ts";
import { classify, firstLine } from "./reason.ts";
import { spawnSync } from "./spawn.ts";

/** Identity of a file by `stat`, symbolic links followed. */
export interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
  readonly isFile: boolean;
}

/** Reads a file of the kernel. Throws what `Deno.readTextFileSync` throws. */
export function readProc(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (!isUngranted(error)) throw error;
    return output("cat", ["--", path]);
  }
}

/** Reads a file of the kernel, or gives `undefined` when there is none. */
export function readProcIfExists(path: string): string | undefined {
  try {
    return readProc(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Names in a folder of the kernel, in order; `undefined` when there is no such folder. */
export function listProc(path: string): string[] | undefined {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  } catch (error) {
    if (isNothing(error)) return undefined;
    if (!isUngranted(error)) throw error;
    return listByFind(path);
  }
}

/** Where a symbolic link of the kernel leads; `undefined` when there is no such link. */
export function readProcLink(path: string): string | undefined {
  try {
    return Deno.readLinkSync(path);
  } catch (error) {
    if (!isUngranted(error)) return undefined;
    const { stdout } = spawnSync("find", [path, "-maxdepth", "0", "-type", "l", "-printf", "%l"]);
    return stdout || undefined;
  }
}

function isNothing(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory;
}

/** The slash at the end makes it fail for what is no folder. */
function listByFind(path: string): string[] | undefined {
  const depth = ["-mindepth", "1", "-maxdepth", "1"];
  const { code, stdout } = spawnSync("find", [`${path}/`, ...depth, "-printf", "%f\n"]);
  return code === 0 ? stdout.split("\n").filter(Boolean).sort() : undefined;
}

/**
 * Looks at files that may be the kernel's, all at once. Gives `undefined` for one
 * that is missing, and the error for one that cannot be looked at.
 */
export function statProcs(paths: readonly string[]): (FileIdentity | Error | undefined)[] {
  const found = paths.map(statDirectly);
  const ungranted = paths.filter((_, index) => isUngranted(found[index]));
  if (ungranted.length === 0) return found;
  const { stdout, signal } = spawnSync("stat", ["-L", "-c", "%d %i %f %n", "--", ...ungranted]);
  const stats = new Map(stdout.split("\n").map(parseStat));
  // What a program that was killed has not said is not missing.
  const unknown = signal
    ? new Error(`Cannot look at files: stat was ended by ${signal}`)
    : undefined;
  return paths.map((path, index) =>
    isUngranted(found[index]) ? stats.get(path) ?? unknown : found[index]
  );
}

function statDirectly(path: string): FileIdentity | Error | undefined {
  try {
    const { dev, ino, isFile } = Deno.statSync(path);
    return { dev, ino: ino ?? 0, isFile };
  } catch (error) {
    return isNothing(error) ? undefined : error as Error;
  }
}

/** Inode numbers of the namespaces of one kind (`net`) that processes are in. */
export function processNamespaces(kind: string): Set<number> {
  try {
    return new Set(processIds().map((pid) => namespaceOf(pid, kind)));
  } catch (error) {
    if (!isUngranted(error)) throw error;
    return new Set(findNamespaces(kind));
  }
}

function processIds(): string[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => name).filter((name) =>
    /^\d+$/.test(name)
  );
}

/** A process that has ended, or that may not be looked at, counts as in namespace 0. */
function namespaceOf(pid: string, kind: string): number {
  try {
    const link = Deno.readLinkSync(`/proc/${pid}/ns/${kind}`);
    return Number(/\[(\d+)\]$/.exec(link)?.[1] ?? 0);
  } catch (error) {
    if (isUngranted(error)) throw error;
    return 0;
  }
}

/** Processes come and go while `find` looks: what it could not see does not count. */
function findNamespaces(kind: string): number[] {
  const pattern = `/proc/[0-9]*/ns/${kind}`;
  const { stdout } = spawnSync("find", [
    "/proc",
    "-mindepth",
    "3",
    "-maxdepth",
    "3",
    "-path",
    pattern,
    "-printf",
    "%l\n",
  ]);
  return [...stdout.matchAll(/\[(\d+)\]/g)].map(([, inode]) => Number(inode));
}

function isUngranted(error: unknown): boolean {
  return error instanceof Deno.errors.NotCapable;
}

function output(tool: Tool, args: readonly string[]): string {
  const { code, stdout, stderr } = spawnSync(tool, args);
  if (code === 0) return stdout;
  const message = firstLine(stderr);
  switch (classify(message)) {
    case "missing":
      throw new Deno.errors.NotFound(message);
    case "denied":
      throw new Deno.errors.PermissionDenied(message);
    default:
      throw new Error(message);
  }
}

/** Device, inode, hexadecimal mode and name; regular files have type 8. */
function parseStat(line: string): [name: string, identity: FileIdentity] {
  const [dev, ino, mode, ...name] = line.split(" ");
  const isFile = parseInt(mode ?? "", 16) >> 12 === 8;
  return [name.join(" "), { dev: Number(dev), ino: Number(ino), isFile }];
}
