/**
 * Checks the import graph: which folder may import which, which packages, what
 * stays lazy, and how large a plugin may be. `deno task ok` runs it.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";

/**
 * The layers from left to right. A file imports from its own folder or from a
 * layer further left; folders on one line know nothing of each other.
 */
const layers: readonly (readonly string[])[] = [
  ["host"],
  ["ns"],
  ["cni"],
  ["recipes"],
  ["plugins", "ipam", "meta"],
  ["registry.ts"],
  ["cli"],
  ["main.ts", "mod.ts"],
  ["scripts", "tests", "bench"],
];

/** Folders that are not shipped. They may import each other. */
const development: readonly string[] = layers.at(-1)!;

/** Folders whose files are plugins, one entry file each. */
const pluginFolders = ["plugins", "ipam", "meta"];

/** Packages that shipped code may import, and those for tests and scripts alone. */
const shippedPackages = /^(@std\/(cli|path|jsonc)\/|ipaddr\.js$)/;
const testPackages = /^@std\/assert$/;

/** What tests beside the code may import besides what is left of it. */
const testHelpers = "tests/harness/";

/** Files outside every layer: signatures of packages, reached through the import map only. */
const packageFolder = "types";

/** Largest plugin: lines of its entry file that hold code, and bytes of everything it loads at once. */
export interface Budget {
  readonly lines: number;
  readonly bytes: number;
}

const usual: Budget = { lines: 220, bytes: 280_000 };
const budgets: Readonly<Record<string, Partial<Budget>>> = {
  loopback: { lines: 110 },
  ptp: { lines: 260 },
  bridge: { lines: 330, bytes: 290_000 },
  dhcp: { lines: 240, bytes: 300_000 },
  // Two back ends, and each looks for what the other has left.
  portmap: { bytes: 285_000 },
};

/** What a plugin may be at most. */
export function budgetOf(type: string): Budget {
  return { ...usual, ...budgets[type] };
}

/** One import of a module. */
export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** The file it leads to; absent for a package. */
  readonly file?: string;
  /** Counted from 1. */
  readonly line: number;
  /** By `import()`. */
  readonly lazy: boolean;
  /** Types alone, nothing when it runs. */
  readonly typeOnly: boolean;
}

/** One file of the project. */
export interface Module {
  /** Path from the project's root. */
  readonly file: string;
  readonly bytes: number;
  /** Lines that hold code: neither blank nor comment. */
  readonly lines: number;
  readonly imports: readonly Import[];
  /** Why it could not be loaded. */
  readonly error?: string;
}

/** Something that breaks a rule. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Checks every rule. */
export function check(modules: readonly Module[]): Problem[] {
  const byFile = new Map(modules.map((module) => [module.file, module]));
  return [
    ...modules.flatMap((module) => module.imports.flatMap((it) => checkImport(module.file, it))),
    ...modules.flatMap(checkLoaded),
    ...modules.filter(({ file }) => pluginType(file)).flatMap((it) => checkPlugin(it, byFile)),
    ...["main.ts", "mod.ts"].flatMap((file) => checkLazy(file, byFile)),
  ].sort((a, b) => a.file.localeCompare(b.file) || a.line - b.line);
}

function checkLoaded({ file, error }: Module): Problem[] {
  return error === undefined ? [] : [{ file, line: 1, message: error }];
}

function checkImport(from: string, it: Import): Problem[] {
  const message = it.file === undefined
    ? packageProblem(from, it.specifier)
    : arrowProblem(from, it as Import & { file: string });
  return message ? [{ file: from, line: it.line, message }] : [];
}

function packageProblem(from: string, specifier: string): string | undefined {
  if (specifier.startsWith("node:")) return `no \`node:\` imports: ${specifier}`;
  if (folderOf(from) === packageFolder) {
    return specifier.startsWith("npm:deno-std@") ? undefined : `only deno-std: ${specifier}`;
  }
  if (shippedPackages.test(specifier)) return undefined;
  if (testPackages.test(specifier) && !isShipped(from)) return undefined;
  return `package "${specifier}" is not on the list in scripts/imports.ts`;
}

function arrowProblem(from: string, { specifier, file }: Import & { file: string }) {
  const [here, there] = [folderOf(from), folderOf(file)];
  if (there === packageFolder) {
    if (here === packageFolder) return undefined;
    return specifier.startsWith(".")
      ? `reach ${packageFolder}/ through the import map, not by path: ${specifier}`
      : packageProblem(from, specifier);
  }
  const [a, b] = [layerOf(here), layerOf(there)];
  if (a === undefined || b === undefined) return `${a ? there : here} is in no layer`;
  if (unitOf(from) === unitOf(file)) return undefined;
  if (pluginFolders.includes(here) && pluginFolders.includes(there)) {
    return `plugins do not know each other: ${file}`;
  }
  if (a > b || here === there) return undefined;
  if (development.includes(here) && development.includes(there)) return undefined;
  if (from.endsWith("_test.ts") && file.startsWith(testHelpers)) return undefined;
  return `${here} imports from the left only, and ${there} is not: ${file}`;
}

function folderOf(file: string): string {
  return file.split("/")[0]!;
}

function layerOf(folder: string): number | undefined {
  const index = layers.findIndex((layer) => layer.includes(folder));
  return index < 0 ? undefined : index;
}

/** Files that belong together: a plugin with its parts and tests; elsewhere, a folder. */
function unitOf(file: string): string {
  const [folder, name = ""] = file.split("/");
  if (!pluginFolders.includes(folder!)) return folder!;
  return `${folder}/${name.replace(/(_test)?\.ts$/, "")}`;
}

