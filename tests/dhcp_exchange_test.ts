/**
 * Exchanges with DHCP servers inside namespaces: what they say to real servers, on
 * every kind of network.
 *
 * @module
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { ExchangeResult4 } from "../ipam/dhcp/exchange/run_exchange4.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { releaseFromHost } from "../ipam/dhcp/exchange/run_exchange4.ts";
import {
  addressOf,
  client,
  configureLease,
  first,
  ip,
  locks,
  program,
  runCleanly,
  runExchange,
  server,
} from "./harness/dhcp_exchange.ts";
import { countReached, Dnsmasq, joinServer, startUdhcpd, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { binDir } from "./harness/plugin.ts";
import { must } from "./harness/process.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const dnsmasq = { needs: ["tool:dnsmasq", "tool:nft"] } as const;

kernelTest("dhcp exchange: the same client gets the same address", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await Dnsmasq.start(sandbox);
  const reached = await countReached(sandbox, await sandbox.container("server"));
  assertEquals(addressOf(await runCleanly(sandbox, netns)), subnet.first);
  assertEquals(addressOf(await runCleanly(sandbox, netns)), subnet.first);
  const other = { ...client, clientId: new TextEncoder().encode("\0c2/net1/eth0") };
  assertEquals(addressOf(await runExchange(netns, { client: other })), "192.168.77.6");
  assertEquals(log.leased().sort(), [subnet.first, "192.168.77.6"]);
  assertEquals(await reached(), { nameless: 6, broadcast: 0, unicast: 0, strange: 0 });
});

kernelTest("dhcp exchange: an interface that is down is set up", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox, { down: true });
  await Dnsmasq.start(sandbox);
  assertEquals(addressOf(await runExchange(netns)), subnet.first);
  const [link] = await sandbox.ipJson<{ flags: string[] }>(netns, "link show dev eth0");
  assertEquals(link!.flags.includes("UP"), true);
});

kernelTest("dhcp exchange: an interface may have any name", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox, { down: true });
  await Dnsmasq.start(sandbox);
  const dev = "a#b\"'\\*";
  const run = (...words: string[]) => must(["nsenter", `--net=${netns}`, "ip", ...words]);
  await run("link", "set", "eth0", "name", dev);
  await run("addr", "add", "10.9.0.5/24", "dev", dev);
  const reached = await countReached(sandbox, await sandbox.container("server"));
  assertEquals(addressOf(await runExchange(netns, { dev })), subnet.first);
  assertEquals(await reached(), { nameless: 2, broadcast: 0, unicast: 0, strange: 0 });
  assertEquals(locks(), []);
});

const installed = { needs: [...dnsmasq.needs, "plugin:dhcp"] } as const;

kernelTest("dhcp exchange: the installed program holds it", installed, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  const program = { argv: [`${binDir()}/dhcp`, "exchange"], env: {} };
  assertEquals(addressOf(await runCleanly(sandbox, netns, { program })), subnet.first);
});

/** Gives both containers a link of a kind on the host's. */
async function linksBelow(sandbox: Sandbox, kind: string): Promise<void> {
  for (const name of ["a", "b"]) {
    const netns = await sandbox.container(name);
    await sandbox.ip(sandbox.host, [
      `link add link up0 name l${name} type ${kind}`,
      `link set dev l${name} netns ${netns} name eth0`,
    ]);
  }
}

/** How two containers, `a` and `b`, and the server are joined by way of the host. */
const networks = {
  bridge: async (sandbox: Sandbox) => {
    const { host } = sandbox;
    await sandbox.ip(host, [
      "link add br0 type bridge",
      "link set up0 master br0",
      "link set br0 up",
    ]);
    for (const name of ["a", "b"]) {
      const netns = await sandbox.container(name);
      await sandbox.ip(host, [
        `link add v${name} type veth peer name eth0 netns ${netns}`,
        `link set v${name} up master br0`,
      ]);
    }
  },
  macvlan: (sandbox: Sandbox) => linksBelow(sandbox, "macvlan mode bridge"),
  // All have one hardware address.
  ipvlan: (sandbox: Sandbox) => linksBelow(sandbox, "ipvlan mode l2"),
} as const;

