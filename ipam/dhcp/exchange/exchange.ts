/**
 * What the exchanges of both families have in common. An exchange is a state machine: packets and
 * the time go in, packets and a time to wait until come out. It opens no socket, reads no clock and
 * draws no random numbers of its own.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { IgnoredCounts } from "./counts.ts";

/** What an exchange is for: to acquire a lease, to keep it, or to give it back. */
export type GoalKind = "acquire" | "reboot" | "renew" | "rebind" | "release" | "decline";

/** A UDP payload from the client's port to the server's. */
export interface Datagram {
  readonly bytes: Uint8Array;
  /** Every server, or one. */
  readonly to: Ip;
}

/** What to do next. */
export type ExchangeStep<State, Outcome> =
  /** Send, if there is something; then hand in what arrives, or the time when it is `until`. */
  | {
    readonly done: false;
    readonly send?: Datagram;
    readonly until: number;
    readonly state: State;
  }
  /** Send, if there is something, and end. */
  | { readonly done: true; readonly send?: Datagram; readonly outcome: Outcome };

/** An exchange under way; a value, never changed. Times are milliseconds. */
export interface ExchangeState<Counts> {
  /** Transaction ID of the current message. */
  readonly xid: number;
  /** Number of times that the current message was sent. */
  readonly sent: number;
  /** When it was last sent. */
  readonly sentAt: number;
  /** When to send again, or to give up. */
  readonly until: number;
  /** Number of pauses between attempts so far. */
  readonly pauses: number;
  readonly counts: Counts;
  /** Text of the last refusal. */
  readonly refusal?: string | undefined;
}

/** The exchange got a lease. */
export interface Acked<Message, Counts> {
  readonly kind: "acked";
  readonly ack: Message;
  /** Milliseconds since the request was sent, from when the lease counts (RFC 2131 section 4.4.1). */
  readonly age: number;
  readonly counts: Counts;
}

/** The server says that the address is not the client's; an `acquire` tries again instead. */
export interface Refused<Counts> {
  readonly kind: "refused";
  readonly message: string;
  readonly counts: Counts;
}

/** No server has answered in time. */
export interface Failed<Counts> {
  readonly kind: "failed";
  /** Starts with `no more tries`. */
  readonly message: string;
  readonly counts: Counts;
}

/** Waits for packets until the state's time, after sending a datagram if one is given. */
export function waiting<State extends { readonly until: number }>(
  state: State,
  send?: Datagram,
): ExchangeStep<State, never> {
  return { done: false, ...(send && { send }), until: state.until, state };
}

/** Counts a packet that came. */
export function counted<
  Kind extends string,
  State extends { readonly counts: { readonly [kind in Kind]: number } },
>(state: State, kind: Kind): State {
  return { ...state, counts: { ...state.counts, [kind]: state.counts[kind] + 1 } };
}

/** Notes that a message was sent, for the first time or again. */
export function transmitted<
  Kind extends string,
  State extends ExchangeState<{ readonly [kind in Kind]: number }>,
>(
  state: State,
  { kind, now, until }: { readonly kind: Kind; readonly now: number; readonly until: number },
): State {
  return { ...counted<Kind, State>(state, kind), sent: state.sent + 1, sentAt: now, until };
}

/** Counts a packet that answers nothing, and goes on waiting. */
export function ignored<State extends ExchangeState<{ readonly ignored: IgnoredCounts }>>(
  state: State,
  why: keyof IgnoredCounts,
): ExchangeStep<State, never> {
  const { counts } = state;
  const more = { ...counts.ignored, [why]: counts.ignored[why] + 1 };
  return waiting<State>({ ...state, counts: { ...counts, ignored: more } });
}

/** Ends with the acknowledgement that came now. */
export function acked<Message, Counts>(
  { sentAt, counts }: Pick<ExchangeState<Counts>, "sentAt" | "counts">,
  { ack, now }: { readonly ack: Message; readonly now: number },
): ExchangeStep<never, Acked<Message, Counts>> {
  return {
    done: true,
    outcome: { kind: "acked", ack, age: Math.max(now - sentAt, 0), counts },
  };
}

/** Ends with the refusal that came last. */
export function refused<Counts>(
  { refusal = "", counts }: Pick<ExchangeState<Counts>, "refusal" | "counts">,
): ExchangeStep<never, Refused<Counts>> {
  return { done: true, outcome: { kind: "refused", message: refusal, counts } };
}

/** Ends without an answer. */
export function failed<Counts>(
  { counts }: Pick<ExchangeState<Counts>, "counts">,
  message: string,
): ExchangeStep<never, Failed<Counts>> {
  return { done: true, outcome: { kind: "failed", message, counts } };
}

/** Draws a transaction ID of some bits. `random` gives 0 ≤ n < 1. */
export function drawXid(random: () => number, bits: number): number {
  return Math.floor(random() * 2 ** bits);
}
