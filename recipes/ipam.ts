/**
 * When and how a plugin asks its IPAM plugin for addresses, and when it gives them back.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import type { Removal } from "./removal.ts";
import { removeAll } from "./removal.ts";

/** What the configuration of a plugin with an IPAM plugin has. */
export interface IpamConf {
  /** The IPAM plugin; an empty type means that there is none. */
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

/** DEL: removes what the plugin has made, and releases the addresses in their place. */
export async function delWithIpam(
  { conf, ipam }: Request<IpamConf>,
  removals: readonly Removal[],
): Promise<void> {
  const release = { why: "release addresses", run: () => ipam.del() };
  await removeAll(withRelease(conf, { release, removals }));
}

/** GC: the same for what is stale. */
export async function gcWithIpam(
  { conf, ipam }: GcRequest<IpamConf>,
  removals: readonly Removal[],
): Promise<void> {
  const release = { why: "release stale addresses", run: () => ipam.gc() };
  await removeAll(withRelease(conf, { release, removals }));
}

/**
 * A lease is given back over the interface: `dhcp` goes first. Any other goes last, and only
 * when nothing is left that may have the address.
 */
function withRelease(
  conf: IpamConf,
  { release, removals }: { readonly release: Removal; readonly removals: readonly Removal[] },
): Removal[] {
  if (conf.ipam.type === "dhcp") return [release, ...removals];
  return [...removals, { ...release, when: conf.ipam.type !== "", onlyIfClean: true }];
}
