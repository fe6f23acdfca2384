/**
 * A fair queue: a bounded number of tasks run at once, and the others wait in line. Each exchange is a
 * process, so that many at one time would cost the host more than they are worth.
 *
 * @module
 */

/** How a task waits for its turn. */
export interface QueueWait {
  /** Ends the wait. */
  readonly signal: AbortSignal;
  /** Tasks of one lane wait in one line: a lane waits for at most one task of each other lane. */
  readonly lane?: string | undefined;
}

/** Lines of tasks, one a lane; the lanes take turns. */
export class FairQueue {
  readonly #limit: number;
  /** Lanes in the order of their turns; none is empty. */
  readonly #lanes = new Map<string, readonly (() => void)[]>();
  #running = 0;

  /** Runs at most `limit` tasks at one time. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Number of tasks that run or wait. */
  get size(): number {
    const waiting = [...this.#lanes.values()].map(({ length }) => length);
    return waiting.reduce((sum, length) => sum + length, this.#running);
  }

  /** Runs a task when it is its turn. Gives `undefined` when `signal` is aborted before that. */
  async run<T>(wait: QueueWait, task: () => Promise<T>): Promise<T | undefined> {
    if (!await this.#enter(wait)) return undefined;
    // A task that throws before it gives a promise leaves, too.
    return await Promise.try(task).finally(() => this.#leave());
  }

  #enter(wait: QueueWait): Promise<boolean> {
    if (wait.signal.aborted) return Promise.resolve(false);
    if (this.#running < this.#limit) {
      this.#running++;
      return Promise.resolve(true);
    }
    return this.#wait(wait);
  }

  /** Waits until a task that leaves hands its place on: to the first task of the lane whose turn it is. */
  #wait({ signal, lane = "" }: QueueWait): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const enter = () => {
      signal.removeEventListener("abort", giveUp);
      resolve(true);
    };
    const giveUp = () => {
      this.#setLine(lane, this.#lineOf(lane).filter((other) => other !== enter));
      resolve(false);
    };
    this.#setLine(lane, [...this.#lineOf(lane), enter]);
    signal.addEventListener("abort", giveUp, { once: true });
    return promise;
  }

  #lineOf(lane: string): readonly (() => void)[] {
    return this.#lanes.get(lane) ?? [];
  }

  /** Sets the line of a lane; a lane that has one keeps its turn. */
  #setLine(lane: string, line: readonly (() => void)[]): void {
    if (line.length > 0) this.#lanes.set(lane, line);
    else this.#lanes.delete(lane);
  }

  #leave(): void {
    const [first] = this.#lanes;
    if (!first) return void this.#running--;
    const [lane, [next, ...rest]] = first;
    this.#lanes.delete(lane);
    this.#setLine(lane, rest);
    next!();
  }
}
