/**
 * IPv6 beside IPv4, and alone: leases of DHCPv6 and addresses of routers, by the plugin with its
 * agent and without, from a real server.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { codes } from "../cni/error.ts";
import { contains, parseCidr } from "../host/ip.ts";
import {
  dhcpCall,
  hasty,
  joinContainer,
  joinLan,
  LeaseAgentProcess,
  leaseFiles,
  until,
} from "./harness/dhcp_agent.ts";
import { Dnsmasq, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, fail, peerDir, succeed } from "./harness/plugin.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:bridge", "link:veth", "tool:dnsmasq", "plugin:dhcp"] as const;
const first4 = `${subnet.first}/${subnet.prefix}`;
const prefix = parseCidr("2001:db8::/64")!;
/** A pool of the prefix, and the same with router advertisements. */
const leases = ["--dhcp-range=2001:db8::5,2001:db8::9,64,120s"];
const pool = ["--enable-ra", ...leases];
/** Router advertisements that let hosts make addresses of the prefix. */
const router = ["--enable-ra", "--dhcp-range=2001:db8::,ra-only,64,1800s"];
const dual = { ipv6: "dhcp" } as const;

/** A network whose server has an address of the prefix. */
async function lan6(sandbox: Sandbox, more: readonly string[]): Promise<Dnsmasq> {
  const server = await joinLan(sandbox);
  await sandbox.ip(server, ["addr add 2001:db8::1/64 dev eth0 nodad"]);
  return await Dnsmasq.start(sandbox, { more });
}

/** A network with a server of both families, an agent and a container. */
async function dualLan(sandbox: Sandbox, more: readonly string[] = pool) {
  const server = await lan6(sandbox, more);
  const agent = await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await joinContainer(sandbox);
  return { server, agent, netns };
}

interface Address {
  readonly local: string;
  readonly prefixlen: number;
  readonly dynamic?: boolean;
  readonly tentative?: boolean;
  readonly valid_life_time: number;
  readonly preferred_life_time: number;
}

/** Global IPv6 addresses of the container's interface. */
async function addresses6(sandbox: Sandbox, netns: string): Promise<Address[]> {
  const links = await sandbox.ipJson<{ addr_info: Address[] }>(
    netns,
    "-6 addr show dev eth0 scope global",
  );
  return links.flatMap(({ addr_info }) => addr_info);
}

/** The IPv6 address of a result. */
function address6Of(result: JsonObject): string {
  return addressesOf(result).find((address) => address.includes(":"))!;
}

/** Awaits that the server has nothing leased, and that no file is left. */
async function nothingLeft(server: Dnsmasq): Promise<void> {
  await until(() => addressesLeased(server).length === 0);
  assertEquals(leaseFiles(), []);
}

function addressesLeased(server: Dnsmasq): string[] {
  return server.leased().filter((address) => address !== undefined);
}

/** Gives an interface what a result says, as a plugin does with the result of IPAM. */
async function configure(sandbox: Sandbox, netns: string, result: JsonObject): Promise<void> {
  await sandbox.ip(netns, addressesOf(result).map((address) => `addr add ${address} dev eth0`));
}

/** The one lease of DHCPv6 on the disk. */
function lease6(): { path: string; record: { data: { lease: object; replaces: unknown[] } } } {
  const [name] = leaseFiles().filter((name) => name.endsWith(".v6.json"));
  const path = `/run/cni/denocni/dhcp/${name}`;
  return { path, record: JSON.parse(Deno.readTextFileSync(path)) };
}

/** Sets its times. */
function setTimes(times: Readonly<Record<string, number>>): void {
  const { path, record } = lease6();
  Object.assign(record.data.lease, times);
  Deno.writeTextFileSync(path, JSON.stringify(record));
}

/** A minute ago, as leases have it, from when a lease is to be renewed, or asked for again. */
function overdue(...names: readonly string[]): Record<string, number> {
  const since = Date.now() - 60_000;
  return Object.fromEntries([["since", since], ...names.map((name) => [name, since + 1000])]);
}

