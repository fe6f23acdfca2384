/**
 * Writes text to a stream of this process.
 *
 * @module
 */

/** A stream that may take less than it is given. */
export interface SyncWriter {
  writeSync(data: Uint8Array): number;
}

/** Writes a whole text. A reader that has gone away (`| head`) is no failure. */
export function print(stream: SyncWriter, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
