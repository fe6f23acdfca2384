/**
 * The vlan plugin on a real kernel: what it makes, and what packets do there.
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
  testBelow,
} from "./harness/below.ts";
import { kernelTest } from "./harness/need.ts";
import { fail, succeed } from "./harness/plugin.ts";
import { hostLocal } from "./harness/rows.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const vlan: Below = {
  type: "vlan",
  keys: { vlanId: 1234 },
  choosesMaster: false,
  invalid: [{ vlanId: 4095 }, { vlanId: "x" }, { master: "" }],
};
const needs = needsOf(vlan);
const subnets = ["10.1.2.0/24", "2001:db8:1::/64"] as const;

testBelow(vlan);

kernelTest("vlan: packets carry the tag, and links of other VLANs get none of them", {
  needs,
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const master = await linkOf(sandbox, sandbox.host, "out0");
  await sandbox.ip(outside, [
    "link add link eth0 name eth0.100 type vlan id 100",
    "addr add 10.1.2.200/24 dev eth0.100",
    "addr add 2001:db8:1::200/64 dev eth0.100 nodad",
    "link set dev eth0.100 up",
  ]);
  const ipam = hostLocal(sandbox, ...subnets);
  const before = await snapshot(sandbox);
  const adds = await Promise.all(
    [100, 200].map((vlanId) =>
      callOf(sandbox, vlan, { id: `c${vlanId}`, config: { master: "out0", vlanId, ipam } })
    ),
  );
  const results: JsonObject[] = [];
  for (const add of adds) results.push(await succeed(sandbox, add));
  const link = await linkOf(sandbox, adds[0]!.netns!, "eth0");
  assertEquals([link.linkinfo.info_data.id, link.address], [100, master.address]);
  const [inside, other] = adds.map(({ netns }) => sandbox.agent(netns!));
  for (
    const [slot, [any, client]] of [["0.0.0.0", "10.1.2.200"], ["::", "2001:db8:1::200"]].entries()
  ) {
    const port = await sandbox.agent(outside).listen("tcp", { address: any! });
    const outcome = await inside!.call(client!, port);
    assertEquals(outcome, { is: "answered", from: hostsOf(results[0]!)[slot]! });
    assert(!await other!.ping(client!, 500));
    assert(!await inside!.ping(hostsOf(results[1]!)[slot]!, 500));
  }
  for (const [index, add] of adds.entries()) {
    await succeed(sandbox, followed(add, "CHECK", results[index]));
    await succeed(sandbox, followed(add, "DEL", results[index]));
  }
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"], only: outsideContainers });
});

kernelTest(
  "vlan: a master takes each VLAN once, and says what to do",
  { needs },
  async (sandbox, test) => {
    await sandbox.outside();
    await sandbox.ip(sandbox.host, [
      "link add more0 type veth peer name more1",
      "link set dev more0 up",
    ]);
    const ipam = hostLocal(sandbox, subnets[0]);
    const add = (id: string, master: string) =>
      callOf(sandbox, vlan, { id, config: { master, vlanId: 100, ipam } });
    const first = await add("c1", "out0");
    const result = await succeed(sandbox, first);
    await test.step("the same VLAN of the same master", async () => {
      const { code, msg } = await fail(sandbox, await add("c2", "out0"));
      assertEquals([code, msg], [
        102,
        'Cannot create vlan on "out0": Error: 8021q: VLAN device already exists. ' +
        '("out0" carries one link for VLAN 100 and no second: choose another vlanId, ' +
        "or share the VLAN by making it on the host and using it as the master of macvlan)",
      ]);
      await succeed(sandbox, followed(first, "CHECK", result));
    });
    await test.step("the same VLAN of another master", async () => {
      const second = await add("c2", "more0");
      await succeed(sandbox, followed(second, "CHECK", await succeed(sandbox, second)));
    });
    await test.step("again after its DEL", async () => {
      await succeed(sandbox, followed(first, "DEL", result));
      await succeed(sandbox, await add("c3", "out0"));
    });
  },
);

kernelTest("vlan: a VLAN is shared by macvlan links on a VLAN link of the host", {
  needs: [...needs, "link:macvlan", "plugin:macvlan"],
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const tagged = (dev: string) => [
    `link add link ${dev} name tagged type vlan id 100`,
    "link set dev tagged up",
  ];
  await sandbox.ip(sandbox.host, tagged("out0"));
  await sandbox.ip(outside, [...tagged("eth0"), "addr add 10.1.2.200/24 dev tagged"]);
  const config = { master: "tagged", ipam: hostLocal(sandbox, subnets[0]) };
  for (const id of ["c1", "c2"]) {
    const add = await callOf(sandbox, { type: "macvlan", keys: {} }, { id, config });
    await succeed(sandbox, add);
    assert(await sandbox.agent(add.netns!).ping("10.1.2.200"));
  }
});

kernelTest("vlan: what cannot work is refused before anything is made", {
  needs,
}, async (sandbox, test) => {
  await sandbox.outside();
  await sandbox.ip(sandbox.host, ["link add down0 type veth peer name down1"]);
  const ipam = hostLocal(sandbox, subnets[0]);
  const invalid = "Cannot use network configuration: ";
  const refusals: Refusals = {
    "no master": [
      { ipam },
      7,
      `${invalid}master: the "master" field is required: name of the link to stand on`,
    ],
    "no IPAM plugin": [
      { master: "out0", ipam: {} },
      7,
      `${invalid}ipam.type: expected name of an IPAM plugin but received nothing`,
    ],
    "a VLAN below 0": [
      { master: "out0", vlanId: -1, ipam },
      7,
      `${invalid}vlanId: invalid VLAN ID -1 (must be between 0 and 4094)`,
    ],
    "a VLAN above 4094": [
      { master: "out0", vlanId: 4095, ipam },
      7,
      `${invalid}vlanId: invalid VLAN ID 4095 (must be between 0 and 4094)`,
    ],
    "a master that is down": [
      { master: "down0", ipam },
      100,
      'Cannot use master "down0": it is down; set it up first',
    ],
    "a master without VLANs": [
      { master: "lo", ipam },
      106,
      'Cannot create vlan on "lo": Error: 8021q: VLANs not supported on device. ' +
      '(the kernel lacks the module for it, or "lo" takes none)',
    ],
  };
  const call = (config: JsonObject) => callOf(sandbox, vlan, { config });
  await assertRefused(sandbox, { test, refusals, call });
  await test.step("DEL succeeds all the same", async () => {
    for (const [config] of Object.values(refusals)) {
      await succeed(sandbox, followed(await call(config), "DEL"));
    }
  });
});

kernelTest("vlan: VLAN 0 and the highest one", { needs }, async (sandbox, test) => {
  await sandbox.outside();
  const netns = await sandbox.container("c1");
  await masterInside(sandbox, netns);
  const ipam = hostLocal(sandbox, subnets[0]);
  for (const place of [{ master: "out0" }, { master: "eth1", linkInContainer: true }]) {
    for (const vlanId of [undefined, 0, 4094]) {
      await test.step(`${place.master}, ${vlanId}`, async () => {
        const add = await callOf(sandbox, { type: "vlan", keys: {} }, {
          config: { ...place, ipam, ...(vlanId !== undefined && { vlanId }) },
        });
        const result = await succeed(sandbox, add);
        const link = await linkOf(sandbox, netns, "eth0");
        assertEquals(link.linkinfo.info_data.id, vlanId ?? 0);
        await succeed(sandbox, followed(add, "CHECK", result));
        await succeed(sandbox, followed(add, "DEL", result));
      });
    }
  }
});

kernelTest("vlan: CHECK notices another VLAN, DEL removes the link all the same", {
  needs,
}, async (sandbox) => {
  await sandbox.outside();
  const config = { master: "out0", vlanId: 100, ipam: hostLocal(sandbox, subnets[0]) };
  const add = await callOf(sandbox, vlan, { config });
  const result = await succeed(sandbox, add);
  const check = followed(
    {
      ...add,
      config: { ...config, cniVersion: "1.1.0", name: "mynet", type: "vlan", vlanId: 101 },
    },
    "CHECK",
    result,
  );
  const { code, msg } = await fail(sandbox, check);
  assertEquals(code, 105);
  assertStringIncludes(msg, 'container interface "eth0" is of VLAN 100, expected 101');
  await succeed(sandbox, { ...check, verb: "DEL" });
  assert(!await sandbox.hasLink(add.netns!, "eth0"));
});
