/**
 * The bridge plugin on a real kernel: what it makes, and what packets do there.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, fail, succeed, versions } from "./harness/plugin.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs: readonly Need[] = [
  "link:bridge",
  "link:veth",
  "plugin:bridge",
  "plugin:host-local",
];
const subnet4 = "10.1.2.0/24";
const subnet6 = "2001:db8:1::/64";

/** A call of one attachment; the container's namespace is named after its ID. */
async function bridgeCall(
  sandbox: Sandbox,
  verb: "ADD" | "CHECK" | "DEL",
  { id = "c1", config = {}, ...rest }: Omit<Partial<PluginCall>, "config"> & {
    id?: string;
    config?: JsonObject;
  } = {},
): Promise<PluginCall> {
  return {
    type: "bridge",
    verb,
    netns: await sandbox.container(id),
    containerId: id,
    config: {
      cniVersion: "1.1.0",
      name: "net1",
      type: "bridge",
      bridge: bridgeName,
      ...config,
    },
    ...rest,
  };
}

interface ShownLink {
  readonly ifname: string;
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly operstate: string;
  readonly promiscuity: number;
  readonly master?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: { readonly vlan_filtering?: number };
    readonly info_slave_data?: { readonly hairpin?: boolean; readonly isolated?: boolean };
  };
  readonly addr_info: readonly {
    readonly family: "inet" | "inet6";
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
    readonly broadcast?: string;
    readonly tentative?: boolean;
  }[];
}

function show(sandbox: Sandbox, netns: string): Promise<ShownLink[]> {
  return sandbox.ipJson<ShownLink>(netns, "addr show");
}

async function linkOf(sandbox: Sandbox, netns: string, name: string): Promise<ShownLink> {
  const link = (await show(sandbox, netns)).find(({ ifname }) => ifname === name);
  assert(link, `no link "${name}"`);
  return link;
}

/** Global addresses with their prefixes. */
function globalAddresses({ addr_info }: ShownLink): string[] {
  return addr_info.filter(({ scope }) => scope === "global")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort();
}

interface InterfaceEntry {
  readonly name: string;
  readonly mac: string;
  readonly sandbox?: string;
}

function interfacesOf(result: JsonObject): InterfaceEntry[] {
  return result["interfaces"] as unknown as InterfaceEntry[];
}

const layouts: Readonly<Record<string, { subnets: string[]; gateways: string[] }>> = {
  "IPv4": { subnets: [subnet4], gateways: ["10.1.2.1/24"] },
  "IPv6": { subnets: [subnet6], gateways: ["2001:db8:1::1/64"] },
  "dual stack": {
    subnets: ["192.168.0.0/24", "fd00::/64"],
    gateways: ["192.168.0.1/24", "fd00::1/64"],
  },
  "three subnets": {
    subnets: [subnet4, subnet6, "2001:db8:2::/64"],
    gateways: ["10.1.2.1/24", "2001:db8:1::1/64", "2001:db8:2::1/64"],
  },
};

