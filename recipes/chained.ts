/**
 * What a chained plugin takes from the plugins before it.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { Address } from "./configure.ts";
import { addressesOf } from "./configure.ts";

/** The result of the plugins before this one, for ADD. Throws code 7 when there are none. */
export function requireChained({ prevResult }: Pick<Request<unknown>, "prevResult">): Result {
  if (prevResult) return prevResult;
  throw new CniError(codes.invalidNetworkConfig, "must be called as chained plugin");
}

/**
 * The addresses of the container's interface. One without an index, or with an index
 * of no interface, counts; those of other interfaces and of the host's do not. Where
 * `unmarked`, an interface without a sandbox is the container's if no other has its name.
 */
export function ownAddresses(
  { ifName }: Pick<Request<unknown>, "ifName">,
  { ips, interfaces }: Pick<Result, "ips" | "interfaces">,
  { unmarked = false }: { readonly unmarked?: boolean } = {},
): Address[] {
  const own = interfaces.filter(({ name }) => name === ifName);
  const marked = own.filter(({ sandbox }) => sandbox);
  const accepted = unmarked && marked.length === 0 ? own : marked;
  const isForeign = (index: number | undefined) => {
    const link = index === undefined ? undefined : interfaces[index];
    return link !== undefined && !accepted.includes(link);
  };
  return addressesOf({ ips: ips.filter((ip) => !isForeign(ip.interface)) });
}
