/**
 * A lease and how it is kept (RFC 2131 section 4.4.5), as a state machine: events
 * with the time in, things to do out. Times are milliseconds since 1970, so that
 * they mean something after a restart. The clock of the machine may be set: back,
 * the times of the lease follow; ahead, nothing is given up before servers are asked.
 *
 * @module
 */
import type { Decoder } from "../../../cni/decode.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Goal } from "../exchange/exchange4.ts";
import type { Message } from "../codec/message4.ts";
import { sameIp } from "../../../host/ip.ts";
import { decoderOf, jsonOf } from "./lease_json.ts";
import { second, timed } from "./lease_times.ts";
import { leastExchange } from "../agent/queue_deadline.ts";
import { messageType, option, readOption } from "../codec/options4.ts";
import { decode, encode } from "../codec/message4.ts";
import { grantedBy, isComplete, sameGrant } from "./parameters4.ts";

/** A lease. Infinite ones have times of `Infinity`. */
export interface Lease<A = Message> {
  /** The last acknowledgement: a DHCPACK, or a REPLY of DHCPv6. */
  readonly ack: A;
  /** When it was asked for: what its times count from. */
  readonly since: number;
  /** When to ask the server, a little before T1. */
  readonly renewAt: number;
  /** When to ask every server, a little before T2. */
  readonly rebindAt: number;
  /** When it ends. */
  readonly expireAt: number;
  /** Set when a server has said that the address is not ours: it must not be used. */
  readonly refused?: true | undefined;
}

/** When something is due about a lease. */
type Times = Pick<Lease<unknown>, "renewAt" | "rebindAt" | "expireAt">;

/** When an acknowledgement came, how many milliseconds after its request, and 0 ≤ n < 1. */
export interface Moment {
  readonly now: number;
  readonly age: number;
  readonly random: () => number;
}

/** What differs between the families. */
export interface Protocol<A, G> {
  /** The lease that an acknowledgement gives; it has been completed. */
  leaseOf(ack: A, moment: Moment): Lease<A>;
  /** What an exchange about a lease is to reach. */
  goalOf(kind: Goal["kind"], ack: A): G;
  /** An acknowledgement with what it leaves to the one before; `undefined` when it gives no lease. */
  completed(ack: A, before: A): A | undefined;
  /** Whether two acknowledgements give an interface the same. */
  same(a: A, b: A): boolean;
}

/** What the machine needs besides events. */
export interface Settings<A = Message, G = Goal> {
  readonly protocol: Protocol<A, G>;
  /** 0 ≤ n < 1. */
  readonly random: () => number;
  /** Longest exchange in milliseconds; 208 s when absent. */
  readonly limit?: number | undefined;
}

/** What happened. */
export type LeaseEvent<A = Message> =
  & {
    /** Milliseconds since 1970. */
    readonly now: number;
  }
  & (
    /** The wait that was asked for is over, by a clock that nobody sets. */
    | { readonly kind: "timer" }
    /** A look for another reason, at any time. */
    | { readonly kind: "look" }
    /** The exchange gave an acknowledgement, to a request of `age` milliseconds ago. */
    | { readonly kind: "acked"; readonly ack: A; readonly age: number }
    /** The exchange ended with a refusal. */
    | { readonly kind: "refused" }
    /** The exchange ended without an answer, or went wrong. */
    | { readonly kind: "failed" }
    /** There was no exchange: the namespace has no such link. */
    | { readonly kind: "link missing" }
    /** There was no exchange: whether the link is there could not be learnt. */
    | { readonly kind: "link unknown" }
    /** The namespace is gone. */
    | { readonly kind: "namespace gone" }
    /** The lease is not wanted any more. */
    | { readonly kind: "stop" }
  );

/** Why a lease is no longer kept. */
export type End = "stopped" | "expired" | "link missing" | "namespace gone";

