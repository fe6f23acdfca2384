/**
 * Exchanges with a DHCPv6 server inside namespaces.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { CniError } from "../cni/error.ts";
import { contains, formatIp, parseCidr } from "../host/ip.ts";
import type { Held6, Holding6 } from "../ipam/dhcp/hold6.ts";
import { holdExchange6 } from "../ipam/dhcp/hold6.ts";
import type { HoldOptions } from "../ipam/dhcp/hold.ts";
import { goalOf } from "../ipam/dhcp/lease6.ts";
import { programOf } from "../ipam/dhcp/self.ts";
import { Machine } from "../ns/machine.ts";
import { Dnsmasq, joinServer } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const program = programOf({
  execPath: Deno.execPath(),
  standalone: false,
  mainModule: new URL("../main.ts", import.meta.url).href,
  env: (name) => Deno.env.get(name),
  isMissing: () => false,
});

const client = {
  duid: Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 1),
  iaid: 7,
  requested: [23],
  provided: [],
};

function hold(
  path: string,
  { signal, ...rest }: Partial<Holding6> & HoldOptions = {},
): Promise<Held6> {
  const holding: Holding6 = {
    netns: { path },
    dev: "eth0",
    goal: { kind: "acquire" },
    client,
    within: 20_000,
    ...rest,
  };
  return holdExchange6(new Machine(), holding, { program, signal });
}

const pool = parseCidr("2001:db8::/64")!;

/** Joins the container `a` to dnsmasq, which gives addresses of both families. */
async function serve(sandbox: Sandbox, more: readonly string[] = []) {
  const netns = await joinServer(sandbox);
  const at = await sandbox.container("server");
  await sandbox.ip(at, ["addr add 2001:db8::1/64 dev eth0 nodad"]);
  const server = await Dnsmasq.start(sandbox, {
    more: ["--dhcp-range=2001:db8::5,2001:db8::9,64,120s", ...more],
  });
  return { netns, server };
}

function ackOf(held: Held6) {
  if (held.kind !== "acked") throw new Error(JSON.stringify(held));
  return held.ack;
}

const needs = { needs: ["tool:dnsmasq"] } as const;

kernelTest("dhcp6 exchange: a lease from its beginning to its end", needs, async (sandbox) => {
  const { netns, server } = await serve(sandbox);
  const acquired = ackOf(await hold(netns));
  const { address } = goalOf("renew", acquired);
  assertEquals(contains(pool, address!), true);
  const text = formatIp(address!);
  assertEquals(server.leased().includes(text), true);
  await sandbox.ip(netns, [`addr add ${text}/128 dev eth0 nodad`]);
  const before = await snapshot(sandbox);
  for (const kind of ["renew", "rebind"] as const) {
    const renewed = ackOf(await hold(netns, { goal: goalOf(kind, acquired) }));
    assertEquals(goalOf("renew", renewed).address, address, kind);
  }
  const confirmed = await hold(netns, { goal: { kind: "reboot", address: address! } });
  assertEquals(confirmed.kind, "confirmed");
  assertEquals((await hold(netns, { goal: goalOf("release", acquired) })).kind, "sent");
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
  const held = await Promise.all(["eth0", "eth1"].map((dev) => hold(netns, { dev })));
  const addresses = held.map((it) => goalOf("renew", ackOf(it)).address!);
  const pools = [pool, parseCidr("2001:db8:1::/64")!];
  assertEquals(addresses.map((address, index) => contains(pools[index]!, address)), [true, true]);
});

kernelTest("dhcp6 exchange: no server, no link, no IPv6", needs, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const held = await hold(netns, { within: 3000 });
  assertEquals(held.kind, "failed");
  assertEquals(await hold(netns, { dev: "eth7" }), { kind: "link missing" });
  assertEquals(await hold(`${netns}-none`), { kind: "namespace gone" });
  await sandbox.inside(netns, [
    "sh",
    "-c",
    "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6",
  ]);
  const error = await assertRejects(() => hold(netns), CniError);
  assertEquals(error.msg.startsWith('Cannot speak DHCP on "eth0": its IPv6 is switched off'), true);
});

kernelTest("dhcp6 exchange: it can be called off", needs, async (sandbox) => {
  const { netns, server } = await serve(sandbox, ["--dhcp-ignore=tag:!known"]);
  const calling = new AbortController();
  const holding = hold(netns, { signal: calling.signal });
  await server.logged(/DHCPSOLICIT/);
  calling.abort();
  assertEquals(await holding, { kind: "cancelled" });
});
