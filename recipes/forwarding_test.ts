import { assertEquals } from "@std/assert";
import { describe } from "../host/step.ts";
import { enableForwarding } from "./forwarding.ts";

Deno.test("enableForwarding() sets each family's variable once", () => {
  const lines = (families: Parameters<typeof enableForwarding>[0]) =>
    enableForwarding(families).map(({ do: action }) => describe(action));
  const ipv4 = "echo 1 > /proc/sys/net/ipv4/ip_forward";
  const ipv6 = "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
  assertEquals(lines([]), []);
  assertEquals(lines([4, 4]), [ipv4]);
  assertEquals(lines([6, 4, 6]), [ipv6, ipv4]);
});

Deno.test("enableForwarding() is never taken back, and its failure is one", () => {
  for (const { do: action, undo, tolerate } of enableForwarding([4, 6])) {
    assertEquals([undo, tolerate], [undefined, undefined]);
    assertEquals(action.kind === "sysctl" && action.optional, undefined);
  }
});
