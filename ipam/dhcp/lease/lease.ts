/**
 * A lease of either family, and what the lease machine needs to know of a family.
 *
 * @module
 */
import type { GoalKind } from "../exchange/exchange.ts";

/** A lease. Times are milliseconds since 1970; those of an infinite lease are `Infinity`. */
export interface Lease<Ack> {
  /** The last acknowledgement: a DHCPACK, or a REPLY of DHCPv6. */
  readonly ack: Ack;
  /** When it was requested: its times count from then. */
  readonly since: number;
  /** T1, a little early: when to ask the server that gave the lease. */
  readonly renewAt: number;
  /** T2, a little early: when to ask every server. */
  readonly rebindAt: number;
  /** When the lease expires. */
  readonly expireAt: number;
  /** Set when a server has refused the address: it must not be used. */
  readonly refused?: true | undefined;
}

/** When an acknowledgement came. */
export interface AckTiming {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Milliseconds since its request. */
  readonly age: number;
  /** Gives 0 ≤ n < 1. */
  readonly random: () => number;
}

/** What differs between the families. */
export interface LeaseProtocol<Ack, Goal> {
  /** Makes a lease of an acknowledgement that {@linkcode LeaseProtocol.completed} has passed. */
  leaseOf(ack: Ack, timing: AckTiming): Lease<Ack>;
  /** The goal of an exchange about a lease. */
  goalOf(kind: GoalKind, ack: Ack): Goal;
  /** Fills in what an acknowledgement leaves to the one before; `undefined` when it gives no lease. */
  completed(ack: Ack, before: Ack): Ack | undefined;
  /** Whether two acknowledgements configure an interface alike. */
  grantsSame(a: Ack, b: Ack): boolean;
}

/** Whether the address of a lease may be used at a time. */
export function isValidAt(
  { expireAt, refused }: Pick<Lease<unknown>, "expireAt" | "refused">,
  now: number,
): boolean {
  return now < expireAt && !refused;
}
