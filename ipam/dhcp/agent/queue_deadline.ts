/**
 * A deadline for exchanges that wait in a queue: the wait is part of their time.
 *
 * @module
 */
import type { Clock } from "./clock.ts";
import type { FairQueue } from "./fair_queue.ts";
import { shortestExchange } from "../lease/lease_machine.ts";

/** How an exchange waits. Times are milliseconds. */
export interface QueueDeadline {
  readonly queue: FairQueue;
  readonly clock: Clock;
  /** When the time began, since 1970. */
  readonly start: number;
  /** Time for the wait and the exchange. */
  readonly within: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** See {@linkcode FairQueue}. */
  readonly lane: string;
}

/**
 * Runs an exchange of at most `left` milliseconds when it is its turn. Gives `undefined` when its turn
 * does not come in time, or `signal` is aborted before.
 */
export async function runBeforeDeadline<T>(
  { queue, clock, start, within, signal, lane }: QueueDeadline,
  task: (left: number) => Promise<T>,
): Promise<T | undefined> {
  const remaining = () => within - Math.max(clock.now() - start, 0);
  const late = new AbortController();
  const stop = clock.after(Math.max(remaining(), 0), () => late.abort());
  const any = AbortSignal.any([signal, late.signal]);
  return await queue.run({ signal: any, lane }, async () => {
    stop();
    return await task(Math.max(remaining(), shortestExchange));
  }).finally(stop);
}
