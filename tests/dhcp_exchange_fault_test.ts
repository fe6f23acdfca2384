/**
 * Exchanges with DHCP servers that go wrong: what is lost, late, hostile, taken or gone,
 * and that nothing is left of those that are killed.
 *
 * @module
 */
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import type { ExchangeGoal4 } from "../ipam/dhcp/exchange/client_message4.ts";
import type { ExchangeResult4 } from "../ipam/dhcp/exchange/run_exchange4.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { CniError, codes } from "../cni/error.ts";
import {
  addressOf,
  client,
  configureLease,
  first,
  locks,
  runCleanly,
  runExchange,
  server,
} from "./harness/dhcp_exchange.ts";
import { Dnsmasq, dropPackets, joinServer, startHostile, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { must, Running } from "./harness/process.ts";
import { assertSame, difference, snapshot } from "./harness/state.ts";

const dnsmasq = { needs: ["tool:dnsmasq", "tool:nft"] } as const;

kernelTest("dhcp exchange: no address is left", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox, { pool: [subnet.first, subnet.first] });
  await runExchange(netns);
  const other = { ...client, clientId: new TextEncoder().encode("\0c2/net1/eth0") };
  const result = await runCleanly(sandbox, netns, { client: other, within: 5000 });
  assertEquals(result.kind, "failed");
  assertMatch(
    (result as { message: string }).message,
    /^no more tries: [1-9] DISCOVER sent, 0 OFFER received; is spanning tree forwarding\?$/,
  );
});

kernelTest("dhcp exchange: a slow server is waited for", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox, { more: ["--dhcp-reply-delay=2"] });
  const result = await runCleanly(sandbox, netns);
  assertEquals(addressOf(result), subnet.first);
  assertEquals(result.kind === "acked" && result.counts.discover > 1, true);
});

const halves = {
  "lost packets are sent again": { hook: "input", match: "udp dport 68 numgen inc mod 2 0" },
  "packets that cannot be sent count as lost": {
    hook: "output",
    match: "udp sport 68 numgen inc mod 2 0",
  },
} as const;

for (const [title, every] of Object.entries(halves)) {
  kernelTest(`dhcp exchange: ${title}`, dnsmasq, async (sandbox) => {
    const netns = await joinServer(sandbox);
    await Dnsmasq.start(sandbox);
    await dropPackets(sandbox, netns, every);
    const result = await runExchange(netns);
    assertEquals(addressOf(result), subnet.first);
    const { counts } = result as ExchangeResult4 & { kind: "acked" };
    assertEquals([counts.discover, counts.request], [2, 2]);
  });
}

kernelTest("dhcp exchange: a hostile server's packets are ignored", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await startHostile(sandbox);
  const none = { discover: 0, request: 1, offer: 0, ack: 1, nak: 0 };
  const rows: [ExchangeGoal4, typeof none][] = [
    [{ kind: "acquire" }, { ...none, discover: 1, offer: 1 }],
    [{ kind: "reboot", address: first }, none],
    [{ kind: "renew", address: first, server }, none],
    [{ kind: "rebind", address: first }, none],
  ];
  for (const [goal, expected] of rows) {
    const result = await runCleanly(sandbox, netns, { goal });
    assertEquals(addressOf(result), subnet.first, goal.kind);
    const { counts: { ignored, ...counts } } = result as ExchangeResult4 & { kind: "acked" };
    assertEquals(counts, expected, goal.kind);
    assertEquals(Object.values(ignored).map((count) => count > 0), [true, true, true], goal.kind);
    if (goal.kind === "reboot") await configureLease(sandbox, netns, result);
  }
});

kernelTest("dhcp exchange: what was sent and received is counted", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await startHostile(sandbox);
  const named = { ...client, provided: new Map([[12, new TextEncoder().encode("nobody")]]) };
  const result = await runCleanly(sandbox, netns, { client: named, within: 3000 });
  assertMatch(
    (result as { message: string }).message,
    /^no more tries: [1-9] DISCOVER sent, 0 OFFER received, \d+ malformed, \d+ for others and \d+ unusable ignored; answers do not fit: /,
  );
});

kernelTest("dhcp exchange: no namespace, no link, no Ethernet", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  assertEquals(await runExchange(`${netns}-none`), { kind: "namespace gone" });
  assertEquals(await runExchange("/etc/hostname"), { kind: "namespace gone" });
  assertEquals(await runExchange(netns, { dev: "eth7" }), { kind: "link missing" });
  const error = await assertRejects(() => runExchange(netns, { dev: "lo" }), CniError);
  assertEquals(error.msg, 'Cannot speak DHCP on "lo": its hardware is not Ethernet');
});

kernelTest("dhcp exchange: the port is taken", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await sandbox.agent(netns).listen("udp", { port: 68 });
  const before = await snapshot(sandbox);
  const error = await assertRejects(() => runExchange(netns), CniError);
  assertEquals(
    error.msg,
    'Cannot speak DHCP on "eth0": another program in the container has UDP port 68',
  );
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
});

/** Starts a server that hears and gives nothing. */
async function startMute(sandbox: Sandbox): Promise<Dnsmasq> {
  const log = await Dnsmasq.start(sandbox, { more: ["--dhcp-ignore=tag:!known"] });
  return log;
}

const heard = /DHCPDISCOVER.* ignored/;

kernelTest("dhcp exchange: the link goes meanwhile", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await startMute(sandbox);
  const before = await snapshot(sandbox);
  await sandbox.inside(netns, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter"]);
  const running = runExchange(netns);
  await log.logged(heard);
  await sandbox.ip(netns, ["link del eth0"]);
  assertEquals(await running, { kind: "link missing" });
  const filter = ["cat", "/proc/sys/net/ipv4/conf/all/rp_filter"];
  assertEquals(await sandbox.inside(netns, filter), "1\n");
  assertSame(before, await snapshot(sandbox), { only: /^a\/(nft|iptables)/ });
});

