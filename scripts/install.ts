/**
 * Installs the plugins and the `cni` command into a folder, atomically: each file
 * is written beside its place, asked for its version, and then renamed.
 *
 *   deno task install --dest /opt/cni/bin [--launchers] [type…]
 *   deno task install --dest /opt/cni/bin --uninstall
 *
 * Without `--launchers` one executable holds everything, under a hard link for
 * each name. A marker file says which files are ours.
 *
 * @module
 */
import { markerName } from "../cni/delegate.ts";
import { grantsOfAll } from "../cni/permissions.ts";
import { listNames, removeFile, writeFileAtomic } from "../host/files.ts";
import { spawn } from "../host/spawn.ts";
import { bundle, dist, root } from "./build.ts";
import { readOptions, runTask } from "./command_line.ts";
import { compile } from "./compile.ts";
import { launcherText, starterText } from "./launcher.ts";
import type { Marker } from "./marker.ts";
import { readMarker, sizesIn, writeMarker } from "./marker.ts";
import { commandName, grantsFor, selectNames } from "./permissions.ts";

/** What launchers evaluate. */
const launchEntry = `${root}/scripts/launch.ts`;

/** What is installed and where. */
export interface InstallOptions {
  /** Target folder, made when it is missing. */
  readonly dest: string;
  readonly names: readonly string[];
  /** Scripts that run `deno` in place of an executable. */
  readonly launchers?: boolean;
  /** Full path of the Deno that launchers run; this one when absent. */
  readonly deno?: string;
  /** Replace files that are not ours. */
  readonly force?: boolean;
}

/** Installs; gives the names in place. Throws before anything is replaced when something is wrong. */
export async function install(options: InstallOptions): Promise<void> {
  const { dest, names } = options;
  Deno.mkdirSync(dest, { recursive: true });
  const old = readMarker(dest);
  if (!options.force) refuseForeign(dest, names, old);
  const stage = Deno.makeTempDirSync({ dir: dest, prefix: ".denocni-stage-" });
  const bundles = [old.bundle];
  try {
    const bundleName = options.launchers
      ? await stageLaunchers(stage, options)
      : await stageExecutables(stage, names);
    for (const name of names) await verify(`${stage}/${name}`);
    const kept = Object.entries(old.files).filter(([name]) => !names.includes(name));
    const files = { ...Object.fromEntries(kept), ...sizesIn(stage, names) };
    for (const name of names) Deno.renameSync(`${stage}/${name}`, `${dest}/${name}`);
    writeMarker(dest, { files, ...bundleOf(bundleName ?? old.bundle) });
    bundles.push(bundleName);
  } finally {
    removeBundles(dest, bundles);
    Deno.removeSync(stage, { recursive: true });
  }
}

function bundleOf(bundle: string | undefined): Pick<Marker, "bundle"> {
  return bundle === undefined ? {} : { bundle };
}

/** Files of another origin are replaced only by request. */
function refuseForeign(dest: string, names: readonly string[], { files }: Marker): void {
  const foreign = names.filter((name) => {
    const size = sizeIfExists(`${dest}/${name}`);
    return size !== undefined && size !== files[name];
  });
  if (foreign.length === 0) return;
  throw new Error(
    `Cannot install into "${dest}": ${foreign.join(", ")} there come from elsewhere; ` +
      "--force replaces them",
  );
}

