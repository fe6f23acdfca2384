/**
 * `deno task new-plugin KIND TYPE`: writes a working plugin from the house pattern
 * (`scripts/templates/`), with its test, its page and its row in the tables of
 * plugins and of tests, so that its author changes something that works.
 *
 * @module
 */
import { isPluginType } from "../cni/names.ts";
import { readFileIfExists } from "../host/files.ts";
import { spawn } from "../host/spawn.ts";
import { root } from "./build.ts";
import { readOptions, runTask } from "./command_line.ts";

/** The kinds of plugins, and the folder of each. */
export const kinds = { interface: "plugins", ipam: "ipam", chained: "meta" } as const;

/** What the command line asks for. */
export interface Order {
  readonly kind: keyof typeof kinds;
  readonly type: string;
}

/** A file with its new content; the path begins at the project's root. */
export interface Written {
  readonly path: string;
  readonly text: string;
}

const usage = "usage: deno task new-plugin <interface|ipam|chained> <type>";

/** Reads the command line. Throws with the way to write it. */
export function readArguments(args: readonly string[]): Order {
  const { _: [kind, type, ...others] } = readOptions(args, { string: ["_"] });
  if (kind === undefined || type === undefined || others.length > 0) throw new Error(usage);
  if (!isKind(String(kind))) {
    throw new Error(`Cannot make a plugin of kind "${kind}": no such kind; ${usage}`);
  }
  requireType(String(type));
  return { kind: String(kind) as Order["kind"], type: String(type) };
}

function isKind(text: string): text is Order["kind"] {
  return Object.hasOwn(kinds, text);
}

/** A type is a file's name: of a plugin beside `cni`, and of a source file that is no test. */
function requireType(type: string): void {
  const problem = !isPluginType(type)
    ? "letters, digits, `.`, `_` and `-` make a type, and `.` and `-` do not begin it"
    : type === "cni"
    ? "the command for people has this name"
    : type.endsWith("_test")
    ? "its file would be taken for a test"
    : type.endsWith(".d")
    ? "its file would be taken for declarations"
    : undefined;
  if (problem) throw new Error(`Cannot make plugin "${type}": ${problem}`);
}

/** The new files, and those that name the plugin. Throws when one of them, or the type, is there already. */
export function plan(
  { kind, type }: Order,
  read: (path: string) => string | undefined = readProject,
): { readonly made: readonly Written[]; readonly changed: readonly Written[] } {
  const folder = kinds[kind];
  const text = (path: string) => must(read(path), path);
  const filled = (name: string) => fill(text(`scripts/templates/${folder}/${name}`), type);
  const [registry, rows] = ["registry.ts", "tests/harness/rows.ts"] as const;
  const made = [
    { path: `${folder}/${type}.ts`, text: filled("example.ts") },
    { path: `${folder}/${type}_test.ts`, text: filled("example_test.ts") },
    { path: `docs/plugins/${type}.md`, text: filled("example.md") },
  ];
  const changed = [
    { path: registry, text: register(text(registry), { folder, type }) },
    { path: rows, text: addRow(text(rows), filled("row.ts")) },
  ];
  const there = made.find(({ path }) => read(path) !== undefined);
  if (there) throw new Error(`Cannot make plugin "${type}": "${there.path}" is there already`);
  return { made, changed };
}

function readProject(path: string): string | undefined {
  return readFileIfExists(`${root}/${path}`);
}

function must(text: string | undefined, path: string): string {
  if (text === undefined) throw new Error(`Cannot read "${path}": no such file`);
  return text;
}

/** A template under its new name, two folders further up. */
export function fill(template: string, type: string): string {
  return template.replaceAll('"../../../', '"../').replaceAll(/\bexample\b/g, () => type);
}

/** What a line of `registry.ts` loads. */
interface Loader {
  readonly type: string;
  readonly folder: string;
  /** Counted from 0. */
  readonly line: number;
}

function loaders(registry: string): Loader[] {
  return registry.split("\n").flatMap((text, line) => {
    const [, type, folder] = /^ {2}"([^"]+)": .*\bimport\("\.\/([^/]+)\//.exec(text) ?? [];
    return type && folder ? [{ type, folder, line }] : [];
  });
}

/**
 * `registry.ts` with one line more, in the order of the alphabet among those of its
 * folder. Throws when it has the type already.
 */
export function register(
  registry: string,
  { folder, type }: { folder: string; type: string },
): string {
  const all = loaders(registry);
  if (all.some((it) => it.type === type)) {
    throw new Error(`Cannot make plugin "${type}": there is a plugin of this type`);
  }
  const own = all.filter((it) => it.folder === folder);
  const at = own.find((it) => it.type > type)?.line ?? own.at(-1)!.line + 1;
  const line = `  "${type}": () => import("./${folder}/${type}.ts"),`;
  return registry.split("\n").toSpliced(at, 0, line).join("\n");
}

/** `rows.ts` with the row of a template at the end. */
export function addRow(rows: string, template: string): string {
  const row = /^export const row: Row = (\{\n[^]*?^\});$/m.exec(template)?.[1];
  const list = /^export const rows: readonly Row\[\] = \[\n[^]*?^(?=\];$)/m.exec(rows);
  if (!row || !list) throw new Error("Cannot add a row: its place is not where it was");
  const end = list.index + list[0].length;
  return `${rows.slice(0, end)}${row.replaceAll(/^/gm, "  ")},\n${rows.slice(end)}`;
}

/** Runs a part of the project in a process of its own: this one does not know the new plugin. */
async function deno(args: readonly string[]): Promise<void> {
  const output = await spawn(Deno.execPath(), args, { inherit: true, env: {}, deadline: 120_000 });
  if (output.code !== 0) throw new Error(`Cannot finish: deno ${args[0]}: ${output.stderr}`);
}

/** What an author types after a change; CONTRIBUTING.md says the same. */
export function checks(type: string): string[] {
  const suites = [["conformance", "rollback"], ["idempotence", "kill", "malformed"]];
  const files = suites.map((names) => names.map((name) => `tests/${name}_test.ts`).join(" "));
  return [
    "deno task docs",
    "deno task ok",
    ...files.map((names) => `DENOCNI_ROWS=${type}: deno task test ${names}`),
  ];
}

async function main(): Promise<void> {
  const order = readArguments(Deno.args);
  const { made, changed } = plan(order);
  const files = [...made, ...changed];
  for (const { path, text } of files) Deno.writeTextFileSync(`${root}/${path}`, text);
  const paths = files.map(({ path }) => `${root}/${path}`);
  await deno(["fmt", "--quiet", "--config", `${root}/deno.json`, ...paths]);
  await deno(["run", "-A", "--no-check", `${root}/scripts/docs.ts`]);
  const { type } = order;
  console.log(`Plugin "${type}" works. Its files:\n
${made.map(({ path }) => `  ${path}`).join("\n")}\n
named in registry.ts, tests/harness/rows.ts and README.md. What it leaves on a host belongs into
docs/kernel-objects.md. Change it, and see that it still works:\n
${checks(type).map((line) => `  ${line}`).join("\n")}
`);
}

if (import.meta.main) await runTask(main);
