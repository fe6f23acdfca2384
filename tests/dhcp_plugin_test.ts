/**
 * dhcp's verbs with a real server: with our agent, with the reference's, and below the plugins that
 * name it.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Need } from "./harness/need.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { codes } from "../cni/error.ts";
import {
  addressesOn,
  configure,
  dhcpCall,
  hasty,
  joinContainer,
  joinLan,
  lan,
  LeaseAgentProcess,
  leaseFiles,
  until,
} from "./harness/dhcp_agent.ts";
import { Dnsmasq, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import {
  addressesOf,
  errorObject,
  fail,
  outputOf,
  peerDir,
  startPlugin,
  succeed,
  versions,
} from "./harness/plugin.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:bridge", "link:veth", "tool:dnsmasq", "plugin:dhcp"] as const;
const peerNeeds = [...needs, "peer"] as const;
const first = `${subnet.first}/${subnet.prefix}`;

// The suites go through all versions.
for (const version of [versions[0], versions.at(-1)!]) {
  kernelTest(`dhcp: ADD, DEL thrice at once, and again, ${version}`, { needs }, async (sandbox) => {
    const { server, netns } = await lan(sandbox);
    const config = { cniVersion: version };
    const before = await snapshot(sandbox);
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, config }));
    const ips = "ips" in result
      ? addressesOf(result)
      : [(result["ip4"] as JsonObject)["ip"] as string];
    assertEquals(ips, [first]);
    assertEquals(server.leased(), [subnet.first]);
    const del = () => succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, config }));
    await Promise.all([del(), del(), del()]);
    await del();
    await server.logged(/DHCPRELEASE/);
    assertEquals(leaseFiles(), []);
    assertSame(before, await snapshot(sandbox), { only: /^a\// });
  });
}

kernelTest("dhcp: a pool of one address serves one interface", { needs }, async (sandbox) => {
  await joinLan(sandbox);
  await Dnsmasq.start(sandbox, { pool: [subnet.first, subnet.first] });
  await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await joinContainer(sandbox);
  await joinContainer(sandbox, { dev: "eth1" });
  const one = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
  assertEquals(addressesOf(one), [first]);
  const error = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns, ifname: "eth1" }));
  assertEquals(error.code, codes.tryAgainLater);
  assertEquals(error.msg, "error calling DHCP.Allocate: no more tries");
  assertMatch(error.details!, /^\d DISCOVER sent, 0 OFFER received/);
  for (const ifname of ["eth1", "eth0"]) {
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ifname }));
  }
});

kernelTest("dhcp: two interfaces of one container", { needs }, async (sandbox) => {
  const { server, netns } = await lan(sandbox);
  await joinContainer(sandbox, { dev: "eth1" });
  const leases = [];
  for (const ifname of ["eth0", "eth1"]) {
    leases.push(
      ...addressesOf(await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ifname }))),
    );
  }
  assertEquals(leases, [first, "192.168.77.6/24"]);
  for (const ifname of ["eth0", "eth1"]) {
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ifname }));
  }
  await server.logged(/DHCPRELEASE/);
  await server.logged(/DHCPRELEASE/);
  await until(() => server.leased().length === 0);
});

kernelTest("dhcp: options both ways, and CHECK", { needs }, async (sandbox) => {
  const more = [
    "--dhcp-option=6,192.168.77.2",
    "--dhcp-option=15,example.org",
    "--dhcp-option=option:domain-search,lab.example.org",
    "--dhcp-option=26,1400",
    "--dhcp-option=121,10.9.0.0/16,192.168.77.3,0.0.0.0/0,192.168.77.1",
  ];
  const { server, netns } = await lan(sandbox, { more });
  const options = ["121", "6", "15", "119", "26"].map((option) => ({ option }));
  const provide = [{ option: "host-name", fromArg: "K8S_POD_NAME" }];
  const ipam = { request: options, provide, priority: 50 };
  const args = "IgnoreUnknown=1;K8S_POD_NAME=web";
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam, args }));
  await server.logged(/client provides name: web/);
  assertEquals(result["dns"], {
    nameservers: ["192.168.77.2"],
    domain: "example.org",
    search: ["lab.example.org"],
  });
  assertEquals(result["routes"], [
    { dst: "10.9.0.0/16", gw: "192.168.77.3", mtu: 1400, priority: 50 },
    { dst: "0.0.0.0/0", gw: "192.168.77.1", mtu: 1400, priority: 50 },
  ]);
  const config = { prevResult: result };
  await succeed(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam, config }));
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ipam }));
  const error = await fail(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam, config }));
  assertEquals(error.code, codes.checkFailed);
  assertMatch(error.msg, /the lease agent keeps none$/);
});

kernelTest("dhcp: DEL, GC and STATUS without an agent", { needs }, async (sandbox) => {
  const { server, agent, netns } = await lan(sandbox);
  await succeed(sandbox, dhcpCall(sandbox, "STATUS"));
  await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
  await agent.end("SIGTERM");
  const waiting = await fail(sandbox, dhcpCall(sandbox, "STATUS"));
  assertEquals(waiting.code, codes.limitedConnectivity);
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
  await server.logged(/DHCPRELEASE/);
  await until(() => server.leased().length === 0);
  assertEquals(leaseFiles(), []);
  const down = await fail(sandbox, dhcpCall(sandbox, "STATUS"));
  assertEquals(down.code, codes.notAvailable);
  assertMatch(down.details!, /dhcp daemon/);
  const add = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns }));
  assertEquals(add.code, codes.tryAgainLater);
  assertMatch(add.msg, /^error dialing DHCP daemon: .*: no such file or directory$/);
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
  const config = { "cni.dev/valid-attachments": [] };
  await succeed(sandbox, dhcpCall(sandbox, "GC", { config }));
});

kernelTest(
  "dhcp: an ADD that nobody answers and that is stopped leaves nothing",
  { needs },
  async (sandbox) => {
    await joinLan(sandbox);
    await LeaseAgentProcess.start(sandbox);
    const calls = [
      dhcpCall(sandbox, "ADD", { netns: await joinContainer(sandbox) }),
      dhcpCall(sandbox, "ADD", {
        netns: await joinContainer(sandbox, { name: "b" }),
        containerId: "c2",
        ipam: { oneShot: true },
      }),
    ];
    const running = calls.map((call) => startPlugin(sandbox, call));
    await until(() => leaseFiles().filter((name) => name.endsWith(".intent")).length === 2);
    for (const one of running) one.signal("SIGTERM");
    for (const [index, call] of calls.entries()) {
      const error = errorObject(call, await outputOf(call, running[index]!));
      assertEquals([error.code, error.details ?? ""], [codes.interrupted, ""]);
    }
    assertEquals(leaseFiles(), []);
  },
);

kernelTest("dhcp: GC gives back what is not valid", { needs }, async (sandbox) => {
  const { server, netns } = await lan(sandbox);
  const other = await joinContainer(sandbox, { name: "b" });
  await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
  await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns: other, containerId: "c2" }));
  const config = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
  await succeed(sandbox, dhcpCall(sandbox, "GC", { config }));
  await server.logged(/DHCPRELEASE/);
  await until(() => server.leased().length === 1);
  assertEquals(server.leased(), ["192.168.77.6"]);
});

kernelTest("dhcp: the reference's plugin with our agent", { needs: peerNeeds }, async (sandbox) => {
  const { server, netns } = await lan(sandbox);
  const theirs = { netns, binDir: peerDir, config: { cniVersion: "1.0.0" } };
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", theirs));
  assertEquals(addressesOf(result), [first]);
  assertEquals(result["routes"], [{ dst: "0.0.0.0/0", gw: subnet.server }]);
  const config = { ...theirs.config, prevResult: result };
  await succeed(sandbox, dhcpCall(sandbox, "CHECK", { ...theirs, config }));
  await succeed(sandbox, dhcpCall(sandbox, "DEL", theirs));
  await server.logged(/DHCPRELEASE/);
  assertEquals(leaseFiles(), []);
});

kernelTest("dhcp: our plugin with the reference's agent", { needs: peerNeeds }, async (sandbox) => {
  await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox);
  await LeaseAgentProcess.start(sandbox, { dir: peerDir, mute: true });
  const netns = await joinContainer(sandbox);
  const config = { cniVersion: "1.0.0" };
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, config }));
  assertEquals(addressesOf(result), [first]);
  await configure(sandbox, { netns, result });
  const known = { ...config, prevResult: result };
  await succeed(sandbox, dhcpCall(sandbox, "CHECK", { netns, config: known }));
  await succeed(sandbox, dhcpCall(sandbox, "STATUS"));
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, config }));
  await server.logged(/DHCPRELEASE/);
});

/** Plugins that name dhcp, by how they reach the server. */
const above: readonly {
  readonly type: string;
  readonly needs: readonly Need[];
  readonly keys: JsonObject;
  readonly prepare?: (sandbox: Sandbox) => Promise<void>;
}[] = [
  {
    type: "bridge",
    needs: ["plugin:bridge"],
    keys: { bridge: "br0" },
    prepare: (sandbox) =>
      sandbox.ip(sandbox.host, [
        "link add br0 type bridge",
        "link set up0 master br0",
        "addr flush dev up0",
        "addr add 192.168.77.254/24 brd + dev br0",
        "link set br0 up",
      ]),
  },
  { type: "macvlan", needs: ["plugin:macvlan", "link:macvlan"], keys: { master: "up0" } },
];

