/**
 * One exchange of packets with DHCPv6 servers (RFC 8415 sections 15, 16 and 18.2),
 * as a state machine: packets and a clock in, packets and a time to wait until out.
 * It opens no socket, reads no clock and throws no dice of its own. Its calls and
 * turns are those of `exchange.ts`, so that one loop drives either.
 *
 * A packet that is not a fitting answer changes nothing but a count.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Answer } from "../codec/server_answer6.ts";
import type { Datagram, Ignored } from "./exchange4.ts";
import type { Ia, Status } from "../codec/options6.ts";
import type { Entry, Message, Options } from "../codec/message6.ts";
import { answerOf } from "../codec/server_answer6.ts";
import { noMoreTries } from "./no_more_tries.ts";
import { writeOption } from "../codec/options4.ts";
import { option, readOption, statusCode } from "../codec/options6.ts";
import { decode, encode, messageType } from "../codec/message6.ts";

/** What to reach. A server is named by its DUID. */
export type Goal =
  /** A lease, of this address if the server agrees. */
  | { readonly kind: "acquire"; readonly address?: Ip | undefined }
  /** `reboot`: whether an address still belongs on the link (CONFIRM). `rebind`: its lease again, from whichever server knows. */
  | { readonly kind: "reboot" | "rebind"; readonly address: Ip }
  /** From the server itself. */
  | {
    readonly kind: "renew" | "release" | "decline";
    readonly address: Ip;
    readonly server: Uint8Array;
  };

/** Who asks, and for what: the same in every exchange of an attachment. */
export interface Client {
  /** Value of option 1. */
  readonly duid: Uint8Array;
  /** Number of the association. */
  readonly iaid: number;
  /** Codes of option 6; 82 is always among them. */
  readonly requested: readonly number[];
  /** Further options; what the protocol sets itself does not count among them. */
  readonly provided: Options;
  /** Whether a server may give a lease at once (section 5.1); it may when absent. */
  readonly rapidCommit?: boolean | undefined;
}

/** What an exchange starts from. Times are milliseconds. */
export interface Setup {
  readonly goal: Goal;
  readonly client: Client;
  /** The clock that all calls tell the time of; best one that nobody sets. */
  readonly now: number;
  /** When to give up. */
  readonly deadline: number;
  /** 0 ≤ n < 1. It makes the `xid`, all that keeps strangers from answering: better a good one. */
  readonly random: () => number;
}

/** What was sent and received. */
export interface Counts {
  readonly solicit: number;
  readonly request: number;
  readonly confirm: number;
  readonly renew: number;
  readonly rebind: number;
  readonly release: number;
  readonly decline: number;
  readonly advertise: number;
  readonly reply: number;
  readonly ignored: Ignored;
}

/** How an exchange ends. */
export type Outcome =
  /** `ack` is a REPLY with a lease; `age`: milliseconds since what it answers was sent, from when the lease counts. */
  | { readonly kind: "acked"; readonly ack: Message; readonly age: number; readonly counts: Counts }
  /** The address still belongs on the link; the times of its lease are as they were. For `reboot` alone. */
  | { readonly kind: "confirmed"; readonly counts: Counts }
  /** The server says that the address is not the client's; not for `acquire`, which tries again. */
  | { readonly kind: "refused"; readonly message: string; readonly counts: Counts }
  /** `message` starts with `no more tries`. */
  | { readonly kind: "failed"; readonly message: string; readonly counts: Counts }
  /** A release or decline has reached the server. */
  | { readonly kind: "sent"; readonly counts: Counts };

/** What to do next. */
export type Turn =
  /** Send, if there is something; then hand in what arrives, or the time when it is `until`. */
  | {
    readonly done: false;
    readonly send?: Datagram;
    readonly until: number;
    readonly state: Exchange;
  }
  /** End. Nothing is sent, but the type is that of `exchange.ts`. */
  | { readonly done: true; readonly send?: Datagram; readonly outcome: Outcome };

/** All servers and relays on the link (`ff02::1:2`), port 547; answers come to port 546. */
export const everyone: Ip = { family: 6, bits: 0xff02n << 112n | 0x1_0002n };

/** A server that advertised the address, or is asked for it. */
interface Offer {
  readonly server: Uint8Array;
  readonly address: Ip;
  readonly preference: number;
}

/** What a client sends. */
type Kind = "solicit" | "request" | "confirm" | "renew" | "rebind" | "release" | "decline";

