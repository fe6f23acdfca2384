import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { processNamespaces, readProc, statProc, writeProc } from "./proc.ts";
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
  const programs = (["cat", "find", "sh", "stat"] as const).map(toolPath).join();
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

Deno.test("a namespace's identity is the same with and without every permission", async () => {
  const identity = statProc(own);
  assert(identity.isFile && identity.ino > 0);
  assertEquals(JSON.parse(await restricted(`proc.statProc("${own}")`)), identity);
});

Deno.test("a directory is no file, with and without every permission", async () => {
  const [path, read] = ["/proc/self", "proc.statProc('/proc/self').isFile"];
  assertEquals([statProc(path).isFile, JSON.parse(await restricted(read))], [false, false]);
});

Deno.test("a missing kernel file is missing with and without every permission", async () => {
  const missing = "/proc/sys/net/nothing";
  for (const call of [`readProc("${missing}")`, `statProc("${missing}")`]) {
    assertStringIncludes(await restricted(`proc.${call}`), "NotFound: ");
  }
});

Deno.test("a variable is written with and without every permission", async () => {
  const path = "/proc/self/comm";
  const before = readProc(path);
  writeProc(path, "renamed");
  assertEquals(readProc(path), "renamed\n");
  writeProc(path, before.trim());
  // The shell renames itself: what matters is that nothing was refused.
  assertEquals(await restricted(`[proc.writeProc("${path}", "x")]`), "[null]");
});

Deno.test("the namespaces of processes hold this one's, with and without every permission", async () => {
  const { ino } = statProc(own);
  assert(processNamespaces("net").has(ino));
  assertEquals(await restricted(`proc.processNamespaces("net").has(${ino})`), "true");
});
