/**
 * One exchange of packets with DHCP servers (RFC 2131 sections 3 and 4.4), as a
 * state machine: packets and a clock in, packets and a time to wait until out. It
 * opens no socket, reads no clock and throws no dice of its own.
 *
 * A packet that is not a fitting answer changes nothing but a count.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Message, Options } from "../codec/message4.ts";
import { sameIp } from "../../../host/ip.ts";
import { noMoreTries } from "./no_more_tries.ts";
import { messageType, option, readOption, writeOption } from "../codec/options4.ts";
import {
  bootReply,
  bootRequest,
  broadcastFlag,
  decode,
  encode,
  unspecified,
} from "../codec/message4.ts";

/** What to reach. */
export type Goal =
  /** A lease, of this address if the server agrees. */
  | { readonly kind: "acquire"; readonly address?: Ip | undefined }
  /** The lease that an address was of (INIT-REBOOT), from whichever server knows. */
  | { readonly kind: "reboot" | "rebind"; readonly address: Ip }
  /** `renew` asks the server itself; `release` and `decline` expect no answer. */
  | { readonly kind: "renew" | "release" | "decline"; readonly address: Ip; readonly server: Ip };

/** Who asks, and for what: the same in every exchange of an attachment. */
export interface Client {
  /** Hardware address of the interface. */
  readonly chaddr: Uint8Array;
  /** Value of option 61. */
  readonly clientId: Uint8Array;
  /** Codes of option 55. */
  readonly requested: readonly number[];
  /** Further options; where they hold 61 or 57, theirs counts. */
  readonly provided: Options;
  /** Wants broadcast answers even where the interface has its address. */
  readonly broadcast?: boolean | undefined;
}

/** What an exchange starts from. Times are milliseconds. */
export interface Setup {
  readonly goal: Goal;
  readonly client: Client;
  /** The clock that all calls tell the time of; best one that nobody sets. */
  readonly now: number;
  /** When to give up. */
  readonly deadline: number;
  /** Wait for the first answer to each message; 10 s when absent, less where the deadline is near. */
  readonly timeout?: number | undefined;
  /** Pauses double until they reach this; 62 s when absent. */
  readonly resendMax?: number | undefined;
  /** 0 ≤ n < 1. It makes the `xid`, all that keeps strangers from answering: better a good one. */
  readonly random: () => number;
}

/** A UDP payload from port 68 to port 67. */
export interface Datagram {
  readonly bytes: Uint8Array;
  /** {@linkcode everyone}, or one server. */
  readonly to: Ip;
}

/** Why packets did not count. */
export interface Ignored {
  /** No DHCP message. */
  readonly malformed: number;
  /** For another client, or another exchange. */
  readonly foreign: number;
  /** For this one, but not of a server or kind that can answer it. */
  readonly unusable: number;
}

/** What was sent and received. */
export interface Counts {
  readonly discover: number;
  readonly request: number;
  readonly offer: number;
  readonly ack: number;
  readonly nak: number;
  readonly ignored: Ignored;
}

/** How an exchange ends. */
export type Outcome =
  /** `age`: milliseconds since the request was sent, from when the lease counts (RFC 2131 section 4.4.1). */
  | { readonly kind: "acked"; readonly ack: Message; readonly age: number; readonly counts: Counts }
  /** The server says that the address is not the client's; not for `acquire`, which tries again. */
  | { readonly kind: "refused"; readonly message: string; readonly counts: Counts }
  /** `message` starts with `no more tries`. */
  | { readonly kind: "failed"; readonly message: string; readonly counts: Counts }
  /** A release or decline is on its way. */
  | { readonly kind: "sent" };

/** What to do next. */
export type Turn =
  /** Send, if there is something; then hand in what arrives, or the time when it is `until`. */
  | {
    readonly done: false;
    readonly send?: Datagram;
    readonly until: number;
    readonly state: Exchange;
  }
  /** Send, if there is something, and end. */
  | { readonly done: true; readonly send?: Datagram; readonly outcome: Outcome };

/** The limited broadcast address. */
export const everyone: Ip = { family: 4, bits: 0xffff_ffffn };

/** An offer that was taken. */
interface Offer {
  readonly address: Ip;
  readonly server: Ip;
}

