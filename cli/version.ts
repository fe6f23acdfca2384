/**
 * `cni version`.
 *
 * @module
 */
import { versions } from "../cni/version.ts";
import { types } from "../registry.ts";
import type { Subcommand } from "./cli.ts";

/** Version of this project; `deno.json` says the same. */
export const version = "0.1.0";

/** Prints versions and plugins. */
export const command: Subcommand = {
  usage: "version [--json]",
  text: "Shows the version of this program, of the protocol, and the plugins it holds.",
  example: "cni version --json",
  flags: ["json"],
  words: { min: 0, max: 0 },
  run(cli) {
    const value = {
      version,
      deno: Deno.version.deno,
      supportedVersions: [...versions],
      plugins: [...types],
    };
    cli.print(value, () =>
      `cni of denocni ${version} (Deno ${Deno.version.deno})
CNI protocol versions supported: ${versions.join(", ")}
Plugins: ${types.join(", ")}
`);
    return Promise.resolve();
  },
};
