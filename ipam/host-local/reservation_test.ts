import { assertEquals } from "@std/assert";
import { describeKey, formatKey, parseKey } from "./reservation.ts";

Deno.test("a file holds container, CR LF and interface, without a last line break", () => {
  const key = { containerId: "dummy", ifName: "eth0" };
  assertEquals(formatKey(key), "dummy\r\neth0");
  assertEquals(parseKey(formatKey(key)), key);
  assertEquals(parseKey(" dummy\r\neth0\n"), key);
});

Deno.test("a file of an old release holds the container alone", () => {
  const key = { containerId: "dummy", ifName: "" };
  assertEquals(formatKey(key), "dummy");
  assertEquals(parseKey("dummy\n"), key);
  assertEquals(describeKey(key), 'container "dummy"');
});

Deno.test("an empty or damaged file names nobody", () => {
  for (const text of ["", "\n", "\r\n", "\0\0\0\0", "dum\0my", "a\nb", "a\r\nb\r\nc", "\ufffd"]) {
    assertEquals(parseKey(text), undefined, JSON.stringify(text));
  }
});

Deno.test("a name with control characters that a link may have is read as it was written", () => {
  const key = { containerId: "c0", ifName: "a\u0002b\u007f" };
  assertEquals(parseKey(formatKey(key)), key);
});
