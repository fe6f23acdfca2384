/**
 * The times of a lease of either family in milliseconds since 1970, made of the server's in seconds.
 *
 * @module
 */
import type { AckTiming, Lease } from "./lease.ts";

/** Milliseconds. */
export const second = 1000;

/** Largest part by which T1 and T2 are shortened, so that leases of one moment are not renewed at one moment. */
const fuzz = 0.05;

/** Makes a lease of an acknowledgement and the server's times: T1 (`renewal`), T2 (`rebinding`), the end. */
export function leaseWithTimes<A>(
  ack: A,
  { renewal, rebinding, lease }: Readonly<Record<"renewal" | "rebinding" | "lease", number>>,
  { now, age, random }: AckTiming,
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
