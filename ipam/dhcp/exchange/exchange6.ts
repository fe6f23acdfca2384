/**
 * One exchange of packets with DHCPv6 servers (RFC 8415 sections 15, 16 and 18.2) as a state
 * machine.
 *
 * A packet that answers nothing changes a count and nothing else.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Message6, Options6 } from "../codec/message6.ts";
import type { Status6 } from "../codec/options6.ts";
import type { ServerAnswer6 } from "../codec/server_answer6.ts";
import type { Client6, ClientMessageKind6, ExchangeGoal6 } from "./client_message6.ts";
import type { ExchangeCounts6 } from "./counts6.ts";
import type { Acked, ExchangeState, ExchangeStep, Failed, Refused } from "./exchange.ts";
import { sameBytes } from "../codec/bytes.ts";
import { decodeMessage6, messageType6 } from "../codec/message6.ts";
import { option6, readOption6, statusCode } from "../codec/options6.ts";
import { serverAnswer6 } from "../codec/server_answer6.ts";
import { clientMessage6, serverOf } from "./client_message6.ts";
import { noMoreTries6, statusText, zeroCounts6 } from "./counts6.ts";
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
import { nextWait6, randomized, retransmission6, solMaxRt } from "./retransmission6.ts";

/** What an exchange starts from. Times are milliseconds. */
export interface ExchangeSetup6 {
  readonly goal: ExchangeGoal6;
  readonly client: Client6;
  /** The time now, by the clock that all calls use; best a monotonic one. */
  readonly now: number;
  /** When to give up. */
  readonly deadline: number;
  /** Gives 0 ≤ n < 1. The `xid` is drawn from it, which alone keeps strangers from answering. */
  readonly random: () => number;
}

/** How an exchange ends. The acknowledgement is a REPLY with a lease. */
export type ExchangeOutcome6 =
  | Acked<Message6, ExchangeCounts6>
  /** The address still belongs on the link; the times of its lease are as they were. For `reboot` alone. */
  | { readonly kind: "confirmed"; readonly counts: ExchangeCounts6 }
  | Refused<ExchangeCounts6>
  | Failed<ExchangeCounts6>
  /** A RELEASE or DECLINE has reached the server. */
  | { readonly kind: "sent"; readonly counts: ExchangeCounts6 };

/** What to do next. The last step sends nothing. */
export type ExchangeStep6 = ExchangeStep<ExchangeState6, ExchangeOutcome6>;

/** A server that has advertised the address, or is asked for it. */
interface Offer {
  readonly server: Uint8Array;
  readonly address: Ip;
  readonly preference: number;
}

/** An exchange under way. */
export interface ExchangeState6 extends ExchangeState<ExchangeCounts6> {
  readonly setup: ExchangeSetup6;
  /** The message that is being sent, or a pause between two attempts. */
  readonly phase: ClientMessageKind6 | "pausing";
  /** When the message was first sent. */
  readonly since: number;
  /** Length of the last wait; they double. */
  readonly wait: number;
  /** When this phase is given up. */
  readonly end: number;
  /** `xid` of the last SOLICIT: advertisements may come later than the first one is taken. */
  readonly solicited: number;
  /** The server that is being asked in answer to what it has sent. */
  readonly offer?: Offer | undefined;
  /** Other servers, the best first. */
  readonly others: readonly Offer[];
  /** Servers that have advertised an address in this attempt, in hexadecimal. */
  readonly seen: readonly string[];
  /** Longest wait for an ADVERTISE, as servers wish. */
  readonly solMaxRt: number;
}

const second = 1000;
/** Part of the time left that one server may take to answer REQUEST, while others may be found. */
const requestShare = 1 / 3;
const pause = { first: second, longest: 64 * second } as const;
/** The preference that ends the wait for other servers (section 18.2.1). */
const highestPreference = 255;
/** Servers that are heard in one attempt; more do not advertise in earnest. */
const mostServers = 16;
/** Width of the `xid`. */
const xidBits = 24;
/** No answer has this `xid`. */
const noXid = -1;

/** The first message of an exchange. */
const firstMessage: Readonly<Record<ExchangeGoal6["kind"], ClientMessageKind6>> = {
  acquire: "solicit",
  reboot: "confirm",
  rebind: "rebind",
  renew: "renew",
  release: "release",
  decline: "decline",
};

/**
 * Begins an exchange. The first packet goes at once: the pause of up to a second before it is for
 * hosts that get their power back at one moment (section 18.2.1), while somebody waits for a
 * container.
 */
