/**
 * The life of a lease as a state machine (RFC 2131 section 4.4.5, RFC 8415 section 18.2.4): events
 * with their time go in, actions come out. Times are milliseconds since 1970, so that they mean
 * something after a restart. The host's clock may be set: when it goes back, the times of the lease
 * follow; when it goes ahead, no lease is given up before servers are asked.
 *
 * @module
 */
import type { GoalKind } from "../exchange/exchange.ts";
import type { Lease, LeaseProtocol } from "./lease.ts";
import { isValidAt } from "./lease.ts";
import { second } from "./lease_times.ts";

/** When something is due about a lease. */
type Times = Pick<Lease<unknown>, "renewAt" | "rebindAt" | "expireAt">;

/** Settings of the machine. */
export interface LeaseSettings<A, G> {
  readonly protocol: LeaseProtocol<A, G>;
  /** Gives 0 ≤ n < 1. */
  readonly random: () => number;
  /** Longest exchange in milliseconds; 208 s when absent. */
  readonly limit?: number | undefined;
}

/** What happened. */
export type LeaseEvent<A> =
  & {
    /** Milliseconds since 1970. */
    readonly now: number;
  }
  & (
    /** The wait is over, by a monotonic clock. */
    | { readonly kind: "timer" }
    /** The machine is to look what is due; at any time. */
    | { readonly kind: "look" }
    /** The exchange has got an acknowledgement, of a request `age` milliseconds ago. */
    | { readonly kind: "acked"; readonly ack: A; readonly age: number }
    /** The exchange has ended with a refusal. */
    | { readonly kind: "refused" }
    /** The exchange has ended without an answer, or has failed. */
    | { readonly kind: "failed" }
    /** There was no exchange: the namespace has no such link. */
    | { readonly kind: "link missing" }
    /** There was no exchange: nobody could find out whether the link is there. */
    | { readonly kind: "link unknown" }
    /** The namespace is gone. */
    | { readonly kind: "namespace gone" }
    /** Nobody wants the lease any more. */
    | { readonly kind: "stop" }
  );

/** Why a lease is no longer kept. */
export type LeaseEnd = "stopped" | "expired" | "link missing" | "namespace gone";

/** An action; the actions of a step have an order. */
export type LeaseAction<A, G> =
  /** Hand in `timer` at a time; this replaces a wait that is not over. */
  | { readonly kind: "wait"; readonly until: number }
  /** Run an exchange of at most `within` milliseconds and hand in how it ends. */
  | { readonly kind: "exchange"; readonly goal: G; readonly within: number }
  /** Cancel the exchange under way, whatever its result. */
  | { readonly kind: "cancel" }
  /** Write the state's lease to the disk. */
  | { readonly kind: "store" }
  /** Configure the interface by the new lease in place of the old one. */
  | { readonly kind: "change"; readonly before: Lease<A>; readonly after: Lease<A> }
  /** Remove what the lease has given the interface; a later lease gives it again. */
  | { readonly kind: "withdraw" }
  /** Release the lease, best effort; from the host when the container's namespace or link is gone. */
  | { readonly kind: "release"; readonly goal: G; readonly from: "container" | "host" }
  /** Remove the lease from the disk; the address of an expired lease must not be used. */
  | { readonly kind: "end"; readonly reason: LeaseEnd };

/**
 * State of a lease: BOUND, RENEWING, REBINDING, REBOOTING; `acquiring` stands for INIT, SELECTING and
 * REQUESTING.
 */
export type LeasePhase = "bound" | "renewing" | "rebinding" | "rebooting" | "acquiring" | "ended";

/** A lease that is kept; the value never changes. */
export interface LeaseState<A, G> {
  readonly settings: LeaseSettings<A, G>;
  readonly lease: Lease<A>;
  readonly phase: LeasePhase;
  /** Whether an exchange is under way. */
  readonly running: boolean;
  /** Earliest time of the phase's next exchange. */
  readonly retryAt: number;
  /** Latest known time. */
  readonly seenAt: number;
  /** End of the wait, if there is one. */
  readonly wakeAt?: number | undefined;
  /** Number of failed attempts to find out whether the link is there, and when they began. */
  readonly lookups: { readonly count: number; readonly since: number };
}

/** The next state, and the actions. */
export interface LeaseStep<A, G> {
  readonly state: LeaseState<A, G>;
  readonly actions: readonly LeaseAction<A, G>[];
}

/** The shortest exchange that is worth its process, in milliseconds. */
export const shortestExchange = 1000;

const minute = 60 * second;
const hour = 60 * minute;