kernelTest("dhcp6: both families through macvlan, from ADD to DEL", {
  needs: [...needs, "link:macvlan", "plugin:macvlan"],
}, async (sandbox) => {
  const server = await lan6(sandbox, [
    ...pool,
    "--dhcp-option=option:dns-server,192.168.77.2",
    "--dhcp-option=option6:dns-server,[2001:db8::53]",
    "--dhcp-option=option6:domain-search,lab.example.org",
  ]);
  await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await sandbox.container("a");
  const before = await snapshot(sandbox);
  const call = (verb: string, more: JsonObject = {}) => ({
    ...dhcpCall(sandbox, verb, {
      netns,
      ipam: { ...dual, request: [{ option: "6" }] },
      config: { type: "macvlan", master: "up0", ...more },
    }),
    type: "macvlan",
  });
  const result = await succeed(sandbox, call("ADD"));
  const [ip4, ip6] = addressesOf(result);
  assertEquals(ip4, first4);
  assertMatch(ip6!, /^2001:db8::[5-9]\/128$/);
  assertEquals(result["dns"], {
    nameservers: ["192.168.77.2", "2001:db8::53"],
    search: ["lab.example.org"],
  });
  assertEquals(leaseFiles().length, 2);
  assertEquals(addressesLeased(server).length, 2);
  await succeed(sandbox, call("CHECK", { prevResult: result }));
  await succeed(sandbox, call("STATUS"));
  assertEquals(
    addressesOf(await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam: dual }))),
    [
      ip4,
      ip6,
    ],
  );
  await succeed(sandbox, call("DEL", { prevResult: result }));
  await nothingLeft(server);
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
});

kernelTest(
  "dhcp6: an agent after one that was killed keeps both, renews, and tells the interface",
  { needs },
  async (sandbox) => {
    const { server, agent, netns } = await dualLan(sandbox);
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam: dual }));
    await configure(sandbox, netns, result);
    await agent.end("SIGKILL");
    const since = Date.now();
    setTimes(overdue("renewAt"));
    await using _next = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    await server.logged(/DHCPRENEW/);
    await server.logged(/DHCPREPLY/);
    const leased = () =>
      addresses6(sandbox, netns).then((all) =>
        all.find(({ local }) => `${local}/128` === address6Of(result))!
      );
    await until(() => {
      const { lease, replaces } = lease6().record.data;
      return (lease as { since: number }).since > since && replaces.length === 0;
    });
    const { valid_life_time, preferred_life_time, prefixlen } = await leased();
    assertEquals(prefixlen, 128);
    assert(valid_life_time <= 120 && valid_life_time > 90, `${valid_life_time}`);
    assert(preferred_life_time <= valid_life_time);
    const config = { prevResult: result };
    await succeed(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam: dual, config }));
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ipam: dual }));
    await nothingLeft(server);
    const gone = await fail(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam: dual, config }));
    assertEquals(gone.code, codes.checkFailed);
    assertMatch(gone.msg, /IPv4: Cannot find a lease/);
  },
);

kernelTest(
  "dhcp6: another address after a rebinding reaches the interface",
  { needs },
  async (sandbox) => {
    const { server, agent, netns } = await dualLan(sandbox);
    const ipam = { ...dual, ipv4: "none" };
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
    assertEquals(addressesOf(result), [address6Of(result)]);
    await configure(sandbox, netns, result);
    await agent.end("SIGTERM");
    await server[Symbol.asyncDispose]();
    Deno.removeSync(`${sandbox.dir}/server.leases`);
    const at = await sandbox.container("server");
    await sandbox.ip(at, [
      "addr del 2001:db8::1/64 dev eth0",
      "addr add 2001:db8:1::1/64 dev eth0 nodad",
    ]);
    await Dnsmasq.start(sandbox, {
      more: ["--enable-ra", "--dhcp-range=2001:db8:1::5,2001:db8:1::9,64,120s"],
    });
    setTimes(overdue("renewAt", "rebindAt"));
    const next = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    const said = await next.said(/the interface has 2001:db8:1::[5-9]\/128 now/);
    const leased = (await addresses6(sandbox, netns)).filter(({ prefixlen }) => prefixlen === 128);
    assertEquals(leased.map(({ local }) => local), [/has (.*)\/128 now/.exec(said)![1]]);
  },
);

