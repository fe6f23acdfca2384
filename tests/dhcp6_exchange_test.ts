/**
 * Exchanges with a DHCPv6 server inside namespaces.
 *
 * @module
 */
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { ExchangeGoal6 } from "../ipam/dhcp/exchange/client_message6.ts";
import type { RunExchangeOptions } from "../ipam/dhcp/exchange/run_exchange.ts";
import type { ExchangeJob6, ExchangeResult6 } from "../ipam/dhcp/exchange/run_exchange6.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { CniError } from "../cni/error.ts";
import { contains, formatIp, parseCidr, parseIp } from "../host/ip.ts";
import { runExchange6 } from "../ipam/dhcp/exchange/run_exchange6.ts";
import { goalOf6 } from "../ipam/dhcp/lease/lease6.ts";
import { Machine } from "../ns/machine.ts";
import { program } from "./harness/dhcp_exchange.ts";
import { Dnsmasq, joinServer } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { Child, must } from "./harness/process.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const client = {
  duid: Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 1),
  iaid: 7,
  requested: [23],
  provided: [],
};

function runOn(
  path: string,
  { signal, ...rest }: Partial<ExchangeJob6> & RunExchangeOptions = {},
): Promise<ExchangeResult6> {
  const job: ExchangeJob6 = {
    netns: { path },
    dev: "eth0",
    goal: { kind: "acquire" },
    client,
    within: 20_000,
    ...rest,
  };
  return runExchange6(new Machine(), job, { program, signal });
}

/** Another client. */
const other = { ...client, duid: Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 2) };
/** dnsmasq hears and gives nothing. */
const mute = ["--dhcp-ignore=tag:!known"];
const pool = parseCidr("2001:db8::/64")!;

/** Joins the container `a` to dnsmasq, which gives addresses of both families. */
async function serve(
  sandbox: Sandbox,
  { range = "2001:db8::5,2001:db8::9", more = [] }: {
    readonly range?: string;
    readonly more?: readonly string[];
  } = {},
) {
  const netns = await joinServer(sandbox);
  const at = await sandbox.container("server");
  await sandbox.ip(at, ["addr add 2001:db8::1/64 dev eth0 nodad"]);
  const server = await Dnsmasq.start(sandbox, {
    more: [`--dhcp-range=${range},64,120s`, ...more],
  });
  return { netns, server };
}

function ackOf(result: ExchangeResult6) {
  if (result.kind !== "acked") throw new Error(JSON.stringify(result));
  return result.ack;
}

const needs = { needs: ["tool:dnsmasq"] } as const;

kernelTest("dhcp6 exchange: a lease from its beginning to its end", needs, async (sandbox) => {
  const { netns, server } = await serve(sandbox);
  const acquired = ackOf(await runOn(netns));
  const { address } = goalOf6("renew", acquired);
  assertEquals(contains(pool, address!), true);
  const text = formatIp(address!);
  assertEquals(server.leased().includes(text), true);
  await sandbox.ip(netns, [`addr add ${text}/128 dev eth0 nodad`]);
  const before = await snapshot(sandbox);
  for (const kind of ["renew", "rebind"] as const) {
    const renewed = ackOf(await runOn(netns, { goal: goalOf6(kind, acquired) }));
    assertEquals(goalOf6("renew", renewed).address, address, kind);
  }
  const confirmed = await runOn(netns, { goal: { kind: "reboot", address: address! } });
  assertEquals(confirmed.kind, "confirmed");
  assertEquals((await runOn(netns, { goal: goalOf6("release", acquired) })).kind, "sent");
  assertEquals(server.leased().includes(text), false);
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
});

