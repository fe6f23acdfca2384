/**
 * Random choices that a test can repeat: all of them follow from one seed.
 *
 * @module
 */

/** A source of numbers; the same seed gives the same ones (mulberry32). */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** The next number, 0 ≤ n < 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, `min` ≤ n ≤ `max`. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** One of some values. */
  pick<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length - 1)]!;
  }

  /** True about once in `n` times. */
  oneIn(n: number): boolean {
    return this.integer(1, n) === 1;
  }
}

/** The seed of a run: `DENOCNI_SEED`, or the one of the test. */
export function seedOf(fallback: number): number {
  return Number(Deno.env.get("DENOCNI_SEED") ?? fallback);
}