kernelTest("dhcp exchange: the namespace goes meanwhile", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await startMute(sandbox);
  const running = runExchange(netns);
  await log.logged(heard);
  await sandbox.removeNetns("a");
  assertEquals(await running, { kind: "namespace gone" });
});

kernelTest(
  "dhcp exchange: another one in the container takes too long",
  dnsmasq,
  async (sandbox) => {
    const netns = await joinServer(sandbox);
    const log = await startMute(sandbox);
    const stop = new AbortController();
    const running = runExchange(netns, { signal: stop.signal });
    await log.logged(heard);
    const result = await runExchange(netns, { within: 100 });
    assertEquals(result.kind, "failed");
    assertMatch(
      (result as { message: string }).message,
      /^no more tries: nothing was sent: process \d+ \(.* ago\) holds an exchange in the container$/,
    );
    stop.abort();
    await running;
    assertEquals(locks(), []);
  },
);

kernelTest("dhcp exchange: it can be called off", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await startMute(sandbox);
  const before = await snapshot(sandbox);
  const [stop, waiting] = [new AbortController(), new AbortController()];
  const running = runExchange(netns, { signal: stop.signal });
  await log.logged(heard);
  const queued = runExchange(netns, { signal: waiting.signal });
  waiting.abort();
  assertEquals(await queued, { kind: "cancelled" });
  stop.abort();
  assertEquals(await running, { kind: "cancelled" });
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
  assertEquals(await runExchange(netns, { signal: AbortSignal.abort() }), { kind: "cancelled" });
});

/** Runs an exchange in a process of its own, so that it can be killed. */
function startExchange(netns: string): Running {
  const file = new URL("harness/dhcp_run_exchange.ts", import.meta.url).pathname;
  const words = ["run", "-A", "--no-check", "--no-lock", "--quiet", file, netns];
  return new Running([Deno.execPath(), ...words], {});
}

for (
  const [who, kill] of [
    ["whoever holds it", (it: Running) => it.signal("SIGKILL")],
    ["everybody, who may tidy up", (it: Running) => it.signalAll("SIGTERM")],
  ] as const
) {
  kernelTest(`dhcp exchange: nothing is left by a kill of ${who}`, dnsmasq, async (sandbox) => {
    const netns = await joinServer(sandbox);
    const log = await startMute(sandbox);
    await strict(sandbox, netns);
    const before = await snapshot(sandbox);
    const running = startExchange(netns);
    await log.logged(heard);
    kill(running);
    await running.allGone();
    assertSame(before, await snapshot(sandbox), { only: /^a\// });
    assertEquals(locks(), []);
    assertEquals(await processes(netns), []);
  });
}

for (const [what, isIt] of [["process", isProgram], ["shell", isShell]] as const) {
  kernelTest(
    `dhcp exchange: nothing is left by a kill of its ${what}`,
    dnsmasq,
    async (sandbox) => {
      const netns = await joinServer(sandbox);
      const log = await startMute(sandbox);
      await strict(sandbox, netns);
      const before = await snapshot(sandbox);
      const running = runExchange(netns);
      await log.logged(heard);
      const [victim] = (await processes(netns)).filter(isIt);
      Deno.kill(victim!.pid, "SIGKILL");
      const error = await assertRejects(() => running, CniError);
      assertEquals(
        [error.code, error.msg],
        [codes.tryAgainLater, 'Cannot speak DHCP on "eth0": its process was killed'],
      );
      assertSame(before, await snapshot(sandbox), { only: /^a\// });
      assertEquals(locks(), []);
      assertEquals(await processes(netns), []);
    },
  );
}

interface Process {
  readonly pid: number;
  readonly words: readonly string[];
}

/** Everything that runs inside a namespace. */
async function processes(netns: string): Promise<Process[]> {
  const pids = await must(["ip", "netns", "pids", netns.split("/").at(-1)!]);
  return pids.split("\n").filter(Boolean).map((pid) => ({
    pid: Number(pid),
    words: Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").filter(Boolean),
  }));
}

function isShell({ words }: Process): boolean {
  return words[0] === "sh" || words[0]!.endsWith("/sh");
}

function isProgram(process: Process): boolean {
  return process.words.at(-1) === "exchange" && !isShell(process);
}

kernelTest(
  "dhcp exchange: the next one tidies up after a kill of all",
  dnsmasq,
  async (sandbox) => {
    const netns = await joinServer(sandbox);
    const log = await startMute(sandbox);
    await strict(sandbox, netns);
    const before = await snapshot(sandbox);
    const running = startExchange(netns);
    await log.logged(heard);
    running.signalAll("SIGKILL");
    await running.allGone();
    const only = /^a\//;
    const left = difference(before, await snapshot(sandbox), { only }).join("\n");
    for (const what of ["255.255.255.255", "rp_filter", "denocni-dhcp"]) {
      assertStringIncludes(left, what);
    }
    assertEquals((await runExchange(netns, { within: 2000 })).kind, "failed");
    assertSame(before, await snapshot(sandbox), { only });
    assertEquals(locks(), []);
  },
);

/** An address elsewhere and strict filters: every kind of thing that an exchange has to put back. */
async function strict(sandbox: Sandbox, netns: string): Promise<void> {
  await sandbox.ip(netns, [
    "link add eth9 type veth peer name eth8",
    "addr add 10.9.0.5/24 dev eth9",
  ]);
  const filter = "cd /proc/sys/net/ipv4/conf; echo 2 >all/rp_filter; echo 1 >eth0/rp_filter";
  await sandbox.inside(netns, ["sh", "-ec", filter]);
}
