/**
 * When a DHCPv6 client sends a message again (RFC 8415 sections 7.6 and 15). Times are milliseconds.
 *
 * @module
 */
import type { ClientMessageKind6 } from "./client_message6.ts";

const second = 1000;

/** How a message is sent again. */
export interface Retransmission {
  /** Initial retransmission time. */
  readonly irt: number;
  /** Maximum retransmission time; none when absent. */
  readonly mrt?: number;
  /** Maximum retransmission count; none when absent. */
  readonly mrc?: number;
  /** Maximum retransmission duration; none when absent. */
  readonly mrd?: number;
}

/** The parameters of each message. The MRT of SOLICIT is {@linkcode solMaxRt} or a server's. */
export const retransmission6: Readonly<Record<ClientMessageKind6, Retransmission>> = {
  solicit: { irt: second },
  request: { irt: second, mrt: 30 * second, mrc: 10 },
  confirm: { irt: second, mrt: 4 * second, mrd: 10 * second },
  renew: { irt: 10 * second, mrt: 600 * second },
  rebind: { irt: 10 * second, mrt: 600 * second },
  release: { irt: second, mrc: 4 },
  decline: { irt: second, mrc: 4 },
};

/** SOL_MAX_RT, unless a server says otherwise. */
export const solMaxRt = 3600 * second;

/** RAND is between −0.1 and 0.1. */
const randLimit = 0.1;
/** A near deadline shortens the first wait to a part of the time left, so that a packet may be lost. */
const nearDeadline = { parts: 4, shortest: second } as const;

/** What the next wait depends on. */
export interface WaitState {
  /** Length of the last wait; 0 before the first one. */
  readonly wait: number;
  /** When the message was first sent. */
  readonly since: number;
  /** When it is given up. */
  readonly end: number;
  /** Longest wait for an ADVERTISE, as servers wish. */
  readonly solMaxRt: number;
  /** Gives 0 ≤ n < 1. */
  readonly random: () => number;
}

/** RT: the first wait is IRT, each further one twice the last, up to MRT; all vary by RAND. */
export function nextWait6(
  kind: ClientMessageKind6,
  { wait, since, end, solMaxRt, random }: WaitState,
): number {
  const { irt, mrt = kind === "solicit" ? solMaxRt : Infinity } = retransmission6[kind];
  if (wait === 0) {
    const left = (end - since) / nearDeadline.parts;
    const first = Math.min(irt, Math.max(left, nearDeadline.shortest));
    // RAND of the first SOLICIT is positive (section 18.2.1): servers have at least IRT to answer.
    return kind === "solicit"
      ? first * (1 + (1 - random()) * randLimit)
      : randomized(first, random);
  }
  const doubled = wait + randomized(wait, random);
  return doubled > mrt ? randomized(mrt, random) : doubled;
}

/** A time varied by RAND. `random` gives 0 ≤ n < 1. */
export function randomized(time: number, random: () => number): number {
  return time * (1 + (2 * random() - 1) * randLimit);
}