/** Lets no such packets reach the server. */
async function deafen(sandbox: Sandbox, match: string): Promise<void> {
  const chain = `chain in { type filter hook input priority 0; ${match} drop; };`;
  const stdin = `table inet deaf { ${chain} };\n`;
  await sandbox.inside(await sandbox.container("server"), ["nft", "-f", "-"], { stdin });
}

/** What makes one family fail, and what the error says of it. */
const losses = [
  {
    family: "IPv6",
    match: "udp dport 547",
    says: /^\d SOLICIT sent, 0 ADVERTISE received; does a DHCPv6 server serve this link\?$/,
  },
  { family: "IPv4", match: "udp dport 67", says: /^\d DISCOVER sent, 0 OFFER received/ },
] as const;

for (const { family, match, says } of losses) {
  for (const oneShot of [false, true]) {
    kernelTest(
      `dhcp6: without ${family} there is nothing, ${oneShot ? "one shot" : "with an agent"}`,
      {
        needs,
      },
      async (sandbox) => {
        const { server, netns } = await dualLan(sandbox, leases);
        await deafen(sandbox, match);
        const before = await snapshot(sandbox);
        const ipam = { ...dual, oneShot, timeout: oneShot ? 4000 : 20_000 };
        const error = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
        assertEquals(error.code, codes.tryAgainLater);
        assertMatch(error.msg, new RegExp(`${family}: .*no more tries$`));
        assertMatch(error.details!, says);
        await nothingLeft(server);
        assertSame(before, await snapshot(sandbox), { only: /^a\// });
        await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ipam }));
      },
    );
  }
}

kernelTest("dhcp6: one shot, without any agent", { needs }, async (sandbox) => {
  const server = await lan6(sandbox, pool);
  const netns = await joinContainer(sandbox);
  const ipam = { ...dual, oneShot: true };
  await succeed(sandbox, dhcpCall(sandbox, "STATUS", { ipam }));
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
  assertEquals(addressesLeased(server).length, 2);
  await configure(sandbox, netns, result);
  const config = { prevResult: result };
  await succeed(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam, config }));
  await succeed(
    sandbox,
    dhcpCall(sandbox, "GC", {
      ipam,
      config: { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] },
    }),
  );
  assertEquals(leaseFiles().length, 2);
  await succeed(
    sandbox,
    dhcpCall(sandbox, "GC", {
      ipam,
      config: { "cni.dev/valid-attachments": [] },
    }),
  );
  await nothingLeft(server);
  const error = await fail(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam, config }));
  assertEquals(error.code, codes.checkFailed);
});

kernelTest("dhcp6: GC with an agent, and a namespace that is gone", { needs }, async (sandbox) => {
  const { server, agent, netns } = await dualLan(sandbox);
  const other = await joinContainer(sandbox, { name: "b" });
  await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam: dual }));
  await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns: other, ipam: dual, containerId: "c2" }));
  assertEquals(leaseFiles().length, 4);
  const config = { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] };
  await succeed(sandbox, dhcpCall(sandbox, "GC", { ipam: dual, config }));
  await until(() => addressesLeased(server).length === 2);
  assertEquals(leaseFiles().length, 2);
  await agent.end("SIGTERM");
  await sandbox.removeNetns("b");
  const next = await LeaseAgentProcess.start(sandbox, { flags: hasty });
  await next.said(
    /Cannot give "2001:db8::\w+" back: DHCPv6 is spoken on the link of the container/,
  );
  await next.said(/the namespace is gone; the server is told/);
  await until(() => leaseFiles().length === 0);
});

