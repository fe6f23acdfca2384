/**
 * Errors of a connection to the agent's socket.
 *
 * @module
 */

/** Go's error text for a socket nobody serves; `undefined` for other failures. */
export function unservedText(error: Error): string | undefined {
  if (error instanceof Deno.errors.NotFound) return "no such file or directory";
  if (error instanceof Deno.errors.ConnectionRefused) return "connection refused";
  // It was just closed.
  return error instanceof Deno.errors.ConnectionReset ? "connection reset by peer" : undefined;
}