/** An exchange under way; a value, never changed. */
export interface Exchange {
  readonly setup: Setup;
  /** The message that is being sent, or nothing between two attempts. */
  readonly phase: Kind | "pausing";
  readonly xid: number;
  /** Times the message of this phase was sent. */
  readonly sent: number;
  /** When it was first. */
  readonly since: number;
  /** When it was last. */
  readonly sentAt: number;
  /** Length of the last wait; they double. */
  readonly wait: number;
  readonly until: number;
  /** When this phase is given up. */
  readonly end: number;
  readonly pauses: number;
  /** `xid` of the last SOLICIT: advertisements may come later than the first one is taken. */
  readonly solicited: number;
  /** The server that is being asked in answer to what it said. */
  readonly offer?: Offer | undefined;
  /** Others, the best first. */
  readonly others: readonly Offer[];
  /** Servers that have advertised an address in this attempt, in hexadecimal. */
  readonly seen: readonly string[];
  /** Longest wait for an ADVERTISE, as servers wish. */
  readonly solMaxRt: number;
  readonly counts: Counts;
  /** Words of the last refusal. */
  readonly refusal?: string | undefined;
}

const second = 1000;
/** How a message is sent again (section 7.6): first and longest wait, most sendings, longest time. */
interface Retransmission {
  readonly irt: number;
  readonly mrt?: number;
  readonly mrc?: number;
  readonly mrd?: number;
}
const retransmission: Readonly<Record<Kind, Retransmission>> = {
  solicit: { irt: second },
  request: { irt: second, mrt: 30 * second, mrc: 10 },
  confirm: { irt: second, mrt: 4 * second, mrd: 10 * second },
  renew: { irt: 10 * second, mrt: 600 * second },
  rebind: { irt: 10 * second, mrt: 600 * second },
  release: { irt: second, mrc: 4 },
  decline: { irt: second, mrc: 4 },
};
/** SOL_MAX_RT, unless a server says otherwise. */
const solMaxRt = 3600 * second;
/** What RAND varies a wait by. */
const fuzz = 0.1;
/** Waits before a deadline that is near: so that a packet may be lost there, too. */
const near = { parts: 4, shortest: second } as const;
/** Part of the time left that one server may take to answer REQUEST, while others may be found. */
const requestShare = 1 / 3;
const pause = { first: second, longest: 64 * second } as const;
/** The preference that ends the wait for others (section 18.2.1). */
const highestPreference = 255;
/** Servers that are heard in one attempt; more do not advertise in earnest. */
const mostServers = 16;

const firstOf: Readonly<Record<Goal["kind"], Kind>> = {
  acquire: "solicit",
  reboot: "confirm",
  rebind: "rebind",
  renew: "renew",
  release: "release",
  decline: "decline",
};

/**
 * Begins an exchange. The first packet goes at once: the pause of up to a second
 * before it is for hosts that power returns to in one moment (section 18.2.1), while
 * somebody waits for a container.
 */
export function begin(setup: Setup): Turn {
  const { goal, now } = setup;
  const ignored = { malformed: 0, foreign: 0, unusable: 0 };
  const sent = { solicit: 0, request: 0, confirm: 0, renew: 0, rebind: 0, release: 0, decline: 0 };
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
    solicited: -1,
    others: [],
    seen: [],
    solMaxRt,
    counts: { ...sent, advertise: 0, reply: 0, ignored },
  }, { phase: firstOf[goal.kind], now });
}

/** Takes a datagram that arrived on port 546. */
export function receive(
  state: Exchange,
  { packet, now }: { readonly packet: Uint8Array; readonly now: number },
): Turn {
  const message = decode(packet);
  if (!message) return ignore(state, "malformed");
  const { type, xid, options } = message;
  const advertise = type === messageType.advertise;
  const { client } = state.setup;
  const id = readOption(options, option.clientId);
  const ours = xid === (advertise ? state.solicited : state.xid) && id &&
    sameBytes(id, client.duid);
  if (!ours) return ignore(state, "foreign");
  const server = readOption(options, option.serverId);
  const answer = answerOf(message);
  if (!server || !(answer.iaid === undefined || answer.iaid === client.iaid)) {
    return ignore(state, "unusable");
  }
  const said = { message, server, answer, now };
  if (advertise) return onAdvertise(heed(state, options), said);
  return type === messageType.reply
    ? onReply(heed(state, options), said)
    : ignore(state, "unusable");
}

