import { assertEquals } from "@std/assert";
import { repeatedKeys } from "./repeated_keys.ts";

const sysctl = (text: string) => repeatedKeys(text, "sysctl");

Deno.test("repeatedKeys() finds what stands twice in the object, and nothing else", () => {
  assertEquals(sysctl(`{"sysctl": {"a": "1", "b": "2"}}`), []);
  assertEquals(sysctl(`{"sysctl": {"a": "1", "b": "2", "a": "1", "a": "3"}}`), ["a"]);
  assertEquals(sysctl(`{"sysctl": {}, "name": "n", "args": {"a": 1, "a": 2}}`), []);
  assertEquals(sysctl(`{"args": {"cni": {"sysctl": {"a": "1", "a": "2"}}}}`), []);
  assertEquals(sysctl(`[{"sysctl": {"a": "1", "a": "2"}}]`), []);
});

Deno.test("repeatedKeys() compares keys as JSON means them, and the outer key in any case", () => {
  assertEquals(sysctl(`{"sysctl": {"a.b": "1", "a/b": "2"}}`), []);
  assertEquals(sysctl(`{"sysctl": {"a.b": "1", "a\\u002eb": "2"}}`), ["a.b"]);
  assertEquals(sysctl(`{"SysCtl": {"a": "1", "a": "2"}}`), ["a"]);
  assertEquals(sysctl(`{"sysctl": {"a": "1"}, "Sysctl": {"a": "2"}}`), ["a"]);
});

Deno.test("repeatedKeys() is not led astray by signs inside of strings", () => {
  assertEquals(sysctl(`{"x": "}", "sysctl": {"a": "\\"a\\": {", "b": "a", "c": "b:"}}`), []);
  assertEquals(sysctl(`{"x": [{"sysctl": 1}], "sysctl": {"a\\\\": "1", "a": "2", "a": ""}}`), [
    "a",
  ]);
  assertEquals(sysctl(`{"sysctl": ["a", "a"], "y": {"a": 1, "a": 2}}`), []);
});