/** Something to do, in the order given. */
export type Action<A = Message, G = Goal> =
  /** Hand in `timer` when it is so late; in place of the wait before, if that is not over. */
  | { readonly kind: "wait"; readonly until: number }
  /** Hold an exchange of at most so many milliseconds and hand in how it ends. */
  | { readonly kind: "exchange"; readonly goal: G; readonly within: number }
  /** End the exchange under way; how it ends does not matter. */
  | { readonly kind: "cancel" }
  /** Write the lease of the state to the disk. */
  | { readonly kind: "store" }
  /** Give the interface what the new lease says in place of what the old one said. */
  | { readonly kind: "change"; readonly before: Lease<A>; readonly after: Lease<A> }
  /** Take what the lease has given from the interface; a lease to come gives it again. */
  | { readonly kind: "withdraw" }
  /** Tell the server, best effort; from the host where the container's namespace or link is gone. */
  | { readonly kind: "release"; readonly goal: G; readonly from: "container" | "host" }
  /** Remove the lease from the disk; an expired one's address must not be used. */
  | { readonly kind: "end"; readonly reason: End };

/** What is going on with a lease. */
export type Phase = "bound" | "renewing" | "rebinding" | "rebooting" | "acquiring" | "ended";

/** A lease that is kept; a value, never changed. */
export interface Kept<A = Message, G = Goal> {
  readonly settings: Settings<A, G>;
  readonly lease: Lease<A>;
  readonly phase: Phase;
  /** Whether an exchange is under way. */
  readonly running: boolean;
  /** No exchange of this phase before then. */
  readonly retryAt: number;
  /** The latest time we know it has been. */
  readonly seenAt: number;
  /** End of the wait that was asked for, if there is one. */
  readonly wakeAt?: number | undefined;
  /** Looks for the link in vain, and when they began. */
  readonly lookups: { readonly count: number; readonly since: number };
}

/** The next state, and what to do. */
export interface Step<A = Message, G = Goal> {
  readonly state: Kept<A, G>;
  readonly actions: readonly Action<A, G>[];
}

const minute = 60 * second;
const hour = 60 * minute;

/** Seconds of a lease whose server gives no time, and the time that means no end (RFC 2131 section 3.3). */
const usualLease = 3600;
const infinite = 0xffff_ffff;
/** Seconds; a server that gives less costs us more processes than it is worth. */
const shortest = { lease: 4, renewal: 2 } as const;
/** Least time between two renewals (RFC 2131 section 4.4.5). */
const leastRetry = minute;
const usualLimit = 208 * second;
/** What is asked for when the end has come or the clock cannot be trusted. */
const lastChance = { reboot: 30 * second, acquire: minute } as const;
/** Nobody waits longer at once: within this the machine learns that its clock was set. */
const longestWait = hour;
/** Clocks that differ by less are the same. */
const tolerance = 2 * second;
const longestLookupPause = 16 * second;

/** A lease from a DHCPACK that came now, to a request of `age` milliseconds ago. */
export function leaseOf(ack: Message, moment: Moment): Lease {
  return timed(ack, secondsOf(ack), moment);
}

/** T1, T2 and the end; nonsense of a server is replaced by what RFC 2131 takes without it. */
function secondsOf({ options }: Message): Record<"renewal" | "rebinding" | "lease", number> {
  const given = readOption(options, option.leaseTime) || usualLease;
  if (given === infinite) return { renewal: Infinity, rebinding: Infinity, lease: Infinity };
  const lease = Math.max(given, shortest.lease);
  const between = (least: number, list: readonly (number | undefined)[], end: number) =>
    list.find((value) => value !== undefined && value >= least && value < end);
  const t2 = readOption(options, option.rebindingTime);
  const rebinding = between(shortest.renewal + 1, [t2], lease) ?? lease * 0.875;
  const t1 = readOption(options, option.renewalTime);
  const halves = [t1, lease / 2, rebinding * 4 / 7];
  const renewal = between(shortest.renewal, halves, rebinding) ?? shortest.renewal;
  return { renewal, rebinding, lease };
}

/** Whether the address may be used. */
export function holdsAt(
  { expireAt, refused }: Pick<Lease<unknown>, "expireAt" | "refused">,
  now: number,
): boolean {
  return now < expireAt && !refused;
}

