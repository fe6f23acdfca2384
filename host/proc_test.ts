import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import {
  listProc,
  processNamespaces,
  readProc,
  readProcIfExists,
  readProcLink,
  statProcs,
} from "./proc.ts";
import { spawn, toolPath } from "./spawn.ts";

const own = "/proc/self/ns/net";

/** Runs an expression over `proc.ts` in a process that may run programs and read no kernel file. */
async function restricted(expression: string): Promise<string> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  const module = JSON.stringify(import.meta.resolve("./proc.ts"));
  await Deno.writeTextFile(
    script,
    `import * as proc from ${module};
    try {
      console.log(JSON.stringify(${expression}));
    } catch (error) {
      console.log(error.name + ": " + error.message);
    }`,
  );
  const programs = (["cat", "find", "stat"] as const).map(toolPath).join();
  const output = await spawn(Deno.execPath(), [
    "run",
    "--no-prompt",
    "--no-check",
    "--allow-read=/",
    "--allow-write=/",
    `--allow-run=${programs}`,
    script,
  ], { inherit: true, env: {} });
  await Deno.remove(script);
  return output.stdout.trim() || output.stderr;
}

Deno.test("kernel files read the same with and without every permission", async () => {
  const path = "/proc/sys/kernel/random/boot_id";
  assertEquals(JSON.parse(await restricted(`proc.readProc("${path}")`)), readProc(path));
});

Deno.test("files are looked at the same with and without every permission", async () => {
  const paths = [own, "/proc/self", "/proc/nothing", "/etc/passwd", "/etc/nothing"];
  const [namespace, directory, ...others] = statProcs(paths);
  assert(namespace && !(namespace instanceof Error) && namespace.isFile && namespace.ino > 0);
  assert(directory && !(directory instanceof Error) && !directory.isFile);
  assertEquals(others.map((found) => found !== undefined), [false, true, false]);
  const [again, ...rest] = JSON.parse(
    await restricted(`proc.statProcs(${JSON.stringify(paths)})`),
  );
  assertEquals(again, namespace);
  assertEquals(rest[0].isFile, false);
  assertEquals(rest.slice(1).map((found: unknown) => found !== null), [false, true, false]);
});

Deno.test("a missing kernel file is missing with and without every permission", async () => {
  const missing = "/proc/sys/net/nothing";
  assertStringIncludes(await restricted(`proc.readProc("${missing}")`), "NotFound: ");
});

Deno.test("the namespaces of processes hold this one's, with and without every permission", async () => {
  const { ino } = statProcs([own])[0] as { ino: number };
  assert(processNamespaces("net").has(ino));
  assertEquals(await restricted(`proc.processNamespaces("net").has(${ino})`), "true");
});

Deno.test("a missing kernel file can be nothing, with and without every permission", async () => {
  const missing = "/proc/sys/net/nothing";
  assertEquals(readProcIfExists(missing), undefined);
  assertEquals(await restricted(`[proc.readProcIfExists("${missing}")]`), "[null]");
});

Deno.test("folders are listed the same with and without every permission", async () => {
  const paths = ["/proc/sys/kernel/random", "/sys/class/net", "/proc/nothing", "/proc/version"];
  const listed = paths.map(listProc);
  assert(listed[0]!.includes("boot_id"));
  assert(listed[1]!.includes("lo"));
  assertEquals(listed.slice(2), [undefined, undefined]);
  const again = await restricted(`${JSON.stringify(paths)}.map(proc.listProc)`);
  assertEquals(JSON.parse(again), [listed[0], listed[1], null, null]);
});

Deno.test("links are read the same with and without every permission", async () => {
  const paths = ["/sys/class/net/lo", "/proc/mounts", "/proc/version", "/proc/nothing"];
  const read = paths.map(readProcLink);
  assert(read[0]!.endsWith("/virtual/net/lo"));
  assertEquals(read.slice(1), ["self/mounts", undefined, undefined]);
  const again = await restricted(`${JSON.stringify(paths)}.map(proc.readProcLink)`);
  assertEquals(JSON.parse(again), [read[0], "self/mounts", null, null]);
});
