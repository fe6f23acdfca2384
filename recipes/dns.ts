/**
 * Which `dns` a result gets.
 *
 * @module
 */
import type { Dns } from "../cni/types.ts";

/**
 * The configuration's `dns` replaces that of IPAM as a whole when it has any list,
 * be it empty, or a domain.
 */
export function overrideDns(configured: Dns | undefined, ipam: Dns): Dns {
  const { nameservers, domain, search, options } = configured ?? {};
  return nameservers || search || options || domain ? configured! : ipam;
}