for (const [kind, join] of Object.entries(networks)) {
  const needs = [...dnsmasq.needs, `link:${kind}`] as const;
  kernelTest(`dhcp exchange: two containers of a ${kind}, at once`, { needs }, async (sandbox) => {
    const at = await sandbox.container("server");
    await sandbox.ip(sandbox.host, [`link add up0 type veth peer name eth0 netns ${at}`]);
    await sandbox.ip(at, ["link set eth0 up", `addr add ${subnet.server}/24 brd + dev eth0`]);
    await sandbox.ip(sandbox.host, ["link set up0 up"]);
    await join(sandbox);
    const log = await Dnsmasq.start(sandbox);
    const clients = ["a", "b"].map((name) => ({
      netns: sandbox.namespaces.get(name)!,
      client: { ...client, clientId: new TextEncoder().encode(`\0${name}/net1/eth0`) },
    }));
    const result = await Promise.all(
      clients.map(({ netns, client }) => runExchange(netns, { client })),
    );
    const addresses = result.map(addressOf);
    assertEquals(addresses.toSorted(), [subnet.first, "192.168.77.6"]);
    for (const [index, { netns, client }] of clients.entries()) {
      await configureLease(sandbox, netns, result[index]!);
      const goal = { kind: "renew", address: ip(addresses[index]!), server } as const;
      assertEquals(addressOf(await runExchange(netns, { goal, client })), addresses[index]);
      assertEquals(await runExchange(netns, { goal: { ...goal, kind: "release" }, client }), {
        kind: "sent",
      });
      await log.logged(/DHCPRELEASE/);
    }
    assertEquals(log.leased(), []);
  });
}

kernelTest("dhcp exchange: a lease is taken up again after a reboot", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  await runExchange(netns);
  const result = await runCleanly(sandbox, netns, { goal: { kind: "reboot", address: first } });
  assertEquals(addressOf(result), subnet.first);
  assertEquals(result.kind === "acked" && result.counts.discover, 0);
});

kernelTest("dhcp exchange: renewal and release are unicast", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await Dnsmasq.start(sandbox);
  // Another address, which the kernel would rather send from.
  await sandbox.ip(netns, ["addr add 192.168.77.100/24 dev eth0"]);
  await configureLease(sandbox, netns, await runExchange(netns));
  const reached = await countReached(sandbox, await sandbox.container("server"));
  const renewed = await runCleanly(sandbox, netns, {
    goal: { kind: "renew", address: first, server },
  });
  assertEquals(addressOf(renewed), subnet.first);
  assertEquals(await reached(), { nameless: 0, broadcast: 0, unicast: 1, strange: 0 });
  assertEquals(log.leased(), [subnet.first]);
  // The neighbour has to be looked up first.
  await sandbox.inside(netns, ["ip", "neigh", "flush", "all"]);
  const goal = { kind: "release", address: first, server } as const;
  assertEquals(await runCleanly(sandbox, netns, { goal }), { kind: "sent" });
  await log.logged(/DHCPRELEASE\(eth0\) 192\.168\.77\.5 /);
  assertEquals(await reached(), { nameless: 0, broadcast: 0, unicast: 2, strange: 0 });
  assertEquals(log.leased(), []);
});

kernelTest("dhcp exchange: a server that has moved is found again", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await Dnsmasq.start(sandbox);
  await configureLease(sandbox, netns, await runExchange(netns));
  await log[Symbol.asyncDispose]();
  const at = await sandbox.container("server");
  await sandbox.ip(at, ["addr flush dev eth0", "addr add 192.168.77.2/24 brd + dev eth0"]);
  await Dnsmasq.start(sandbox);
  const reached = await countReached(sandbox, at);
  const goal = { kind: "renew", address: first, server } as const;
  const lost = await runCleanly(sandbox, netns, { goal, within: 3000 });
  assertEquals(lost.kind, "failed");
  const result = await runCleanly(sandbox, netns, { goal: { kind: "rebind", address: first } });
  assertEquals(addressOf(result), subnet.first);
  assertEquals(await reached(), { nameless: 0, broadcast: 1, unicast: 0, strange: 0 });
});

kernelTest("dhcp exchange: a refusal is told", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  const address = ip("192.168.77.200");
  const reboot = await runCleanly(sandbox, netns, { goal: { kind: "reboot", address } });
  assertEquals(reboot.kind, "refused");
  await sandbox.ip(netns, ["addr add 192.168.77.200/24 dev eth0"]);
  for (const goal of [{ kind: "renew", address, server }, { kind: "rebind", address }] as const) {
    // The server broadcasts it, though the client has an address.
    const result = await runCleanly(sandbox, netns, { goal });
    assertEquals(result.kind, "refused", goal.kind);
    assertStringIncludes((result as { message: string }).message, "Nak");
  }
});

kernelTest("dhcp exchange: reverse path filters do not matter", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  for (const [all, dev] of [[1, 0], [0, 1], [2, 0], [0, 2], [1, 2], [2, 1]]) {
    const script =
      `cd /proc/sys/net/ipv4/conf; echo ${all} >all/rp_filter; echo ${dev} >eth0/rp_filter`;
    await sandbox.inside(netns, ["sh", "-ec", script]);
    assertEquals(addressOf(await runCleanly(sandbox, netns)), subnet.first, `${all} ${dev}`);
  }
});

