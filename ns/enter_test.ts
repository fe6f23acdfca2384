import { assertEquals, assertThrows } from "@std/assert";
import { command } from "../host/command.ts";
import { ToolMissingError, toolPath } from "../host/spawn.ts";
import { argv } from "./enter.ts";

Deno.test("argv() starts a program by its full path", () => {
  assertEquals(argv(command("sh", ["-c", "exit 3"])), [toolPath("sh"), ["-c", "exit 3"]]);
});

Deno.test("argv() enters a namespace by its path, whatever that looks like", () => {
  for (const path of ["/run/netns/c1", "/proc/7/ns/net", "./net", "/tmp/it's a -net"]) {
    assertEquals(argv(command("sh", ["--net=x"], { netns: { path } })), [
      toolPath("nsenter"),
      [`--net=${path}`, "--", toolPath("sh"), "--net=x"],
    ]);
  }
});

Deno.test("argv() of a program that is missing says which, inside a namespace too", () => {
  const missing = "no-such-tool";
  for (const rest of [{}, { netns: { path: "/run/netns/c1" } }]) {
    const start = () => argv(command(missing, [], rest));
    assertThrows(start, ToolMissingError, 'Cannot find program "no-such-tool"');
  }
});