export function beginExchange6(setup: ExchangeSetup6): ExchangeStep6 {
  const { goal, now } = setup;
  return start({
    setup,
    phase: "pausing",
    xid: 0,
    sent: 0,
    since: now,
    sentAt: now,
    wait: 0,
    until: now,
    end: now,
    pauses: 0,
    solicited: noXid,
    others: [],
    seen: [],
    solMaxRt,
    counts: zeroCounts6,
  }, { phase: firstMessage[goal.kind], now });
}

/** Takes a datagram that arrived on port 546. */
export function receive6(
  state: ExchangeState6,
  { packet, now }: { readonly packet: Uint8Array; readonly now: number },
): ExchangeStep6 {
  const message = decodeMessage6(packet);
  if (!message) return ignored(state, "malformed");
  const { type, xid, options } = message;
  const advertise = type === messageType6.advertise;
  const { client } = state.setup;
  const id = readOption6(options, option6.clientId);
  const ours = xid === (advertise ? state.solicited : state.xid) && id &&
    sameBytes(id, client.duid);
  if (!ours) return ignored(state, "foreign");
  const server = readOption6(options, option6.serverId);
  const answer = serverAnswer6(message);
  if (!server || !(answer.iaid === undefined || answer.iaid === client.iaid)) {
    return ignored(state, "unusable");
  }
  const received = { message, server, answer, now };
  if (advertise) return onAdvertise(withSolMaxRt(state, options), received);
  return type === messageType6.reply
    ? onReply(withSolMaxRt(state, options), received)
    : ignored(state, "unusable");
}

/** Takes the time: at `until` or later, a message is sent or the exchange is given up. */
export function tick6(state: ExchangeState6, now: number): ExchangeStep6 {
  const { setup: { goal, deadline }, phase, until, end, sent, others, refusal } = state;
  if (now < until) return waiting(state);
  if (phase === "pausing") {
    return now < deadline ? start(state, { phase: "solicit", now }) : giveUp(state);
  }
  if (phase === "solicit" && others.length > 0) return requestNext(state, now);
  // Another server might have known better, but had its time.
  if (phase === "confirm" && refusal !== undefined) return refused(state);
  if (now < end && sent < (retransmission6[phase].mrc ?? Infinity)) return transmit(state, now);
  if (phase !== "request") return giveUp(state);
  return goal.kind === "acquire" ? requestNext(state, now) : refused(state);
}

/** Begins to send a message, with a new `xid`. */
function start(
  state: ExchangeState6,
  { phase, now, offer }: {
    readonly phase: ClientMessageKind6;
    readonly now: number;
    readonly offer?: Offer | undefined;
  },
): ExchangeStep6 {
  const { setup: { deadline, random } } = state;
  const xid = drawXid(random, xidBits);
  const { mrd = Infinity } = retransmission6[phase];
  const longest = phase === "request" ? (deadline - now) * requestShare : mrd;
  return transmit({
    ...state,
    phase,
    xid,
    sent: 0,
    since: now,
    wait: 0,
    end: Math.min(now + longest, deadline),
    ...(phase === "solicit" && { solicited: xid, others: [], seen: [] }),
    offer,
  }, now);
}

/** Sends the message of the phase, for the first time or again. */
function transmit(state: ExchangeState6, now: number): ExchangeStep6 {
  const kind = state.phase as ClientMessageKind6;
  const { setup, xid, offer, since, end } = state;
  const wait = nextWait6(kind, { ...state, random: setup.random });
  const until = Math.min(now + wait, end);
  const next = transmitted<ClientMessageKind6, ExchangeState6>({ ...state, wait }, {
    kind,
    now,
    until,
  });
  return waiting(next, clientMessage6(setup, { kind, xid, offer, elapsed: now - since }));
}

/** Takes SOL_MAX_RT, which any answer may set for the messages to come (section 21.24). */
function withSolMaxRt(state: ExchangeState6, options: Options6): ExchangeState6 {
  const seconds = readOption6(options, option6.solMaxRt);
  return seconds === undefined ? state : { ...state, solMaxRt: seconds * second };
}

/** An answer that has arrived. */
interface Received {
  readonly message: Message6;
  readonly server: Uint8Array;
  readonly answer: ServerAnswer6;
  readonly now: number;
}

function onAdvertise(
  state: ExchangeState6,
  { message, server, answer, now }: Received,
): ExchangeStep6 {
  const { status, leased } = answer;
  if (status) return waiting({ ...counted(state, "advertise"), refusal: statusText(status) });
  if (!leased) return ignored(state, "unusable");
  const advertised = counted(state, "advertise");
  const { seen, phase, sent } = state;
  const name = server.toHex();
  if (seen.includes(name) || seen.length === mostServers) return waiting(advertised);
  const preference = readOption6(message.options, option6.preference) ?? 0;
  const offer = { server, address: leased.address, preference };
  // The sort is stable: of equal offers the first one stays first.
  const others = [...state.others, offer].toSorted((a, b) => b.preference - a.preference);
  const next = { ...advertised, others, seen: [...seen, name] };
  const early = sent === 1 && preference < highestPreference;
  return phase === "request" || early ? waiting(next) : requestNext(next, now);
}

