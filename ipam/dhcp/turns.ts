/**
 * A bounded number of tasks at once; the others wait in line. Each exchange is a process, so
 * that many at one time would cost the host more than they are worth.
 *
 * @module
 */

/** A line of tasks. */
export class Turns {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** At most `limit` tasks run at one time. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Tasks that run or wait. */
  get size(): number {
    return this.#running + this.#waiting.length;
  }

  /** Runs a task when it is its turn. Gives `undefined` when `signal` is aborted before that. */
  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T | undefined> {
    if (!await this.#enter(signal)) return undefined;
    // What throws before it gives a promise leaves, too.
    return await Promise.try(task).finally(() => this.#leave());
  }

  #enter(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return Promise.resolve(false);
    if (this.#running < this.#limit) {
      this.#running++;
      return Promise.resolve(true);
    }
    return this.#wait(signal);
  }

  /** The place of whoever leaves goes to the first in line. */
  #wait(signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const enter = () => {
      signal.removeEventListener("abort", giveUp);
      resolve(true);
    };
    const giveUp = () => {
      this.#waiting.splice(this.#waiting.indexOf(enter), 1);
      resolve(false);
    };
    this.#waiting.push(enter);
    signal.addEventListener("abort", giveUp, { once: true });
    return promise;
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#running--;
  }
}
