/**
 * Tells whether anybody has made or removed a file in a directory since we last
 * looked, without reading the directory.
 *
 * The directory's modification time alone does not tell: clocks of file systems
 * are coarse, so two changes may leave one time. So the time is set to a moment
 * in the past, which no later change can give it, and is recorded.
 *
 * @module
 */

/** A state of a directory. */
export interface DirStamp {
  /** Modification time, milliseconds since 1970. */
  readonly mtime: number;
  readonly ino: number;
}

/** How far in the past the time is set, in milliseconds; some file systems round by 2 s. */
const past = 10_000;

/**
 * Sets the directory's modification time and gives the state to recognize it by.
 * To be called by the only one who may change the directory at the moment.
 */
export function stampDir(dir: string): DirStamp {
  Deno.utimeSync(dir, new Date(), new Date(Date.now() - past));
  return stateOf(dir);
}

/** Whether the directory is still as it was stamped. */
export function isUnchanged(dir: string, stamp: Partial<DirStamp> | undefined): boolean {
  const now = stateOf(dir);
  return now.mtime === stamp?.mtime && now.ino === stamp.ino;
}

function stateOf(dir: string): DirStamp {
  const { mtime, ino } = Deno.statSync(dir);
  return { mtime: mtime?.getTime() ?? 0, ino: ino ?? 0 };
}
