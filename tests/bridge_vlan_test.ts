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
import { addressesOf, succeed } from "./harness/plugin.ts";
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

async function checkAndRemove(
  sandbox: Sandbox,
  call: PluginCall,
  prevResult: JsonObject,
): Promise<void> {
  const config = { ...call.config as JsonObject, prevResult };
  await succeed(sandbox, { ...call, verb: "CHECK", config });
  await succeed(sandbox, { ...call, verb: "DEL", config });
}

/** An attachment without IPAM that has an address all the same. */
async function addAt(
  sandbox: Sandbox,
  address: string,
  { id, config }: { id: string; config: JsonObject },
) {
  const attachment = await add(sandbox, { id, config });
  await sandbox.ip(attachment.call.netns!, [`addr add ${address}/24 dev eth0`]);
  return {
    ...attachment,
    netns: attachment.call.netns!,
    agent: sandbox.agent(attachment.call.netns!),
  };
}

/** A link for tagged frames inside a container. */
async function tag(
  sandbox: Sandbox,
  netns: string,
  [vid, address]: [number, string],
): Promise<void> {
  await sandbox.ip(netns, [
    `link add link eth0 name eth0.${vid} type vlan id ${vid}`,
    `addr add ${address}/24 dev eth0.${vid}`,
    `link set eth0.${vid} up`,
  ]);
}