for (const [title, { subnets, gateways }] of Object.entries(layouts)) {
  kernelTest(`bridge: ${title} with default gateway`, { needs }, async (sandbox) => {
    const config = { isDefaultGateway: true, ipam: hostLocal(sandbox, ...subnets) };
    const netns = await sandbox.container("c1");
    const add = await bridgeCall(sandbox, "ADD", { config });
    const result = await succeed(sandbox, add);

    const links = await show(sandbox, sandbox.host);
    assertEquals(links.length, 3);
    const [bridge, port, inside] = interfacesOf(result);
    assertEquals([bridge!.name, inside!.name], [bridgeName, "eth0"]);
    assertMatch(port!.name, /^veth[0-9a-f]{8}$/);
    assertEquals([bridge!.sandbox, port!.sandbox, inside!.sandbox], [undefined, undefined, netns]);

    const liveBridge = await linkOf(sandbox, sandbox.host, bridgeName);
    assertEquals(liveBridge.linkinfo?.info_kind, "bridge");
    assertEquals(liveBridge.linkinfo?.info_data?.vlan_filtering, 0);
    assertEquals(liveBridge.address, bridge!.mac);
    assertEquals(globalAddresses(liveBridge), gateways.toSorted());

    const livePort = await linkOf(sandbox, sandbox.host, port!.name);
    assertEquals([livePort.address, livePort.master], [port!.mac, bridgeName]);
    assert(livePort.address !== liveBridge.address);

    const live = await linkOf(sandbox, netns, "eth0");
    assertEquals([live.address, live.operstate], [inside!.mac, "UP"]);
    assertEquals(live.linkinfo?.info_kind, "veth");
    assertEquals(globalAddresses(live), addressesOf(result).toSorted());
    for (const { family, broadcast, tentative } of live.addr_info) {
      if (family === "inet") assert(broadcast, "an IPv4 address without broadcast address");
      assert(!tentative);
    }
    const client = sandbox.agent(netns);
    for (const gateway of gateways) assert(await client.ping(gateway.split("/")[0]!));

    await succeed(sandbox, { ...add, verb: "DEL" });
    assert(!await sandbox.hasLink(netns, "eth0"));
    assert(!await sandbox.hasLink(sandbox.host, port!.name));
    assertEquals((await linkOf(sandbox, sandbox.host, bridgeName)).address, bridge!.mac);
  });
}

kernelTest("bridge: two subnets of one family need version 0.3.0", { needs }, async (sandbox) => {
  for (const cniVersion of ["0.1.0", "0.2.0"]) {
    const config = { cniVersion, ipam: hostLocal(sandbox, subnet6, "2001:db8:2::/64") };
    const before = await snapshot(sandbox);
    const add = await bridgeCall(sandbox, "ADD", { config });
    const { msg } = await fail(sandbox, add);
    assertStringIncludes(
      msg,
      `CNI version ${cniVersion} does not support more than 1 address per family`,
    );
    await succeed(sandbox, { ...add, verb: "DEL" });
    assertSame(before, await snapshot(sandbox), {
      allow: ["hostLocal", "linkLocks"],
      only: /^host|^files$/,
    });
  }
});

kernelTest("bridge: every kind of route and gateway arrives in the kernel", {
  needs,
}, async (sandbox) => {
  const ipam = {
    ...hostLocal(sandbox, subnet4),
    routes: [
      { dst: "0.0.0.0/0" },
      { dst: "10.50.0.0/16", gw: "10.1.2.77" },
      { dst: "10.60.0.0/16", gw: "10.1.2.78" },
      { dst: "10.60.0.0/16", gw: "10.1.2.79" },
      { dst: "10.70.0.0/16", table: 5000 },
      { dst: "10.80.0.0/16", priority: 300, mtu: 1300, advmss: 1200 },
    ],
  };
  const config = { isGateway: true, ipam };
  const add = await bridgeCall(sandbox, "ADD", { config });
  const result = await succeed(sandbox, add);
  const routes = await sandbox.inside(add.netns!, ["ip", "-4", "route", "show", "table", "all"]);
  for (
    const text of [
      /^default via 10\.1\.2\.1 dev eth0/m,
      /^10\.50\.0\.0\/16 via 10\.1\.2\.77 dev eth0/m,
      /^10\.60\.0\.0\/16 via 10\.1\.2\.78 dev eth0/m,
      /^10\.60\.0\.0\/16 via 10\.1\.2\.79 dev eth0/m,
      /^10\.70\.0\.0\/16 via 10\.1\.2\.1 dev eth0 table 5000/m,
      /^10\.80\.0\.0\/16 via 10\.1\.2\.1 dev eth0 metric 300 mtu 1300 advmss 1200/m,
    ]
  ) assertMatch(routes, text);
  const check = await bridgeCall(sandbox, "CHECK", { config: { ...config, prevResult: result } });
  await succeed(sandbox, check);
});

