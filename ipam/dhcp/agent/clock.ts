/**
 * The clock of the host, for a process that must outlive whatever fails in a timer: nobody is there
 * to catch what is thrown in one.
 *
 * @module
 */
import type { Clock } from "./lease_keeper.ts";
import { failureOf } from "../../../host/files.ts";

/** Gets a line about what has failed. */
type Say = (line: string) => void;

/** The same task; what it throws is said. */
export function guarded(task: () => void, say: Say): () => void {
  return () => {
    const failure = failureOf(task);
    if (failure) say(String(failure.stack ?? failure));
  };
}

/** The clock of this host. */
export function hostClock(say: Say): Clock {
  return {
    now: () => Date.now(),
    after(delay, run) {
      const timer = setTimeout(guarded(run, say), delay);
      return () => clearTimeout(timer);
    },
  };
}
