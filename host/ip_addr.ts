/**
 * `ip addr`: builders.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Cidr } from "./ip.ts";
import { formatCidr } from "./ip.ts";
import type { In } from "./ip_link.ts";

/** How an address is added. */
export interface AddressOptions extends In {
  /** Leave out duplicate address detection (IPv6 only): usable at once. */
  readonly nodad?: boolean;
  /** Leave out the route to the prefix that the kernel adds with an address. */
  readonly noprefixroute?: boolean;
}

/**
 * `ip addr add A/P [brd +] dev X [nodad] [noprefixroute]`: a broadcast address for IPv4 prefixes
 * below 31, as the reference sets it and iproute2 by itself does not.
 */
export function addAddress(
  dev: string,
  { cidr, ...options }: AddressOptions & { cidr: Cidr },
): Command {
  const broadcast = cidr.family === 4 && cidr.prefix < 31 ? ["brd", "+"] : [];
  const nodad = options.nodad && cidr.family === 6 ? ["nodad"] : [];
  return command("ip", [
    ...["addr", "add", formatCidr(cidr), ...broadcast],
    ...["dev", dev, ...nodad],
    ...(options.noprefixroute ? ["noprefixroute"] : []),
  ], options);
}

/** `ip addr del A/P dev X` */
export function deleteAddress(
  dev: string,
  { cidr, netns }: In & { cidr: Cidr },
): Command {
  return command("ip", ["addr", "del", formatCidr(cidr), "dev", dev], {
    netns,
  });
}
