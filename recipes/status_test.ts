import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { Tool } from "../host/command.ts";
import { requireTools } from "./status.ts";

Deno.test("requireTools() is content when the host has every program", () => {
  requireTools([]);
  requireTools(["sh", "cat"]);
});

Deno.test("requireTools() names every program that is missing", () => {
  const tools = ["sh", "no-such-tool", "nor-this"] as Tool[];
  const error = assertThrows(() => requireTools(tools), CniError);
  assertEquals(error.code, codes.notAvailable);
  assertEquals(error.msg, 'Cannot serve ADD: program "no-such-tool", "nor-this" is missing');
  assertStringIncludes(error.details, "/usr/sbin");
});