type Phase = "selecting" | "requesting" | "pausing";

/** An exchange under way; a value, never changed. */
export interface Exchange {
  readonly setup: Setup;
  readonly phase: Phase;
  readonly xid: number;
  /** Times the message of this phase was sent. */
  readonly sent: number;
  /** When the phase's last message was. */
  readonly sentAt: number;
  /** `secs` of that message. */
  readonly secs: number;
  readonly until: number;
  readonly pauses: number;
  /** The one that is being requested. */
  readonly offer?: Offer | undefined;
  readonly counts: Counts;
  /** Words of the last refusal. */
  readonly refusal?: string | undefined;
}

/** Times that one message is sent; the waits double. */
const sendings = 3;
const second = 1000;
const defaults = { timeout: 10 * second, resendMax: 62 * second } as const;
/** Three sendings and their waits take 7 timeouts: so many fit before any deadline. */
const timeoutsToDeadline = 10;
/** No wait is shorter for the sake of the deadline. */
const shortestTimeout = second;
/** What we take in one piece; the reference's. */
const maxMessageSize = 1500;
/** The first pauses, and the one that doubles after them. */
const pause = { quick: 2 * second, quickOnes: 4, base: 4 * second } as const;

/** Begins an exchange. The first packet goes at once. */
export function begin(setup: Setup): Turn {
  const { goal, now } = setup;
  if (goal.kind === "release" || goal.kind === "decline") {
    const datagram = compose(setup, { xid: draw(setup), secs: 0 });
    return { done: true, send: datagram, outcome: { kind: "sent" } };
  }
  const ignored = { malformed: 0, foreign: 0, unusable: 0 };
  return attempt({
    setup,
    phase: "selecting",
    xid: 0,
    sent: 0,
    sentAt: now,
    secs: 0,
    until: now,
    pauses: 0,
    counts: { discover: 0, request: 0, offer: 0, ack: 0, nak: 0, ignored },
  }, now);
}

/** Takes a datagram that arrived on port 68. */
export function receive(
  state: Exchange,
  { packet, now }: { readonly packet: Uint8Array; readonly now: number },
): Turn {
  const message = decode(packet);
  if (!message) return ignore(state, "malformed");
  const { client } = state.setup;
  const ours = message.op === bootReply && message.xid === state.xid &&
    sameBytes(message.chaddr, client.chaddr);
  if (!ours) return ignore(state, "foreign");
  switch (readOption(message.options, option.messageType)) {
    case messageType.offer:
      return onOffer(state, message, now);
    case messageType.ack:
      return onAck(state, message, now);
    case messageType.nak:
      return onNak(state, message, now);
    default:
      return ignore(state, "unusable");
  }
}

/** Tells the time: at `until` or later, something is sent or given up. */
export function tick(state: Exchange, now: number): Turn {
  if (now < state.until) return waiting(state);
  if (now >= state.setup.deadline) return failed(state);
  if (state.phase === "pausing") return attempt(state, now);
  if (state.sent < sendings) return transmit(state, now);
  return state.setup.goal.kind === "acquire" ? pauseFrom(state, now) : failed(state);
}

function waiting(state: Exchange, send?: Datagram): Turn {
  return { done: false, ...(send && { send }), until: state.until, state };
}

/** Starts from the first message, under a number of its own. */
function attempt(state: Exchange, now: number): Turn {
  const phase = state.setup.goal.kind === "acquire" ? "selecting" : "requesting";
  const fresh = { ...state, phase, xid: draw(state.setup), sent: 0, offer: undefined } as const;
  return transmit(fresh, now);
}

/** Sends the message of the phase, for the first time or again. */
function transmit(state: Exchange, now: number): Turn {
  const { setup, phase, offer, counts } = state;
  const elapsed = Math.min(Math.floor((now - setup.now) / second), 0xffff);
  // The request for an offer says what the discovery said (RFC 2131 section 4.4.1).
  const secs = offer ? state.secs : Math.max(elapsed, 0);
  const kind = phase === "selecting" ? "discover" : "request";
  const wait = timeoutOf(setup) * 2 ** state.sent;
  const until = now + wait + jitter(setup, Math.min(second, wait / 10));
  return waiting(
    {
      ...state,
      secs,
      sent: state.sent + 1,
      sentAt: now,
      until: Math.min(until, setup.deadline),
      counts: { ...counts, [kind]: counts[kind] + 1 },
    },
    compose(setup, { xid: state.xid, secs, offer, discover: phase === "selecting" }),
  );
}