kernelTest("bridge: containers reach each other, the host and, masqueraded, the outside", {
  needs: [...needs, "iptables-nat", "nft-nat"],
}, async (sandbox, test) => {
  const outside = await sandbox.outside();
  const server = sandbox.agent(outside);
  for (const backend of ["iptables", "nftables"]) {
    await test.step(backend, async () => {
      const config = {
        name: `net-${backend}`,
        isDefaultGateway: true,
        ipMasq: true,
        ipMasqBackend: backend,
        ipam: hostLocal(sandbox, subnet4, subnet6),
      };
      const adds = await Promise.all(
        ["c1", "c2"].map((id) => bridgeCall(sandbox, "ADD", { id, config })),
      );
      const results = [];
      for (const add of adds) results.push(await succeed(sandbox, add));
      const [c1, c2] = adds.map(({ netns }) => sandbox.agent(netns!));
      const own = results.map((result) =>
        addressesOf(result).map((address) => address.split("/")[0]!)
      );
      for (const family of [4, 6] as const) {
        const slot = family === 4 ? 0 : 1;
        const address = family === 4 ? "0.0.0.0" : "::";
        const client = family === 4 ? outsideNet.client4 : outsideNet.client6;
        const host = family === 4 ? outsideNet.host4 : outsideNet.host6;
        for (const transport of ["tcp", "udp"] as const) {
          const inner = await c2!.listen(transport, { address });
          assertEquals(
            await c1!.call(own[1]![slot]!, inner, { transport }),
            { is: "answered", from: own[0]![slot]! },
          );
          const outer = await server.listen(transport, { address });
          assertEquals(
            await c1!.call(client, outer, { transport }),
            { is: "answered", from: host },
          );
        }
        assert(await sandbox.agent(sandbox.host).ping(own[0]![slot]!));
      }
      for (const add of adds) await succeed(sandbox, { ...add, verb: "DEL" });
    });
  }
});

kernelTest("bridge: without masquerade nobody outside answers", { needs }, async (sandbox) => {
  const outside = await sandbox.outside();
  const config = { isDefaultGateway: true, ipam: hostLocal(sandbox, subnet4) };
  const add = await bridgeCall(sandbox, "ADD", { config });
  await succeed(sandbox, add);
  const port = await sandbox.agent(outside).listen("tcp");
  const client = sandbox.agent(add.netns!);
  assert(await client.ping(outsideNet.host4));
  const { is } = await client.call(outsideNet.client4, port, { timeout: 500 });
  assertEquals(is, "timeout");
});

kernelTest("bridge: the default masquerade back end works", {
  needs: [...needs, "iptables-nat"],
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const config = { isDefaultGateway: true, ipMasq: true, ipam: hostLocal(sandbox, subnet4) };
  const before = await snapshot(sandbox);
  const add = await bridgeCall(sandbox, "ADD", { config });
  await succeed(sandbox, add);
  const port = await sandbox.agent(outside).listen("tcp");
  const outcome = await sandbox.agent(add.netns!).call(outsideNet.client4, port);
  assertEquals(outcome, { is: "answered", from: outsideNet.host4 });
  const rules = await sandbox.inside(sandbox.host, ["iptables-save", "-t", "nat"]);
  assertStringIncludes(rules, "-A POSTROUTING -s 10.1.2.2/32");
  await succeed(sandbox, { ...add, verb: "DEL" });
  assertSame(before, await snapshot(sandbox), {
    allow: ["bridge", "forwarding4", "hostLocal", "iptablesTables"],
    only: /^host|^files$/,
  });
});

kernelTest("bridge: an unknown masquerade back end is refused", { needs }, async (sandbox) => {
  const before = await snapshot(sandbox);
  for (const ipMasqBackend of ["", "ipfw", 7]) {
    const config = { ipMasq: true, ipMasqBackend, ipam: hostLocal(sandbox, subnet4) };
    const { code } = await fail(sandbox, await bridgeCall(sandbox, "ADD", { config }));
    assertEquals(code, 7);
  }
  assertSame(before, await snapshot(sandbox), { only: /^host|^files$/ });
});

