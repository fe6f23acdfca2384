/**
 * The JSON of iproute2.
 *
 * @module
 */

/**
 * Reads a list that iproute2 printed; nothing printed is an empty list. Anybody
 * may name a link or write an alias, and iproute2 writes most control characters
 * as they are, which JSON does not allow; older releases put a backslash before a
 * single quote, which it does not allow either.
 */
export function parseIpJson<T>(text: string): T[] {
  if (text.trim() === "") return [];
  return JSON.parse(
    text.replace(
      unreadable,
      (found) =>
        found === "\\'"
          ? "'"
          : found.length > 1
          ? found
          : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`,
    ),
  );
}

/** An escape, so that the backslash of another one is not taken for its start, or a control character. */
// deno-lint-ignore no-control-regex
const unreadable = /\\.|[\0-\x08\x0b\x0c\x0e-\x1f]/g;
