/**
 * The answer of a DHCPv6 server about the one address that a client asks for (RFC 8415 section
 * 18.2.10).
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Message6 } from "./message6.ts";
import type { IaAddress, Status6 } from "./options6.ts";
import { option6, readOption6, readOptions6, statusCode } from "./options6.ts";

/** A leased address. Times are seconds from the answer; they may be infinite. T1 and T2 of 0 are left to the client. */
export interface LeasedAddress6 extends Pick<IaAddress, "address" | "preferred" | "valid"> {
  readonly t1: number;
  readonly t2: number;
}

/** A server's answer. */
export interface ServerAnswer6 {
  /** Identifier of the IA_NA, if there is one. */
  readonly iaid?: number;
  /** A status other than success, of the message or of the IA_NA. */
  readonly status?: Status6;
  /** Absent with such a status, and when no address is usable. */
  readonly leased?: LeasedAddress6;
  /** Whether every usable address has a valid lifetime of 0: the server withdraws them. */
  readonly withdrawn: boolean;
}

/**
 * Reads an answer. It has one IA_NA, because the client asks for one. Of several usable addresses the
 * one with the longest preferred lifetime counts, the first of equal ones: so a link that is renumbered
 * moves on to the new address.
 */
export function serverAnswer6({ options }: Message6): ServerAnswer6 {
  const count = options.filter(([code]) => code === option6.iaNa.code).length;
  const ia = count === 1 ? readOption6(options, option6.iaNa) : undefined;
  const about = ia && { iaid: ia.iaid };
  const status = [options, ia?.options ?? []]
    .map((where) => readOption6(where, option6.statusCode))
    .find((found) => found && found.code !== statusCode.success);
  const usable = readOptions6(ia?.options ?? [], option6.iaAddress).filter(isUsable);
  const [best] = usable.filter(({ valid }) => valid > 0)
    .toSorted((a, b) => b.preferred - a.preferred);
  const withdrawn = !best && usable.length > 0;
  if (status) return { ...about, status, withdrawn };
  if (!ia || !best) return { ...about, withdrawn };
  const { address, preferred, valid } = best;
  const leased = { address, preferred, valid, t1: ia.t1, t2: ia.t2 };
  return { ...about, leased, withdrawn: false };
}

function isUsable({ address, options }: IaAddress): boolean {
  const status = readOption6(options, option6.statusCode);
  return isRoutableUnicast6(address) && (!status || status.code === statusCode.success);
}

/** Whether an address can be a host's on more than one link: not in 0000::/8, link-local or multicast. */
export function isRoutableUnicast6({ bits }: Ip): boolean {
  const first = Number(bits >> 112n);
  const linkLocal = (first & 0xffc0) === 0xfe80;
  return first >> 8 !== 0 && first >> 8 !== 0xff && !linkLocal;
}