kernelTest("bridge: isolated ports reach the host and not each other", {
  needs,
}, async (sandbox) => {
  for (const portIsolation of [false, true]) {
    const config = {
      name: `isolation-${portIsolation}`,
      isDefaultGateway: true,
      portIsolation,
      ipam: hostLocal(sandbox, subnet4),
    };
    const adds = await Promise.all(
      ["c1", "c2"].map((id) => bridgeCall(sandbox, "ADD", { id, config })),
    );
    const results = [];
    for (const add of adds) results.push(await succeed(sandbox, add));
    const target = addressesOf(results[1]!)[0]!.split("/")[0]!;
    const client = sandbox.agent(adds[0]!.netns!);
    assert(await client.ping("10.1.2.1"));
    assertEquals(await client.ping(target, portIsolation ? 500 : 3000), !portIsolation);
    for (const add of adds) await succeed(sandbox, { ...add, verb: "DEL" });
  }
});

kernelTest("bridge: the spoof check drops frames of other senders", {
  needs: [...needs, "tool:nft"],
}, async (sandbox) => {
  const config = {
    isDefaultGateway: true,
    macspoofchk: true,
    ipam: hostLocal(sandbox, subnet4),
  };
  const before = await snapshot(sandbox);
  const add = await bridgeCall(sandbox, "ADD", { config });
  const result = await succeed(sandbox, add);
  const client = sandbox.agent(add.netns!);
  assert(await client.ping("10.1.2.1"));
  const count = async (chain: string) => {
    const text = await sandbox.inside(sandbox.host, [
      "nft",
      "list",
      "chain",
      "bridge",
      "nat",
      chain,
    ]);
    return text.split("macspoofchk-c1-eth0").length - 1;
  };
  assertEquals(await count("PREROUTING"), 1);
  assertEquals(await count("cni-br-iface-c1-eth0"), 1);
  assertEquals(await count("cni-br-iface-c1-eth0-mac"), 2);
  await sandbox.ip(add.netns!, [
    "link set eth0 down",
    "link set eth0 address 02:00:00:00:77:77",
    "link set eth0 up",
    "route add default via 10.1.2.1",
  ]);
  assert(!await client.ping("10.1.2.1", 500));
  await sandbox.ip(add.netns!, [`link set eth0 address ${interfacesOf(result)[2]!.mac}`]);
  assert(await client.ping("10.1.2.1"));
  await succeed(sandbox, { ...add, verb: "DEL" });
  assertSame(before, await snapshot(sandbox), {
    allow: ["bridge", "forwarding4", "hostLocal", "nftSpoofCheck"],
    only: /^host|^files$/,
  });
});

kernelTest("bridge: an existing bridge is used as it is", { needs }, async (sandbox) => {
  await sandbox.ip(sandbox.host, [
    `link add name ${bridgeName} address 02:00:00:00:00:55 mtu 1400 type bridge`,
    `link set ${bridgeName} up`,
  ]);
  const before = await linkOf(sandbox, sandbox.host, bridgeName);
  const add = await bridgeCall(sandbox, "ADD", {
    config: { isGateway: true, mtu: 1300, ipam: hostLocal(sandbox, subnet4) },
  });
  const result = await succeed(sandbox, add);
  const after = await linkOf(sandbox, sandbox.host, bridgeName);
  assertEquals(after.ifindex, before.ifindex);
  assertEquals(after.address, "02:00:00:00:00:55");
  assertEquals(interfacesOf(result)[0]!.mac, "02:00:00:00:00:55");
  assertEquals((await linkOf(sandbox, add.netns!, "eth0")).mtu, 1300);
  await succeed(sandbox, { ...add, verb: "DEL" });
  assertEquals((await linkOf(sandbox, sandbox.host, bridgeName)).address, "02:00:00:00:00:55");
});