/** Least time between two renewals (RFC 2131 section 4.4.5). */
const leastRetry = minute;
const usualLimit = 208 * second;
/** Milliseconds for a last exchange, when the lease has expired or the clock cannot be trusted. */
const lastChance = { reboot: 30 * second, acquire: minute } as const;
/** Longest wait at once: within this time the machine finds out that its clock was set. */
const longestWait = hour;
/** Clocks that differ by less are the same. */
const tolerance = 2 * second;
const longestLookupPause = 16 * second;

/** Begins to keep a lease that was just acquired (BOUND). */
export function bindLease<A, G>(
  lease: Lease<A>,
  { now, settings }: { readonly now: number; readonly settings: LeaseSettings<A, G> },
): LeaseStep<A, G> {
  return also({ kind: "store" }, due(fresh(lease, settings, now), now));
}

/**
 * Goes on with a lease from the disk. Servers are asked for an expired lease before it is given up, and
 * for one from the future, since the clock was set. A refused lease stays off the interface.
 */
export function resumeLease<A, G>(
  lease: Lease<A>,
  { now, settings }: { readonly now: number; readonly settings: LeaseSettings<A, G> },
): LeaseStep<A, G> {
  const isOfFuture = now < lease.since - tolerance;
  const known = fresh(isOfFuture ? shifted(lease, now - lease.since) : lease, settings, now);
  const step = lease.refused
    ? also({ kind: "withdraw" }, due(enter(known, "acquiring"), now))
    : due(isOfFuture ? enter(known, "rebooting") : known, now);
  return isOfFuture ? also({ kind: "store" }, step) : step;
}

