/**
 * The macvlan plugin on a real kernel: what it makes, and what packets do there.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
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

const macvlan: Below = {
  type: "macvlan",
  keys: {},
  choosesMaster: true,
  invalid: [{ mode: "source" }, { bcqueuelen: -1 }, { runtimeConfig: { mac: "x" } }],
};
const needs = needsOf(macvlan);
const subnet = "10.1.2.0/24";

testBelow(macvlan);

for (
  const [mode, reachEachOther] of [["bridge", true], ["private", false], ["vepa", false]] as const
) {
  kernelTest(`macvlan: mode ${mode}`, { needs }, async (sandbox) => {
    const outside = await sandbox.outside();
    const config = { master: "out0", mode, ipam: outsidePool(sandbox) };
    const adds = await Promise.all(
      ["c1", "c2"].map((id) => callOf(sandbox, macvlan, { id, config })),
    );
    const before = await snapshot(sandbox);
    const results: JsonObject[] = [];
    for (const add of adds) results.push(await succeed(sandbox, add));
    assertEquals((await linkOf(sandbox, adds[0]!.netns!, "eth0")).linkinfo.info_data.mode, mode);
    const [first, second] = adds.map(({ netns }) => sandbox.agent(netns!));
    const clients = [outsideNet.client4, outsideNet.client6];
    for (const [slot, address] of ["0.0.0.0", "::"].entries()) {
      const port = await sandbox.agent(outside).listen("tcp", { address });
      for (const [index, agent] of [first!, second!].entries()) {
        const outcome = await agent.call(clients[slot]!, port);
        assertEquals(outcome, { is: "answered", from: hostsOf(results[index]!)[slot]! });
      }
      const other = hostsOf(results[1]!)[slot]!;
      assertEquals(await first!.ping(other, reachEachOther ? 3000 : 500), reachEachOther);
    }
    // The kernel does not switch between a master and its links.
    assert(!await first!.ping(outsideNet.host4, 500));
    for (const [index, add] of adds.entries()) {
      await succeed(sandbox, followed(add, "DEL", results[index]));
    }
    assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"], only: outsideContainers });
  });
}

kernelTest("macvlan: mode passthru takes the master whole", { needs }, async (sandbox, test) => {
  await sandbox.outside();
  const master = await linkOf(sandbox, sandbox.host, "out0");
  const before = await snapshot(sandbox);
  const config = { master: "out0", mode: "passthru", ipam: outsidePool(sandbox) };
  const asked = "02:00:00:00:00:77";
  for (const mac of [undefined, asked]) {
    await test.step(mac ? "with another hardware address" : "with the master's", async () => {
      const add = await callOf(sandbox, macvlan, { config: { ...config, ...(mac && { mac }) } });
      const result = await succeed(sandbox, add);
      const link = await linkOf(sandbox, add.netns!, "eth0");
      assertEquals([link.linkinfo.info_data.mode, link.address], [
        "passthru",
        mac ?? master.address,
      ]);
      assertEquals((result["interfaces"] as JsonObject[])[0]!["mac"], link.address);
      await succeed(sandbox, followed(add, "CHECK", result));
      assert(await sandbox.agent(add.netns!).ping(outsideNet.client4));
      const second = await callOf(sandbox, macvlan, {
        id: "c2",
        config: { ...config, mode: "bridge" },
      });
      const { code, msg } = await fail(sandbox, second);
      assertEquals([code, msg], [
        100,
        'Cannot create macvlan on "out0": RTNETLINK answers: Invalid argument ' +
        '("out0" must be an Ethernet link without one in mode passthru)',
      ]);
      await succeed(sandbox, followed(add, "DEL", result));
      assertSame(before, await snapshot(sandbox), {
        allow: ["hostLocal"],
        only: outsideContainers,
      });
    });
  }
});

const mac = "c2:11:22:33:44:55";
const addresses: Readonly<Record<string, { config?: JsonObject; args?: string }>> = {
  "the configuration": { config: { mac } },
  "CNI_ARGS": { config: { mac: "02:00:00:00:00:01" }, args: `IgnoreUnknown=true;MAC=${mac}` },
  "RuntimeConfig": {
    config: { mac: "02:00:00:00:00:01", RuntimeConfig: { mac } },
    args: "MAC=02:00:00:00:00:02",
  },
};

kernelTest("macvlan: a hardware address that is asked for", { needs }, async (sandbox, test) => {
  await sandbox.outside();
  for (const linkInContainer of [false, true]) {
    const netns = await sandbox.container("c1");
    if (linkInContainer) await masterInside(sandbox, netns);
    const place = { master: linkInContainer ? "eth1" : "out0", linkInContainer };
    for (const [source, { config, args = "" }] of Object.entries(addresses)) {
      await test.step(`by ${source}, master ${place.master}`, async () => {
        const add = await callOf(sandbox, macvlan, { config: { ...place, ...config }, args });
        const result = await succeed(sandbox, add);
        assertEquals((await linkOf(sandbox, netns, "eth0")).address, mac);
        assertEquals((result["interfaces"] as JsonObject[])[0]!["mac"], mac);
        assertEquals(addressesOf(result), []);
        await succeed(sandbox, followed(add, "CHECK", result));
        await succeed(sandbox, followed(add, "DEL", result));
      });
    }
  }
});

kernelTest("macvlan: an attachment always gets the same address, and no other attachment does", {
  needs,
}, async (sandbox) => {
  await sandbox.outside();
  const macs: string[] = [];
  for (const id of ["c1", "c1", "c2"]) {
    const add = await callOf(sandbox, macvlan, { id, config: { master: "out0" } });
    await succeed(sandbox, add);
    macs.push((await linkOf(sandbox, add.netns!, "eth0")).address);
    await succeed(sandbox, followed(add, "DEL"));
  }
  assertEquals([macs[0] === macs[1], macs[0] === macs[2]], [true, false]);
});

kernelTest(
  "macvlan: what the kernel refuses is said in a sentence",
  { needs },
  async (sandbox, test) => {
    await sandbox.outside();
    const call = (config: JsonObject, id = "c2") =>
      callOf(sandbox, macvlan, { id, config: { master: "out0", ...config } });
    await succeed(sandbox, await call({ mac }, "c1"));
    const master = await linkOf(sandbox, sandbox.host, "out0");
    const refusals: Refusals = {
      "the hardware address of another link": [
        { mac },
        102,
        `Cannot set container interface "eth0" up: RTNETLINK answers: Address already in use (another link on "out0" has ${mac})`,
      ],
      "the master's hardware address": [
        { mac: master.address, ipam: hostLocal(sandbox, subnet) },
        102,
        `Cannot set container interface "eth0" up: RTNETLINK answers: Address already in use (another link on "out0" has ${master.address})`,
      ],
      "passthru beside another link": [
        { mode: "passthru" },
        100,
        'Cannot create macvlan on "out0": RTNETLINK answers: Invalid argument ("out0" must be an Ethernet link without other macvlan links)',
      ],
      "loopback as master": [
        { master: "lo", mtu: 1500 },
        100,
        'Cannot create macvlan on "lo": RTNETLINK answers: Invalid argument ("lo" must be an Ethernet link without one in mode passthru)',
      ],
      "an MTU below what links take": [
        { mtu: 20 },
        100,
        'Cannot create macvlan on "out0": Error: mtu less than device minimum.',
      ],
    };
    await assertRefused(sandbox, { test, refusals, call });
  },
);

kernelTest("macvlan: the port of a bridge is no master", {
  needs: [...needs, "link:bridge"],
}, async (sandbox) => {
  await sandbox.outside();
  await sandbox.ip(sandbox.host, ["link add name br0 type bridge", "link set dev out0 master br0"]);
  const call = await callOf(sandbox, macvlan, { config: { master: "out0" } });
  const { code, msg } = await fail(sandbox, call);
  assertEquals([code, msg], [
    100,
    'Cannot create macvlan on "out0": RTNETLINK answers: Device or resource busy ("out0" is a port of "br0": choose that as the master)',
  ]);
  await succeed(sandbox, await callOf(sandbox, macvlan, { config: { master: "br0" } }));
});

kernelTest("macvlan: a link that carries ipvlan links is no master", {
  needs: [...needs, "link:ipvlan"],
}, async (sandbox) => {
  await sandbox.outside();
  await sandbox.ip(sandbox.host, ["link add link out0 name ipv0 type ipvlan mode l2"]);
  const call = await callOf(sandbox, macvlan, { config: { master: "out0" } });
  const { code, msg } = await fail(sandbox, call);
  assertEquals([code, msg], [
    100,
    'Cannot create macvlan on "out0": RTNETLINK answers: Device or resource busy (ipvlan links or others take the packets of "out0": choose another master, or the same kind)',
  ]);
});

kernelTest("macvlan: layer 2, and DEL of what never was", { needs }, async (sandbox, test) => {
  await sandbox.outside();
  const netns = await sandbox.container("c1");
  await masterInside(sandbox, netns);
  const before = await snapshot(sandbox);
  for (const place of [{ master: "out0" }, { master: "eth1", linkInContainer: true }]) {
    await test.step(JSON.stringify(place), async () => {
      const add = await callOf(sandbox, macvlan, { config: { ...place, ipam: {} } });
      await succeed(sandbox, followed(add, "DEL"));
      const result = await succeed(sandbox, add);
      const link = await linkOf(sandbox, netns, "eth0");
      assertEquals(link.addr_info.filter(({ family }) => family === "inet"), []);
      assertMatch(link.ifalias ?? "", /^cni:mynet\/c1\/eth0$/);
      await succeed(sandbox, followed(add, "CHECK", result));
      await succeed(sandbox, followed(add, "DEL", result));
      for (const cniVersion of ["0.1.0", "0.2.0"]) {
        const old = await callOf(sandbox, macvlan, { config: { ...place, ipam: {}, cniVersion } });
        const { msg } = await fail(sandbox, old);
        assertEquals(msg, "cannot convert: no valid IP addresses");
      }
      assertSame(before, await snapshot(sandbox));
    });
  }
});
