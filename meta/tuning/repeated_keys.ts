/**
 * Finds keys that stand twice in one object of a JSON text. `JSON.parse` keeps the last
 * one and says nothing.
 *
 * @module
 */

/** Strings, brackets, and the signs between; no numbers and words. */
const token = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g;

/**
 * The keys that stand twice in the object under a key of the outermost object, as
 * they are written there. The outer key matches in any case. The text is valid JSON.
 */
export function repeatedKeys(text: string, outer: string): string[] {
  const seen = new Set<string>();
  const repeated = new Set<string>();
  for (const [parent, key] of keysInDepthTwo(text)) {
    if (parent.toLowerCase() !== outer.toLowerCase()) continue;
    (seen.has(key) ? repeated : seen).add(key);
  }
  return [...repeated];
}

/** Each key of an object in the outermost object, with the key of that object. */
function* keysInDepthTwo(text: string): Generator<readonly [parent: string, key: string]> {
  const open: string[] = [];
  let [parent, last] = ["", ""];
  for (const [word] of text.matchAll(token)) {
    if (word === "{" || word === "[") open.push(word);
    else if (word === "}" || word === "]") open.pop();
    else if (word.startsWith('"')) last = word;
    // Only an object has colons, and the string before one is a key.
    else if (word === ":" && open.length === 1) parent = JSON.parse(last);
    else if (word === ":" && open.length === 2 && open[0] === "{") {
      yield [parent, JSON.parse(last)];
    }
  }
}
