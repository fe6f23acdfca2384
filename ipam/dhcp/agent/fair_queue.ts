/**
 * A bounded number of tasks at once; the others wait in line. Each exchange is a process, so
 * that many at one time would cost the host more than they are worth.
 *
 * @module
 */

/** How a turn is waited for. */
export interface Wait {
  /** Ends it. */
  readonly signal: AbortSignal;
  /** Whose task it is: nobody waits for more than one task of everybody else's at a time. */
  readonly lane?: string | undefined;
}

/** Lines of tasks, one a lane, whose first ones go in turns. */
export class Turns {
  readonly #limit: number;
  /** In the order of their turns; none is empty. */
  readonly #lanes = new Map<string, readonly (() => void)[]>();
  #running = 0;

  /** At most `limit` tasks run at one time. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Tasks that run or wait. */
  get size(): number {
    const waiting = [...this.#lanes.values()].map(({ length }) => length);
    return waiting.reduce((sum, length) => sum + length, this.#running);
  }

  /** Runs a task when it is its turn. Gives `undefined` when `signal` is aborted before that. */
  async run<T>(wait: Wait, task: () => Promise<T>): Promise<T | undefined> {
    if (!await this.#enter(wait)) return undefined;
    // What throws before it gives a promise leaves, too.
    return await Promise.try(task).finally(() => this.#leave());
  }

  #enter(wait: Wait): Promise<boolean> {
    if (wait.signal.aborted) return Promise.resolve(false);
    if (this.#running < this.#limit) {
      this.#running++;
      return Promise.resolve(true);
    }
    return this.#wait(wait);
  }

  /** The place of whoever leaves goes to the first in line of the lane whose turn it is. */
  #wait({ signal, lane = "" }: Wait): Promise<boolean> {
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

  /** A lane that has its line already keeps its place. */
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