kernelTest("dhcp6 exchange: two interfaces at once", needs, async (sandbox) => {
  const { netns } = await serve(sandbox);
  const other = { dev: "eth1", server: "other", address: "192.168.78.1/24", down: true };
  await joinServer(sandbox, other);
  await sandbox.ip(await sandbox.container("other"), ["addr add 2001:db8:1::1/64 dev eth0 nodad"]);
  await Dnsmasq.start(sandbox, {
    server: "other",
    pool: ["192.168.78.5", "192.168.78.9"],
    more: ["--dhcp-range=2001:db8:1::5,2001:db8:1::9,64,120s"],
  });
  const result = await Promise.all(["eth0", "eth1"].map((dev) => runOn(netns, { dev })));
  const addresses = result.map((it) => goalOf6("renew", ackOf(it)).address!);
  const pools = [pool, parseCidr("2001:db8:1::/64")!];
  assertEquals(addresses.map((address, index) => contains(pools[index]!, address)), [true, true]);
});

kernelTest("dhcp6 exchange: what a server refuses is told", needs, async (sandbox) => {
  const { netns } = await serve(sandbox);
  const elsewhere = parseIp("2001:db8:2::5")!;
  const reboot = await runOn(netns, { goal: { kind: "reboot", address: elsewhere } });
  assertEquals(reboot.kind, "refused");
  const acquired = ackOf(await runOn(netns));
  const { server } = goalOf6("renew", acquired) as ExchangeGoal6 & { readonly server: Uint8Array };
  const unknown = { kind: "renew", address: elsewhere, server } as const;
  const renewed = await runOn(netns, { goal: unknown, client: other });
  assertEquals(renewed.kind, "refused");
  assertMatch((renewed as { message: string }).message, /NoAddrsAvail/);
});

kernelTest("dhcp6 exchange: no address is left", needs, async (sandbox) => {
  const { netns } = await serve(sandbox, { range: "2001:db8::,static" });
  const result = await runOn(netns, { within: 3000 });
  assertMatch((result as { message: string }).message, /^no more tries: .*NoAddrsAvail/);
});

/** Drops packets of one direction by an expression of nft. */
async function drop(
  sandbox: Sandbox,
  netns: string,
  { hook, match }: { hook: string; match: string },
) {
  const stdin = `table ip6 loss {
    chain lossy {
      type filter hook ${hook} priority 0
      ${match} drop
    }
  }
`;
  await sandbox.inside(netns, ["nft", "-f", "-"], { stdin });
}

for (
  const [hook, match] of [["input", "udp dport 546"], ["output", "udp sport 546"]] as const
) {
  kernelTest(`dhcp6 exchange: packets lost on ${hook} are sent again`, {
    needs: [...needs.needs, "tool:nft"],
  }, async (sandbox) => {
    const { netns } = await serve(sandbox);
    await drop(sandbox, netns, { hook, match: `${match} numgen inc mod 2 0` });
    const result = await runOn(netns);
    assertEquals(contains(pool, goalOf6("renew", ackOf(result)).address!), true);
    const { counts } = result as ExchangeResult6 & { kind: "acked" };
    assertEquals(counts.solicit > 1, true);
  });
}

/** Starts a server that sends for each packet everything that no client should take. */
async function startHostile(sandbox: Sandbox): Promise<string> {
  const netns = await joinServer(sandbox);
  const at = await sandbox.container("server");
  // It answers from this address.
  const settled = "ip -6 address show dev eth0 scope link -tentative | grep -q fe80";
  await sandbox.inside(at, ["sh", "-c", `until ${settled}; do sleep 0.05; done`]);
  const [link] = await sandbox.ipJson<{ ifindex: number }>(at, "link show dev eth0");
  const file = new URL("harness/dhcp6_hostile.ts", import.meta.url).pathname;
  const flags = ["--quiet", "--no-lock", "--no-check", "--allow-net", "--unstable-net"];
  const words = [Deno.execPath(), "run", ...flags, file, String(link!.ifindex), "2001:db8::5"];
  const child = sandbox.keep(new Child(["nsenter", `--net=${at}`, "--", ...words], {}));
  assertEquals(await child.line(), "ready");
  return netns;
}

