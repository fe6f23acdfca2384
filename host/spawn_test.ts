import { assertEquals, assertStringIncludes } from "@std/assert";
import type { Output } from "./spawn.ts";
import { spawn, toolPath } from "./spawn.ts";

/** Spawns a program in a process that may run the shell and nothing else. */
async function restricted(
  path: string,
  args: readonly string[],
  options: { stdin?: string } = {},
): Promise<Output & { thrown?: string }> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  const module = JSON.stringify(import.meta.resolve("./spawn.ts"));
  const call = [path, args, options].map((it) => JSON.stringify(it)).join(", ");
  await Deno.writeTextFile(
    script,
    `import { spawn } from ${module};
    const output = await spawn(${call}).catch((error) => ({ thrown: error.message }));
    console.log(JSON.stringify(output));`,
  );
  const flags = ["--no-prompt", "--no-check", "--allow-read=/", `--allow-run=${toolPath("sh")}`];
  const { stdout, stderr } = await spawn(Deno.execPath(), ["run", ...flags, script], {
    inherit: true,
    env: {},
  });
  await Deno.remove(script);
  if (!stdout) throw new Error(stderr);
  return JSON.parse(stdout);
}

async function withProgram(text: string, body: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/a 'program'`;
  await Deno.writeTextFile(path, text);
  await Deno.chmod(path, 0o755);
  await body(path);
  await Deno.remove(dir, { recursive: true });
}

const program = '#!/bin/sh\ncat; printf "<%s>" "$@"; echo oops >&2; exit 7\n';

Deno.test("spawn() gives what a program left, granted or through the shell", () =>
  withProgram(program, async (path) => {
    const expected = { code: 7, signal: null, stdout: "in<a b><$HOME>", stderr: "oops\n" };
    const args = ["a b", "$HOME"];
    assertEquals(await spawn(path, args, { stdin: "in" }), expected);
    assertEquals(await restricted(path, args, { stdin: "in" }), expected);
  }));

Deno.test("a program that cannot be executed throws, granted or through the shell", () =>
  withProgram("#!/bin/sh\n", async (path) => {
    await Deno.chmod(path, 0o644);
    const { thrown } = await restricted(path, []);
    assertStringIncludes(thrown!, "Permission denied");
    const direct = await spawn(path, []).catch((error) => error.message);
    assertStringIncludes(direct, "denied");
  }));

Deno.test("a program that is being written says so, granted or through the shell", () =>
  withProgram("", async (path) => {
    await Deno.copyFile("/bin/true", path);
    using _writer = await Deno.open(path, { write: true });
    const { thrown } = await restricted(path, []);
    assertStringIncludes(thrown!, "Text file busy");
    const direct = await spawn(path, []).catch((error) => error.message);
    assertStringIncludes(direct, "Text file busy");
  }));

Deno.test("exit status 126 of a program itself is no failure to start it", () =>
  withProgram("#!/bin/sh\nexit 126\n", async (path) => {
    assertEquals((await restricted(path, [])).code, 126);
  }));

/** Says whether it was told to end, by a file that is there before its stdin is closed. */
const listening = `#!/bin/sh
read -r line
[ "$line" = end ] && exec echo ended
echo begun >"$1.begun"
cat
cat "$1.told"
`;

Deno.test("a program's stdin stays open until it is told, or until it ends", () =>
  withProgram(listening, async (path) => {
    const told = new AbortController();
    const ends = await spawn(path, [path], { stdin: "end\n", until: told.signal });
    assertEquals(ends.stdout, "ended\n");
    await spawn("/usr/bin/mkfifo", [`${path}.begun`]);
    const running = spawn(path, [path], { stdin: "wait\n", until: told.signal });
    assertEquals(await Deno.readTextFile(`${path}.begun`), "begun\n");
    await Deno.writeTextFile(`${path}.told`, "told");
    told.abort();
    assertEquals((await running).stdout, "told");
  }));
