/**
 * Exchanges with DHCP servers inside namespaces: what they say to real servers, and
 * that nothing is left behind.
 *
 * @module
 */
import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import { formatIp, parseIp } from "../host/ip.ts";
import type { Ip } from "../host/ip.ts";
import type { Goal } from "../ipam/dhcp/exchange.ts";
import type { Held, Holding, HoldOptions } from "../ipam/dhcp/hold.ts";
import { holdExchange, releaseFromHost } from "../ipam/dhcp/hold.ts";
import { programOf } from "../ipam/dhcp/self.ts";
import { Machine } from "../ns/machine.ts";
import {
  countReached,
  Dnsmasq,
  dropPackets,
  joinServer,
  startHostile,
  startUdhcpd,
  subnet,
} from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { binDir } from "./harness/plugin.ts";
import { must, Running } from "./harness/process.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, difference, snapshot } from "./harness/state.ts";

const program = programOf({
  execPath: Deno.execPath(),
  standalone: false,
  mainModule: new URL("../main.ts", import.meta.url).href,
  env: (name) => Deno.env.get(name),
  isMissing: () => false,
});

const client = {
  clientId: new TextEncoder().encode("\0c1/net1/eth0"),
  requested: [3, 1],
  provided: new Map<number, Uint8Array>(),
};

const ip = (text: string): Ip => parseIp(text)!;
const server = ip(subnet.server);
const first = ip(subnet.first);

interface Options extends Partial<Holding>, HoldOptions {}

function hold(path: string, { signal, ...rest }: Options = {}): Promise<Held> {
  const holding: Holding = {
    netns: { path },
    dev: "eth0",
    goal: { kind: "acquire" },
    client,
    within: 20_000,
    timeout: 1000,
    ...rest,
  };
  return holdExchange(new Machine(), holding, { program: rest.program ?? program, signal });
}

/** Holds an exchange and fails when it leaves anything in the containers or on the disk. */
async function holdCleanly(sandbox: Sandbox, path: string, options: Options = {}): Promise<Held> {
  const before = await containers(sandbox);
  const held = await hold(path, options);
  assertSame(before, await containers(sandbox), { only: /^(?!server|other|files)/ });
  assertEquals(locks(), []);
  return held;
}

function containers(sandbox: Sandbox) {
  return snapshot(sandbox);
}

function locks(): string[] {
  return [...Deno.readDirSync("/run/cni/denocni")].map(({ name }) => name);
}

/** The address of an acknowledgement. */
function addressOf(held: Held): string {
  return held.kind === "acked" ? formatIp(held.ack.yiaddr) : JSON.stringify(held);
}

/** Gives the interface the address, as a plugin does with a lease. */
async function configure(sandbox: Sandbox, netns: string, held: Held): Promise<void> {
  await sandbox.ip(netns, [`addr add ${addressOf(held)}/24 dev eth0`]);
}

const dnsmasq = { needs: ["tool:dnsmasq", "tool:nft"] } as const;

kernelTest("dhcp exchange: the same client gets the same address", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await Dnsmasq.start(sandbox);
  const reached = await countReached(sandbox, await sandbox.container("server"));
  assertEquals(addressOf(await holdCleanly(sandbox, netns)), subnet.first);
  assertEquals(addressOf(await holdCleanly(sandbox, netns)), subnet.first);
  const other = { ...client, clientId: new TextEncoder().encode("\0c2/net1/eth0") };
  assertEquals(addressOf(await hold(netns, { client: other })), "192.168.77.6");
  assertEquals(log.leased().sort(), [subnet.first, "192.168.77.6"]);
  assertEquals(await reached(), { nameless: 6, broadcast: 0, unicast: 0, strange: 0 });
});

kernelTest("dhcp exchange: an interface that is down is set up", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox, { down: true });
  await Dnsmasq.start(sandbox);
  assertEquals(addressOf(await hold(netns)), subnet.first);
  const [link] = await sandbox.ipJson<{ flags: string[] }>(netns, "link show dev eth0");
  assertEquals(link!.flags.includes("UP"), true);
});

