/**
 * Launchers: shell scripts that run the bundled project with an installed Deno,
 * each with the permissions of its plugin.
 *
 * @module
 */
import type { Grants } from "../cni/permissions.ts";
import { shellQuote } from "../host/command.ts";
import { permissionFlags } from "../cni/permissions.ts";

/** What a launcher starts. */
export interface Launcher {
  readonly name: string;
  readonly grants: Grants;
  /** Full path of Deno. */
  readonly deno: string;
  /** Full path of the file with {@linkcode starterText}. */
  readonly starter: string;
}

/**
 * Text of the file that Deno runs: it evaluates the bundle, which it takes as
 * text. Deno parses each module it runs, and without a cache that takes four
 * times as long for the bundle as everything else; text is not parsed, and V8
 * itself compiles only the functions that are called.
 */
export function starterText(bundleName: string): string {
  return `import text from "./${bundleName}" with { type: "text" };
const AsyncFunction = (async () => {}).constructor;
await new AsyncFunction(text)();
`;
}

/**
 * Flags and variables that keep Deno from its caches, its configuration files
 * and its search for updates: a plugin may have no HOME, a read-only root and
 * any working directory, even one that is gone. A cache folder that cannot be made
 * is no error for Deno.
 */
const variables = "DENO_DIR=/dev/null/deno DENO_NO_UPDATE_CHECK=1";
const flags = [
  "--quiet",
  "--no-check",
  "--no-config",
  "--no-lock",
  "--no-remote",
  "--no-npm",
  "--no-code-cache",
];

/** Text of a launcher. */
export function launcherText({ name, grants, deno, starter }: Launcher): string {
  const words = [deno, "run", ...flags, ...permissionFlags(grants), starter, name];
  return `#!/bin/sh
# Runs "${name}" of denocni with Deno.
[ -d "$PWD" ] || cd /
export ${variables}
exec ${words.map(shellQuote).join(" ")} "$@"
`;
}