/** Tells the time: at `until` or later, something is sent or given up. */
export function tick(state: Exchange, now: number): Turn {
  const { setup: { goal, deadline }, phase, until, end, sent, others, refusal } = state;
  if (now < until) return waiting(state);
  if (phase === "pausing") {
    return now < deadline ? start(state, { phase: "solicit", now }) : failed(state);
  }
  if (phase === "solicit" && others.length > 0) return requestNext(state, now);
  // Another server might have known better, but had its time.
  if (phase === "confirm" && refusal !== undefined) return refused(state);
  if (now < end && sent < (retransmission[phase].mrc ?? Infinity)) return transmit(state, now);
  if (phase !== "request") return failed(state);
  return goal.kind === "acquire" ? requestNext(state, now) : refused(state);
}

function waiting(state: Exchange, send?: Datagram): Turn {
  return { done: false, ...(send && { send }), until: state.until, state };
}

/** Begins to send a message, under a number of its own. */
function start(
  state: Exchange,
  { phase, now, offer }: {
    readonly phase: Kind;
    readonly now: number;
    readonly offer?: Offer | undefined;
  },
): Turn {
  const { setup: { deadline, random } } = state;
  const xid = Math.floor(random() * 2 ** 24);
  const { mrd = Infinity } = retransmission[phase];
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
function transmit(state: Exchange, now: number): Turn {
  const phase = state.phase as Kind;
  const { counts, sent, end } = state;
  const wait = nextWait(state, phase);
  const next = {
    ...state,
    sent: sent + 1,
    sentAt: now,
    wait,
    until: Math.min(now + wait, end),
    counts: { ...counts, [phase]: counts[phase] + 1 },
  };
  return waiting(next, compose(next, phase));
}

/** Section 15: the first is IRT, each next one twice the last, up to MRT; all vary by RAND. */
function nextWait({ setup, wait, solMaxRt, since, end }: Exchange, phase: Kind): number {
  const { irt, mrt = phase === "solicit" ? solMaxRt : Infinity } = retransmission[phase];
  if (wait === 0) {
    const first = Math.min(irt, Math.max((end - since) / near.parts, near.shortest));
    // Nobody is to miss what a server says after just the first wait.
    return phase === "solicit" ? first * (1 + (1 - setup.random()) * fuzz) : vary(setup, first);
  }
  const doubled = wait + vary(setup, wait);
  return doubled > mrt ? vary(setup, mrt) : doubled;
}

function vary({ random }: Setup, span: number): number {
  return span * (1 + (2 * random() - 1) * fuzz);
}

/** What any answer may say for the messages to come (section 21.24). */
function heed(state: Exchange, options: Options): Exchange {
  const seconds = readOption(options, option.solMaxRt);
  return seconds === undefined ? state : { ...state, solMaxRt: seconds * second };
}

/** An answer, read. */
interface Said {
  readonly message: Message;
  readonly server: Uint8Array;
  readonly answer: Answer;
  readonly now: number;
}

function onAdvertise(state: Exchange, { message, server, answer, now }: Said): Turn {
  const { status, leased } = answer;
  if (status) return waiting({ ...count(state, "advertise"), refusal: refusalOf(status) });
  if (!leased) return ignore(state, "unusable");
  const offered = count(state, "advertise");
  const { seen, phase, sent } = state;
  const name = server.toHex();
  if (seen.includes(name) || seen.length === mostServers) return waiting(offered);
  const preference = readOption(message.options, option.preference) ?? 0;
  const offer = { server, address: leased.address, preference };
  // Of equal ones the first is the fastest.
  const others = [...state.others, offer].toSorted((a, b) => b.preference - a.preference);
  const next = { ...offered, others, seen: [...seen, name] };
  const early = sent === 1 && preference < highestPreference;
  return phase === "request" || early ? waiting(next) : requestNext(next, now);
}

/** Asks the best server that has not been asked; begins anew after a pause when there is none. */
function requestNext(state: Exchange, now: number): Turn {
  const { setup, pauses, others: [offer, ...others] } = state;
  if (now >= setup.deadline) return failed(state);
  if (offer) {
    return start({ ...state, others, refusal: undefined }, { phase: "request", now, offer });
  }
  const length = vary(setup, Math.min(pause.first * 2 ** pauses, pause.longest));
  return waiting({
    ...state,
    phase: "pausing",
    // What comes late from a server that was given up answers nothing any more.
    xid: -1,
    solicited: -1,
    pauses: pauses + 1,
    offer: undefined,
    until: Math.min(now + length, setup.deadline),
  });
}

function onReply(state: Exchange, said: Said): Turn {
  const { goal } = state.setup;
  const asked = state.offer?.server ?? serverOf(goal);
  if (asked && !sameBytes(asked, said.server)) return ignore(state, "unusable");
  switch (state.phase) {
    case "solicit":
      return onRapid(state, said);
    case "confirm":
      return onConfirmation(state, said);
    case "release":
    case "decline":
      return onReceipt(state, said);
    default:
      return onLease(state, said);
  }
}

/** A lease at once, where it was asked for (section 18.2.1). */
function onRapid(state: Exchange, said: Said): Turn {
  const { message: { options }, answer: { status, leased } } = said;
  const { client: { rapidCommit = true } } = state.setup;
  if (!rapidCommit || !readOption(options, option.rapidCommit) || !(status || leased)) {
    return ignore(state, "unusable");
  }
  return status
    ? waiting({ ...count(state, "reply"), refusal: refusalOf(status) })
    : acked(state, said);
}

/** Who says no may be wrong as long as somebody else may say yes (section 18.2.10.2). */
function onConfirmation(state: Exchange, { answer: { status } }: Said): Turn {
  const told = count(state, "reply");
  if (status) return waiting(repliedWith(told, status));
  return { done: true, outcome: { kind: "confirmed", counts: told.counts } };
}

/** Whatever a server says of what it was given back, it has heard it, unless it says that it could not. */
function onReceipt(state: Exchange, { answer: { status } }: Said): Turn {
  const told = count(state, "reply");
  return status && passing.includes(status.code)
    ? waiting(repliedWith(told, status))
    : { done: true, outcome: { kind: "sent", counts: told.counts } };
}

/** What says nothing about the address: the message is sent again when its time comes (section 18.2.10). */
const passing: readonly number[] = [statusCode.unspecFail, statusCode.useMulticast];

/** A reply to REQUEST, RENEW or REBIND. */
function onLease(state: Exchange, said: Said): Turn {
  const { setup: { goal }, phase } = state;
  const { answer: { status, leased, withdrawn }, server, now } = said;
  if (leased) return acked(state, said);
  if (!status && !withdrawn) return ignore(state, "unusable");
  const told = repliedWith(count(state, "reply"), status);
  if (status && passing.includes(status.code)) return waiting(told);
  if (goal.kind === "acquire") return requestNext(told, now);
  if (phase !== "request" && status?.code === statusCode.noBinding) {
    const offer = { server, address: goal.address, preference: 0 };
    return start(told, { phase: "request", now, offer });
  }
  // It gives no more time, and takes none away; unless it says that the address has ended, too.
  const keeps = status?.code === statusCode.noAddrsAvail && !withdrawn;
  if (phase !== "request" && keeps) return waiting(told);
  return refused(told);
}

function repliedWith(state: Exchange, status: Status | undefined): Exchange {
  return { ...state, refusal: status ? refusalOf(status) : "server withdrew the address" };
}

function acked(state: Exchange, { message, now }: Said): Turn {
  const { counts, sentAt } = count(state, "reply");
  return {
    done: true,
    outcome: { kind: "acked", ack: message, age: Math.max(now - sentAt, 0), counts },
  };
}

function refused({ counts, refusal = "" }: Exchange): Turn {
  return { done: true, outcome: { kind: "refused", message: refusal, counts } };
}

/** The server that a goal is about: the others are for all, whatever else they hold. */
function serverOf(goal: Goal): Uint8Array | undefined {
  const { kind } = goal;
  return kind === "renew" || kind === "release" || kind === "decline" ? goal.server : undefined;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function count(state: Exchange, what: "advertise" | "reply"): Exchange {
  return { ...state, counts: { ...state.counts, [what]: state.counts[what] + 1 } };
}

function ignore(state: Exchange, why: keyof Ignored): Turn {
  const { counts } = state;
  const ignored = { ...counts.ignored, [why]: counts.ignored[why] + 1 };
  return waiting({ ...state, counts: { ...counts, ignored } });
}

/** Longest text of a server that is passed on, in characters. */
const longestText = 200;

/** Names of statuses and what they mean here. */
const meanings: Readonly<Record<number, readonly [name: string, meaning: string]>> = {
  [statusCode.unspecFail]: ["UnspecFail", "it could not, and does not say why"],
  [statusCode.noAddrsAvail]: ["NoAddrsAvail", "it has no address to give"],
  [statusCode.noBinding]: ["NoBinding", "it knows of no such lease"],
  [statusCode.notOnLink]: ["NotOnLink", "the address does not belong on this link"],
  [statusCode.useMulticast]: ["UseMulticast", "it got by unicast what was sent by multicast"],
};

/** `server answered NotOnLink: the address does not belong on this link (msg: moved)` */
function refusalOf({ code, message }: Status): string {
  const [name, meaning] = meanings[code] ?? [`status ${code}`, "which is not known here"];
  const words = message.slice(0, longestText).trim();
  return `server answered ${name}: ${meaning}${words ? ` (msg: ${words})` : ""}`;
}

function failed(state: Exchange): Turn {
  const { counts } = state;
  return { done: true, outcome: { kind: "failed", message: describe(state), counts } };
}

function describe(state: Exchange): string {
  const { advertise, reply, ignored, ...sent } = state.counts;
  const messages = Object.entries(sent).filter(([, times]) => times > 0);
  const others = messages.some(([kind]) => kind !== "solicit");
  return noMoreTries({
    sent: messages.map(([kind, times]) => `${times} ${kind.toUpperCase()}`),
    received: [
      sent.solicit > 0 && `${advertise} ADVERTISE`,
      (others || reply > 0) && `${reply} REPLY`,
    ],
    ignored,
    hint: hint(state),
  });
}

/** What most likely lies behind the counts. */
function hint({ setup: { goal }, counts: { advertise, ignored }, refusal }: Exchange): string {
  if (refusal !== undefined) return refusal;
  if (ignored.unusable > 0) {
    return "answers do not fit: of another server, without its identifier, or without a usable address";
  }
  if (advertise > 0) return "do requests reach the server that advertises?";
  if (ignored.malformed > 0) return "what answers is no DHCPv6 server";
  if (ignored.foreign > 0) return "a server answers others: does it know this client?";
  return goal.kind === "acquire" || goal.kind === "rebind" || goal.kind === "reboot"
    ? "does a DHCPv6 server serve this link?"
    : "does the server still run, and is it still on this link?";
}

/** What says what else the client wants to know (section 18.2). */
const withWishes: readonly Kind[] = ["solicit", "request", "renew", "rebind"];

/** Codes that are not taken from what is provided. */
const own: readonly number[] = [
  option.clientId.code,
  option.serverId.code,
  option.ia.code,
  option.requested.code,
  option.elapsedTime.code,
  option.rapidCommit.code,
];

/** Hundredths of a second. */
const longestElapsed = 0xffff;

function compose(state: Exchange, phase: Kind): Datagram {
  const { setup: { goal, client }, offer, xid, since, sentAt } = state;
  const { duid, rapidCommit = true, provided } = client;
  const server = offer?.server ?? serverOf(goal);
  const elapsed = Math.min(Math.max(Math.floor((sentAt - since) / 10), 0), longestElapsed);
  const wishes = withWishes.includes(phase);
  const options: Entry[] = [
    writeOption(option.clientId, duid),
    ...(server ? [writeOption(option.serverId, server)] : []),
    writeOption(option.ia, iaOf(client.iaid, offer?.address ?? goal.address)),
    ...(wishes ? [writeOption(option.requested, requestedOf(client))] : []),
    writeOption(option.elapsedTime, elapsed),
    ...(phase === "solicit" && rapidCommit ? [writeOption(option.rapidCommit, true)] : []),
    ...(wishes ? provided.filter(([code]) => !own.includes(code)) : []),
  ];
  return { bytes: encode({ type: messageType[phase], xid, options }), to: everyone };
}

/** Lifetimes are the server's to say: those of a client are 0. */
function iaOf(iaid: number, address: Ip | undefined): Ia {
  const one = address && { address, preferred: 0, valid: 0, options: [] };
  return { iaid, t1: 0, t2: 0, options: one ? [writeOption(option.iaAddress, one)] : [] };
}

function requestedOf({ requested }: Client): readonly number[] {
  const { code } = option.solMaxRt;
  return requested.includes(code) ? requested : [...requested, code];
}