/** Asks the best server that has not been asked; begins anew after a pause when there is none. */
function requestNext(state: ExchangeState6, now: number): ExchangeStep6 {
  const { setup, pauses, others: [offer, ...others] } = state;
  if (now >= setup.deadline) return giveUp(state);
  if (offer) {
    return start({ ...state, others, refusal: undefined }, { phase: "request", now, offer });
  }
  const length = randomized(Math.min(pause.first * 2 ** pauses, pause.longest), setup.random);
  return waiting({
    ...state,
    phase: "pausing",
    // A late answer of a server that was given up answers nothing any more.
    xid: noXid,
    solicited: noXid,
    pauses: pauses + 1,
    offer: undefined,
    until: Math.min(now + length, setup.deadline),
  });
}

function onReply(state: ExchangeState6, received: Received): ExchangeStep6 {
  const { goal } = state.setup;
  const asked = state.offer?.server ?? serverOf(goal);
  if (asked && !sameBytes(asked, received.server)) return ignored(state, "unusable");
  switch (state.phase) {
    case "solicit":
      return onReplyToSolicit(state, received);
    case "confirm":
      return onReplyToConfirm(state, received);
    case "release":
    case "decline":
      return onReplyToRelease(state, received);
    default:
      return onReplyToRequest(state, received);
  }
}

/** Takes a lease at once, where rapid commit was asked for (section 18.2.1). */
function onReplyToSolicit(state: ExchangeState6, received: Received): ExchangeStep6 {
  const { message, answer: { status, leased }, now } = received;
  const { client: { rapidCommit = true } } = state.setup;
  const isRapid = rapidCommit && readOption6(message.options, option6.rapidCommit);
  if (!isRapid || !(status || leased)) return ignored(state, "unusable");
  const told = counted(state, "reply");
  return status
    ? waiting({ ...told, refusal: statusText(status) })
    : acked(told, { ack: message, now });
}

/** A server that says no may be wrong as long as another one may say yes (section 18.2.10.2). */
function onReplyToConfirm(
  state: ExchangeState6,
  { answer: { status } }: Received,
): ExchangeStep6 {
  const told = counted(state, "reply");
  if (status) return waiting(withRefusal(told, status));
  return { done: true, outcome: { kind: "confirmed", counts: told.counts } };
}

/** Any reply means that the server has heard, except one that says that it could not act. */
function onReplyToRelease(
  state: ExchangeState6,
  { answer: { status } }: Received,
): ExchangeStep6 {
  const told = counted(state, "reply");
  return status && temporaryStatuses.includes(status.code)
    ? waiting(withRefusal(told, status))
    : { done: true, outcome: { kind: "sent", counts: told.counts } };
}

/** Statuses that say nothing about the address: the message is sent again in time (section 18.2.10). */
const temporaryStatuses: readonly number[] = [statusCode.unspecFail, statusCode.useMulticast];

/** Takes a reply to REQUEST, RENEW or REBIND. */
function onReplyToRequest(state: ExchangeState6, received: Received): ExchangeStep6 {
  const { setup: { goal }, phase } = state;
  const { message, answer: { status, leased, withdrawn }, server, now } = received;
  if (leased) return acked(counted(state, "reply"), { ack: message, now });
  if (!status && !withdrawn) return ignored(state, "unusable");
  const told = withRefusal(counted(state, "reply"), status);
  if (status && temporaryStatuses.includes(status.code)) return waiting(told);
  if (goal.kind === "acquire") return requestNext(told, now);
  if (phase !== "request" && status?.code === statusCode.noBinding) {
    const offer = { server, address: goal.address, preference: 0 };
    return start(told, { phase: "request", now, offer });
  }
  // The server does not extend the lease, nor end it, unless it withdraws the address, too.
  const keeps = status?.code === statusCode.noAddrsAvail && !withdrawn;
  if (phase !== "request" && keeps) return waiting(told);
  return refused(told);
}

function withRefusal(state: ExchangeState6, status: Status6 | undefined): ExchangeState6 {
  return { ...state, refusal: status ? statusText(status) : "server withdrew the address" };
}

function giveUp(state: ExchangeState6): ExchangeStep6 {
  const { setup: { goal }, counts, refusal } = state;
  return failed(state, noMoreTries6({ goal: goal.kind, counts, refusal }));
}
