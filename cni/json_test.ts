import { assertEquals, assertThrows } from "@std/assert";
import { parseJson } from "./json.ts";

const malformed: readonly [string, string][] = [
  ["{", "unexpected end of JSON input"],
  ["", "unexpected end of JSON input"],
  ['{"a":tru', "unexpected end of JSON input"],
  ['"abc', "unexpected end of JSON input"],
  ["asdf", "invalid character 'a' looking for beginning of value"],
  ["\ufeff{}", "invalid character '\ufeff' looking for beginning of value"],
  ["'x'", "invalid character '\\'' looking for beginning of value"],
  [
    "{{{",
    "invalid character '{' looking for beginning of object key string",
  ],
  [
    '{"a":1,}',
    "invalid character '}' looking for beginning of object key string",
  ],
  ['{"a" 1}', "invalid character '1' after object key"],
  ['{"a":1 2}', "invalid character '2' after object key:value pair"],
  ["[1 2]", "invalid character '2' after array element"],
  ["{} x", "invalid character 'x' after top-level value"],
  ['["\n"]', "invalid character '\\n' in string literal (line 1, column 3)"],
  [
    '{\n  "a": 1\n  "b": 2\n}\n',
    "invalid character '\"' after object key:value pair (line 3, column 3)",
  ],
];
for (const [text, message] of malformed) {
  Deno.test(`parseJson refuses ${JSON.stringify(text)}`, () => {
    assertEquals(assertThrows(() => parseJson(text), SyntaxError).message, message);
  });
}

Deno.test("parseJson keeps the last of equal keys", () => {
  assertEquals(parseJson('{"a":1,"a":[null,"x"]}'), { a: [null, "x"] });
});