function sizeIfExists(path: string): number | undefined {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** One executable, granted what any of its plugins needs; each gives up the rest when it is called. */
async function stageExecutables(stage: string, names: readonly string[]): Promise<undefined> {
  const first = `${stage}/${names[0]}`;
  await compile({ bundle: await bundle(), output: first, grants: grantsOfAll() });
  for (const name of names.slice(1)) linkOrCopy(first, `${stage}/${name}`);
}

/** Not every file system has hard links. */
function linkOrCopy(from: string, to: string): void {
  try {
    Deno.linkSync(from, to);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw error;
    Deno.copyFileSync(from, to);
  }
}

/**
 * Launchers name their bundle by its content, so that those in use go on with the
 * old one. Gives its name.
 */
async function stageLaunchers(stage: string, options: InstallOptions): Promise<string> {
  const { names, deno = Deno.execPath() } = options;
  const dest = Deno.realPathSync(options.dest);
  const text = Deno.readTextFileSync(await bundle(launchEntry, `${dist}/launch.js`));
  const name = `.denocni-${(await sha256(text)).slice(0, 12)}`;
  writeFileAtomic(`${dest}/${name}.txt`, text, { mode: 0o644 });
  writeFileAtomic(`${dest}/${name}.js`, starterText(`${name}.txt`), { mode: 0o644 });
  for (const plugin of names) {
    const grants = await grantsFor(plugin);
    const launcher = launcherText({ name: plugin, grants, deno, starter: `${dest}/${name}.js` });
    Deno.writeTextFileSync(`${stage}/${plugin}`, launcher);
    Deno.chmodSync(`${stage}/${plugin}`, 0o755);
  }
  return name;
}

async function sha256(text: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Asks a file for its version as a runtime does: two variables, nothing on stdin, root's folder. */
export async function verify(file: string): Promise<void> {
  const isCommand = file.endsWith(`/${commandName}`);
  const { code, stdout, stderr } = await spawn(file, isCommand ? ["version"] : [], {
    env: { CNI_COMMAND: "VERSION", CNI_PATH: "/" },
  });
  if (code === 0 && (isCommand || supportedVersions(stdout) > 0)) return;
  throw new Error(`Cannot run "${file}": ${stderr.trim() || stdout.trim() || `exit ${code}`}`);
}

function supportedVersions(stdout: string): number {
  const answer = JSON.parse(stdout) as { supportedVersions?: unknown };
  return Array.isArray(answer.supportedVersions) ? answer.supportedVersions.length : 0;
}

function removeBundles(dest: string, keep: readonly (string | undefined)[]): void {
  for (const name of listNames(dest)) {
    const [, bundle] = /^(\.denocni-[0-9a-f]{12})\.(js|txt)$/.exec(name) ?? [];
    if (bundle !== undefined && !keep.includes(bundle)) removeFile(`${dest}/${name}`);
  }
}

/** Removes what the marker lists. Gives the names that another has replaced since: they stay. */
export function uninstall(dest: string): string[] {
  const { files } = readMarker(dest);
  const replaced = Object.keys(files).filter((name) => {
    const size = sizeIfExists(`${dest}/${name}`);
    return size !== undefined && size !== files[name];
  });
  for (const name of Object.keys(files)) {
    if (!replaced.includes(name)) removeFile(`${dest}/${name}`);
  }
  removeBundles(dest, []);
  removeFile(`${dest}/${markerName}`);
  return replaced;
}

const usage = `deno task install --dest DIR [--launchers] [--force] [--deno PATH] [type…]
deno task install --dest DIR --uninstall

  --dest DIR    folder of the plugins, mostly /opt/cni/bin
  --launchers   scripts that run Deno, in place of an executable
  --deno PATH   the Deno that launchers run, ${Deno.execPath()} when absent
  --force       replace files that are not ours
  --uninstall   remove what was installed there`;

async function main(): Promise<void> {
  const args = readOptions(Deno.args, {
    boolean: ["launchers", "force", "uninstall", "help"],
    string: ["dest", "deno"],
  });
  if (args["help"]) return console.log(usage);
  const dest = args["dest"];
  if (typeof dest !== "string" || dest === "") {
    throw new Error(`Cannot install: --dest is missing\n\n${usage}`);
  }
  if (args["uninstall"]) return reportUninstall(dest);
  const names = selectNames(args._);
  const deno = args["deno"];
  await install({
    dest,
    names,
    launchers: args["launchers"] === true,
    force: args["force"] === true,
    ...(typeof deno === "string" && { deno }),
  });
  console.log(`${dest}: ${names.join(", ")}`);
}

function reportUninstall(dest: string): void {
  const replaced = uninstall(dest);
  if (replaced.length > 0) console.log(`${dest}: left ${replaced.join(", ")}, not ours any more`);
  else console.log(`${dest}: nothing of denocni is left`);
}

if (import.meta.main) await runTask(main);
