/**
 * Regular expressions in the syntax of RE2, which the reference's files are in. What
 * JavaScript writes in another way is translated; what it does not have, or what only
 * JavaScript has, is refused, so that no file means one thing here and another there.
 *
 * @module
 */

/** Classes of ASCII. */
const classes: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  digit: "0-9",
  lower: "a-z",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "\\w",
  xdigit: "0-9A-Fa-f",
};

/** Beginning and end of the text, for which JavaScript has no letters. */
const anchors: Readonly<Record<string, string>> = { A: "^", z: "$" };

/** Letters that mean the same after a backslash in both. */
const letters = /^[dDsSwWbBtnfrv]$/;

/** A piece of an expression: an escape, a class of ASCII, the start of a group, any other character. */
const piece = /\\(?:x[0-9a-f]{2}|.)?|\[:\^?\w*:\]|\(\?(?:P<|<?[=!]|[a-z-]*\)?)?|./gis;

/** Reads an expression; `undefined` for one that is none, or means something else here. */
export function parseRe2(text: string): RegExp | undefined {
  const flags = /^\(\?([ims]+)\)/.exec(text);
  const source = translate(text.slice(flags?.[0].length ?? 0));
  if (source === undefined) return undefined;
  try {
    return new RegExp(source, [...new Set(flags?.[1])].join(""));
  } catch {
    return undefined;
  }
}

function translate(text: string): string | undefined {
  let source = "";
  let inClass = false;
  for (const [word] of text.matchAll(piece)) {
    const isFirst = /(^|[^\\])\[\^?$/.test(source);
    const translated = inClass ? inside(word, isFirst) : outside(word);
    if (translated === undefined) return undefined;
    source += translated;
    if (!inClass && word.startsWith("[")) inClass = true;
    else if (inClass && word === "]" && !isFirst) inClass = false;
  }
  return source;
}

function outside(word: string): string | undefined {
  if (word.startsWith("\\")) return anchors[word.slice(1)] ?? escaped(word);
  // A class of ASCII stands inside of another class only.
  if (word.startsWith("[:")) return undefined;
  if (word === "(?P<") return "(?<";
  return /^\(\?(<?[=!]|.*\))/.test(word) ? undefined : word;
}

function inside(word: string, isFirst: boolean): string | undefined {
  if (word.startsWith("\\")) return escaped(word);
  if (word.startsWith("[:")) return classes[word.slice(2, -2)];
  return word === "]" && isFirst ? "\\]" : word;
}

/** Signs stand for themselves after a backslash, most letters and digits mean different things. */
function escaped(word: string): string | undefined {
  const rest = word.slice(1);
  if (/^x./i.test(rest) || letters.test(rest)) return word;
  return /^[^0-9A-Za-z]$/.test(rest) ? word : undefined;
}
