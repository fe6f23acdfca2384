/**
 * The ipvlan plugin on a real kernel: what it makes, and what packets do there.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Below, Refusals } from "./harness/below.ts";
import {
  assertRefused,
  callOf,
  followed,
  hostsOf,
  linkOf,
  masterInside,
  needsOf,
  outsideContainers,
  outsidePool,
  testBelow,
} from "./harness/below.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, fail, succeed } from "./harness/plugin.ts";
import { hostLocal } from "./harness/rows.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const ipvlan: Below = {
  type: "ipvlan",
  keys: {},
  choosesMaster: true,
  invalid: [{ mode: "l4" }],
};
const needs = needsOf(ipvlan);

testBelow(ipvlan);

kernelTest("ipvlan: mode l2 has the master's hardware address and reaches its network", {
  needs,
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const master = await linkOf(sandbox, sandbox.host, "out0");
  const config = { master: "out0", ipam: outsidePool(sandbox) };
  const adds = await Promise.all(["c1", "c2"].map((id) => callOf(sandbox, ipvlan, { id, config })));
  const before = await snapshot(sandbox);
  const results: JsonObject[] = [];
  for (const add of adds) results.push(await succeed(sandbox, add));
  const link = await linkOf(sandbox, adds[0]!.netns!, "eth0");
  assertEquals([link.linkinfo.info_data.mode, link.address], ["l2", master.address]);
  const [first, second] = adds.map(({ netns }) => sandbox.agent(netns!));
  const clients = [outsideNet.client4, outsideNet.client6];
  for (const [slot, address] of ["0.0.0.0", "::"].entries()) {
    const port = await sandbox.agent(outside).listen("tcp", { address });
    for (const [index, agent] of [first!, second!].entries()) {
      const outcome = await agent.call(clients[slot]!, port);
      assertEquals(outcome, { is: "answered", from: hostsOf(results[index]!)[slot]! });
    }
    assert(await first!.ping(hostsOf(results[1]!)[slot]!));
  }
  assert(!await first!.ping(outsideNet.host4, 500));
  for (const [index, add] of adds.entries()) {
    await succeed(sandbox, followed(add, "CHECK", results[index]));
    await succeed(sandbox, followed(add, "DEL", results[index]));
  }
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"], only: outsideContainers });
});

for (const mode of ["l3", "l3s"]) {
  kernelTest(`ipvlan: mode ${mode} routes between subnets, without broadcasts`, {
    needs,
  }, async (sandbox) => {
    const outside = await sandbox.outside();
    const subnets = ["10.1.2.0/24", "10.1.3.0/24"];
    const adds = await Promise.all(subnets.map((subnet, index) => {
      const ipam = { ...hostLocal(sandbox, subnet), routes: [{ dst: "0.0.0.0/0" }] };
      const config = { name: `net${index}`, master: "out0", mode, ipam };
      return callOf(sandbox, ipvlan, { id: `c${index}`, config });
    }));
    const results: JsonObject[] = [];
    for (const add of adds) results.push(await succeed(sandbox, add));
    const link = await linkOf(sandbox, adds[0]!.netns!, "eth0");
    assertEquals(link.linkinfo.info_data.mode, mode);
    const [address] = hostsOf(results[0]!);
    const first = sandbox.agent(adds[0]!.netns!);
    assert(await first.ping(hostsOf(results[1]!)[0]!));
    // Nobody answers for the containers: the network must know where they are.
    const port = await sandbox.agent(outside).listen("tcp");
    const call = () => first.call(outsideNet.client4, port, { timeout: 500 });
    assertEquals((await call()).is, "timeout");
    await sandbox.ip(outside, [`route add ${address} via ${outsideNet.host4}`]);
    assertEquals(await call(), { is: "answered", from: address! });
    await succeed(sandbox, followed(adds[0]!, "CHECK", results[0]));
  });
}

const chained = {
  cniVersion: "1.1.0",
  ips: [{ address: "10.1.2.2/24", gateway: "10.1.2.1", interface: 0 }],
  routes: [{ dst: "0.0.0.0/0" }],
  dns: { nameservers: ["10.1.2.9"] },
};

kernelTest("ipvlan: a plugin before it gives the addresses and the master", {
  needs,
}, async (sandbox, test) => {
  await sandbox.outside();
  const netns = await sandbox.container("c1");
  await masterInside(sandbox, netns);
  const before = await snapshot(sandbox);
  for (const [master, linkInContainer] of [["out0", false], ["eth1", true]] as const) {
    for (const keys of [{ linkInContainer }, { linkInContainer, master }]) {
      for (const cniVersion of ["0.3.1", "1.1.0"]) {
        await test.step(`${JSON.stringify(keys)}, ${cniVersion}`, async () => {
          const ips = chained.ips.map((ip) => cniVersion < "1" ? { version: "4", ...ip } : ip);
          const prevResult = { ...chained, cniVersion, ips, interfaces: [{ name: master }] };
          const config = { ...keys, cniVersion };
          const add = await callOf(sandbox, ipvlan, { config: { ...config, prevResult } });
          const result = await succeed(sandbox, add);
          assertEquals(addressesOf(result), ["10.1.2.2/24"]);
          assertEquals(result["dns"], chained.dns);
          const [entry, ...others] = result["interfaces"] as JsonObject[];
          assertEquals([entry!["name"], entry!["sandbox"], others], ["eth0", netns, []]);
          const routes = await sandbox.inside(netns, ["ip", "route", "show", "default"]);
          assertStringIncludes(routes, "via 10.1.2.1 dev eth0");
          const plain = await callOf(sandbox, ipvlan, { config });
          if (cniVersion >= "0.4.0") await succeed(sandbox, followed(plain, "CHECK", result));
          await succeed(sandbox, followed(plain, "DEL", result));
        });
      }
    }
  }
  assertSame(before, await snapshot(sandbox));
});

kernelTest("ipvlan: without addresses from anywhere, or a master, it is refused", {
  needs,
}, async (sandbox, test) => {
  await sandbox.outside();
  const lacking = "chained master failure. PrevResult lacks a single named interface";
  const nothing = "Cannot use network configuration: ipam.type: " +
    "expected name of an IPAM plugin, or a prevResult with addresses, but received nothing";
  const refusals: Refusals = {
    "no interface": [{ prevResult: { ...chained, interfaces: [] } }, 7, lacking],
    "two interfaces": [
      { prevResult: { ...chained, interfaces: [{ name: "out0" }, { name: "out0" }] } },
      7,
      lacking,
    ],
    "an interface without a name": [
      { prevResult: { ...chained, interfaces: [{ name: "" }] } },
      7,
      lacking,
    ],
    "no IPAM plugin": [{ master: "out0" }, 7, nothing],
    "a previous result without addresses": [
      { prevResult: { ...chained, ips: [], interfaces: [{ name: "out0" }] } },
      7,
      nothing,
    ],
    "dhcp in a mode without broadcasts": [
      { master: "out0", mode: "l3", ipam: { type: "dhcp" } },
      7,
      'Cannot use network configuration: mode: "l3" carries no broadcasts, which "dhcp" needs: use "l2"',
    ],
  };
  const call = (config: JsonObject) => callOf(sandbox, ipvlan, { config });
  await assertRefused(sandbox, { test, refusals, call });
  await test.step("DEL succeeds all the same", async () => {
    for (const [config] of Object.values(refusals)) {
      // There is no plugin "dhcp" yet whose DEL could be called.
      if (config["mode"] !== "l3") await succeed(sandbox, followed(await call(config), "DEL"));
    }
  });
});

kernelTest("ipvlan: what the kernel refuses is said in a sentence", {
  needs: [...needs, "link:macvlan", "link:bridge"],
}, async (sandbox, test) => {
  await sandbox.outside();
  await sandbox.ip(sandbox.host, [
    "link add mac0 type veth peer name mac1",
    "link add link mac0 name mac2 type macvlan mode bridge",
    "link add name br0 type bridge",
    "link add port0 type veth peer name port1",
    "link set dev port0 master br0",
  ]);
  const taken = { type: "static", addresses: [{ address: "10.1.2.9/24" }] };
  const holder = await callOf(sandbox, ipvlan, { config: { master: "out0", ipam: taken } });
  await succeed(sandbox, holder);
  const pool = hostLocal(sandbox, "10.1.2.0/24");
  const refusals: Refusals = {
    "a master with macvlan links": [
      { master: "mac0", ipam: pool },
      100,
      'Cannot create ipvlan on "mac0": RTNETLINK answers: Device or resource busy (macvlan links or others take the packets of "mac0": choose another master, or the same kind)',
    ],
    "the port of a bridge": [
      { master: "port0", ipam: pool },
      100,
      'Cannot create ipvlan on "port0": RTNETLINK answers: Device or resource busy ("port0" is a port of "br0": choose that as the master)',
    ],
    "loopback as master": [
      { master: "lo", mtu: 1500, ipam: pool },
      100,
      'Cannot create ipvlan on "lo": RTNETLINK answers: Invalid argument ("lo" must be an Ethernet link)',
    ],
    "an address that another link of the master has": [
      { master: "out0", ipam: taken },
      102,
      'Cannot add address 10.1.2.9/24 to container interface "eth0": Error: Address already assigned to an ipvlan device.',
    ],
  };
  const call = (config: JsonObject) => callOf(sandbox, ipvlan, { id: "c2", config });
  await assertRefused(sandbox, { test, refusals, call });
});

kernelTest(
  "ipvlan: CHECK notices that another network has changed the mode of the master's links",
  { needs },
  async (sandbox) => {
    await sandbox.outside();
    const ipam = hostLocal(sandbox, "10.1.2.0/24");
    const first = await callOf(sandbox, ipvlan, { config: { master: "out0", ipam } });
    const result = await succeed(sandbox, first);
    const others = hostLocal(sandbox, "10.1.3.0/24");
    const config = { name: "net2", master: "out0", mode: "l3", ipam: others };
    const second = await callOf(sandbox, ipvlan, { id: "c2", config });
    await succeed(sandbox, second);
    const { code, msg } = await fail(sandbox, followed(first, "CHECK", result));
    assertEquals(code, 105);
    assertStringIncludes(msg, 'container interface "eth0" is in mode l3, expected l2');
  },
);