/** Whether a container has heard from an address: it remembers who asked for its own. */
async function hasHeard(sandbox: Sandbox, netns: string, address: string): Promise<boolean> {
  const neighbours = await sandbox.ipJson<{ dst: string; lladdr?: string }>(netns, "neigh show");
  return neighbours.some(({ dst, lladdr }) => dst === address && lladdr !== undefined);
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
  {
    title: "a trunk that names VLAN 100 too",
    config: { vlan: 100, vlanTrunk: [{ id: 101 }, { id: 100 }] },
    vlans: [`100 ${native}`, "101"],
  },
  {
    title: "a trunk beside the default VLAN",
    config: { vlan: 100, vlanTrunk: [{ id: 101 }], preserveDefaultVlan: true },
    vlans: ["1 Egress Untagged", `100 ${native}`, "101"],
  },
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

const subnet4 = "10.1.2.0/24";
const subnet6 = "2001:db8:1::/64";

const gateways: readonly { title: string; subnets: string[]; config?: JsonObject }[] = [
  {
    title: "IPv4, beside the default VLAN",
    subnets: [subnet4],
    config: { preserveDefaultVlan: true },
  },
  { title: "IPv6", subnets: [subnet6] },
  { title: "both families", subnets: [subnet4, subnet6] },
  { title: "three subnets", subnets: [subnet4, subnet6, "2001:db8:2::/64"] },
];

for (const { title, subnets, config: extra = {} } of gateways) {
  kernelTest(`bridge: a VLAN's gateway stands on a link of its own, ${title}`, {
    needs,
  }, async (sandbox) => {
    const before = await snapshot(sandbox);
    const config = {
      vlan: 100,
      isDefaultGateway: true,
      ...extra,
      ipam: hostLocal(sandbox, ...subnets),
    };
    const first = await add(sandbox, { config });
    const gateway = `${bridgeName}.100`;
    assertEquals(first.interfaces.length, 4);
    assertEquals(first.interfaces[3]!.name, gateway);
    const links = await sandbox.ipJson<
      { ifname: string; link?: string; address: string; master?: string }
    >(sandbox.host, "link show");
    assertEquals(links.length, 5);
    const near = links.find(({ ifname }) => ifname === gateway)!;
    assertEquals(near.address, first.interfaces[3]!.mac);
    const far = links.find(({ ifname }) => ifname === near.link)!;
    assertEquals(far.master, bridgeName);
    const kept = extra["preserveDefaultVlan"] ? ["1 Egress Untagged"] : [];
    for (const port of [far.ifname, first.interfaces[1]!.name]) {
      assertEquals(await vlansOf(sandbox, port), [...kept, `100 ${native}`]);
    }
    const agent = sandbox.agent(first.call.netns!);
    for (const subnet of subnets) {
      assert(await agent.ping(subnet.replace(/0\/24$|\/64$/, "1")), subnet);
    }
    const second = await add(sandbox, { id: "c2", config });
    assertEquals((await sandbox.ipJson(sandbox.host, "link show")).length, 6);
    const [theirs] = addressesOf(second.result);
    assert(await agent.ping(theirs!.split("/")[0]!));
    for (const { call, result } of [first, second]) await checkAndRemove(sandbox, call, result);
    assertSame(before, await snapshot(sandbox), {
      allow: ["bridge", "vlanGateway", "hostLocal", "forwarding4", "forwarding6"],
      only: /^host|^files$/,
    });
  });
}

kernelTest("bridge: an existing bridge without filtering starts to filter", {
  needs,
}, async (sandbox) => {
  await sandbox.ip(sandbox.host, [`link add name ${bridgeName} type bridge`]);
  const { interfaces } = await add(sandbox, { config: { vlan: 100 } });
  assertEquals(await vlansOf(sandbox, interfaces[1]!.name), [`100 ${native}`]);
});

kernelTest("bridge: a bridge with another default VLAN loses that one on its ports", {
  needs,
}, async (sandbox) => {
  await sandbox.ip(sandbox.host, [
    `link add name ${bridgeName} type bridge vlan_filtering 1 vlan_default_pvid 5`,
  ]);
  for (const preserveDefaultVlan of [false, true]) {
    const id = `c-${preserveDefaultVlan}`;
    const config = { vlan: 100, preserveDefaultVlan };
    const { call, result, interfaces } = await add(sandbox, { id, config });
    const kept = preserveDefaultVlan ? ["5 Egress Untagged"] : [];
    assertEquals(await vlansOf(sandbox, interfaces[1]!.name), [...kept, `100 ${native}`]);
    await checkAndRemove(sandbox, call, result);
  }
});

kernelTest("bridge: tagged frames pass a trunk in its VLANs alone", {
  needs: [...needs, "link:vlan"],
}, async (sandbox) => {
  const trunk = { vlan: 7, vlanTrunk };
  const a = await addAt(sandbox, "192.0.2.1", { id: "a", config: trunk });
  const b = await addAt(sandbox, "192.0.2.2", { id: "b", config: trunk });
  const access = await addAt(sandbox, "198.51.100.3", { id: "c", config: { vlan: 101 } });
  for (const [vid, net] of [[101, "198.51.100"], [205, "203.0.113"], [300, "10.9.9"]] as const) {
    await tag(sandbox, a.netns, [vid, `${net}.1`]);
    await tag(sandbox, b.netns, [vid, `${net}.2`]);
  }
  assert(await a.agent.ping("192.0.2.2"), "untagged in the native VLAN");
  assert(await a.agent.ping("198.51.100.2"), "a VLAN named alone");
  assert(await a.agent.ping("203.0.113.2"), "a VLAN of a range");
  assert(!await a.agent.ping("10.9.9.2", 500), "a VLAN that the trunk does not have");
  assert(await a.agent.ping("198.51.100.3"), "tagged here, untagged there");
  assert(await access.agent.ping("198.51.100.2"), "untagged here, tagged there");
});

kernelTest("bridge: a trunk alone carries untagged frames in VLAN 1", {
  needs: [...needs, "link:vlan"],
}, async (sandbox) => {
  const a = await addAt(sandbox, "192.0.2.1", { id: "a", config: { vlanTrunk } });
  await addAt(sandbox, "192.0.2.2", { id: "b", config: { vlanTrunk: [] } });
  await addAt(sandbox, "192.0.2.3", { id: "c", config: { vlan: 101 } });
  assert(await a.agent.ping("192.0.2.2"));
  assert(!await a.agent.ping("192.0.2.3", 500));
});

for (const preserveDefaultVlan of [true, false]) {
  const hears = preserveDefaultVlan ? "hears" : "does not hear";
  kernelTest(
    `bridge: preserveDefaultVlan ${preserveDefaultVlan}: a port ${hears} the default VLAN`,
    {
      needs,
    },
    async (sandbox) => {
      const config = { vlan: 100, preserveDefaultVlan };
      const a = await addAt(sandbox, "192.0.2.1", { id: "a", config });
      const b = await addAt(sandbox, "192.0.2.2", { id: "b", config });
      const other = await addAt(sandbox, "192.0.2.3", { id: "c", config: {} });
      assert(await a.agent.ping("192.0.2.2"));
      // What the port sends belongs to VLAN 100: there is no way back.
      assert(!await other.agent.ping("192.0.2.1", 500));
      assertEquals(await hasHeard(sandbox, a.netns, "192.0.2.3"), preserveDefaultVlan);
      assert(!await b.agent.ping("192.0.2.3", 500));
      assert(!await hasHeard(sandbox, other.netns, "192.0.2.2"));
    },
  );
}

kernelTest("bridge: two VLANs may have the same subnet", { needs }, async (sandbox) => {
  const attach = async (id: string, vlan: number) => {
    const ipam = hostLocal(sandbox, subnet4);
    const config = { name: `net${vlan}`, vlan, isGateway: true, ipam };
    const attachment = await add(sandbox, { id, config });
    return { ...attachment, agent: sandbox.agent(attachment.call.netns!) };
  };
  const ones = [await attach("a1", 100), await attach("b1", 200)];
  const twos = [await attach("a2", 100), await attach("b2", 200)];
  for (const pair of [ones, twos]) {
    assertEquals(addressesOf(pair[0]!.result), addressesOf(pair[1]!.result));
  }
  // Only VLAN 100 has a server.
  const port = await twos[0]!.agent.listen("tcp");
  const [address] = addressesOf(twos[0]!.result)[0]!.split("/");
  assertEquals((await ones[0]!.agent.call(address!, port)).is, "answered");
  assertEquals((await ones[1]!.agent.call(address!, port)).is, "refused");
  for (const vlan of [100, 200]) {
    const [link] = await sandbox.ipJson<{ addr_info: { local: string; family: string }[] }>(
      sandbox.host,
      `address show dev ${bridgeName}.${vlan}`,
    );
    const [gateway] = link!.addr_info.filter(({ family }) => family === "inet");
    assertEquals(gateway!.local, "10.1.2.1");
  }
  for (const { call, result } of [...ones, ...twos]) await checkAndRemove(sandbox, call, result);
});

kernelTest("bridge: the spoof check holds in a VLAN and for tagged frames", {
  needs: [...needs, "link:vlan", "tool:nft"],
}, async (sandbox) => {
  const config = { vlan: 100, vlanTrunk };
  const checked = { ...config, macspoofchk: true };
  const a = await addAt(sandbox, "192.0.2.1", { id: "a", config: checked });
  const b = await addAt(sandbox, "192.0.2.2", { id: "b", config });
  await tag(sandbox, a.netns, [101, "198.51.100.1"]);
  await tag(sandbox, b.netns, [101, "198.51.100.2"]);
  for (const address of ["192.0.2.2", "198.51.100.2"]) assert(await a.agent.ping(address), address);
  await sandbox.ip(a.netns, ["link set eth0.101 address 02:00:00:00:77:77"]);
  assert(!await a.agent.ping("198.51.100.2", 500), "a tagged frame of another sender");
  assert(await a.agent.ping("192.0.2.2"));
  await sandbox.ip(a.netns, ["link set eth0 address 02:00:00:00:77:78"]);
  assert(!await a.agent.ping("192.0.2.2", 500), "an untagged frame of another sender");
  await sandbox.ip(a.netns, [`link set eth0 address ${a.interfaces[2]!.mac}`]);
  assert(await a.agent.ping("192.0.2.2"));
});

kernelTest("bridge: ports of one VLAN may be isolated from each other", {
  needs,
}, async (sandbox) => {
  const isolated = { vlan: 100, portIsolation: true };
  const a = await addAt(sandbox, "192.0.2.1", { id: "a", config: isolated });
  await addAt(sandbox, "192.0.2.2", { id: "b", config: isolated });
  await addAt(sandbox, "192.0.2.3", { id: "c", config: { vlan: 100 } });
  await addAt(sandbox, "192.0.2.4", { id: "d", config: { vlan: 200 } });
  assert(await a.agent.ping("192.0.2.3"), "open port of the VLAN");
  assert(!await a.agent.ping("192.0.2.2", 500), "isolated port of the VLAN");
  assert(!await a.agent.ping("192.0.2.4", 500), "open port of another VLAN");
});
