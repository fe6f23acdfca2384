/** Signature of `parse` of `@std/jsonc`: throws `SyntaxError` on malformed text. */
export function parse(text: string): unknown;