kernelTest(
  "bridge: a link of that name that is no bridge is refused",
  { needs },
  async (sandbox) => {
    await sandbox.ip(sandbox.host, [`link add name ${bridgeName} type veth peer name p0`]);
    const before = await snapshot(sandbox);
    const { code, msg } = await fail(sandbox, await bridgeCall(sandbox, "ADD"));
    assertEquals(code, 102);
    assertStringIncludes(msg, "already exists but is not a bridge");
    assertSame(before, await snapshot(sandbox), { allow: ["linkLocks"], only: /^host|^files$/ });
  },
);

kernelTest("bridge: the bridge keeps its address while ports come and go", {
  needs,
}, async (sandbox) => {
  for (const [index, subnet] of [subnet4, subnet6].entries()) {
    const config = {
      name: `net${index}`,
      bridge: `bridge${index}`,
      isGateway: true,
      ipam: hostLocal(sandbox, subnet),
    };
    const macs = new Set<string>();
    for (const id of ["c1", "c2", "c3"]) {
      await succeed(sandbox, await bridgeCall(sandbox, "ADD", { id, config }));
      macs.add((await linkOf(sandbox, sandbox.host, config.bridge)).address);
    }
    for (const id of ["c1", "c2", "c3"]) {
      await succeed(sandbox, await bridgeCall(sandbox, "DEL", { id, config }));
      macs.add((await linkOf(sandbox, sandbox.host, config.bridge)).address);
    }
    assertEquals(macs.size, 1);
  }
});

kernelTest("bridge: promiscuous mode, hairpin and MTU", { needs }, async (sandbox) => {
  const config = { promiscMode: true, mtu: 5000 };
  const add = await bridgeCall(sandbox, "ADD", { config });
  const port = interfacesOf(await succeed(sandbox, add))[1]!.name;
  const bridge = await linkOf(sandbox, sandbox.host, bridgeName);
  assertEquals([bridge.promiscuity, bridge.mtu], [1, 5000]);
  assertEquals((await linkOf(sandbox, sandbox.host, port)).mtu, 5000);
  assertEquals((await linkOf(sandbox, add.netns!, "eth0")).mtu, 5000);
  const hairpin = await bridgeCall(sandbox, "ADD", { id: "c2", config: { hairpinMode: true } });
  const other = interfacesOf(await succeed(sandbox, hairpin))[1]!.name;
  const flags = async (name: string) =>
    (await linkOf(sandbox, sandbox.host, name)).linkinfo!.info_slave_data!;
  assertEquals((await flags(port)).hairpin, false);
  assertEquals((await flags(other)).hairpin, true);
  assertEquals((await flags(other)).isolated, false);
});

kernelTest("bridge: options that exclude each other are refused before anything is done", {
  needs,
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const bad: JsonObject[] = [
    { hairpinMode: true, promiscMode: true },
    { disableContainerInterface: true, ipam: hostLocal(sandbox, subnet4) },
    { bridge: "" },
    { bridge: "a/b" },
    { mtu: -1 },
    { mtu: 1500.5 },
  ];
  for (const config of bad) {
    assertEquals((await fail(sandbox, await bridgeCall(sandbox, "ADD", { config }))).code, 7);
    await succeed(sandbox, await bridgeCall(sandbox, "DEL", { config }));
  }
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"], only: /^host|^files$/ });
});

kernelTest("bridge: VLAN numbers out of range are refused with the known words", {
  needs,
}, async (sandbox) => {
  for (const cniVersion of ["0.4.0", "1.0.0"]) {
    for (const vlan of [-100, 5000]) {
      const config = { cniVersion, vlan };
      const { msg } = await fail(sandbox, await bridgeCall(sandbox, "ADD", { config }));
      assertStringIncludes(msg, `invalid VLAN ID ${vlan} (must be between 0 and 4094)`);
      await succeed(sandbox, await bridgeCall(sandbox, "DEL", { config }));
    }
  }
  await succeed(sandbox, await bridgeCall(sandbox, "ADD", { config: { vlan: 0 } }));
});

kernelTest("bridge: a disabled container interface stays down", { needs }, async (sandbox) => {
  const config = { disableContainerInterface: true };
  const add = await bridgeCall(sandbox, "ADD", { config });
  await succeed(sandbox, add);
  const link = await linkOf(sandbox, add.netns!, "eth0");
  assert(!link.flags.includes("UP"));
  assertEquals(link.addr_info.length, 0);
});

