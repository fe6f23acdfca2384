/**
 * `bridge vlan`: builders and the reader of its JSON.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { In } from "./ip_link.ts";

/** `bridge vlan add dev PORT vid N [pvid untagged] master` */
export function addVlan(
  dev: string,
  { vid, pvid, netns }: In & { vid: number; pvid?: boolean },
): Command {
  return command("bridge", [
    ...["vlan", "add", "dev", dev, "vid", String(vid)],
    ...(pvid ? ["pvid", "untagged"] : []),
    "master",
  ], { netns });
}

/** `bridge vlan del dev PORT vid N[-M] master` */
export function deleteVlan(
  dev: string,
  { vid, netns }: In & { vid: number | string },
): Command {
  return command("bridge", [
    "vlan",
    "del",
    "dev",
    dev,
    "vid",
    String(vid),
    "master",
  ], { netns });
}
