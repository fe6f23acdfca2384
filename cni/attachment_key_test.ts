import { assertEquals } from "@std/assert";
import { isSameAttachment, isSameInterface, staleOn } from "./attachment_key.ts";

const key = { network: "net", containerId: "c1", ifName: "eth0" };

Deno.test("isSameAttachment() compares all three names, isSameInterface() two", () => {
  assertEquals(isSameAttachment(key, { ...key }), true);
  for (const name of ["network", "containerId", "ifName"] as const) {
    const other = { ...key, [name]: "other" };
    assertEquals(isSameAttachment(key, other), false, name);
    assertEquals(isSameInterface(key, other), name === "network", name);
  }
});

Deno.test("staleOn() tells what is of the network and of no valid key", () => {
  const isStale = staleOn("net", [{ containerId: "c1", ifName: "eth0" }]);
  const others = [
    { ...key, network: "other" },
    { ...key, containerId: "c1e", ifName: "th0" },
    { ...key, ifName: "eth1" },
  ];
  assertEquals([key, ...others].map(isStale), [false, false, true, true]);
});