/** Begins to keep a lease that has just been acquired. */
export function keep<A, G>(
  lease: Lease<A>,
  { now, settings }: { readonly now: number; readonly settings: Settings<A, G> },
): Step<A, G> {
  return also({ kind: "store" }, due(fresh(lease, settings, now), now));
}

/**
 * Goes on with a lease from the disk. One that has ended meanwhile is asked for
 * again before it is given up, and so is one from the future: the clock was set. One
 * that was refused stays off the interface.
 */
export function resume<A, G>(
  lease: Lease<A>,
  { now, settings }: { readonly now: number; readonly settings: Settings<A, G> },
): Step<A, G> {
  const isOfFuture = now < lease.since - tolerance;
  const known = fresh(isOfFuture ? shifted(lease, now - lease.since) : lease, settings, now);
  const step = lease.refused
    ? also({ kind: "withdraw" }, due(enter(known, "acquiring"), now))
    : due(isOfFuture ? enter(known, "rebooting") : known, now);
  return isOfFuture ? also({ kind: "store" }, step) : step;
}

function fresh<A, G>(lease: Lease<A>, settings: Settings<A, G>, now: number): Kept<A, G> {
  return {
    settings,
    lease,
    phase: "bound",
    running: false,
    retryAt: -Infinity,
    seenAt: now,
    lookups: { count: 0, since: now },
  };
}

/** Takes an event. What comes after the end, or of an exchange that is over, changes nothing. */
export function advance<A, G>(state: Kept<A, G>, event: LeaseEvent<A>): Step<A, G> {
  if (state.phase === "ended") return { state, actions: [] };
  const { state: told, actions } = clock(state, event);
  const step = react(told, event);
  return { state: step.state, actions: [...actions, ...step.actions] };
}

function react<A, G>(state: Kept<A, G>, event: LeaseEvent<A>): Step<A, G> {
  const { kind, now } = event;
  if (kind === "stop") return end(state, "stopped");
  if (kind === "namespace gone") return end(state, kind);
  if (kind === "timer" || kind === "look") return look(state, now);
  if (!state.running) return { state, actions: [] };
  const over = { ...state, running: false };
  switch (kind) {
    case "link missing":
      return end(over, kind);
    case "link unknown":
      return onUnknownLink(over, now);
    case "acked":
      return onAck(over, event);
    case "refused":
      return onRefusal(found(over, now), now);
    case "failed":
      return onFailure(found(over, now), now);
  }
}

/** What is due now, unless an exchange is under way, whose end tells. */
function look<A, G>(state: Kept<A, G>, now: number): Step<A, G> {
  return state.running ? { state, actions: [] } : due(state, now);
}

/**
 * Follows a clock that was set back: no event can come before the last one, nor a
 * timer before the end of its wait.
 */
function clock<A, G>(state: Kept<A, G>, { kind, now }: LeaseEvent<A>): Step<A, G> {
  const woken = kind === "timer" ? state.wakeAt ?? now : now;
  const known = Math.max(state.seenAt, woken);
  if (now >= known - tolerance) return { state: { ...state, seenAt: now }, actions: [] };
  const by = Math.round(now - known);
  const { lease, retryAt, lookups } = state;
  const moved = {
    ...state,
    lease: shifted(lease, by),
    retryAt: retryAt + by,
    lookups: { ...lookups, since: lookups.since + by },
    seenAt: now,
  };
  return { state: moved, actions: [{ kind: "store" }] };
}

function shifted<A>(lease: Lease<A>, by: number): Lease<A> {
  const { since, renewAt, rebindAt, expireAt } = lease;
  return {
    ...lease,
    since: since + by,
    renewAt: renewAt + by,
    rebindAt: rebindAt + by,
    expireAt: expireAt + by,
  };
}

/** The link is there. */
function found<A, G>(state: Kept<A, G>, now: number): Kept<A, G> {
  return { ...state, lookups: { count: 0, since: now } };
}

