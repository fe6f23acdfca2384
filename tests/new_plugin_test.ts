/**
 * `deno task new-plugin`, in a copy of the project: what it writes passes the gate
 * and the suites that every plugin passes, as it is.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { testWith } from "./harness/need.ts";
import { execute, must } from "./harness/process.ts";

const project = new URL("..", import.meta.url).pathname;

/** What a kind of plugin is called, where it is written, and its kind. */
const orders = [
  { kind: "interface", folder: "plugins", type: "new-link" },
  { kind: "ipam", folder: "ipam", type: "new-pool" },
  { kind: "chained", folder: "meta", type: "new-mode" },
] as const;

/** A copy of the project, without what is built; gone with the scope. */
async function copyProject(): Promise<AsyncDisposable & { readonly dir: string }> {
  const dir = await Deno.makeTempDir({ prefix: "denocni-copy-" });
  const left = new Set(["dist", "coverage", "node_modules"]);
  const names = [...Deno.readDirSync(project)].map(({ name }) => name)
    .filter((name) => !name.startsWith(".") && !left.has(name));
  await must(["cp", "-R", "--", ...names.map((name) => `${project}${name}`), dir]);
  return {
    dir,
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

/** The environment of an author: nothing of this run, so that the copy tests its own sources. */
const env = Object.fromEntries(
  ["PATH", "HOME", "DENO_DIR"].map((name) => [name, Deno.env.get(name)])
    .filter(([, value]) => value !== undefined),
) as Record<string, string>;

testWith("new-plugin: a new plugin of each kind passes gate and suites as it is", [
  "private",
  "link:bridge",
  "link:veth",
], async (test) => {
  await using copy = await copyProject();
  const options = { env: { ...env, DENOCNI_ROWS: "new-", NO_COLOR: "1" }, cwd: copy.dir };
  const deno = (...args: string[]) => [Deno.execPath(), ...args];
  const make = (kind: string, type: string) =>
    execute(deno("run", "-A", "--no-check", "scripts/new_plugin.ts", kind, type), options);
  const files: string[] = [];
  for (const { kind, folder, type } of orders) {
    const { code, stdout, stderr } = await make(kind, type);
    assertEquals(code, 0, stderr);
    assertMatch(stdout, new RegExp(`Plugin "${type}" works`));
    files.push(`${folder}/${type}.ts`, `${folder}/${type}_test.ts`);
  }
  await test.step("the gate", async () => {
    const pages = orders.map(({ type }) => `docs/plugins/${type}.md`);
    const own = [...files, "registry.ts", "tests/harness/rows.ts"];
    await must(deno("fmt", "--check", ...own, ...pages, "README.md"), options);
    await must(deno("lint", ...own), options);
    await must(deno("check", ...own), options);
    await must(deno("run", "-A", "--no-check", "scripts/imports.ts"), options);
    await must(deno("run", "-A", "--no-check", "scripts/docs.ts", "--check"), options);
    const tests = files.filter((file) => file.endsWith("_test.ts"));
    await must(deno("test", "-A", "--no-check", ...tests), options);
  });
  await test.step("the suites", async () => {
    const suites = ["conformance", "rollback", "idempotence"].map((name) =>
      `tests/${name}_test.ts`
    );
    const some = "--filter=/CHECK notices|result is passed|any step of ADD|DEL twice/";
    const words = deno("test", "-A", "--no-check", some, ...suites);
    const output = await must(["tests/harness/private.sh", ...words], {
      ...options,
      deadline: 300_000,
    });
    for (const { type } of orders) {
      assertMatch(output, new RegExp(`${type}: IPv4: a failure in any step .* ok`));
    }
  });
  await test.step("a second time is refused, and changes nothing", async () => {
    const registry = await Deno.readTextFile(`${copy.dir}/registry.ts`);
    const { code, stderr } = await make("ipam", "new-link");
    assertEquals([code, stderr], [
      1,
      'Cannot make plugin "new-link": there is a plugin of this type\n',
    ]);
    Deno.writeTextFileSync(`${copy.dir}/docs/plugins/other.md`, "mine\n");
    const { stderr: there } = await make("interface", "other");
    assertEquals(there, 'Cannot make plugin "other": "docs/plugins/other.md" is there already\n');
    assertEquals(await Deno.readTextFile(`${copy.dir}/registry.ts`), registry);
    const made = [...Deno.readDirSync(`${copy.dir}/plugins`)].map(({ name }) => name);
    assert(!made.includes("other.ts"));
  });
});
