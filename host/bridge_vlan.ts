/**
 * `bridge vlan`: builders.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { In } from "./ip_link.ts";

/** `bridge vlan add dev PORT vid N[-M] [pvid untagged] master`; `pvid` takes one VLAN only. */
export function addVlan(
  dev: string,
  { vid, pvid, netns }: In & { vid: number | string; pvid?: boolean },
): Command {
  return command("bridge", [
    ...["vlan", "add", "dev", dev, "vid", String(vid)],
    ...(pvid ? ["pvid", "untagged"] : []),
    "master",
  ], { netns });
}

/** `bridge vlan del dev PORT vid N master` */
export function deleteVlan(dev: string, { vid, netns }: In & { vid: number }): Command {
  return command("bridge", ["vlan", "del", "dev", dev, "vid", String(vid), "master"], { netns });
}