const installed = { needs: [...dnsmasq.needs, "plugin:dhcp"] } as const;

kernelTest("dhcp exchange: the installed program holds it", installed, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  const program = { argv: [`${binDir()}/dhcp`, "exchange"], env: {} };
  assertEquals(addressOf(await holdCleanly(sandbox, netns, { program })), subnet.first);
});

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
  macvlan: async (sandbox: Sandbox) => {
    for (const name of ["a", "b"]) {
      const netns = await sandbox.container(name);
      await sandbox.ip(sandbox.host, [
        `link add link up0 name m${name} type macvlan mode bridge`,
        `link set dev m${name} netns ${netns} name eth0`,
      ]);
    }
  },
  // All have one hardware address.
  ipvlan: async (sandbox: Sandbox) => {
    for (const name of ["a", "b"]) {
      const netns = await sandbox.container(name);
      await sandbox.ip(sandbox.host, [
        `link add link up0 name i${name} type ipvlan mode l2`,
        `link set dev i${name} netns ${netns} name eth0`,
      ]);
    }
  },
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
    const held = await Promise.all(clients.map(({ netns, client }) => hold(netns, { client })));
    const addresses = held.map(addressOf);
    assertEquals(addresses.toSorted(), [subnet.first, "192.168.77.6"]);
    for (const [index, { netns, client }] of clients.entries()) {
      await configure(sandbox, netns, held[index]!);
      const goal = { kind: "renew", address: ip(addresses[index]!), server } as const;
      assertEquals(addressOf(await hold(netns, { goal, client })), addresses[index]);
      assertEquals(await hold(netns, { goal: { ...goal, kind: "release" }, client }), {
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
  await hold(netns);
  const held = await holdCleanly(sandbox, netns, { goal: { kind: "reboot", address: first } });
  assertEquals(addressOf(held), subnet.first);
  assertEquals(held.kind === "acked" && held.counts.discover, 0);
});

kernelTest("dhcp exchange: renewal and release are unicast", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await Dnsmasq.start(sandbox);
  // Another address, which the kernel would rather send from.
  await sandbox.ip(netns, ["addr add 192.168.77.100/24 dev eth0"]);
  await configure(sandbox, netns, await hold(netns));
  const reached = await countReached(sandbox, await sandbox.container("server"));
  const renewed = await holdCleanly(sandbox, netns, {
    goal: { kind: "renew", address: first, server },
  });
  assertEquals(addressOf(renewed), subnet.first);
  assertEquals(await reached(), { nameless: 0, broadcast: 0, unicast: 1, strange: 0 });
  assertEquals(log.leased(), [subnet.first]);
  // The neighbour has to be looked up first.
  await sandbox.inside(netns, ["ip", "neigh", "flush", "all"]);
  const goal = { kind: "release", address: first, server } as const;
  assertEquals(await holdCleanly(sandbox, netns, { goal }), { kind: "sent" });
  await log.logged(/DHCPRELEASE\(eth0\) 192\.168\.77\.5 /);
  assertEquals(await reached(), { nameless: 0, broadcast: 0, unicast: 2, strange: 0 });
  assertEquals(log.leased(), []);
});

kernelTest("dhcp exchange: a server that has moved is found again", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await Dnsmasq.start(sandbox);
  await configure(sandbox, netns, await hold(netns));
  await log[Symbol.asyncDispose]();
  const at = await sandbox.container("server");
  await sandbox.ip(at, ["addr flush dev eth0", "addr add 192.168.77.2/24 brd + dev eth0"]);
  await Dnsmasq.start(sandbox);
  const reached = await countReached(sandbox, at);
  const goal = { kind: "renew", address: first, server } as const;
  const lost = await holdCleanly(sandbox, netns, { goal, within: 3000 });
  assertEquals(lost.kind, "failed");
  const held = await holdCleanly(sandbox, netns, { goal: { kind: "rebind", address: first } });
  assertEquals(addressOf(held), subnet.first);
  assertEquals(await reached(), { nameless: 0, broadcast: 1, unicast: 0, strange: 0 });
});

