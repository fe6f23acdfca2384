/**
 * Asks an IPAM plugin for addresses, and releases them, in the order that it needs.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import type { Removal } from "./removal.ts";
import { removeAll } from "./removal.ts";

/** Keys of the configuration of a plugin with an IPAM plugin. */
export interface IpamConf {
  /** The IPAM plugin; an empty type means that there is none. */
  readonly ipam: { readonly type: string };
}

/** Whether the container's interface must be there, and up, before IPAM is asked. */
export async function needsInterface({ conf, ipam }: Request<IpamConf>): Promise<boolean> {
  return conf.ipam.type !== "" && (await ipam.traits()).needsInterface;
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
  req: Request<IpamConf>,
  removals: readonly Removal[],
): Promise<void> {
  const release = { why: "release addresses", run: () => req.ipam.del() };
  await removeAll(await withRelease(req, { release, removals }));
}

/** GC: removes what is stale, and releases the stale addresses in their place. */
export async function gcWithIpam(
  req: GcRequest<IpamConf>,
  removals: readonly Removal[],
): Promise<void> {
  const release = { why: "release stale addresses", run: () => req.ipam.gc() };
  await removeAll(await withRelease(req, { release, removals }));
}

/**
 * An IPAM plugin that gives an address back over the interface goes first. Any other goes last,
 * and only when nothing is left that may have the address.
 */
async function withRelease(
  { conf, ipam }: Request<IpamConf>,
  { release, removals }: { readonly release: Removal; readonly removals: readonly Removal[] },
): Promise<readonly Removal[]> {
  if (conf.ipam.type === "") return removals;
  if ((await ipam.traits()).releaseFirst) return [release, ...removals];
  return [...removals, { ...release, onlyIfClean: true }];
}
