import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import { requireTools, requireUsable } from "./status.ts";

Deno.test("requireTools() is content when the host has every program", () => {
  requireTools([]);
  requireTools(["sh", "cat"]);
});

Deno.test("requireTools() names every program that is missing", () => {
  const tools = ["sh", "no-such-tool", "nor-this"];
  const error = assertThrows(() => requireTools(tools), CniError);
  assertEquals(error.code, codes.notAvailable);
  assertEquals(error.msg, 'Cannot serve ADD: program "no-such-tool", "nor-this" is missing');
  assertStringIncludes(error.details, "/usr/sbin");
});

Deno.test("requireUsable() gives what a look gives, and its failure the code of STATUS", () => {
  assertEquals(requireUsable(() => 7), 7);
  const look = () => {
    throw new CniError(codes.objectMissing, "no such device", "in /sys: nothing");
  };
  const error = assertThrows(() => requireUsable(look), CniError);
  assertEquals([error.code, error.msg, error.details], [
    codes.notAvailable,
    "no such device",
    "in /sys: nothing",
  ]);
});