/** Type of a plugin whose entry file this is. */
function pluginType(file: string): string | undefined {
  const [, folder, type] = /^([^/]+)\/([^/]+)\.ts$/.exec(file) ?? [];
  if (!pluginFolders.includes(folder ?? "") || type!.endsWith("_test")) return undefined;
  return type;
}

function isShipped(file: string): boolean {
  const folder = folderOf(file);
  return layerOf(folder) !== undefined && !development.includes(folder) &&
    !file.endsWith("_test.ts");
}

function checkPlugin({ file, lines }: Module, byFile: ReadonlyMap<string, Module>): Problem[] {
  const budget = budgetOf(pluginType(file)!);
  const graph = [...loadedAtOnce(file, byFile)];
  const bytes = graph.reduce((sum, name) => sum + (byFile.get(name)?.bytes ?? 0), 0);
  const registered = byFile.get("registry.ts")?.imports.some((it) => it.file === file && it.lazy);
  const messages = [
    lines > budget.lines && `${lines} lines of code, at most ${budget.lines}`,
    bytes > budget.bytes && `loads ${bytes} bytes of source, at most ${budget.bytes}`,
    !registered && "registry.ts does not load it by import()",
  ];
  return messages.filter((it) => it !== false).map((message) => ({ file, line: 1, message }));
}

/** No plugin is loaded before it is asked for. */
function checkLazy(file: string, byFile: ReadonlyMap<string, Module>): Problem[] {
  if (!byFile.has(file)) return [];
  const early = [...loadedAtOnce(file, byFile)]
    .filter((name) => pluginFolders.includes(folderOf(name)));
  return early.map((name) => ({ file, line: 1, message: `${name} is not loaded lazily` }));
}

/** A file and everything it imports, directly or not, except by `import()`. */
function loadedAtOnce(file: string, byFile: ReadonlyMap<string, Module>): Set<string> {
  const seen = new Set<string>();
  const visit = (name: string) => {
    if (seen.has(name)) return;
    seen.add(name);
    for (const { file, lazy, typeOnly } of byFile.get(name)?.imports ?? []) {
      if (file !== undefined && !lazy && !typeOnly) visit(file);
    }
  };
  visit(file);
  return seen;
}

interface Info {
  readonly modules: readonly InfoModule[];
}

interface InfoModule {
  readonly specifier: string;
  readonly local?: string;
  readonly size?: number;
  readonly error?: string;
  readonly dependencies?: readonly InfoDependency[];
}

interface InfoDependency {
  readonly specifier: string;
  readonly isDynamic?: boolean;
  readonly code?: InfoTarget;
  readonly type?: InfoTarget;
}

interface InfoTarget {
  readonly specifier?: string;
  readonly span?: { readonly start: { readonly line: number } };
}

/** Reads the graph of every TypeScript file below `root` with one `deno info`. */
export async function readGraph(root: string): Promise<Module[]> {
  const base = `file://${Deno.realPathSync(root)}/`;
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  const lines = sourceFiles(root).map((file) => `import "${base}${file}";\n`);
  await Deno.writeTextFile(entry, lines.join(""));
  const config = `${root}/deno.json`;
  const output = await spawn(
    Deno.execPath(),
    ["info", "--json", "--no-lock", "--config", config, entry],
    { inherit: true, env: { NO_COLOR: "1" }, deadline: 120_000 },
  );
  await Deno.remove(entry);
  if (output.code !== 0) throw new Error(`Cannot read the import graph: ${output.stderr}`);
  return (JSON.parse(output.stdout) as Info).modules
    .filter(({ specifier }) => specifier.startsWith(base))
    .map((module) => toModule(module, base));
}

/** Folders that hold no source of the project. */
const skipped = new Set(["node_modules", "dist", "coverage"]);

/** Paths of the TypeScript files below a folder. */
export function sourceFiles(root: string, below = ""): string[] {
  return [...Deno.readDirSync(`${root}/${below}`)].flatMap(({ name, isDirectory }) => {
    if (name.startsWith(".") || skipped.has(name)) return [];
    if (isDirectory) return sourceFiles(root, `${below}${name}/`);
    return name.endsWith(".ts") && !name.endsWith(".d.ts") ? [`${below}${name}`] : [];
  }).sort();
}

function toModule(module: InfoModule, base: string): Module {
  return {
    file: module.specifier.slice(base.length),
    bytes: module.size ?? 0,
    lines: module.local === undefined ? 0 : codeLines(Deno.readTextFileSync(module.local)),
    imports: (module.dependencies ?? []).map((it) => toImport(it, base)),
    ...(module.error !== undefined && { error: module.error }),
  };
}

function toImport(dependency: InfoDependency, base: string): Import {
  const target = dependency.code ?? dependency.type;
  const inside = target?.specifier?.startsWith(base);
  return {
    specifier: dependency.specifier,
    ...(inside && { file: target!.specifier!.slice(base.length) }),
    line: (target?.span?.start.line ?? 0) + 1,
    lazy: dependency.isDynamic ?? false,
    typeOnly: dependency.code === undefined,
  };
}

/** Number of lines that hold more than a comment. */
export function codeLines(source: string): number {
  return source.split("\n").filter((line) => !/^\s*($|\/\/|\/\*|\*)/.test(line)).length;
}

if (import.meta.main) {
  const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
  const modules = await readGraph(root);
  const problems = check(modules);
  for (const { file, line, message } of problems) console.error(`${file}:${line}: ${message}`);
  if (problems.length > 0) Deno.exit(1);
  console.log(`${modules.length} modules: the import graph is in order`);
}