for (const { type, needs: more, keys, prepare } of above) {
  kernelTest(
    `dhcp: every verb through ${type}`,
    { needs: [...needs, ...more] },
    async (sandbox) => {
      await joinLan(sandbox);
      await prepare?.(sandbox);
      const server = await Dnsmasq.start(sandbox);
      const agent = await LeaseAgentProcess.start(sandbox, { flags: hasty });
      const netns = await sandbox.container("a");
      const call = (verb: string, more: JsonObject = {}) => ({
        ...dhcpCall(sandbox, verb, { netns, config: { type, ...keys, ...more } }),
        type,
      });
      await succeed(sandbox, call("STATUS"));
      for (const verb of ["DEL", "GC"]) {
        const prevResult = await succeed(sandbox, call("ADD"));
        assertEquals(addressesOf(prevResult), [first]);
        assertEquals(await addressesOn(sandbox, netns), [subnet.first]);
        await succeed(sandbox, call("CHECK", { prevResult }));
        const last = verb === "GC" ? { "cni.dev/valid-attachments": [] } : { prevResult };
        await succeed(sandbox, call(verb, last));
        await server.logged(/DHCPRELEASE/);
        await until(() => server.leased().length === 0);
        assertEquals(leaseFiles(), []);
        // GC is told no namespace: what stands in one is left to it.
        if (verb === "GC") await succeed(sandbox, call("DEL", { prevResult }));
        assertEquals(await sandbox.hasLink(netns, "eth0"), false);
      }
      await agent.end("SIGTERM");
      assertEquals((await fail(sandbox, call("STATUS"))).code, codes.notAvailable);
      await fail(sandbox, call("ADD"));
      assertEquals(await sandbox.hasLink(netns, "eth0"), false);
    },
  );
}