kernelTest("dhcp6 exchange: a hostile server's packets are ignored", {}, async (sandbox) => {
  const netns = await startHostile(sandbox);
  const acquired = await runOn(netns);
  const goals = (["renew", "rebind"] as const).map((kind) => goalOf6(kind, ackOf(acquired)));
  for (const goal of [undefined, ...goals]) {
    const result = goal ? await runOn(netns, { goal }) : acquired;
    assertEquals(formatIp(goalOf6("renew", ackOf(result)).address!), "2001:db8::5");
    const { counts } = result as ExchangeResult6 & { kind: "acked" };
    assertEquals(Object.values(counts.ignored).map((count) => count > 0), [true, true, true]);
  }
  // What is right never comes.
  const result = await runOn(netns, { client: { ...client, iaid: 99 }, within: 3000 });
  assertMatch(
    (result as { message: string }).message,
    /^no more tries: [1-9] SOLICIT sent, 0 ADVERTISE received, \d+ malformed, \d+ for others and \d+ unusable ignored; answers do not fit: /,
  );
});

kernelTest("dhcp6 exchange: no server, no link, no IPv6", needs, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const result = await runOn(netns, { within: 3000 });
  assertMatch(
    (result as { message: string }).message,
    /^no more tries: [1-9] SOLICIT sent, 0 ADVERTISE received; does a DHCPv6 server serve this link\?$/,
  );
  assertEquals(await runOn(netns, { dev: "eth7" }), { kind: "link missing" });
  assertEquals(await runOn(`${netns}-none`), { kind: "namespace gone" });
  const off = "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
  await sandbox.inside(netns, ["sh", "-c", off]);
  const error = await assertRejects(() => runOn(netns), CniError);
  assertEquals(error.msg.startsWith('Cannot speak DHCP on "eth0": its IPv6 is switched off'), true);
});

kernelTest("dhcp6 exchange: it can be called off", needs, async (sandbox) => {
  const { netns, server } = await serve(sandbox, { more: mute });
  const calling = new AbortController();
  const running = runOn(netns, { signal: calling.signal });
  await server.logged(/DHCPSOLICIT/);
  calling.abort();
  assertEquals(await running, { kind: "cancelled" });
});

kernelTest("dhcp6 exchange: the port is taken", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await sandbox.agent(netns).listen("udp", { port: 546, address: "::" });
  const error = await assertRejects(() => runOn(netns), CniError);
  assertEquals(
    error.msg,
    'Cannot speak DHCP on "eth0": another program in the container has UDP port 546',
  );
});

kernelTest("dhcp6 exchange: the link or the namespace goes meanwhile", needs, async (sandbox) => {
  const { netns, server } = await serve(sandbox, { more: mute });
  const away = { dev: "eth1", server: "other", address: "192.168.78.1/24" };
  await joinServer(sandbox, away);
  const [linkless, homeless] = [runOn(netns, { dev: "eth1" }), runOn(netns)];
  await server.logged(/DHCPSOLICIT/);
  await sandbox.ip(netns, ["link del eth1"]);
  assertEquals(await linkless, { kind: "link missing" });
  await sandbox.removeNetns("a");
  assertEquals(await homeless, { kind: "namespace gone" });
});

kernelTest("dhcp6 exchange: nothing is left by a kill of its process", needs, async (sandbox) => {
  const { netns, server } = await serve(sandbox, { more: mute });
  const before = await snapshot(sandbox);
  const running = runOn(netns);
  await server.logged(/DHCPSOLICIT/);
  const pids = () => must(["ip", "netns", "pids", netns.split("/").at(-1)!]);
  Deno.kill(Number(await pids()), "SIGKILL");
  const error = await assertRejects(() => running, CniError);
  assertEquals(error.msg, 'Cannot speak DHCP on "eth0": its process was killed');
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
  assertEquals(await pids(), "");
});
