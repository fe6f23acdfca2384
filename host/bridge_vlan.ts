/**
 * `bridge vlan`: builders and the reader of what it shows.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";

/** `bridge vlan add dev PORT vid N[-M] [pvid untagged] master`; `pvid` takes one VLAN only. */
export function addVlan(
  dev: string,
  { vid, pvid, netns }: NetnsOption & { vid: number | string; pvid?: boolean },
): Command {
  return command("bridge", [
    ...["vlan", "add", "dev", dev, "vid", String(vid)],
    ...(pvid ? ["pvid", "untagged"] : []),
    "master",
  ], { netns });
}

/** `bridge vlan del dev PORT vid N master` */
export function deleteVlan(dev: string, { vid, netns }: NetnsOption & { vid: number }): Command {
  return command("bridge", ["vlan", "del", "dev", dev, "vid", String(vid), "master"], { netns });
}

/** `bridge -j vlan show` */
export function showVlans(): Command {
  return command("bridge", ["-j", "vlan", "show"]);
}

/** A VLAN that a port is in. */
export interface PortVlan {
  /** VLAN number. */
  readonly vid: number;
  /** Whether untagged frames that come in belong to it. */
  readonly pvid: boolean;
  /** Whether its frames go out untagged. */
  readonly untagged: boolean;
}

interface VlanJson {
  readonly ifname: string;
  readonly vlans?: readonly {
    readonly vlan: number;
    readonly vlanEnd?: number;
    readonly flags?: readonly string[];
  }[];
}

/** VLANs by port, from what {@linkcode showVlans} prints; ranges are expanded. */
export function parseVlans(json: string): Map<string, PortVlan[]> {
  const ports = parseIpJson<VlanJson>(json);
  return new Map(ports.map(({ ifname, vlans = [] }) => [
    ifname,
    vlans.flatMap(({ vlan, vlanEnd = vlan, flags = [] }) =>
      Array.from({ length: vlanEnd - vlan + 1 }, (_, index) => ({
        vid: vlan + index,
        pvid: flags.includes("PVID"),
        untagged: flags.includes("Egress Untagged"),
      }))
    ),
  ]));
}
