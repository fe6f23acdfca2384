/**
 * `ip tuntap`: the builder. What a device was made with is read with its link
 * (`ip_link.ts`).
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { NetnsOption } from "./ip_link.ts";

/** The device through which tap devices are made and opened. */
export const tunDevice = "/dev/net/tun";

/** A new tap device. It stays until it is deleted, even when a program closes it. */
export interface TapSpec extends NetnsOption {
  /** Name of the device. */
  readonly name: string;
  /** Number of the user who may open it without privileges. */
  readonly owner?: number | undefined;
  /** Number of the group whose members may. */
  readonly group?: number | undefined;
  /** Whether it may be opened several times. */
  readonly multiQueue?: boolean;
  /** Whether frames begin with protocol information, until whoever opens it decides. */
  readonly pi?: boolean;
  /** Whether frames begin with a header of virtio, until whoever opens it decides. */
  readonly vnetHdr?: boolean;
}

/** `ip tuntap add dev X mode tap [user U] [group G] [multi_queue] [pi] [vnet_hdr]` */
export function addTap({ name, owner, group, multiQueue, pi, vnetHdr, netns }: TapSpec): Command {
  return command("ip", [
    ...["tuntap", "add", "dev", name, "mode", "tap"],
    ...(owner !== undefined ? ["user", `${owner}`] : []),
    ...(group !== undefined ? ["group", `${group}`] : []),
    ...(multiQueue ? ["multi_queue"] : []),
    ...(pi ? ["pi"] : []),
    ...(vnetHdr ? ["vnet_hdr"] : []),
  ], { netns });
}
