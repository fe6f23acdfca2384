/**
 * Compiles self-contained executables. `deno task compile [type…]` makes one for
 * each plugin, and one for the `cni` command, each with its own least permissions.
 *
 * `DENO_COMPILE` names another Deno for the job, and `DENORT_BIN`, which Deno
 * itself reads, a runtime to embed where none can be fetched.
 *
 * @module
 */
import type { Grants } from "../cni/permissions.ts";
import { permissionFlags } from "../cni/permissions.ts";
import { spawn } from "../host/spawn.ts";
import { bundle, dist } from "./build.ts";
import { readOptions, runTask } from "./command_line.ts";
import { readMarker, sizesIn, writeMarker } from "./marker.ts";
import { commandName, grantsFor, selectNames } from "./permissions.ts";

/** Where `deno task compile` puts its executables. */
export const binDir = `${dist}/bin`;

/** What to compile. */
export interface CompileOptions {
  /** The bundled file. */
  readonly bundle: string;
  readonly output: string;
  readonly grants: Grants;
  /** Arguments that the executable always gets first. */
  readonly args?: readonly string[];
}

/** `deno compile` failed, mostly because it has no runtime to embed. */
export class CompileError extends Error {
  override readonly name = "CompileError";
}

/**
 * Compiles one executable. No code cache: it would be a file of a predictable
 * name in the folder for temporary files, which root would then read.
 */
export async function compile(options: CompileOptions): Promise<void> {
  const deno = Deno.env.get("DENO_COMPILE") || Deno.execPath();
  const { code, stderr } = await spawn(deno, compileArgs(options), {
    inherit: true,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    deadline: 300_000,
  });
  if (code === 0) return;
  throw new CompileError(
    `Cannot compile "${options.output}": ${reasonOf(stderr)}\n` +
      "Deno needs a runtime to embed: it fetches one, or takes the file that DENORT_BIN names. " +
      "Without either, install launchers: deno task install --launchers --dest DIR",
  );
}

/** Arguments for `deno`. */
export function compileArgs({ bundle, output, grants, args = [] }: CompileOptions): string[] {
  return [
    "compile",
    "--quiet",
    "--no-check",
    "--no-config",
    "--no-lock",
    "--no-remote",
    "--no-npm",
    "--no-code-cache",
    ...permissionFlags(grants),
    "--output",
    output,
    bundle,
    ...args,
  ];
}

/** The most specific cause that names what was tried: an address, mostly. */
export function reasonOf(stderr: string): string {
  const lines = stderr.split("\n").map((line) => line.trim());
  return lines.find((line) => /^\d+: .*https?:/.test(line))?.replace(/^\d+: /, "") ??
    lines.findLast((line) => line.startsWith("error: "))?.slice("error: ".length) ?? stderr.trim();
}

/** Compiles an executable of its own for each name, with a marker beside them; gives their paths. */
export async function compileEach(names: readonly string[], dir: string): Promise<string[]> {
  Deno.mkdirSync(dir, { recursive: true });
  const file = await bundle();
  const outputs: string[] = [];
  for (const name of names) {
    const output = `${dir}/${name}`;
    // The name is an argument too, so that the executable may be renamed.
    const args = name === commandName ? [] : [name];
    await compile({ bundle: file, output, grants: await grantsFor(name), args });
    outputs.push(output);
  }
  writeMarker(dir, { files: { ...readMarker(dir).files, ...sizesIn(dir, names) } });
  return outputs;
}

async function main(): Promise<void> {
  const { _ } = readOptions(Deno.args, {});
  for (const output of await compileEach(selectNames(_), binDir)) {
    console.log(`${output}: ${Math.round(Deno.statSync(output).size / 1024 / 1024)} MiB`);
  }
}

if (import.meta.main) await runTask(main);