kernelTest("bridge: layer 2 alone forwards frames", { needs }, async (sandbox) => {
  const adds = await Promise.all(["c1", "c2"].map((id) => bridgeCall(sandbox, "ADD", { id })));
  for (const [index, add] of adds.entries()) {
    await succeed(sandbox, add);
    await sandbox.ip(add.netns!, [`addr add 192.0.2.${index + 1}/24 dev eth0`]);
  }
  assert(await sandbox.agent(adds[0]!.netns!).ping("192.0.2.2"));
  assertEquals(globalAddresses(await linkOf(sandbox, sandbox.host, bridgeName)), []);
  const forwarding = ["cat", "/proc/sys/net/ipv4/ip_forward"];
  assertEquals((await sandbox.inside(sandbox.host, forwarding)).trim(), "0");
});

const addressCases: readonly {
  readonly title: string;
  readonly subnets: readonly [string, string];
  readonly gateways: readonly [string, string];
  readonly conflict: boolean;
}[] = [
  {
    title: "another IPv4 address",
    subnets: ["10.0.0.0/8", "10.1.0.0/16"],
    gateways: ["10.0.0.1/8", "10.1.2.3/16"],
    conflict: true,
  },
  {
    title: "an overlapping IPv6 subnet",
    subnets: ["2001:db8:1::/48", "2001:db8:1:2::/64"],
    gateways: ["2001:db8:1::1/48", "2001:db8:1:2::1/64"],
    conflict: true,
  },
  {
    title: "a disjoint IPv6 subnet",
    subnets: ["2001:db8:1:2::/64", "fd00:1234::/64"],
    gateways: ["2001:db8:1:2::1/64", "fd00:1234::1/64"],
    conflict: false,
  },
];

for (const { title, subnets, gateways, conflict } of addressCases) {
  for (const forceAddress of [false, true]) {
    kernelTest(`bridge: ${title}, forceAddress ${forceAddress}`, { needs }, async (sandbox) => {
      const configs = subnets.map((subnet, index) => ({
        name: `net${index}`,
        isGateway: true,
        forceAddress,
        ipam: {
          ...hostLocal(sandbox),
          ranges: [[{ subnet, gateway: gateways[index]!.split("/")[0]! }]],
          routes: [],
        },
      }));
      const held = async () =>
        globalAddresses(await linkOf(sandbox, sandbox.host, bridgeName)).sort();
      const [first, second] = configs;
      await succeed(sandbox, await bridgeCall(sandbox, "ADD", { config: first! }));
      assertEquals(await held(), [gateways[0]]);
      const add = await bridgeCall(sandbox, "ADD", { id: "c2", config: second! });
      if (conflict && !forceAddress) {
        const before = await snapshot(sandbox);
        assertStringIncludes((await fail(sandbox, add)).msg, "already has an IP address different");
        assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
      } else {
        await succeed(sandbox, add);
        assertEquals(await held(), conflict ? [gateways[1]] : gateways.toSorted());
      }
    });
  }
}

kernelTest("bridge: hardware addresses by priority", { needs }, async (sandbox) => {
  const want = "02:00:00:00:00:07";
  const [low, middle] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
  const cases: { args?: string; config: JsonObject; mac: string }[] = [
    { args: `IgnoreUnknown=true;MAC=${want}`, config: {}, mac: want },
    { args: `IgnoreUnknown=true;MAC=${low}`, config: { args: { cni: { mac: want } } }, mac: want },
    {
      args: `IgnoreUnknown=true;MAC=${low}`,
      config: { args: { cni: { mac: middle } }, RuntimeConfig: { mac: want } },
      mac: want,
    },
    { config: { runtimeConfig: { mac: want.toUpperCase() } }, mac: want },
  ];
  for (const [index, { args, config, mac }] of cases.entries()) {
    const add = await bridgeCall(sandbox, "ADD", {
      id: `c${index}`,
      config,
      ...(args !== undefined && { args }),
    });
    const result = await succeed(sandbox, add);
    assertEquals(interfacesOf(result)[2]!.mac, mac);
    assertEquals((await linkOf(sandbox, add.netns!, "eth0")).address, mac);
  }
  const bad = await bridgeCall(sandbox, "ADD", {
    id: "bad",
    config: { runtimeConfig: { mac: "x" } },
  });
  await fail(sandbox, bad);
});

