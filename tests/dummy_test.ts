/**
 * The dummy plugin on a real kernel: what it makes, and that its addresses answer.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, fail, succeed } from "./harness/plugin.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs: readonly Need[] = ["link:dummy", "plugin:dummy", "plugin:host-local"];
const subnets = ["10.1.2.0/24", "2001:db8:1::/64"] as const;

async function call(
  sandbox: Sandbox,
  verb: PluginCall["verb"],
  config: JsonObject,
): Promise<PluginCall> {
  return {
    type: "dummy",
    verb,
    netns: await sandbox.container("c1"),
    ifname: "foobar0",
    config: { cniVersion: "1.1.0", name: "mynet", type: "dummy", ...config },
  };
}

interface ShownLink {
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly linkinfo: { readonly info_kind: string };
  readonly addr_info: readonly { readonly local: string; readonly tentative?: boolean }[];
}

kernelTest("dummy: addresses answer inside the container, whatever the host has", {
  needs,
}, async (sandbox) => {
  const netns = await sandbox.container("c1");
  await sandbox.ip(sandbox.host, ["link add foobar0 type dummy"]);
  const before = await snapshot(sandbox);
  const dns = { nameservers: ["10.1.2.53"] };
  const config = { ipam: hostLocal(sandbox, ...subnets), dns };
  const result = await succeed(sandbox, await call(sandbox, "ADD", config));
  const [link] = await sandbox.ipJson<ShownLink>(netns, "addr show dev foobar0");
  const { address: mac, mtu, flags, ifalias, linkinfo, addr_info } = link!;
  assertEquals(result["interfaces"], [{ name: "foobar0", mac, mtu, sandbox: netns }]);
  assertEquals(result["dns"], dns);
  assertEquals((result["ips"] as JsonObject[]).map((ip) => ip["interface"]), [0, 0]);
  assertEquals([linkinfo.info_kind, ifalias], ["dummy", "cni:mynet/c1/foobar0"]);
  assert(flags.includes("UP"));
  const addresses = addressesOf(result).map((text) => text.split("/")[0]!);
  const shown = addr_info.filter(({ local }) => !local.startsWith("fe80:"));
  assertEquals(shown.map(({ local }) => local), addresses);
  assertEquals(shown.map(({ tentative }) => tentative), [undefined, undefined]);
  await sandbox.ip(netns, ["link set lo up"]);
  for (const address of addresses) assert(await sandbox.agent(netns).ping(address), address);
  await sandbox.ip(netns, ["link set lo down"]);
  const check = await call(sandbox, "CHECK", { ...config, prevResult: result });
  await succeed(sandbox, check);
  await sandbox.inside(netns, ["ip", "-6", "route", "del", "default"]);
  assertStringIncludes((await fail(sandbox, check)).msg, "route ::/0 is missing");
  for (let time = 1; time <= 2; time++) {
    await succeed(sandbox, await call(sandbox, "DEL", config));
  }
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal", "loopback"] });
});

kernelTest("dummy: an IPAM plugin is required, whatever the namespace", {
  needs,
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const add = { ...await call(sandbox, "ADD", {}), netns: "/var/run/netns/no-such-namespace" };
  const { code, msg } = await fail(sandbox, add);
  assertEquals(code, 7);
  assertMatch(msg, /dummy interface requires an IPAM configuration$/);
  await succeed(sandbox, await call(sandbox, "DEL", {}));
  assertSame(before, await snapshot(sandbox), { only: /^host/ });
});

kernelTest("dummy: DEL removes what the reference has made, and nothing of others", {
  needs,
}, async (sandbox) => {
  const config = { ipam: hostLocal(sandbox, ...subnets) };
  const del = await call(sandbox, "DEL", config);
  const before = await snapshot(sandbox);
  await sandbox.ip(del.netns!, ["link add foobar0 type dummy", "link set foobar0 up"]);
  await succeed(sandbox, del);
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
  for (const rest of ["type dummy", "type veth peer name p0"]) {
    await sandbox.ip(del.netns!, [`link add foobar0 ${rest}`]);
    const foreign = rest === "type dummy" ? "cni:other/c1/foobar0" : "";
    await sandbox.inside(del.netns!, ["ip", "link", "set", "foobar0", "alias", foreign]);
    await succeed(sandbox, del);
    assert(await sandbox.hasLink(del.netns!, "foobar0"), rest);
    await sandbox.ip(del.netns!, ["link del foobar0"]);
  }
});
