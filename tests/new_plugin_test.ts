/**
 * The author's path: what CONTRIBUTING.md tells to type is typed in a copy of the
 * project, for a plugin of each kind, until the gate and the suites are green.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { testWith } from "./harness/need.ts";
import type { Finished } from "./harness/process.ts";
import { execute, must } from "./harness/process.ts";

const project = new URL("..", import.meta.url).pathname;

/** A copy of the project, without what is built. */
class Copy implements AsyncDisposable {
  private constructor(readonly dir: string) {}

  static async make(): Promise<Copy> {
    const dir = await Deno.makeTempDir({ prefix: "denocni-copy-" });
    const left = new Set([".git", "dist", "coverage", "node_modules"]);
    const names = [...Deno.readDirSync(project)].map(({ name }) => name)
      .filter((name) => !left.has(name));
    await must(["cp", "-R", "--", ...names.map((name) => `${project}${name}`), dir]);
    return new Copy(dir);
  }

  /** Removes it, and what Deno keeps of its files: no run has this path again. */
  async [Symbol.asyncDispose](): Promise<void> {
    const cache = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
    await must(["rm", "-rf", "--", this.dir, `${cache}/gen/file${this.dir}`]);
  }

  /** What a file holds. */
  read(path: string): string {
    return Deno.readTextFileSync(`${this.dir}/${path}`);
  }

  /** Types a line of a shell, as an author does: with nothing of this run in the environment. */
  type(line: string): Promise<Finished> {
    return execute(["sh", "-c", line], { cwd: this.dir, env: authorEnv(), deadline: 3_600_000 });
  }

  /** Types a line that must succeed; gives what it printed. */
  async mustType(line: string): Promise<string> {
    const { code, stdout, stderr } = await this.type(line);
    assertEquals(code, 0, `${line}\n${stdout}${stderr}`);
    return `${stdout}${stderr}`;
  }

  /** Makes a plugin of each kind. */
  async makePlugins({ orders }: Told): Promise<void> {
    for (const { line, type } of orders) {
      const output = await this.mustType(line);
      assert(output.startsWith(`Plugin "${type}" works.`), output);
    }
  }
}

/** So that the copy tests its own sources, and all of them. */
function authorEnv(): Record<string, string> {
  const deno = Deno.execPath().replace(/\/[^/]+$/, "");
  const kept = ["HOME", "DENO_DIR"].map((name) => [name, Deno.env.get(name)])
    .filter(([, value]) => value !== undefined);
  const path = `${deno}:${Deno.env.get("PATH")}`;
  return { ...Object.fromEntries(kept), PATH: path, NO_COLOR: "1" };
}

/** What CONTRIBUTING.md tells an author to type. */
interface Told {
  /** One of each kind, with the lines that make the plugins. */
  readonly orders: readonly { line: string; type: string }[];
  /** What follows, up to the suites. */
  readonly gate: readonly string[];
  /** The suites, over the first plugin. */
  readonly suites: readonly string[];
}

function readTold(page: string): Told {
  const block = /^## Write a plugin[^]*?^```sh\n([^]*?)^```/m.exec(page)?.[1] ?? "";
  const [first = "", ...lines] = block.trimEnd().split("\n");
  const orders = [...first.matchAll(/\b(interface|ipam|chained) (\S+?)(?=[,\s]|$)/g)]
    .map(([, kind, type]) => ({ line: `deno task new-plugin ${kind} ${type}`, type: type! }));
  assertEquals(orders.length, 3, first);
  assert(first.startsWith(orders[0]!.line), first);
  const isSuite = (line: string) => line.startsWith(`DENOCNI_ROWS=${orders[0]!.type}: `);
  return {
    orders,
    gate: lines.filter((line) => !isSuite(line)),
    suites: lines.filter(isSuite),
  };
}

/** How the types of CONTRIBUTING.md begin, and no other: one run of a suite has all three. */
const start = "my-";

/** Lines that `deno test` printed of a test file. */
function linesOf(output: string, file: string): string[] {
  const sections = output.split(/^running \d+ tests? from \.\//m);
  return sections.filter((section) => section.startsWith(file)).join("").split("\n");
}

testWith("new-plugin: a plugin of each kind passes the gate as it is", ["private"], async () => {
  await using copy = await Copy.make();
  const told = readTold(copy.read("CONTRIBUTING.md"));
  await copy.makePlugins(told);
  assert(told.gate.some((line) => /^deno task ok\b/.test(line)), "the gate is told");
  for (const line of told.gate) await copy.mustType(line);
});

testWith("new-plugin: a plugin of each kind passes every suite as it is", [
  "private",
  "link:bridge",
  "link:veth",
], async (test) => {
  await using copy = await Copy.make();
  const told = readTold(copy.read("CONTRIBUTING.md"));
  await copy.makePlugins(told);
  const types = told.orders.map(({ type }) => type);
  assert(types.every((type) => type.startsWith(start)), types.join());
  const files = told.suites.flatMap((line) => line.match(/\btests\/\S+_test\.ts/g) ?? []);
  const suites = ["conformance", "idempotence", "kill", "malformed", "rollback"];
  assertEquals(files.toSorted(), suites.map((name) => `tests/${name}_test.ts`));
  for (const line of told.suites) {
    await test.step(line, async () => {
      const output = await copy.mustType(line.replace(`${types[0]}:`, start));
      for (const file of line.match(/\btests\/\S+_test\.ts/g)!) {
        for (const type of types) {
          const passed = linesOf(output, file)
            .filter((text) => text.startsWith(`${type}: `) && / \.\.\. ok\b/.test(text));
          assert(passed.length > 0, `no test of "${type}" in ${file}:\n${output}`);
        }
      }
      assert(!new RegExp(`^SKIP ${start}`, "m").test(output), output);
    });
  }
});

testWith("new-plugin: what is there is not written over", ["private"], async () => {
  await using copy = await Copy.make();
  const refused = async (line: string) => {
    const { code, stdout, stderr } = await copy.type(line);
    assertEquals([code, stdout], [1, ""], line);
    return stderr;
  };
  Deno.writeTextFileSync(`${copy.dir}/docs/plugins/mine.md`, "mine\n");
  const before = copy.read("registry.ts");
  const again = await refused("deno task --quiet new-plugin ipam bridge");
  assertEquals(again, 'Cannot make plugin "bridge": there is a plugin of this type\n');
  const there = await refused("deno task --quiet new-plugin interface mine");
  assertEquals(there, 'Cannot make plugin "mine": "docs/plugins/mine.md" is there already\n');
  assertEquals([copy.read("registry.ts"), copy.read("docs/plugins/mine.md")], [before, "mine\n"]);
  assert([...Deno.readDirSync(`${copy.dir}/plugins`)].every(({ name }) => name !== "mine.ts"));
});