kernelTest("dhcp exchange: a refusal is told", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  const address = ip("192.168.77.200");
  const reboot = await holdCleanly(sandbox, netns, { goal: { kind: "reboot", address } });
  assertEquals(reboot.kind, "refused");
  await sandbox.ip(netns, ["addr add 192.168.77.200/24 dev eth0"]);
  for (const goal of [{ kind: "renew", address, server }, { kind: "rebind", address }] as const) {
    // The server broadcasts it, though the client has an address.
    const held = await holdCleanly(sandbox, netns, { goal });
    assertEquals(held.kind, "refused", goal.kind);
    assertStringIncludes((held as { message: string }).message, "Nak");
  }
});

kernelTest("dhcp exchange: no address is left", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox, { pool: [subnet.first, subnet.first] });
  await hold(netns);
  const other = { ...client, clientId: new TextEncoder().encode("\0c2/net1/eth0") };
  const held = await holdCleanly(sandbox, netns, { client: other, within: 5000 });
  assertEquals(held.kind, "failed");
  assertMatch(
    (held as { message: string }).message,
    /^no more tries: [1-9] DISCOVER sent, 0 OFFER received; is spanning tree forwarding\?$/,
  );
});

kernelTest("dhcp exchange: a slow server is waited for", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox, { more: ["--dhcp-reply-delay=2"] });
  const held = await holdCleanly(sandbox, netns);
  assertEquals(addressOf(held), subnet.first);
  assertEquals(held.kind === "acked" && held.counts.discover > 1, true);
});

kernelTest("dhcp exchange: lost packets are sent again", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  await dropPackets(sandbox, netns, { hook: "input", match: "udp dport 68 numgen inc mod 2 0" });
  const held = await hold(netns);
  assertEquals(addressOf(held), subnet.first);
  const { counts } = held as Held & { kind: "acked" };
  assertEquals([counts.discover, counts.request], [2, 2]);
});

kernelTest("dhcp exchange: packets that cannot be sent count as lost", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  await dropPackets(sandbox, netns, { hook: "output", match: "udp sport 68 numgen inc mod 2 0" });
  const held = await hold(netns);
  assertEquals(addressOf(held), subnet.first);
  const { counts } = held as Held & { kind: "acked" };
  assertEquals([counts.discover, counts.request], [2, 2]);
});

kernelTest("dhcp exchange: reverse path filters do not matter", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await Dnsmasq.start(sandbox);
  for (const [all, dev] of [[1, 0], [0, 1], [2, 0], [0, 2], [1, 2], [2, 1]]) {
    const script =
      `cd /proc/sys/net/ipv4/conf; echo ${all} >all/rp_filter; echo ${dev} >eth0/rp_filter`;
    await sandbox.inside(netns, ["sh", "-ec", script]);
    assertEquals(addressOf(await holdCleanly(sandbox, netns)), subnet.first, `${all} ${dev}`);
  }
});

kernelTest("dhcp exchange: the second interface of a container", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const far = { dev: "eth1", server: "other", address: "192.168.78.1/24" };
  await joinServer(sandbox, far);
  await Dnsmasq.start(sandbox);
  await Dnsmasq.start(sandbox, { server: "other", pool: ["192.168.78.5", "192.168.78.9"] });
  await configure(sandbox, netns, await hold(netns));
  await sandbox.ip(netns, [`route add default via ${subnet.server}`]);
  const filter = "for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done";
  await sandbox.inside(netns, ["sh", "-ec", filter]);
  const reached = await countReached(sandbox, await sandbox.container("other"));
  assertEquals(addressOf(await holdCleanly(sandbox, netns, { dev: "eth1" })), "192.168.78.5");
  // The other interface's address is nobody's business.
  assertEquals(await reached(), { nameless: 2, broadcast: 0, unicast: 0, strange: 0 });
});