kernelTest(
  "bridge: duplicate address detection when it is asked for",
  { needs },
  async (sandbox) => {
    for (const enabledad of [false, true]) {
      const config = { enabledad, isGateway: true, ipam: hostLocal(sandbox, subnet6) };
      const add = await bridgeCall(sandbox, "ADD", { id: `c-${enabledad}`, config });
      await succeed(sandbox, add);
      const link = await linkOf(sandbox, add.netns!, "eth0");
      const global = link.addr_info.filter(({ scope }) => scope === "global");
      assert(global.length > 0 && global.every(({ tentative }) => !tentative));
      const accept = ["cat", "/proc/sys/net/ipv6/conf/eth0/accept_dad"];
      assertEquals((await sandbox.inside(add.netns!, accept)).trim(), enabledad ? "1" : "0");
    }
  },
);

kernelTest("bridge: name servers of the resolver file and of the configuration", {
  needs,
}, async (sandbox) => {
  const resolvConf = `${sandbox.dir}/resolv.conf`;
  Deno.writeTextFileSync(resolvConf, "nameserver 192.0.2.0\nsearch example.com\n");
  const ipam = { ...hostLocal(sandbox, subnet4), resolvConf };
  const fromFile = await succeed(sandbox, await bridgeCall(sandbox, "ADD", { config: { ipam } }));
  assertEquals(fromFile["dns"], { nameservers: ["192.0.2.0"], search: ["example.com"] });
  const own = { nameservers: ["192.0.2.9"], domain: "example.org" };
  const config = { ipam, dns: own };
  const result = await succeed(sandbox, await bridgeCall(sandbox, "ADD", { id: "c2", config }));
  assertEquals(result["dns"], own);
});

kernelTest("bridge: names that are words of other programs", { needs }, async (sandbox) => {
  const names = [
    "up",
    "dev",
    "type",
    "peer",
    "-a",
    "...",
    "é",
    "a'b",
    'a"b',
    "$a",
    "a;b",
    "#a",
    "*",
  ];
  const before = await snapshot(sandbox);
  for (const [index, ifname] of names.entries()) {
    const config = {
      bridge: index % 2 === 0 ? "up" : "type",
      isDefaultGateway: true,
      ipam: hostLocal(sandbox, subnet4),
    };
    const add = await bridgeCall(sandbox, "ADD", { id: `c${index}`, config, ifname });
    const result = await succeed(sandbox, add);
    assert((await linkOf(sandbox, add.netns!, ifname)).flags.includes("UP"), ifname);
    const prevResult = { ...config, prevResult: result };
    const rest = { id: `c${index}`, config: prevResult, ifname };
    await succeed(sandbox, await bridgeCall(sandbox, "CHECK", rest));
    await succeed(sandbox, await bridgeCall(sandbox, "DEL", rest));
    assert(!await sandbox.hasLink(add.netns!, ifname), ifname);
    await sandbox.ip(sandbox.host, [`link del dev ${config.bridge}`]);
  }
  assertSame(before, await snapshot(sandbox), {
    allow: ["hostLocal", "linkLocks", "forwarding4"],
    only: /^host|^files$/,
  });
});

kernelTest("bridge: names that no interface can get are refused", { needs }, async (sandbox) => {
  const before = await snapshot(sandbox);
  for (const ifname of ["a%b", "all", "default"]) {
    const { code, msg } = await fail(sandbox, await bridgeCall(sandbox, "ADD", { ifname }));
    assertEquals(code, 4);
    assertStringIncludes(msg, ifname);
  }
  assertSame(before, await snapshot(sandbox), { only: /^host|^files$/ });
});