function timeoutOf({ timeout = defaults.timeout, now, deadline }: Setup): number {
  const fitting = (deadline - now) / timeoutsToDeadline;
  return Math.min(timeout, Math.max(fitting, shortestTimeout));
}

/** −span ≤ n < span. */
function jitter({ random }: Setup, span: number): number {
  return (2 * random() - 1) * span;
}

function draw({ random }: Setup): number {
  return Math.floor(random() * 2 ** 32);
}

/** Waits before the next attempt; an offer that comes meanwhile is still taken. */
function pauseFrom(state: Exchange, now: number): Turn {
  const { setup } = state;
  const pauses = state.pauses + 1;
  const until = now + pauseBefore(pauses, setup) + jitter(setup, second);
  return waiting({ ...state, phase: "pausing", pauses, until: Math.min(until, setup.deadline) });
}

/** The reference's: four quick pauses, then 8, 16, 32 and 64 s with its usual ceiling. */
function pauseBefore(retry: number, { resendMax = defaults.resendMax }: Setup): number {
  if (retry <= pause.quickOnes) return pause.quick;
  let length: number = pause.base;
  for (let left = retry - pause.quickOnes; left > 0 && length < resendMax; left--) length *= 2;
  return length;
}

function onOffer(state: Exchange, message: Message, now: number): Turn {
  if (state.setup.goal.kind !== "acquire") return ignore(state, "unusable");
  const server = serverOf(message);
  if (!server || !isHost(message.yiaddr)) return ignore(state, "unusable");
  const offered = count(state, "offer");
  // The first one wins; those of other servers came too late, not wrongly.
  if (state.offer) return waiting(offered);
  const offer = { address: message.yiaddr, server };
  return transmit({ ...offered, phase: "requesting", sent: 0, offer }, now);
}

function onAck(state: Exchange, message: Message, now: number): Turn {
  if (!answers(state, message) || !isHost(message.yiaddr)) return ignore(state, "unusable");
  const { counts, sentAt } = count(state, "ack");
  return {
    done: true,
    outcome: { kind: "acked", ack: message, age: Math.max(now - sentAt, 0), counts },
  };
}

function onNak(state: Exchange, message: Message, now: number): Turn {
  if (!answers(state, message)) return ignore(state, "unusable");
  const refusal = refusalOf(message);
  const refused = { ...count(state, "nak"), refusal };
  if (state.setup.goal.kind === "acquire") {
    return pauseFrom({ ...refused, xid: draw(state.setup), offer: undefined }, now);
  }
  return { done: true, outcome: { kind: "refused", message: refusal, counts: refused.counts } };
}

/** Longest text of a server that is passed on, in characters. */
const longestText = 200;

function refusalOf({ options }: Message): string {
  const words = readOption(options, option.message)?.slice(0, longestText).trim();
  return `server rejected request with Nak${words ? ` (msg: ${words})` : ""}`;
}

/** Whether it is from the server that was asked; from any, where all were. */
function answers(state: Exchange, message: Message): boolean {
  const { goal } = state.setup;
  const asked = state.offer?.server ?? (goal.kind === "renew" ? goal.server : undefined);
  const server = serverOf(message);
  if (!server || goal.kind === "acquire" && !asked) return false;
  return !asked || sameIp(asked, server);
}

function serverOf({ options }: Message): Ip | undefined {
  const server = readOption(options, option.serverId);
  return server && isHost(server) ? server : undefined;
}

