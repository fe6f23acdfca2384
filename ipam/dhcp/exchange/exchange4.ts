/**
 * One exchange of packets with DHCPv4 servers (RFC 2131 sections 3 and 4.4) as a state machine.
 *
 * A packet that answers nothing changes a count and nothing else.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Message4 } from "../codec/message4.ts";
import type { Client4, ExchangeGoal4, Offer4 } from "./client_message4.ts";
import type { ExchangeCounts4 } from "./counts4.ts";
import type { Acked, ExchangeState, ExchangeStep, Failed, Refused } from "./exchange.ts";
import { sameIp } from "../../../host/ip.ts";
import { sameBytes } from "../codec/bytes.ts";
import { bootReply, decodeMessage4 } from "../codec/message4.ts";
import { messageType4, option4, readOption4 } from "../codec/options4.ts";
import { clientMessage4 } from "./client_message4.ts";
import { nakText, noMoreTries4, zeroCounts4 } from "./counts4.ts";
import {
  acked,
  counted,
  drawXid,
  failed,
  ignored,
  refused,
  transmitted,
  waiting,
} from "./exchange.ts";

/** What an exchange starts from. Times are milliseconds. */
export interface ExchangeSetup4 {
  readonly goal: ExchangeGoal4;
  readonly client: Client4;
  /** The time now, by the clock that all calls use; best a monotonic one. */
  readonly now: number;
  /** When to give up. */
  readonly deadline: number;
  /** Wait for the first answer to each message; 10 s when absent, less where the deadline is near. */
  readonly timeout?: number | undefined;
  /** Pauses double until they reach this; 62 s when absent. */
  readonly resendMax?: number | undefined;
  /** Gives 0 ≤ n < 1. The `xid` is drawn from it, which alone keeps strangers from answering. */
  readonly random: () => number;
}

/** How an exchange ends. */
export type ExchangeOutcome4 =
  | Acked<Message4, ExchangeCounts4>
  | Refused<ExchangeCounts4>
  | Failed<ExchangeCounts4>
  /** A DHCPRELEASE or DHCPDECLINE is on its way. */
  | { readonly kind: "sent" };

/** What to do next. */
export type ExchangeStep4 = ExchangeStep<ExchangeState4, ExchangeOutcome4>;

/** An exchange under way. */
export interface ExchangeState4 extends ExchangeState<ExchangeCounts4> {
  readonly setup: ExchangeSetup4;
  /** SELECTING; REQUESTING or any state that sends DHCPREQUEST; or a pause between two attempts. */
  readonly phase: "selecting" | "requesting" | "pausing";
  /** `secs` of the last message. */
  readonly secs: number;
  /** The offer that is being requested. */
  readonly offer?: Offer4 | undefined;
}

/** Times that one message is sent; the waits double. */
const maxTransmissions = 3;
const second = 1000;
const defaults = { timeout: 10 * second, resendMax: 62 * second } as const;
/** Three transmissions and their waits take 7 timeouts: 10 fit before any deadline. */
const timeoutsToDeadline = 10;
/** No wait is shorter for the sake of the deadline. */
const shortestTimeout = second;
/** The first pauses, and the one that doubles after them. */
const pause = { quick: 2 * second, quickOnes: 4, base: 4 * second } as const;
/** Width of the `xid`. */
const xidBits = 32;

/** Begins an exchange. The first packet goes at once. */
export function beginExchange4(setup: ExchangeSetup4): ExchangeStep4 {
  const { goal, now, random } = setup;
  if (goal.kind === "release" || goal.kind === "decline") {
    const datagram = clientMessage4(setup, { xid: drawXid(random, xidBits), secs: 0 });
    return { done: true, send: datagram, outcome: { kind: "sent" } };
  }
  return attempt({
    setup,
    phase: "selecting",
    xid: 0,
    sent: 0,
    sentAt: now,
    secs: 0,
    until: now,
    pauses: 0,
    counts: zeroCounts4,
  }, now);
}

/** Takes a datagram that arrived on port 68. */
export function receive4(
  state: ExchangeState4,
  { packet, now }: { readonly packet: Uint8Array; readonly now: number },
): ExchangeStep4 {
  const message = decodeMessage4(packet);
  if (!message) return ignored(state, "malformed");
  const { client } = state.setup;
  const ours = message.op === bootReply && message.xid === state.xid &&
    sameBytes(message.chaddr, client.chaddr);
  if (!ours) return ignored(state, "foreign");
  switch (readOption4(message.options, option4.messageType)) {
    case messageType4.offer:
      return onOffer(state, message, now);
    case messageType4.ack:
      return onAck(state, message, now);
    case messageType4.nak:
      return onNak(state, message, now);
    default:
      return ignored(state, "unusable");
  }
}

/** Takes the time: at `until` or later, a message is sent or the exchange is given up. */
export function tick4(state: ExchangeState4, now: number): ExchangeStep4 {
  if (now < state.until) return waiting(state);
  if (now >= state.setup.deadline) return giveUp(state);
  if (state.phase === "pausing") return attempt(state, now);
  if (state.sent < maxTransmissions) return transmit(state, now);
  return state.setup.goal.kind === "acquire" ? pauseFrom(state, now) : giveUp(state);
}

