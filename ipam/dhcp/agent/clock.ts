/**
 * The clock of the host, for a process that must survive whatever a timer throws: nobody is there to
 * catch it.
 *
 * @module
 */
import { failureOf } from "../../../host/files.ts";

/** Time, in milliseconds. */
export interface Clock {
  /** Gives the time since 1970. */
  now(): number;
  /** Calls once after a delay; gives a function that cancels the call. */
  after(delay: number, run: () => void): () => void;
}

/** Takes a line about a failure. */
type LogLine = (line: string) => void;

/** Wraps a task; the line about what it throws goes to `say`. */
export function logErrors(task: () => void, say: LogLine): () => void {
  return () => {
    const failure = failureOf(task);
    if (failure) say(String(failure.stack ?? failure));
  };
}

/** Makes the clock of this host. */
export function hostClock(say: LogLine): Clock {
  return {
    now: () => Date.now(),
    after(delay, run) {
      const timer = setTimeout(logErrors(run, say), delay);
      return () => clearTimeout(timer);
    },
  };
}