/** Whether an address can be one host's: neither of this network, nor loopback, nor of many. */
function isHost({ bits }: Ip): boolean {
  const first = Number(bits >> 24n);
  return first !== 0 && first !== 127 && first < 224;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function count(state: Exchange, what: "offer" | "ack" | "nak"): Exchange {
  return { ...state, counts: { ...state.counts, [what]: state.counts[what] + 1 } };
}

function ignore(state: Exchange, why: keyof Ignored): Turn {
  const { counts } = state;
  const ignored = { ...counts.ignored, [why]: counts.ignored[why] + 1 };
  return waiting({ ...state, counts: { ...counts, ignored } });
}

function failed(state: Exchange): Turn {
  const { counts } = state;
  return { done: true, outcome: { kind: "failed", message: describe(state), counts } };
}

function describe(state: Exchange): string {
  const { counts: { discover, request, offer, ack, nak, ignored } } = state;
  const acquiring = state.setup.goal.kind === "acquire";
  return noMoreTries({
    sent: [acquiring && `${discover} DISCOVER`, request > 0 && `${request} REQUEST`],
    received: [
      acquiring && `${offer} OFFER`,
      request > 0 && `${ack} ACK`,
      nak > 0 && `${nak} NAK`,
    ],
    ignored,
    hint: hint(state),
  });
}

/** What most likely lies behind the counts. */
function hint({ setup: { goal }, counts: { offer, ignored }, refusal }: Exchange): string {
  if (refusal !== undefined) return refusal;
  if (ignored.unusable > 0) {
    return "answers do not fit: of another server, without its identifier, or with an address of no host";
  }
  if (offer > 0) {
    return "do requests reach the server that offers, and does it agree with the others?";
  }
  if (goal.kind === "renew") return "does the server still run, and is the way to it open?";
  if (goal.kind !== "acquire") return "does a server know this client?";
  if (ignored.malformed > 0) return "what answers is no DHCP server";
  if (ignored.foreign > 0) {
    return "a server answers others: does it know this client or have a free address?";
  }
  return "is spanning tree forwarding?";
}

interface Wording {
  readonly xid: number;
  readonly secs: number;
  /** The offer to request, where it was one. */
  readonly offer?: Offer | undefined;
  /** Whether it is the first message of an acquisition. */
  readonly discover?: boolean | undefined;
}

/** Which message says what (RFC 2131 section 4.4.1, table 5). */
function compose(setup: Setup, wording: Wording): Datagram {
  const { goal, client } = setup;
  const { kind } = goal;
  const configured = kind === "renew" || kind === "rebind" || kind === "release";
  const answered = kind !== "release" && kind !== "decline";
  const broadcast = answered && (!configured || client.broadcast);
  const unicast = kind === "renew" || kind === "release";
  const message: Message = {
    op: bootRequest,
    htype: 1,
    hops: 0,
    xid: wording.xid,
    secs: wording.secs,
    flags: broadcast ? broadcastFlag : 0,
    ciaddr: configured ? goal.address : unspecified,
    yiaddr: unspecified,
    siaddr: unspecified,
    giaddr: unspecified,
    chaddr: client.chaddr,
    sname: new Uint8Array(),
    file: new Uint8Array(),
    options: new Map([...clientOptions(client, answered), ...goalOptions(goal, wording)]),
  };
  return { bytes: encode(message), to: unicast ? goal.server : everyone };
}

/** What the client says of itself; where no answer is expected, who it is and no more. */
function clientOptions(client: Client, answered: boolean): [number, Uint8Array][] {
  const { clientId, requested, provided } = client;
  const id = provided.get(option.clientId.code) ?? clientId;
  if (!answered) return [[option.clientId.code, id]];
  const given = new Map([
    writeOption(option.parameterList, requested),
    writeOption(option.maxMessageSize, maxMessageSize),
    ...provided,
    [option.clientId.code, id],
  ]);
  return [...given];
}

/** Type of the message, and the address and server where they do not stand elsewhere. */
function goalOptions(goal: Goal, { offer, discover }: Wording): (readonly [number, Uint8Array])[] {
  const type = goal.kind === "release" || goal.kind === "decline"
    ? messageType[goal.kind]
    : discover
    ? messageType.discover
    : messageType.request;
  const address = offer?.address ??
    (goal.kind === "acquire" || goal.kind === "reboot" || goal.kind === "decline"
      ? goal.address
      : undefined);
  const server = offer?.server ??
    (goal.kind === "release" || goal.kind === "decline" ? goal.server : undefined);
  return [
    writeOption(option.messageType, type),
    ...(address ? [writeOption(option.requestedAddress, address)] : []),
    ...(server ? [writeOption(option.serverId, server)] : []),
  ];
}