kernelTest("slaac: beside DHCPv4, through macvlan; the address stays the kernel's", {
  needs: [...needs, "link:macvlan", "plugin:macvlan"],
}, async (sandbox) => {
  const server = await lan6(sandbox, router);
  await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await sandbox.container("a");
  const call = (verb: string, more: JsonObject = {}) => ({
    ...dhcpCall(sandbox, verb, {
      netns,
      ipam: { ipv6: "slaac" },
      config: { type: "macvlan", master: "up0", ...more },
    }),
    type: "macvlan",
  });
  const result = await succeed(sandbox, call("ADD"));
  const [ip4, ip6] = addressesOf(result);
  assertEquals(ip4, first4);
  assert(contains(prefix, parseCidr(ip6!)!), ip6);
  const gateway = (result["ips"] as { gateway?: string }[])[1]!.gateway;
  assertMatch(gateway!, /^fe80::/);
  const found = (await addresses6(sandbox, netns)).find(({ local }) => `${local}/64` === ip6)!;
  assertEquals([found.dynamic, found.tentative], [true, undefined]);
  assert(found.valid_life_time <= 1800, `${found.valid_life_time}`);
  const routes = await sandbox.ipJson<{ gateway: string; protocol: string; expires?: number }>(
    netns,
    "-6 route show default",
  );
  assertEquals(routes.map(({ gateway, protocol }) => [gateway, protocol]), [[gateway, "ra"]]);
  assert(routes[0]!.expires! > 0);
  await succeed(sandbox, call("CHECK", { prevResult: result }));
  await succeed(sandbox, call("DEL", { prevResult: result }));
  await nothingLeft(server);
});

kernelTest(
  "slaac: alone, without an agent, where routers were not heeded",
  { needs },
  async (sandbox) => {
    await lan6(sandbox, router);
    const netns = await joinContainer(sandbox);
    const set = (values: Record<string, number>) =>
      sandbox.inside(netns, [
        "sh",
        "-c",
        Object.entries(values).map(([name, value]) =>
          `echo ${value} >/proc/sys/net/ipv6/conf/eth0/${name}`
        ).join("; "),
      ]);
    await set({ disable_ipv6: 1, forwarding: 1, accept_ra: 0, autoconf: 0 });
    const ipam = { ipv4: "none", ipv6: "slaac", timeout: 20_000 };
    await succeed(sandbox, dhcpCall(sandbox, "STATUS", { ipam }));
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
    assertEquals(addressesOf(result).length, 1);
    const config = { prevResult: result };
    await succeed(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam, config }));
    await sandbox.ip(netns, [`addr del ${address6Of(result)} dev eth0`]);
    const error = await fail(sandbox, dhcpCall(sandbox, "CHECK", { netns, ipam, config }));
    assertEquals(error.code, codes.checkFailed);
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ipam }));
  },
);

kernelTest("slaac: without a router there is nothing", { needs }, async (sandbox) => {
  const server = await lan6(sandbox, []);
  await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await joinContainer(sandbox);
  const ipam = { ipv6: "slaac", timeout: 4000 };
  const error = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
  assertEquals(error.code, codes.tryAgainLater);
  assertMatch(error.msg, /^IPv6: Cannot autoconfigure an address on "eth0": no router advert/);
  await nothingLeft(server);
});

kernelTest("dhcp6: the reference's agent is no agent for IPv6", {
  needs: [...needs, "peer"],
}, async (sandbox) => {
  const server = await lan6(sandbox, pool);
  await LeaseAgentProcess.start(sandbox, { dir: peerDir, mute: true });
  const netns = await joinContainer(sandbox);
  const error = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam: dual }));
  assertEquals(error.code, codes.unsupportedField);
  assertMatch(error.msg, /^Cannot use "ipv6": "dhcp" with the lease agent at ".*": it gets IPv4/);
  assertEquals(addressesLeased(server), []);
});
