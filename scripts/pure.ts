/**
 * How the tests beside the code are run: all files in one process, with temporary files
 * in memory, because many of them wait until what they write is on the disk.
 *
 * @module
 */
import { readFileIfExists } from "../host/files.ts";

/** Words for `deno test` that choose pure tests. */
export function pureTestWords(files: readonly string[]): string[] {
  return ["scripts/pure_tests.ts", "--", ...files];
}

/** Variables for pure tests: the folder for temporary files, unless it was chosen. */
export function pureTestEnv(): Record<string, string> {
  if (Deno.env.has("TMPDIR")) return {};
  const dir = memoryFolder(readFileIfExists("/proc/self/mounts") ?? "");
  return dir === undefined ? {} : { TMPDIR: dir };
}

/** The usual folder of files in memory, where programs may be started from it; `mounts` is the text of `/proc/self/mounts`. */
export function memoryFolder(mounts: string): string | undefined {
  const dir = "/dev/shm";
  const mount = mounts.split("\n").map((line) => line.split(" ")).findLast(([, at]) => at === dir);
  const [, , type, options = ""] = mount ?? [];
  const words = options.split(",");
  return type === "tmpfs" && words.includes("rw") && !words.includes("noexec") ? dir : undefined;
}