kernelTest("dhcp exchange: two at once in one container", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await joinServer(sandbox, { dev: "eth1", server: "other", address: "192.168.78.1/24" });
  await Dnsmasq.start(sandbox);
  await Dnsmasq.start(sandbox, { server: "other", pool: ["192.168.78.5", "192.168.78.9"] });
  const before = await snapshot(sandbox);
  const held = await Promise.all(["eth0", "eth1"].map((dev) => hold(netns, { dev })));
  assertEquals(held.map(addressOf), [subnet.first, "192.168.78.5"]);
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
});

async function hardwareAddress(sandbox: Sandbox, netns: string): Promise<string> {
  const [link] = await sandbox.ipJson<{ address: string }>(netns, "link show dev eth0");
  return link!.address;
}

kernelTest("dhcp exchange: udhcpd", { needs: ["tool:busybox"] }, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await startUdhcpd(sandbox, { pool: [subnet.first, subnet.first] });
  const held = await holdCleanly(sandbox, netns);
  assertEquals(addressOf(held), subnet.first);
  await configure(sandbox, netns, held);
  for (const kind of ["renew", "rebind"] as const) {
    const goal = { kind, address: first, server };
    assertEquals(addressOf(await holdCleanly(sandbox, netns, { goal })), subnet.first, kind);
  }
  const foreign = { kind: "reboot", address: ip("192.168.77.200") } as const;
  assertEquals((await holdCleanly(sandbox, netns, { goal: foreign })).kind, "refused");
  // It knows clients by their hardware addresses.
  const ours = await hardwareAddress(sandbox, netns);
  await sandbox.ip(netns, ["link set eth0 address 02:00:00:00:00:02"]);
  const none = await hold(netns, { within: 3000 });
  assertMatch((none as { message: string }).message, /DISCOVER sent, 0 OFFER received/);
  await sandbox.ip(netns, [`link set eth0 address ${ours}`]);
  await holdCleanly(sandbox, netns, { goal: { kind: "release", address: first, server } });
  await sandbox.ip(netns, ["addr flush dev eth0", "link set eth0 address 02:00:00:00:00:02"]);
  assertEquals(addressOf(await hold(netns)), subnet.first);
});

kernelTest("dhcp exchange: a hostile server's packets are ignored", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await startHostile(sandbox);
  const none = { discover: 0, request: 1, offer: 0, ack: 1, nak: 0 };
  const rows: [Goal, typeof none][] = [
    [{ kind: "acquire" }, { ...none, discover: 1, offer: 1 }],
    [{ kind: "reboot", address: first }, none],
    [{ kind: "renew", address: first, server }, none],
    [{ kind: "rebind", address: first }, none],
  ];
  for (const [goal, expected] of rows) {
    const held = await holdCleanly(sandbox, netns, { goal });
    assertEquals(addressOf(held), subnet.first, goal.kind);
    const { counts: { ignored, ...counts } } = held as Held & { kind: "acked" };
    assertEquals(counts, expected, goal.kind);
    assertEquals(Object.values(ignored).map((count) => count > 0), [true, true, true], goal.kind);
    if (goal.kind === "reboot") await configure(sandbox, netns, held);
  }
});

kernelTest("dhcp exchange: what was sent and received is counted", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await startHostile(sandbox);
  const named = { ...client, provided: new Map([[12, new TextEncoder().encode("nobody")]]) };
  const held = await holdCleanly(sandbox, netns, { client: named, within: 3000 });
  assertMatch(
    (held as { message: string }).message,
    /^no more tries: [1-9] DISCOVER sent, 0 OFFER received, \d+ malformed, \d+ for others and \d+ unusable ignored; answers do not fit: /,
  );
});

kernelTest("dhcp exchange: no namespace, no link, no Ethernet", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  assertEquals(await hold(`${netns}-none`), { kind: "namespace gone" });
  assertEquals(await hold("/etc/hostname"), { kind: "namespace gone" });
  assertEquals(await hold(netns, { dev: "eth7" }), { kind: "link missing" });
  const error = await assertRejects(() => hold(netns, { dev: "lo" }), CniError);
  assertEquals(error.msg, 'Cannot speak DHCP on "lo": its hardware is not Ethernet');
});

