import { assertEquals, assertRejects } from "@std/assert";
import { CniError } from "../cni/error.ts";
import { add, call } from "../cni/testing.ts";
import { FakeHost } from "../ns/testing.ts";
import { plugin } from "./sbr.ts";

const prevResult = {
  cniVersion: "1.1.0",
  interfaces: [{ name: "eth0", sandbox: "/run/netns/c1" }],
  ips: [{ address: "10.0.0.2/24", interface: 0 }],
};

Deno.test("ADD wants a result with addresses", async () => {
  const host = new FakeHost();
  const refuse = (config: object, message: string) =>
    assertRejects(() => add(plugin, { config: { ...config }, host }), CniError, message);
  await refuse({}, "must be called as chained plugin");
  await refuse(
    { prevResult: { ...prevResult, ips: [] } },
    "No IP addresses supplied on interface: eth0",
  );
  await refuse({ prevResult }, "Cannot use CNI_NETNS");
  assertEquals(host.asked, []);
});

Deno.test("addresses of other interfaces, and a container that is gone, need nothing", async () => {
  const host = new FakeHost();
  const test = { config: { prevResult }, ifName: "net1", netns: "/proc/self/ns/net", host };
  await call(plugin, "CHECK", test);
  await call(plugin, "DEL", { ...test, netns: "" });
  await call(plugin, "DEL", { ...test, netns: "/nowhere/netns" });
  assertEquals([host.asked, host.lines], [[], []]);
});
