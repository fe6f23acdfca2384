import { assertEquals, assertThrows } from "@std/assert";
import { readOptions } from "./command_line.ts";

Deno.test("options and words are read", () => {
  const options = { boolean: ["quick"], string: ["peer"], collect: ["peer"] };
  const { _, quick, peer } = readOptions(
    ["--quick", "--peer", "/a", "bridge", "--peer=/b"],
    options,
  );
  assertEquals([_, quick, peer], [["bridge"], true, ["/a", "/b"]]);
});

Deno.test("an option that does not exist is refused", () => {
  for (const arg of ["--quik", "-q", "--quik=1"]) {
    assertThrows(() => readOptions([arg], { boolean: ["quick"] }), Error, "no such option");
  }
});
