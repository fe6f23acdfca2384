/**
 * When and how a plugin asks its IPAM plugin for addresses.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";

interface IpamConf {
  readonly ipam: { readonly type: string };
}

/**
 * Plugins known to choose addresses without the network. Any other (`dhcp`) may
 * talk through the container's interface, which then must be there and up.
 */
const choosesByItself: ReadonlySet<string> = new Set(["host-local", "static"]);

/** Whether the container's interface must be there, and up, before IPAM is asked. */
export function needsInterface({ ipam }: IpamConf): boolean {
  return ipam.type !== "" && !choosesByItself.has(ipam.type);
}

/** The addresses of an attachment: none without an IPAM plugin. Throws code 104 when it gives none. */
export async function addAddresses({ conf, ipam }: Request<IpamConf>): Promise<Result> {
  if (!conf.ipam.type) return emptyResult();
  const result = await ipam.add();
  if (result.ips.length > 0) return result;
  throw new CniError(codes.noAddress, "IPAM plugin returned missing IP config");
}