kernelTest("dhcp exchange: the port is taken", {}, async (sandbox) => {
  const netns = await joinServer(sandbox);
  await sandbox.agent(netns).listen("udp", { port: 68 });
  const before = await snapshot(sandbox);
  const error = await assertRejects(() => hold(netns), CniError);
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
  const holding = hold(netns);
  await log.logged(heard);
  await sandbox.ip(netns, ["link del eth0"]);
  assertEquals(await holding, { kind: "link missing" });
  const filter = ["cat", "/proc/sys/net/ipv4/conf/all/rp_filter"];
  assertEquals(await sandbox.inside(netns, filter), "1\n");
  assertSame(before, await snapshot(sandbox), { only: /^a\/(nft|iptables)/ });
});

kernelTest("dhcp exchange: the namespace goes meanwhile", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await startMute(sandbox);
  const holding = hold(netns);
  await log.logged(heard);
  await sandbox.removeNetns("a");
  assertEquals(await holding, { kind: "namespace gone" });
});

kernelTest(
  "dhcp exchange: another one in the container takes too long",
  dnsmasq,
  async (sandbox) => {
    const netns = await joinServer(sandbox);
    const log = await startMute(sandbox);
    const running = new AbortController();
    const holding = hold(netns, { signal: running.signal });
    await log.logged(heard);
    const held = await hold(netns, { within: 100 });
    assertEquals(held.kind, "failed");
    assertMatch(
      (held as { message: string }).message,
      /^no more tries: nothing was sent: process \d+ \(.* ago\) holds an exchange in the container$/,
    );
    running.abort();
    await holding;
    assertEquals(locks(), []);
  },
);

kernelTest("dhcp exchange: it can be called off", dnsmasq, async (sandbox) => {
  const netns = await joinServer(sandbox);
  const log = await startMute(sandbox);
  const before = await snapshot(sandbox);
  const [running, waiting] = [new AbortController(), new AbortController()];
  const holding = hold(netns, { signal: running.signal });
  await log.logged(heard);
  const queued = hold(netns, { signal: waiting.signal });
  waiting.abort();
  assertEquals(await queued, { kind: "cancelled" });
  running.abort();
  assertEquals(await holding, { kind: "cancelled" });
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
  assertEquals(await hold(netns, { signal: AbortSignal.abort() }), { kind: "cancelled" });
});

/** Holds an exchange in a process of its own, so that it can be killed. */
function holdApart(netns: string): Running {
  const file = new URL("harness/dhcp_hold.ts", import.meta.url).pathname;
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
    const running = holdApart(netns);
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
      const holding = hold(netns);
      await log.logged(heard);
      const [victim] = (await processes(netns)).filter(isIt);
      Deno.kill(victim!.pid, "SIGKILL");
      const error = await assertRejects(() => holding, CniError);
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
    const running = holdApart(netns);
    await log.logged(heard);
    running.signalAll("SIGKILL");
    await running.allGone();
    const only = /^a\//;
    const left = difference(before, await snapshot(sandbox), { only }).join("\n");
    for (const what of ["255.255.255.255", "rp_filter", "denocni-dhcp"]) {
      assertStringIncludes(left, what);
    }
    assertEquals((await hold(netns, { within: 2000 })).kind, "failed");
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
  const held = await hold(netns) as Held & { kind: "acked" };
  assertEquals(log.leased(), [subnet.first]);
  await sandbox.removeNetns("a");
  const goal = { kind: "release", address: first, server } as const;
  const all = { goal, client: { ...client, chaddr: held.ack.chaddr } };
  assertEquals(await releaseFromHost(all, { program }), { kind: "sent" });
  await log.logged(/DHCPRELEASE/);
  assertEquals(log.leased(), []);
});