function enter<A, G>(state: Kept<A, G>, phase: Phase): Kept<A, G> {
  return { ...state, phase, retryAt: -Infinity };
}

/** Waits, or begins the exchange that is due. */
function due<A, G>(state: Kept<A, G>, now: number): Step<A, G> {
  const { phase, retryAt, lease } = state;
  if (phase === "rebooting" || phase === "acquiring") {
    return now < retryAt ? wait(state, { until: retryAt, now }) : exchange(state, now);
  }
  const { phase: reached, until } = reachedAt(lease, now);
  // Whoever has asked every server in vain need not ask whether they remember.
  if (reached === "ended") {
    return due(enter(state, phase === "rebinding" ? "acquiring" : "rebooting"), now);
  }
  if (reached === "bound") return wait(enter(state, reached), { until, now });
  if (reached !== phase) return exchange(enter(state, reached), now);
  return now < retryAt
    ? wait(state, { until: Math.min(retryAt, until), now })
    : exchange(state, now);
}

/** Which phase an undisturbed lease is in, and until when. */
function reachedAt({ renewAt, rebindAt, expireAt }: Times, now: number) {
  if (now >= expireAt) return { phase: "ended", until: Infinity } as const;
  if (now >= rebindAt) return { phase: "rebinding", until: expireAt } as const;
  if (now >= renewAt) return { phase: "renewing", until: rebindAt } as const;
  return { phase: "bound", until: renewAt } as const;
}

function wait<A, G>(
  state: Kept<A, G>,
  { until, now }: { readonly until: number; readonly now: number },
): Step<A, G> {
  const wakeAt = Math.min(until, now + longestWait);
  return { state: { ...state, wakeAt }, actions: [{ kind: "wait", until: wakeAt }] };
}

/** Begins the exchange of the phase. */
function exchange<A, G>(state: Kept<A, G>, now: number): Step<A, G> {
  const { lease, phase, settings: { protocol, limit = usualLimit } } = state;
  const [kind, longest] = exchangeOf(phase, { lease, now });
  const within = Math.min(limit, Math.max(longest, leastExchange));
  const running = { ...state, running: true, wakeAt: undefined };
  const goal = protocol.goalOf(kind, lease.ack);
  return { state: running, actions: [{ kind: "exchange", goal, within }] };
}

function exchangeOf(
  phase: Phase,
  { lease: { rebindAt, expireAt }, now }: { readonly lease: Times; readonly now: number },
): [kind: Goal["kind"], longest: number] {
  switch (phase) {
    case "renewing":
      return ["renew", rebindAt - now];
    case "rebinding":
      return ["rebind", expireAt - now];
    case "rebooting":
      return ["reboot", lastChance.reboot];
    default:
      return ["acquire", Math.max(expireAt - now, lastChance.acquire)];
  }
}

function onFailure<A, G>(state: Kept<A, G>, now: number): Step<A, G> {
  const { phase, lease } = state;
  const { until } = reachedAt(lease, now);
  switch (phase) {
    case "rebooting":
      // Servers that know nothing of a lease are silent: as long as it holds, it is kept.
      return due(enter(state, holdsAt(lease, now) ? "bound" : "acquiring"), now);
    case "acquiring":
      if (now >= lease.expireAt) return end(state, "expired");
      return due({ ...state, retryAt: Math.min(now + leastRetry, lease.expireAt) }, now);
    default:
      return due({ ...state, retryAt: now + Math.max(leastRetry, (until - now) / 2) }, now);
  }
}

/** A refused address is off the interface at once (RFC 2131 section 4.4.5), whatever its lease says. */
function onRefusal<A, G>(state: Kept<A, G>, now: number): Step<A, G> {
  const refused = { ...state, lease: { ...state.lease, refused: true } as const };
  const { state: next, actions } = due(enter(refused, "acquiring"), now);
  return { state: next, actions: [{ kind: "store" }, { kind: "withdraw" }, ...actions] };
}

/**
 * Pauses of 1, 2, 4, 8, 16, 16 … seconds, as long as an exchange may take; then it is as an
 * exchange that failed. A lease that has ended waits no longer than its last chance would take.
 */
