/**
 * What a plugin can do at all, by the permissions that it declares: a suite that
 * finds nothing to break or to damage is right for a plugin that can do nothing,
 * and for no other.
 *
 * @module
 */
import type { Permissions } from "../../cni/plugin.ts";
import { loadPlugin } from "../../registry.ts";

async function permissionsOf(type: string): Promise<Permissions> {
  const plugin = await loadPlugin(type);
  if (!plugin) throw new Error(`Cannot load "${type}": not ours`);
  return plugin.permissions;
}

/** Whether a plugin starts programs. */
export async function startsPrograms(type: string): Promise<boolean> {
  const { run } = await permissionsOf(type);
  return run.length > 0;
}

/** Whether a plugin can change the kernel or the disk. */
export async function changesHost(type: string): Promise<boolean> {
  const { run, write } = await permissionsOf(type);
  return run.length > 0 || write === true || write.length > 0;
}
