import { assertEquals, assertRejects } from "@std/assert";
import { CniError } from "../cni/error.ts";
import { add, call } from "../cni/testing.ts";
import { emptyResult } from "../cni/types.ts";
import { FakeHost } from "../ns/testing.ts";
import { plugin, tunedResult } from "./tuning.ts";

const prevResult = {
  cniVersion: "1.1.0",
  interfaces: [
    { name: "veth1", mac: "02:00:00:00:00:09" },
    { name: "eth0" },
    { name: "eth0", mac: "02:00:00:00:00:01", mtu: 1500, sandbox: "/run/netns/c1" },
  ],
};

Deno.test("the result gets the address and the MTU of the container's interface alone", () => {
  const result = { ...emptyResult(), interfaces: prevResult.interfaces };
  const attributes = { mac: "c2:11:22:33:44:55", mtu: 1400 };
  assertEquals(tunedResult(result, { ifName: "eth0", attributes }).interfaces, [
    ...prevResult.interfaces.slice(0, 2),
    { name: "eth0", mac: "c2:11:22:33:44:55", mtu: 1400, sandbox: "/run/netns/c1" },
  ]);
  assertEquals(tunedResult(result, { ifName: "eth0", attributes: {} }), result);
  const unknown = { ...result, interfaces: [{ name: "eth0", sandbox: "/run/netns/c1" }] };
  assertEquals(tunedResult(unknown, { ifName: "eth0", attributes: { mtu: 1400 } }), unknown);
});

Deno.test("nothing is executed when nothing is asked for", async () => {
  const host = new FakeHost();
  const test = { config: { prevResult }, netns: "/proc/self/ns/net", ifName: "eth9", host };
  await call(plugin, "CHECK", test);
  await call(plugin, "DEL", { ...test, netns: "" });
  assertEquals([host.asked, host.lines], [[], []]);
});

Deno.test("ADD and CHECK want the result of the plugins before", async () => {
  const host = new FakeHost();
  await assertRejects(
    () => add(plugin, { config: {}, host }),
    CniError,
    "Required prevResult missing",
  );
  await assertRejects(
    () => call(plugin, "CHECK", { config: {}, host }),
    CniError,
    "Required prevResult missing",
  );
});

Deno.test("a key outside of net is refused before anything is looked at", async () => {
  const host = new FakeHost();
  const config = { prevResult, sysctl: { "kernel.hostname": "x" } };
  await assertRejects(() => add(plugin, { config, host }), CniError, "invalid net sysctl key");
  assertEquals(host.asked, []);
});