function fresh<A, G>(
  lease: Lease<A>,
  settings: LeaseSettings<A, G>,
  now: number,
): LeaseState<A, G> {
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

/** Takes an event. Events after the end, and of exchanges that are over, change nothing. */
export function advanceLease<A, G>(state: LeaseState<A, G>, event: LeaseEvent<A>): LeaseStep<A, G> {
  if (state.phase === "ended") return { state, actions: [] };
  const { state: told, actions } = clock(state, event);
  const step = react(told, event);
  return { state: step.state, actions: [...actions, ...step.actions] };
}

function react<A, G>(state: LeaseState<A, G>, event: LeaseEvent<A>): LeaseStep<A, G> {
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

/** Does what is due now, unless an exchange is under way, whose end will tell. */
function look<A, G>(state: LeaseState<A, G>, now: number): LeaseStep<A, G> {
  return state.running ? { state, actions: [] } : due(state, now);
}

/**
 * Follows a clock that was set back: an event cannot come before the last one, nor a timer before the
 * end of its wait.
 */
function clock<A, G>(state: LeaseState<A, G>, { kind, now }: LeaseEvent<A>): LeaseStep<A, G> {
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

/** Notes that the link is there. */
function found<A, G>(state: LeaseState<A, G>, now: number): LeaseState<A, G> {
  return { ...state, lookups: { count: 0, since: now } };
}

function enter<A, G>(state: LeaseState<A, G>, phase: LeasePhase): LeaseState<A, G> {
  return { ...state, phase, retryAt: -Infinity };
}

/** Waits, or begins the exchange that is due. */
function due<A, G>(state: LeaseState<A, G>, now: number): LeaseStep<A, G> {
  const { phase, retryAt, lease } = state;
  if (phase === "rebooting" || phase === "acquiring") {
    return now < retryAt ? wait(state, { until: retryAt, now }) : exchange(state, now);
  }
  const { phase: reached, until } = reachedAt(lease, now);
  // After REBINDING in vain, INIT-REBOOT would ask the same servers the same.
  if (reached === "ended") {
    return due(enter(state, phase === "rebinding" ? "acquiring" : "rebooting"), now);
  }
  if (reached === "bound") return wait(enter(state, reached), { until, now });
  if (reached !== phase) return exchange(enter(state, reached), now);
  return now < retryAt
    ? wait(state, { until: Math.min(retryAt, until), now })
    : exchange(state, now);
}

/** Gives the phase of an undisturbed lease, and its end. */
function reachedAt({ renewAt, rebindAt, expireAt }: Times, now: number) {
  if (now >= expireAt) return { phase: "ended", until: Infinity } as const;
  if (now >= rebindAt) return { phase: "rebinding", until: expireAt } as const;
  if (now >= renewAt) return { phase: "renewing", until: rebindAt } as const;
  return { phase: "bound", until: renewAt } as const;
}

function wait<A, G>(
  state: LeaseState<A, G>,
  { until, now }: { readonly until: number; readonly now: number },
): LeaseStep<A, G> {
  const wakeAt = Math.min(until, now + longestWait);
  return { state: { ...state, wakeAt }, actions: [{ kind: "wait", until: wakeAt }] };
}

/** Begins the exchange of the phase. */
function exchange<A, G>(state: LeaseState<A, G>, now: number): LeaseStep<A, G> {
  const { lease, phase, settings: { protocol, limit = usualLimit } } = state;
  const [kind, longest] = exchangeOf(phase, { lease, now });
  const within = Math.min(limit, Math.max(longest, shortestExchange));
  const running = { ...state, running: true, wakeAt: undefined };
  const goal = protocol.goalOf(kind, lease.ack);
  return { state: running, actions: [{ kind: "exchange", goal, within }] };
}

function exchangeOf(
  phase: LeasePhase,
  { lease: { rebindAt, expireAt }, now }: { readonly lease: Times; readonly now: number },
): [kind: GoalKind, longest: number] {
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

function onFailure<A, G>(state: LeaseState<A, G>, now: number): LeaseStep<A, G> {
  const { phase, lease } = state;
  const { until } = reachedAt(lease, now);
  switch (phase) {
    case "rebooting":
      // A server that does not know the lease is silent: it is kept as long as it is valid.
      return due(enter(state, isValidAt(lease, now) ? "bound" : "acquiring"), now);
    case "acquiring":
      if (now >= lease.expireAt) return end(state, "expired");
      return due({ ...state, retryAt: Math.min(now + leastRetry, lease.expireAt) }, now);
    default:
      return due({ ...state, retryAt: now + Math.max(leastRetry, (until - now) / 2) }, now);
  }
}

/** Removes a refused address from the interface at once (RFC 2131 section 4.4.5), before its lease ends. */
function onRefusal<A, G>(state: LeaseState<A, G>, now: number): LeaseStep<A, G> {
  const refused = { ...state, lease: { ...state.lease, refused: true } as const };
  const { state: next, actions } = due(enter(refused, "acquiring"), now);
  return { state: next, actions: [{ kind: "store" }, { kind: "withdraw" }, ...actions] };
}

/**
 * Looks again after pauses of 1, 2, 4, 8, 16, 16 … seconds, for the longest time of an exchange; then the
 * exchange counts as failed. For an expired lease, the time is that of a last exchange.
 */
function onUnknownLink<A, G>(state: LeaseState<A, G>, now: number): LeaseStep<A, G> {
  const { lease, lookups: { count, since }, settings: { limit = usualLimit } } = state;
  const began = count === 0 ? now : since;
  const longest = isValidAt(lease, now) ? limit : Math.min(limit, lastChance.acquire);
  if (now - began >= longest) return onFailure(found(state, now), now);
  const pause = Math.min(second * 2 ** count, longestLookupPause);
  const lookups = { count: count + 1, since: began };
  return due({ ...state, lookups, retryAt: now + pause }, now);
}

/** Takes the new lease: its times, and changed parameters. */
function onAck<A, G>(
  state: LeaseState<A, G>,
  event: LeaseEvent<A> & { readonly kind: "acked" },
): LeaseStep<A, G> {
  const { now, age } = event;
  const { lease: before, settings } = state;
  const { protocol, random } = settings;
  const ack = protocol.completed(event.ack, before.ack);
  if (!ack) return onFailure(found(state, now), now);
  const after = protocol.leaseOf(ack, { now, age, random });
  const changed = before.refused || !protocol.grantsSame(before.ack, ack);
  const actions: LeaseAction<A, G>[] = [
    { kind: "store" },
    ...(changed ? [{ kind: "change", before, after } as const] : []),
  ];
  const step = due(fresh(after, settings, now), now);
  return { state: step.state, actions: [...actions, ...step.actions] };
}

function end<A, G>(state: LeaseState<A, G>, reason: LeaseEnd): LeaseStep<A, G> {
  const { running, lease: { ack, refused }, settings: { protocol } } = state;
  const from = reason === "namespace gone" || reason === "link missing" ? "host" : "container";
  const releases = !refused && (reason === "stopped" || from === "host");
  const actions: LeaseAction<A, G>[] = [
    ...(running ? [{ kind: "cancel" } as const] : []),
    ...(releases
      ? [{ kind: "release", goal: protocol.goalOf("release", ack), from } as const]
      : []),
    { kind: "end", reason },
  ];
  return { state: { ...state, phase: "ended", running: false, wakeAt: undefined }, actions };
}

function also<A, G>(
  action: LeaseAction<A, G>,
  { state, actions }: LeaseStep<A, G>,
): LeaseStep<A, G> {
  return { state, actions: [action, ...actions] };
}