kernelTest("bridge: very long names", {
  needs: [...needs, "iptables-nat", "nft-nat"],
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  for (const ipMasqBackend of ["iptables", "nftables"]) {
    const id = "c".repeat(200);
    const config = {
      name: "n".repeat(120),
      isDefaultGateway: true,
      ipMasq: true,
      ipMasqBackend,
      macspoofchk: false,
      ipam: hostLocal(sandbox, subnet4),
    };
    const rest = { containerId: id, config, ifname: "fifteen-letters" };
    const result = await succeed(sandbox, await bridgeCall(sandbox, "ADD", rest));
    const known = { ...rest, config: { ...config, prevResult: result } };
    await succeed(sandbox, await bridgeCall(sandbox, "CHECK", known));
    await succeed(sandbox, await bridgeCall(sandbox, "DEL", known));
  }
  assertSame(before, await snapshot(sandbox), {
    allow: ["bridge", "hostLocal", "forwarding4", "iptablesTables", "nftMasquerade"],
    only: /^host|^files$/,
  });
});

kernelTest("bridge: one container on two networks", {
  needs: [...needs, "iptables-nat"],
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const netns = await sandbox.container("c1");
  const networks = [
    { name: "one", bridge: bridgeName, subnet: subnet4, ifname: "eth0" },
    { name: "two", bridge: "bridge1", subnet: "10.2.2.0/24", ifname: "eth1" },
    { name: "one", bridge: bridgeName, subnet: subnet4, ifname: "eth2" },
  ].map(({ name, bridge, subnet, ifname }) => ({
    id: "c1",
    ifname,
    config: {
      name,
      bridge,
      isGateway: true,
      ipMasq: true,
      ipam: { ...hostLocal(sandbox, subnet), routes: [] },
    },
  }));
  const results: JsonObject[] = [];
  for (const rest of networks) {
    results.push(await succeed(sandbox, await bridgeCall(sandbox, "ADD", rest)));
  }
  const known = networks.map((rest, index) => ({
    ...rest,
    config: { ...rest.config, prevResult: results[index]! },
  }));
  await succeed(sandbox, await bridgeCall(sandbox, "DEL", known[0]!));
  assert(!await sandbox.hasLink(netns, "eth0"));
  for (const rest of known.slice(1)) {
    await succeed(sandbox, await bridgeCall(sandbox, "CHECK", rest));
  }
  const outside = await sandbox.outside();
  const port = await sandbox.agent(outside).listen("tcp");
  await sandbox.ip(netns, ["route add default via 10.1.2.1"]);
  const outcome = await sandbox.agent(netns).call(outsideNet.client4, port);
  assertEquals(outcome, { is: "answered", from: outsideNet.host4 });
  for (const rest of known.slice(1)) await succeed(sandbox, await bridgeCall(sandbox, "DEL", rest));
  await sandbox.ip(sandbox.host, ["link del out0", "link del bridge1"]);
  assertSame(before, await snapshot(sandbox), {
    allow: ["bridge", "hostLocal", "forwarding4", "iptablesTables"],
    only: /^host|^files$/,
  });
});

kernelTest("bridge: layer 2 works in every version that can say so", { needs }, async (sandbox) => {
  for (const cniVersion of versions) {
    const rest = { id: `c-${cniVersion}`, config: { cniVersion } };
    const add = await bridgeCall(sandbox, "ADD", rest);
    if (cniVersion < "0.3.0") {
      assertEquals((await fail(sandbox, add)).msg, "cannot convert: no valid IP addresses");
      assert(!await sandbox.hasLink(add.netns!, "eth0"));
    } else {
      await succeed(sandbox, add);
      assert(await sandbox.hasLink(add.netns!, "eth0"));
    }
    await succeed(sandbox, { ...add, verb: "DEL" });
    assert(!await sandbox.hasLink(add.netns!, "eth0"));
  }
});
