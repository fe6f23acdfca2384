/**
 * What the answer of a DHCPv6 server says about the one address that an
 * attachment asks for (RFC 8415 section 18.2.10).
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { IaAddress, Status } from "./options6.ts";
import type { Message } from "./message6.ts";
import { option, readOption, readOptions, statusCode } from "./options6.ts";

/** A leased address. Times are seconds from the answer; {@linkcode infinite} has no end, T1 and T2 of 0 are the client's choice. */
export interface Leased extends Pick<IaAddress, "address" | "preferred" | "valid"> {
  readonly t1: number;
  readonly t2: number;
}

/** What an answer says. */
export interface Answer {
  /** Number of the association, where there is one. */
  readonly iaid?: number;
  /** Anything but success, about the whole or about the association. */
  readonly status?: Status;
  /** Absent with such a status, and where there is nothing usable. */
  readonly leased?: Leased;
  /** Whether it names addresses only to say that they may no longer be used. */
  readonly withdrawn: boolean;
}

/**
 * Reads an answer. There is one association, because a client asks for one. Of its
 * usable addresses the one that is preferred for longest counts, the first of equal
 * ones; so that a link which is given new numbers moves on to the new one.
 */
export function answerOf({ options }: Message): Answer {
  const count = options.filter(([code]) => code === option.ia.code).length;
  const ia = count === 1 ? readOption(options, option.ia) : undefined;
  const about = ia && { iaid: ia.iaid };
  const status = [options, ia?.options ?? []]
    .map((where) => readOption(where, option.statusCode))
    .find((found) => found && found.code !== statusCode.success);
  const usable = readOptions(ia?.options ?? [], option.iaAddress).filter(isUsable);
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
  const status = readOption(options, option.statusCode);
  return isHost(address) && (!status || status.code === statusCode.success);
}

/** Whether an address can be one host's on more than one link: neither special, nor link-local, nor of many. */
export function isHost({ bits }: Ip): boolean {
  const first = Number(bits >> 112n);
  const linkLocal = (first & 0xffc0) === 0xfe80;
  return first >> 8 !== 0 && first >> 8 !== 0xff && !linkLocal;
}