function onUnknownLink<A, G>(state: Kept<A, G>, now: number): Step<A, G> {
  const { lease, lookups: { count, since }, settings: { limit = usualLimit } } = state;
  const began = count === 0 ? now : since;
  const longest = holdsAt(lease, now) ? limit : Math.min(limit, lastChance.acquire);
  if (now - began >= longest) return onFailure(found(state, now), now);
  const pause = Math.min(second * 2 ** count, longestLookupPause);
  const lookups = { count: count + 1, since: began };
  return due({ ...state, lookups, retryAt: now + pause }, now);
}

/** Takes the new times, and what the new lease says otherwise. */
function onAck<A, G>(
  state: Kept<A, G>,
  event: LeaseEvent<A> & { readonly kind: "acked" },
): Step<A, G> {
  const { now, age } = event;
  const { lease: before, settings } = state;
  const { protocol, random } = settings;
  const ack = protocol.completed(event.ack, before.ack);
  if (!ack) return onFailure(found(state, now), now);
  const after = protocol.leaseOf(ack, { now, age, random });
  const changed = before.refused || !protocol.same(before.ack, ack);
  const actions: Action<A, G>[] = [
    { kind: "store" },
    ...(changed ? [{ kind: "change", before, after } as const] : []),
  ];
  const step = due(fresh(after, settings, now), now);
  return { state: step.state, actions: [...actions, ...step.actions] };
}

function end<A, G>(state: Kept<A, G>, reason: End): Step<A, G> {
  const { running, lease: { ack, refused }, settings: { protocol } } = state;
  const from = reason === "namespace gone" || reason === "link missing" ? "host" : "container";
  const releases = !refused && (reason === "stopped" || from === "host");
  const actions: Action<A, G>[] = [
    ...(running ? [{ kind: "cancel" } as const] : []),
    ...(releases
      ? [{ kind: "release", goal: protocol.goalOf("release", ack), from } as const]
      : []),
    { kind: "end", reason },
  ];
  return { state: { ...state, phase: "ended", running: false, wakeAt: undefined }, actions };
}

function also<A, G>(action: Action<A, G>, { state, actions }: Step<A, G>): Step<A, G> {
  return { state, actions: [action, ...actions] };
}

function goalOf(kind: Goal["kind"], ack: Message): Goal {
  return { kind, address: ack.yiaddr, server: serverOf(ack)! };
}

function serverOf({ options }: Message): Ip | undefined {
  return readOption(options, option.serverId);
}

/** Whether a lease can be kept with it. */
function isWhole(ack: Message): boolean {
  return serverOf(ack) !== undefined && isComplete(ack);
}

/** An answer for the same address that leaves out the mask means the same one. */
function completed(ack: Message, before: Message): Message | undefined {
  const { code } = option.subnetMask;
  const mask = before.options.get(code);
  const lacking = mask && !ack.options.has(code) && sameIp(ack.yiaddr, before.yiaddr);
  const whole = lacking ? { ...ack, options: new Map([...ack.options, [code, mask]]) } : ack;
  return isWhole(whole) ? whole : undefined;
}

/** What a lease of DHCPv4 has of its own; that of DHCPv6 is in `lease6.ts`. */
export const dhcp4: Protocol<Message, Goal> = {
  leaseOf,
  goalOf,
  completed,
  same: (a, b) => sameGrant(grantedBy(a), grantedBy(b)),
};

/** The lease as JSON for the disk: times as numbers or `"never"`, the DHCPACK in hexadecimal. */
export function leaseToJson({ ack, ...times }: Lease): JsonObject {
  return jsonOf(times, encode(ack));
}

/** Reads what {@linkcode leaseToJson} has written; says what is wrong with anything else. */
export const leaseDecoder: Decoder<Lease> = decoderOf("a DHCPACK", (bytes) => {
  const ack = decode(bytes);
  const type = ack && readOption(ack.options, option.messageType);
  return type === messageType.ack && isWhole(ack!) ? ack : undefined;
});
