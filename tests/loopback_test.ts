/**
 * The loopback plugin on a real kernel.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { callPlugin, fail, okJson, succeed, versions } from "./harness/plugin.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertShape } from "./harness/shape.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["plugin:loopback"] as const;

async function call(
  sandbox: Sandbox,
  verb: PluginCall["verb"],
  config: JsonObject = {},
): Promise<PluginCall> {
  return {
    type: "loopback",
    verb,
    netns: await sandbox.container(),
    config: { cniVersion: "1.1.0", name: "lo", type: "loopback", ...config },
  };
}

async function isUp(sandbox: Sandbox): Promise<boolean> {
  const [lo] = await sandbox.ipJson<{ flags: string[] }>(
    await sandbox.container(),
    "link show dev lo",
  );
  return lo!.flags.includes("UP");
}

kernelTest("loopback: up and down in every version, whatever the environment holds", {
  needs,
}, async (sandbox) => {
  for (const cniVersion of versions) {
    const env = { CNI_ARGS: "none", CNI_PATH: "/some/test/path" };
    const add = { ...await call(sandbox, "ADD", { cniVersion }), env };
    const result = await succeed(sandbox, add);
    assertShape(result, cniVersion);
    if (cniVersion >= "0.3.0") {
      const [lo, ...others] = result["interfaces"] as JsonObject[];
      assertEquals(others, []);
      assertEquals([lo!["name"], lo!["sandbox"]], ["lo", add.netns!]);
      const ips = result["ips"] as JsonObject[];
      assertEquals(ips.map(({ address }) => address), ["127.0.0.1/8", "::1/128"]);
    } else {
      assertEquals((result["ip4"] as JsonObject)["ip"], "127.0.0.1/8");
      assertEquals((result["ip6"] as JsonObject)["ip"], "::1/128");
    }
    assert(await isUp(sandbox));
    const del = { ...add, verb: "DEL" };
    const output = await callPlugin(sandbox, del);
    okJson(del, output);
    assertEquals(output.stdout, "");
    assert(!await isUp(sandbox));
  }
});

kernelTest("loopback: its addresses answer", { needs }, async (sandbox) => {
  const add = await call(sandbox, "ADD");
  const agent = sandbox.agent(add.netns!);
  assert(!await agent.ping("127.0.0.1", 300));
  await succeed(sandbox, add);
  assert(await agent.ping("127.0.0.1"));
  assert(await agent.ping("::1"));
});

kernelTest("loopback: a previous result passes through", { needs }, async (sandbox) => {
  const prevResult = {
    cniVersion: "1.1.0",
    interfaces: [{ name: "eth0", sandbox: "/run/netns/x", mac: "02:00:00:00:00:01", mtu: 1400 }],
    ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1", interface: 0 }],
    routes: [{ dst: "0.0.0.0/0", gw: "10.0.0.1", priority: 7, table: 0 }],
    dns: { nameservers: ["10.0.0.1"], search: ["example.com"] },
  };
  assertEquals(await succeed(sandbox, await call(sandbox, "ADD", { prevResult })), prevResult);
  const older = await call(sandbox, "ADD", {
    cniVersion: "0.4.0",
    prevResult: { cniVersion: "0.3.1", ips: [{ version: "4", address: "10.0.0.2/24" }] },
  });
  assertShape(await succeed(sandbox, older), "0.4.0");
  for (
    const bad of [
      "text",
      { cniVersion: "0.4.0", ips: [] },
      { cniVersion: "1.1.0", ips: [null] },
      { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2" }] },
      { cniVersion: "1.1.0", ips: {} },
    ]
  ) {
    await fail(sandbox, await call(sandbox, "ADD", { prevResult: bad }));
  }
});

kernelTest("loopback: a foreign address on lo is refused", { needs }, async (sandbox) => {
  const add = await call(sandbox, "ADD");
  await sandbox.ip(add.netns!, ["addr add 192.0.2.1/32 dev lo"]);
  const before = await snapshot(sandbox);
  const { msg } = await fail(sandbox, add);
  assertStringIncludes(msg, "192.0.2.1");
  assertSame(before, await snapshot(sandbox), { allow: ["loopback"] });
});

kernelTest("loopback: CHECK sees whether lo is up", { needs }, async (sandbox) => {
  const prevResult = await succeed(sandbox, await call(sandbox, "ADD"));
  const check = await call(sandbox, "CHECK", { prevResult });
  await succeed(sandbox, check);
  await sandbox.ip(check.netns!, ["link set dev lo down"]);
  assertStringIncludes((await fail(sandbox, check)).msg, "loopback interface is down");
  await fail(sandbox, { ...check, netns: `${sandbox.dir}/none` });
});
