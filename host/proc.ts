/**
 * Files of the kernel: `/proc` and `/sys`. Deno opens them only for a program
 * that has every permission, and a plugin has few; then a small program does it,
 * which takes about a millisecond.
 *
 * @module
 */
import type { Tool } from "./command.ts";
import { classify, firstLine } from "./reason.ts";
import { spawnSync } from "./spawn.ts";

/** What `stat` tells of a file, symbolic links followed. */
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

/** Writes a kernel variable. Throws what `Deno.writeTextFileSync` throws. */
export function writeProc(path: string, value: string): void {
  try {
    Deno.writeTextFileSync(path, value);
  } catch (error) {
    if (!isUngranted(error)) throw error;
    output("sh", ["-c", 'printf %s "$1" >"$0"', path, value]);
  }
}

/** Looks at a file that may be the kernel's. Throws what `Deno.statSync` throws. */
export function statProc(path: string): FileIdentity {
  try {
    const { dev, ino, isFile } = Deno.statSync(path);
    return { dev, ino: ino ?? 0, isFile };
  } catch (error) {
    if (!isUngranted(error)) throw error;
    return parseStat(output("stat", ["-L", "-c", "%d %i %f", "--", path]));
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

/** Device, inode and hexadecimal mode; regular files have type 8. */
function parseStat(text: string): FileIdentity {
  const [dev, ino, mode] = text.trim().split(" ");
  return { dev: Number(dev), ino: Number(ino), isFile: parseInt(mode!, 16) >> 12 === 8 };
}
