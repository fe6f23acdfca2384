/**
 * The times of a lease of either family, in milliseconds since 1970, from those that its
 * server gives, in seconds.
 *
 * @module
 */
import type { Lease, Moment } from "./lease_machine.ts";

/** Milliseconds. */
export const second = 1000;

/** Part of T1 and T2 that may go off them, so that leases of one moment are not renewed in one. */
const fuzz = 0.05;

/** A lease from an acknowledgement that came now, to a request of `age` milliseconds ago. */
export function timed<A>(
  ack: A,
  { renewal, rebinding, lease }: Readonly<Record<"renewal" | "rebinding" | "lease", number>>,
  { now, age, random }: Moment,
): Lease<A> {
  const since = Math.round(now - age);
  const fuzzy = (seconds: number) => since + Math.round(seconds * second * (1 - fuzz * random()));
  const rebindAt = fuzzy(rebinding);
  return {
    ack,
    since,
    renewAt: Math.min(fuzzy(renewal), rebindAt),
    rebindAt,
    expireAt: since + lease * second,
  };
}
