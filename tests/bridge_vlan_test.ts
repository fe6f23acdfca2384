/**
 * VLANs of the bridge plugin, on kernels whose bridges filter VLANs.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { succeed } from "./harness/plugin.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs: readonly Need[] = [
  "link:bridge",
  "link:veth",
  "bridge-vlan",
  "plugin:bridge",
  "plugin:host-local",
];

async function add(
  sandbox: Sandbox,
  { id = "c1", config }: { id?: string; config: JsonObject },
): Promise<{ call: PluginCall; result: JsonObject; interfaces: { name: string; mac: string }[] }> {
  const call: PluginCall = {
    type: "bridge",
    verb: "ADD",
    netns: await sandbox.container(id),
    containerId: id,
    config: {
      cniVersion: "1.1.0",
      name: "net1",
      type: "bridge",
      bridge: bridgeName,
      ...config,
    },
  };
  const result = await succeed(sandbox, call);
  return { call, result, interfaces: result["interfaces"] as { name: string; mac: string }[] };
}

async function remove(sandbox: Sandbox, call: PluginCall): Promise<void> {
  await succeed(sandbox, { ...call, verb: "DEL" });
}

interface Vlan {
  readonly vlan: number;
  readonly vlanEnd?: number;
  readonly flags?: readonly string[];
}

/** VLANs of a port, ranges expanded: `100 PVID untagged`. */
async function vlansOf(sandbox: Sandbox, port: string): Promise<string[]> {
  const argv = ["bridge", "-j", "vlan", "show", "dev", port];
  const shown: { vlans: Vlan[] }[] = JSON.parse(await sandbox.inside(sandbox.host, argv));
  return (shown[0]?.vlans ?? []).flatMap(({ vlan, vlanEnd = vlan, flags = [] }) =>
    Array.from(
      { length: vlanEnd - vlan + 1 },
      (_, index) => [vlan + index, ...(flags ?? [])].join(" "),
    )
  );
}

const native = "PVID Egress Untagged";
const trunkRange = Array.from({ length: 11 }, (_, index) => `${200 + index}`);
const vlanTrunk = [{ id: 101 }, { minID: 200, maxID: 210 }];

const layouts: readonly { title: string; config: JsonObject; vlans: string[] }[] = [
  { title: "VLAN 100", config: { vlan: 100 }, vlans: [`100 ${native}`] },
  {
    title: "VLAN 100 beside the default one",
    config: { vlan: 100, preserveDefaultVlan: true },
    vlans: ["1 Egress Untagged", `100 ${native}`],
  },
  {
    title: "a trunk",
    config: { vlanTrunk },
    vlans: [`1 ${native}`, "101", ...trunkRange],
  },
  {
    title: "VLAN 100 and a trunk",
    config: { vlan: 100, vlanTrunk },
    vlans: [`100 ${native}`, "101", ...trunkRange],
  },
  { title: "an empty trunk", config: { vlanTrunk: [] }, vlans: [`1 ${native}`] },
];

for (const { title, config, vlans } of layouts) {
  kernelTest(`bridge: layer 2 with ${title}`, { needs }, async (sandbox) => {
    const before = await snapshot(sandbox);
    const { call, interfaces } = await add(sandbox, { config });
    assertEquals(interfaces.length, 3);
    assertEquals(await vlansOf(sandbox, interfaces[1]!.name), vlans);
    const [bridge] = await sandbox.ipJson<{
      linkinfo: { info_data: { vlan_filtering: number } };
    }>(sandbox.host, `link show dev ${bridgeName}`);
    assertEquals(bridge!.linkinfo.info_data.vlan_filtering, 1);
    await remove(sandbox, call);
    assertSame(before, await snapshot(sandbox), { allow: ["bridge"], only: /^host|^files$/ });
  });
}

kernelTest("bridge: ports of one VLAN reach each other and no other VLAN", {
  needs,
}, async (sandbox) => {
  const agents = [];
  for (const [index, vlan] of [100, 100, 200].entries()) {
    const { call } = await add(sandbox, { id: `c${index}`, config: { vlan } });
    await sandbox.ip(call.netns!, [`addr add 192.0.2.${index + 1}/24 dev eth0`]);
    agents.push(sandbox.agent(call.netns!));
  }
  assert(await agents[0]!.ping("192.0.2.2"));
  assert(!await agents[0]!.ping("192.0.2.3", 500));
  assert(!await agents[2]!.ping("192.0.2.1", 500));
});

kernelTest(
  "bridge: the gateway of a VLAN stands on a link of its own",
  { needs },
  async (sandbox) => {
    const before = await snapshot(sandbox);
    const config = {
      vlan: 100,
      isDefaultGateway: true,
      ipam: hostLocal(sandbox, "10.1.2.0/24", "2001:db8:1::/64"),
    };
    const first = await add(sandbox, { config });
    const gateway = `${bridgeName}.100`;
    assertEquals(first.interfaces.map(({ name }) => name).filter((name) => name === gateway), [
      gateway,
    ]);
    assertEquals(first.interfaces.length, 4);
    const links = await sandbox.ipJson<
      { ifname: string; ifindex: number; link?: string; address: string; master?: string }
    >(sandbox.host, "link show");
    assertEquals(links.length, 5);
    const near = links.find(({ ifname }) => ifname === gateway)!;
    assertEquals(near.address, first.interfaces[3]!.mac);
    const far = links.find(({ ifname }) => ifname === near.link)!;
    assertEquals(far.master, bridgeName);
    assertEquals(await vlansOf(sandbox, far.ifname), [`100 ${native}`]);
    const agent = sandbox.agent(first.call.netns!);
    assert(await agent.ping("10.1.2.1"));
    assert(await agent.ping("2001:db8:1::1"));

    const second = await add(sandbox, { id: "c2", config });
    assertEquals((await sandbox.ipJson(sandbox.host, "link show")).length, 6);
    assert(await sandbox.agent(second.call.netns!).ping("10.1.2.2"));
    for (const { call } of [first, second]) await remove(sandbox, call);
    await sandbox.ip(sandbox.host, [`link del dev ${gateway}`]);
    assertSame(before, await snapshot(sandbox), {
      allow: ["bridge", "hostLocal", "forwarding4", "forwarding6"],
      only: /^host|^files$/,
    });
  },
);

kernelTest("bridge: an existing bridge without filtering starts to filter", {
  needs,
}, async (sandbox) => {
  await sandbox.ip(sandbox.host, [`link add name ${bridgeName} type bridge`]);
  const { interfaces } = await add(sandbox, { config: { vlan: 100 } });
  assertEquals(await vlansOf(sandbox, interfaces[1]!.name), [`100 ${native}`]);
});
