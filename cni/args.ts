/**
 * `CNI_ARGS`: `KEY=VALUE` pairs joined by `;`, without quoting. Deprecated by the specification
 * in favour of `args` and capabilities, and still what every runtime sends.
 *
 * @module
 */
import { CniError, codes } from "./error.ts";

/**
 * Reads the values of the arguments a plugin knows; the last of equal names wins. Names it does
 * not know are an error unless `IgnoreUnknown` is true, wherever that stands. Malformed pairs are
 * an error always. Throws a `CniError` of code 4.
 */
export function parseCniArgs(text: string, known: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {};
  const unknown: string[] = [];
  let ignoreUnknown = false;
  for (const pair of text === "" ? [] : text.split(";")) {
    const [key, value] = splitPair(pair);
    if (key === "IgnoreUnknown") ignoreUnknown = parseBoolean(value, pair);
    else if (known.includes(key)) values[key] = value;
    else unknown.push(JSON.stringify(pair));
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    throw invalid(`unknown args [${unknown.join(" ")}]`);
  }
  return values;
}

function splitPair(pair: string): [key: string, value: string] {
  const [key, value, ...more] = pair.split("=");
  if (key === undefined || value === undefined || more.length > 0) {
    throw invalid(`invalid pair ${JSON.stringify(pair)}`);
  }
  return [key, value];
}

function parseBoolean(text: string, pair: string): boolean {
  const word = text.toLowerCase();
  if (word === "1" || word === "true") return true;
  if (word === "0" || word === "false") return false;
  throw invalid(
    `error parsing value of pair ${
      JSON.stringify(pair)
    }: boolean unmarshal error: invalid input ${word}`,
  );
}

function invalid(problem: string): CniError {
  return new CniError(codes.invalidEnvironment, `ARGS: ${problem}`);
}
