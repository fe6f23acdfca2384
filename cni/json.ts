/**
 * Reads JSON text; says what is wrong with it in the words of the reference,
 * which operators and scripts know.
 *
 * @module
 */
import type { Json } from "./types.ts";

/** Parses one JSON value. Throws a `SyntaxError`, with the line when there are several. */
export function parseJson(text: string): Json {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(explain(text, (error as Error).message), {
      cause: error,
    });
  }
}

/** The engine's message up to the position, and the reference's words for it. */
const words: readonly (readonly [start: string, context: string])[] = [
  ["Expected property name", "looking for beginning of object key string"],
  [
    "Expected double-quoted property name",
    "looking for beginning of object key string",
  ],
  ["Expected ':'", "after object key"],
  ["Expected ',' or '}'", "after object key:value pair"],
  ["Expected ',' or ']'", "after array element"],
  ["Unexpected non-whitespace character after JSON", "after top-level value"],
  ["Bad control character", "in string literal"],
  ["Bad escaped character", "in string escape code"],
  ["No number after minus sign", "in numeric literal"],
  ["Unexpected number", "after top-level value"],
];

const endOfInput = "unexpected end of JSON input";

function explain(text: string, message: string): string {
  const token = /^Unexpected token '(.+?)', /su.exec(message);
  if (token) return invalidCharacter(token[1]!, "looking for beginning of value");
  const at = /at position (\d+)/.exec(message);
  if (!at) return message.replace("Unexpected end", "unexpected end");
  const position = Number(at[1]);
  if (position >= text.trimEnd().length) return endOfInput;
  const context = words.find(([start]) => message.startsWith(start))?.[1];
  if (!context) return message;
  const character = String.fromCodePoint(text.codePointAt(position)!);
  return invalidCharacter(character, context) + place(text, position);
}

function invalidCharacter(character: string, context: string): string {
  const shown = character === "'"
    ? "\\'"
    : character === '"'
    ? character
    : JSON.stringify(character).slice(1, -1);
  return `invalid character '${shown}' ${context}`;
}

/** Line and column, from 1; nothing for a text of one line. */
function place(text: string, position: number): string {
  const before = text.slice(0, position).split("\n");
  if (!text.trimEnd().includes("\n")) return "";
  return ` (line ${before.length}, column ${before.at(-1)!.length + 1})`;
}
