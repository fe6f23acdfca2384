/**
 * What each packed plugin, and the `cni` command, is granted.
 *
 * @module
 */
import type { Grants } from "../cni/permissions.ts";
import { grantsOf, grantsOfAll, listedEnv, listedPaths } from "../cni/permissions.ts";
import type { Permissions } from "../cni/plugin.ts";
import { knownTools } from "../host/command.ts";
import { loadPlugin, types } from "../registry.ts";

/** Name of the command that is packed with the plugins. */
export const commandName = "cni";

/** Everything that is packed: each plugin, and the `cni` command. */
export const names: readonly string[] = [...types, commandName];

/** What a plugin, or the `cni` command, is granted when it has an executable of its own. */
export async function grantsFor(name: string): Promise<Grants> {
  if (name === commandName) return grantsOfAll();
  const plugin = await loadPlugin(name);
  if (!plugin) throw new Error(unknownName(name));
  requireListed(plugin.type, plugin.permissions);
  return grantsOf(plugin.permissions);
}

/** The names asked for, all when none is. Throws when there is no such name. */
export function selectNames(asked: readonly (string | number)[]): string[] {
  const wrong = asked.find((name) => !names.includes(String(name)));
  if (wrong !== undefined) throw new Error(unknownName(String(wrong)));
  return asked.length > 0 ? asked.map(String) : [...names];
}

function unknownName(name: string): string {
  return `Cannot pack "${name}": expected one of ${names.join(", ")}`;
}

/** Throws when a plugin lists what an executable of all plugins would not know to give up. */
export function requireListed(type: string, { run, read, write, env = [] }: Permissions): void {
  const paths = [read, write].flatMap((paths) => paths === true ? [] : paths);
  const check = (names: readonly string[], known: readonly string[], list: string) => {
    const unlisted = names.filter((name) => !known.includes(name));
    if (unlisted.length === 0) return;
    throw new Error(
      `Cannot pack "${type}": ${unlisted.join(", ")} must stand in ${list}`,
    );
  };
  check(run === "any" ? [] : run, knownTools, "knownTools of host/command.ts");
  check(paths, listedPaths, "listedPaths of cni/permissions.ts");
  check(env, listedEnv, "listedEnv of cni/permissions.ts");
}
