/**
 * Bundles the project into one file: what launchers run and what executables are
 * compiled from. Plugins stay lazy in it: none is set up before it is asked for.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";

/** Root of the project, without a slash at its end. */
export const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** Where builds go. */
export const dist = `${root}/dist`;

/** Bundles `entry` with everything it imports into `output`. */
export async function bundle(
  entry = `${root}/main.ts`,
  output = `${dist}/denocni.js`,
): Promise<string> {
  const args = ["bundle", "--quiet", "--no-check", "--platform", "deno", "--output", output, entry];
  const { code, stderr } = await spawn(Deno.execPath(), args, {
    inherit: true,
    env: { NO_COLOR: "1" },
    deadline: 120_000,
  });
  if (code !== 0) throw new Error(`Cannot bundle "${entry}": ${stderr.trim()}`);
  return output;
}

if (import.meta.main) {
  const output = await bundle();
  console.log(`${output}: ${Math.round(Deno.statSync(output).size / 1024)} KiB`);
}