/** Starts from the first message, with a new `xid`. */
function attempt(state: ExchangeState4, now: number): ExchangeStep4 {
  const { goal, random } = state.setup;
  const phase = goal.kind === "acquire" ? "selecting" : "requesting";
  const xid = drawXid(random, xidBits);
  return transmit({ ...state, phase, xid, sent: 0, offer: undefined }, now);
}

/** Sends the message of the phase, for the first time or again. */
function transmit(state: ExchangeState4, now: number): ExchangeStep4 {
  const { setup, xid, phase, offer } = state;
  const elapsed = Math.min(Math.floor((now - setup.now) / second), 0xffff);
  // The request for an offer has the `secs` of the DHCPDISCOVER (RFC 2131 section 4.4.1).
  const secs = offer ? state.secs : Math.max(elapsed, 0);
  const discover = phase === "selecting";
  const wait = timeoutOf(setup) * 2 ** state.sent;
  const until = now + wait + jitter(setup, Math.min(second, wait / 10));
  const next = transmitted<"discover" | "request", ExchangeState4>({ ...state, secs }, {
    kind: discover ? "discover" : "request",
    now,
    until: Math.min(until, setup.deadline),
  });
  return waiting(next, clientMessage4(setup, { xid, secs, offer, discover }));
}

function timeoutOf({ timeout = defaults.timeout, now, deadline }: ExchangeSetup4): number {
  const fitting = (deadline - now) / timeoutsToDeadline;
  return Math.min(timeout, Math.max(fitting, shortestTimeout));
}

/** −span ≤ n < span. */
function jitter({ random }: ExchangeSetup4, span: number): number {
  return (2 * random() - 1) * span;
}

/** Waits before the next attempt; an offer that comes meanwhile is still taken. */
function pauseFrom(state: ExchangeState4, now: number): ExchangeStep4 {
  const { setup } = state;
  const pauses = state.pauses + 1;
  const until = now + pauseBefore(pauses, setup) + jitter(setup, second);
  return waiting({ ...state, phase: "pausing", pauses, until: Math.min(until, setup.deadline) });
}

/** The reference's: four quick pauses, then 8, 16, 32 and 64 s with its usual ceiling. */
function pauseBefore(retry: number, { resendMax = defaults.resendMax }: ExchangeSetup4): number {
  if (retry <= pause.quickOnes) return pause.quick;
  let length: number = pause.base;
  for (let left = retry - pause.quickOnes; left > 0 && length < resendMax; left--) length *= 2;
  return length;
}

function onOffer(state: ExchangeState4, message: Message4, now: number): ExchangeStep4 {
  if (state.setup.goal.kind !== "acquire") return ignored(state, "unusable");
  const server = serverOf(message);
  if (!server || !isUnicast4(message.yiaddr)) return ignored(state, "unusable");
  const offered = counted(state, "offer");
  // The first offer is taken; those of other servers came too late, not wrongly.
  if (state.offer) return waiting(offered);
  const offer = { address: message.yiaddr, server };
  return transmit({ ...offered, phase: "requesting", sent: 0, offer }, now);
}

function onAck(state: ExchangeState4, message: Message4, now: number): ExchangeStep4 {
  if (!answers(state, message) || !isUnicast4(message.yiaddr)) return ignored(state, "unusable");
  return acked(counted(state, "ack"), { ack: message, now });
}

function onNak(state: ExchangeState4, message: Message4, now: number): ExchangeStep4 {
  if (!answers(state, message)) return ignored(state, "unusable");
  const { setup: { goal, random } } = state;
  const told = { ...counted(state, "nak"), refusal: nakText(message.options) };
  if (goal.kind !== "acquire") return refused(told);
  return pauseFrom({ ...told, xid: drawXid(random, xidBits), offer: undefined }, now);
}

/** Whether a message is from the server that was asked; from any server, where all were asked. */
function answers(state: ExchangeState4, message: Message4): boolean {
  const { goal } = state.setup;
  const asked = state.offer?.server ?? (goal.kind === "renew" ? goal.server : undefined);
  const server = serverOf(message);
  if (!server || goal.kind === "acquire" && !asked) return false;
  return !asked || sameIp(asked, server);
}

function serverOf({ options }: Message4): Ip | undefined {
  const server = readOption4(options, option4.serverId);
  return server && isUnicast4(server) ? server : undefined;
}

/** Whether an address can be a host's: neither in 0.0.0.0/8, nor loopback, nor above 223.255.255.255. */
function isUnicast4({ bits }: Ip): boolean {
  const first = Number(bits >> 24n);
  return first !== 0 && first !== 127 && first < 224;
}

function giveUp(state: ExchangeState4): ExchangeStep4 {
  const { setup: { goal }, counts, refusal } = state;
  return failed(state, noMoreTries4({ goal: goal.kind, counts, refusal }));
}