kernelTest("dhcp exchange: the second interface of a container", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const far = { dev: "eth1", server: "other", address: "192.168.78.1/24" };
  await joinServer(sandbox, far);
  await Dnsmasq.start(sandbox);
  await Dnsmasq.start(sandbox, { server: "other", pool: ["192.168.78.5", "192.168.78.9"] });
  await configureLease(sandbox, netns, await runExchange(netns));
  await sandbox.ip(netns, [`route add default via ${subnet.server}`]);
  const filter = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done";
  await sandbox.inside(netns, ["sh", "-ec", filter]);
  const reached = await countReached(sandbox, await sandbox.container("other"));
  assertEquals(addressOf(await runCleanly(sandbox, netns, { dev: "eth1" })), "192.168.78.5");
  // The other interface's address is nobody's business.
  assertEquals(await reached(), { nameless: 2, broadcast: 0, unicast: 0, strange: 0 });
});

kernelTest("dhcp exchange: two at once in one container", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await joinServer(sandbox, { dev: "eth1", server: "other", address: "192.168.78.1/24" });
  await Dnsmasq.start(sandbox);
  await Dnsmasq.start(sandbox, { server: "other", pool: ["192.168.78.5", "192.168.78.9"] });
  const before = await snapshot(sandbox);
  const result = await Promise.all(["eth0", "eth1"].map((dev) => runExchange(netns, { dev })));
  assertEquals(result.map(addressOf), [subnet.first, "192.168.78.5"]);
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
});

async function hardwareAddress(sandbox: Sandbox, netns: string): Promise<string> {
  const [link] = await sandbox.ipJson<{ address: string }>(netns, "link show dev eth0");
  return link!.address;
}

kernelTest("dhcp exchange: udhcpd", { needs: ["tool:busybox"] }, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await startUdhcpd(sandbox, { pool: [subnet.first, subnet.first] });
  const result = await runCleanly(sandbox, netns);
  assertEquals(addressOf(result), subnet.first);
  await configureLease(sandbox, netns, result);
  for (const kind of ["renew", "rebind"] as const) {
    const goal = { kind, address: first, server };
    assertEquals(addressOf(await runCleanly(sandbox, netns, { goal })), subnet.first, kind);
  }
  const foreign = { kind: "reboot", address: ip("192.168.77.200") } as const;
  assertEquals((await runCleanly(sandbox, netns, { goal: foreign })).kind, "refused");
  // It knows clients by their hardware addresses.
  const ours = await hardwareAddress(sandbox, netns);
  await sandbox.ip(netns, ["link set eth0 address 02:00:00:00:00:02"]);
  const none = await runExchange(netns, { within: 3000 });
  assertMatch((none as { message: string }).message, /DISCOVER sent, 0 OFFER received/);
  await sandbox.ip(netns, [`link set eth0 address ${ours}`]);
  await runCleanly(sandbox, netns, { goal: { kind: "release", address: first, server } });
  await sandbox.ip(netns, ["addr flush dev eth0", "link set eth0 address 02:00:00:00:00:02"]);
  assertEquals(addressOf(await runExchange(netns)), subnet.first);
});

kernelTest("dhcp exchange: a release from the host", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const at = await sandbox.container("server");
  // The container, the server and this process's own namespace stand in one network.
  await must(["ip", "link", "add", "up0", "type", "veth", "peer", "name", "up0", "netns", at]);
  await sandbox.ip(at, [
    "addr flush dev eth0",
    "link add br0 type bridge",
    "link set eth0 master br0",
    "link set up0 up master br0",
    "link set br0 up",
    `addr add ${subnet.server}/24 brd + dev br0`,
  ]);
  await must(["ip", "link", "set", "up0", "up"]);
  await must(["ip", "addr", "add", "192.168.77.100/24", "dev", "up0"]);
  const log = await Dnsmasq.start(sandbox, { dev: "br0" });
  const result = await runExchange(netns) as ExchangeResult4 & { kind: "acked" };
  assertEquals(log.leased(), [subnet.first]);
  await sandbox.removeNetns("a");
  const goal = { kind: "release", address: first, server } as const;
  const all = { goal, client: { ...client, chaddr: result.ack.chaddr } };
  assertEquals(await releaseFromHost(all, { program }), { kind: "sent" });
  await log.logged(/DHCPRELEASE/);
  assertEquals(log.leased(), []);
});
