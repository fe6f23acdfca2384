/**
 * How a command enters a network namespace. Nothing else in the project enters
 * one: `ip -n` takes names only, so a path always goes through `nsenter`.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import { toolPath } from "../host/spawn.ts";

/** The program and arguments that carry a command out where it belongs. */
export function argv(
  cmd: Command,
): readonly [path: string, args: readonly string[]] {
  const path = toolPath(cmd.tool);
  if (!cmd.netns) return [path, cmd.args];
  return [toolPath("nsenter"), [
    `--net=${cmd.netns.path}`,
    "--",
    path,
    ...cmd.args,
  ]];
}
