/**
 * Fills the generated parts of the pages: each plugin's options and permissions
 * from its decoder and declaration, and the table of plugins in the README.
 * `deno task docs` writes, `deno task docs --check` only tells what is out of date.
 * Both tell where the map of the test harness differs from its files.
 *
 * @module
 */
import type { Decoder, Field } from "../cni/decode.ts";
import type { Permissions, Plugin } from "../cni/plugin.ts";
import { readFileIfExists } from "../host/files.ts";
import { spawn } from "../host/spawn.ts";
import { loadPlugin, types } from "../registry.ts";
import { root } from "./build.ts";
import { readOptions, runTask } from "./command_line.ts";

/** A line of an option table. */
export interface Option {
  /** `vlanTrunk[].maxID`. */
  readonly key: string;
  readonly type: string;
  /** As the table shows it; empty for none. */
  readonly default: string;
  readonly doc: string;
}

/** Every option of a decoder, those of nested objects and lists after the one that holds them. */
export function options(decoder: Decoder<unknown>, prefix = ""): Option[] {
  const { fields, suffix } = innermost(decoder);
  return Object.entries(fields ?? {}).flatMap(([name, field]) => {
    const key = `${prefix}${suffix}${prefix || suffix ? "." : ""}${name}`;
    return [option(key, field), ...options(field.decoder, key)];
  });
}

/** The object behind lists of lists, with `[]` for each. */
function innermost(
  decoder: Decoder<unknown>,
): Pick<Decoder<unknown>, "fields"> & { suffix: string } {
  let suffix = "";
  let inner = decoder;
  for (; inner.element; inner = inner.element) suffix += "[]";
  return { ...(inner.fields && { fields: inner.fields }), suffix };
}

function option(key: string, field: Field<unknown>): Option {
  return { key, type: field.decoder.expects, default: defaultOf(field), doc: field.doc };
}

function defaultOf({ required, default: value, defaultText }: Field<unknown>): string {
  if (defaultText !== undefined) return defaultText;
  if (value !== undefined) return `\`${JSON.stringify(value)}\``;
  return required ? "**required**" : "";
}

/** The table of options. */
export function optionTable(decoder: Decoder<unknown>): string {
  const rows = options(decoder).map(({ key, type, default: value, doc }) =>
    row([`\`${key}\``, type, value, doc])
  );
  if (rows.length === 0) return "None.";
  return [row(["option", "type", "default", ""]), row(["---", "---", "---", "---"]), ...rows]
    .join("\n");
}

function row(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}

/** What a plugin is granted, in a sentence. */
export function permissionLine({ run, read, write, env = [], net }: Permissions): string {
  const programs = run === "any" ? "any (it executes plugins by name)" : words(run);
  const more = [
    ...(env.length > 0 ? [`; reads the variables ${words(env)}`] : []),
    ...(net ? ["; opens sockets"] : []),
  ];
  const files = `reads ${paths(read)}; writes ${paths(write)}`;
  return `Permissions: runs ${programs}; ${files}${more.join("")}.`;
}

function words(names: readonly string[]): string {
  return names.length > 0 ? names.map((name) => `\`${name}\``).join(", ") : "nothing";
}

function paths(value: readonly string[] | true): string {
  return value === true ? "any file" : words(value);
}

/** The table of plugins for the README. */
export function pluginTable(plugins: readonly Plugin[]): string {
  return [
    row(["plugin", "what it does", "needs (`kernel modules`)"]),
    row(["---", "---", "---"]),
    ...plugins.map(({ type, about, needs = "" }) =>
      row([`[\`${type}\`](docs/plugins/${type}.md)`, about, needs])
    ),
  ].join("\n");
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. Throws when they are missing. */
export function fill(page: string, name: string, text: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const [start, end] = [page.indexOf(open), page.indexOf(close)];
  if (start < 0 || end < start) throw new Error(`no ${open} … ${close}`);
  return `${page.slice(0, start + open.length)}\n\n${text}\n\n${page.slice(end)}`;
}

/** The folder whose page is a map of it. */
const mapped = "tests/harness";

/** What is wrong with a map that has a table row for each file; the first cell names it. */
export function mapProblems(page: string, files: readonly string[]): string[] {
  const listed = [...page.matchAll(/^\| `([^`]+)`/gm)].map(([, name]) => name!);
  const twice = listed.filter((name, index) => listed.indexOf(name) !== index);
  return [
    ...files.filter((name) => !listed.includes(name)).map((name) => `no line for "${name}"`),
    ...listed.filter((name) => !files.includes(name)).map((name) => `no file "${name}"`),
    ...twice.map((name) => `two lines for "${name}"`),
  ];
}

function checkMap(): boolean {
  const path = `${mapped}/README.md`;
  const files = [...Deno.readDirSync(`${root}/${mapped}`)].map(({ name }) => name)
    .filter((name) => name !== "README.md").sort();
  const problems = mapProblems(Deno.readTextFileSync(`${root}/${path}`), files);
  for (const problem of problems) console.error(`${path}: ${problem}`);
  return problems.length === 0;
}

/** A page with its generated part filled in, or why it cannot be. */
interface Page {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

async function makePage(path: string, name: string, text: string): Promise<Page> {
  const before = readFileIfExists(`${root}/${path}`);
  if (before === undefined) throw new Error(`Cannot fill "${path}": it does not exist`);
  try {
    return { path, before, after: await format(fill(before, name, text)) };
  } catch (error) {
    throw new Error(`Cannot fill "${path}": ${(error as Error).message}`);
  }
}

/** As `deno fmt` wants a page, which aligns tables. */
async function format(page: string): Promise<string> {
  const args = ["fmt", "--quiet", "--ext", "md", "--config", `${root}/deno.json`, "-"];
  const output = await spawn(Deno.execPath(), args, { stdin: page, inherit: true, env: {} });
  if (output.code !== 0) throw new Error(output.stderr);
  return output.stdout;
}

/** Every page with a generated part; for one that cannot be made, why. */
export async function pages(): Promise<(Page | Error)[]> {
  const plugins = await Promise.all(types.map((type) => loadPlugin(type)!));
  const made = await Promise.allSettled([
    makePage("README.md", "plugins", pluginTable(plugins)),
    ...plugins.map(({ type, conf, permissions }) =>
      makePage(
        `docs/plugins/${type}.md`,
        "options",
        `${optionTable(conf)}\n\n${permissionLine(permissions)}`,
      )
    ),
  ]);
  return made.map((it) => it.status === "fulfilled" ? it.value : it.reason as Error);
}

/** Writes a page that is out of date, or only says so. Gives whether all is well. */
function settle(page: Page | Error, check: boolean): boolean {
  if (page instanceof Error) {
    console.error(page.message);
    return false;
  }
  if (page.before === page.after) return true;
  if (check) {
    console.error(`${page.path}: out of date, run: deno task docs`);
    return false;
  }
  Deno.writeTextFileSync(`${root}/${page.path}`, page.after);
  console.log(page.path);
  return true;
}

async function main(): Promise<void> {
  const { check } = readOptions(Deno.args, { boolean: ["check"] });
  const results = (await pages()).map((page) => settle(page, check === true));
  if (![...results, checkMap()].every(Boolean)) Deno.exit(1);
}

if (import.meta.main) await runTask(main);
