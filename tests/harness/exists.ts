/**
 * Whether there is something at a path.
 *
 * @module
 */

/** Whether a path, symbolic links followed, leads to something. Throws where that cannot be told. */
export function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
