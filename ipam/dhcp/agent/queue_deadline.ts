/**
 * Exchanges that wait for their turn, and the wait is part of their time.
 *
 * @module
 */
import type { Clock } from "./lease_keeper.ts";
import type { Turns } from "./fair_queue.ts";

/** The shortest exchange that is worth its process, in milliseconds. */
export const leastExchange = 1000;

/** How an exchange is waited for. Times are milliseconds. */
export interface Patience {
  readonly turns: Turns;
  readonly clock: Clock;
  /** What the time counts from, since 1970. */
  readonly start: number;
  /** For the wait and the exchange. */
  readonly within: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** See {@linkcode Turns}. */
  readonly lane: string;
}

/**
 * Holds an exchange of at most `left` milliseconds when it is its turn. Gives `undefined` when that
 * does not come in time, or `signal` is aborted before.
 */
export async function inTime<T>(
  { turns, clock, start, within, signal, lane }: Patience,
  task: (left: number) => Promise<T>,
): Promise<T | undefined> {
  const remaining = () => within - Math.max(clock.now() - start, 0);
  const late = new AbortController();
  const stop = clock.after(Math.max(remaining(), 0), () => late.abort());
  const any = AbortSignal.any([signal, late.signal]);
  return await turns.run({ signal: any, lane }, async () => {
    stop();
    return await task(Math.max(remaining(), leastExchange));
  }).finally(stop);
}
