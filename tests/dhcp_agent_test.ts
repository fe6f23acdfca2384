/**
 * The lease agent and its plugin with real servers: leases that are got, renewed, changed, lost
 * and given back, agents that are killed, and the reference's plugin and agent on either side.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { codes } from "../cni/error.ts";
import {
  addressesOn,
  configure,
  dhcpCall,
  joinContainer,
  joinLan,
  LeaseAgentProcess,
  socketOf,
} from "./harness/dhcp_agent.ts";
import { Dnsmasq, startUdhcpd, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, callPlugin, fail, peerDir, succeed, versions } from "./harness/plugin.ts";
import { Random, seedOf } from "./harness/random.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:bridge", "link:veth", "tool:dnsmasq", "plugin:dhcp"] as const;
const peerNeeds = [...needs, "peer"] as const;
const first = `${subnet.first}/${subnet.prefix}`;

/** Times with which tests do not wait long. */
const hasty = ["-timeout", "1s", "-resendmax", "2s", "--resendtimeout=3s"];

/** Files of leases. */
function leaseFiles(): string[] {
  try {
    return [...Deno.readDirSync("/run/cni/denocni/dhcp")].map(({ name }) => name);
  } catch {
    return [];
  }
}

/** A host with a server, an agent and a container. */
async function lan(
  sandbox: Sandbox,
  { more = [], flags = hasty }: {
    readonly more?: readonly string[];
    readonly flags?: readonly string[];
  } = {},
) {
  await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox, { more });
  const agent = await LeaseAgentProcess.start(sandbox, { flags });
  const netns = await joinContainer(sandbox);
  return { server, agent, netns };
}

/** Waits for what dnsmasq does a moment after it has said so. */
async function until(done: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!done()) {
    assert(Date.now() < end, "it does not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** T1 of two seconds: dnsmasq gives no lease of less than two minutes. */
const soon = ["--dhcp-option=option:T1,2s"];

for (const version of versions) {
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

kernelTest(
  "dhcp: a lease is renewed, also by an agent after one that was killed",
  { needs },
  async (sandbox) => {
    const { server, agent, netns } = await lan(sandbox, { more: soon });
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    await server.logged(/DHCPACK/);
    for (let round = 0; round < 2; round++) {
      await server.logged(/DHCPREQUEST/);
      await server.logged(/DHCPACK/);
    }
    await agent.end("SIGKILL");
    assert(Deno.lstatSync(socketOf(sandbox)).isSocket, "nobody has removed the socket");
    await using next = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    await server.logged(/DHCPREQUEST/);
    await server.logged(/DHCPACK/);
    const again = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    assertEquals(addressesOf(again), [first]);
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
    await server.logged(/DHCPRELEASE/);
    assertEquals((await next.end("SIGTERM")).code, 0);
  },
);

kernelTest(
  "dhcp: agents killed at random moments lose no lease and leave none",
  { needs },
  async (sandbox, test) => {
    const seed = seedOf(20_261_121);
    const random = new Random(seed);
    await joinLan(sandbox);
    const server = await Dnsmasq.start(sandbox);
    const netns = await joinContainer(sandbox);
    const kept = await joinContainer(sandbox, { name: "b" });
    let agent = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns: kept, containerId: "c2" }));
    for (let time = 0; time < 12; time++) {
      const moment = random.next() * 500;
      await test.step(`seed ${seed}, after ${moment.toFixed(0)} ms`, async () => {
        const verb = random.oneIn(4) ? "DEL" : "ADD";
        const called = callPlugin(sandbox, dhcpCall(sandbox, verb, { netns }));
        await new Promise((resolve) => setTimeout(resolve, moment));
        await agent.end("SIGKILL");
        await called;
        agent = await LeaseAgentProcess.start(sandbox, { flags: hasty });
        await succeed(sandbox, dhcpCall(sandbox, "CHECK", { netns: kept, containerId: "c2" }));
        await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
        assertEquals(leaseFiles().length, 1);
        await until(() => server.leased().length === 1);
      });
    }
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns: kept, containerId: "c2" }));
    await until(() => server.leased().length === 0);
  },
);

kernelTest(
  "dhcp: what is gone while no agent runs is given back by the next one",
  { needs },
  async (sandbox) => {
    const { server, agent, netns } = await lan(sandbox);
    await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await agent.end("SIGTERM");
    assertEquals(leaseFiles().length, 1);
    assertEquals(server.leased(), [subnet.first]);
    await sandbox.removeNetns("a");
    const next = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    await server.logged(/DHCPRELEASE/);
    await next.said(/the namespace is gone/);
    await until(() => server.leased().length === 0);
    assertEquals(leaseFiles(), []);
  },
);

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

kernelTest("dhcp: one shot, without any agent", { needs }, async (sandbox) => {
  await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox);
  const netns = await joinContainer(sandbox);
  const before = await snapshot(sandbox);
  const ipam = { oneShot: true };
  await succeed(sandbox, dhcpCall(sandbox, "STATUS", { ipam }));
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
  assertEquals(addressesOf(result), [first]);
  assertSame(before, await snapshot(sandbox), { only: /^a\// });
  await configure(sandbox, { netns, result });
  await succeed(
    sandbox,
    dhcpCall(sandbox, "CHECK", { netns, ipam, config: { prevResult: result } }),
  );
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns, ipam }));
  await server.logged(/DHCPRELEASE/);
  await until(() => server.leased().length === 0);
  assertEquals(leaseFiles(), []);
});

kernelTest("dhcp: one shot, when nobody answers", { needs }, async (sandbox) => {
  await joinLan(sandbox);
  const netns = await joinContainer(sandbox);
  const ipam = { oneShot: true, timeout: 2000 };
  const error = await fail(sandbox, dhcpCall(sandbox, "ADD", { netns, ipam }));
  assertEquals(error.code, codes.tryAgainLater);
  assertEquals(error.msg, 'Cannot get a lease for "eth0": no more tries');
  assertMatch(error.details!, /DISCOVER sent, 0 OFFER received; is spanning tree forwarding\?$/);
  assertEquals(leaseFiles(), []);
});

kernelTest(
  "dhcp: another address in a renewal reaches the interface",
  { needs },
  async (sandbox) => {
    const { server, agent, netns } = await lan(sandbox, { more: soon, flags: ["-timeout", "1s"] });
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    assertEquals(await addressesOn(sandbox, netns), [subnet.first]);
    await server[Symbol.asyncDispose]();
    Deno.removeSync(`${sandbox.dir}/server.leases`);
    await Dnsmasq.start(sandbox, { pool: ["192.168.77.20", "192.168.77.20"], more: soon });
    await agent.said(/the interface has 192\.168\.77\.20\/24 now/);
    assertEquals(await addressesOn(sandbox, netns), ["192.168.77.20"]);
    const routes = await sandbox.ipJson<{ dst: string; gateway?: string }>(
      netns,
      "route show default",
    );
    assertEquals(routes.map(({ gateway }) => gateway), [subnet.server]);
    const again = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    assertEquals(addressesOf(again), ["192.168.77.20/24"]);
  },
);

const udhcpd = { needs: ["link:bridge", "link:veth", "tool:udhcpd", "plugin:dhcp"] } as const;

kernelTest(
  "dhcp: at its end a lease takes its address along, and the link stays up",
  udhcpd,
  async (sandbox) => {
    await joinLan(sandbox);
    const server = await startUdhcpd(sandbox, { seconds: 6 });
    const agent = await LeaseAgentProcess.start(sandbox, {
      flags: ["-timeout", "1s", "-resendtimeout", "5s"],
    });
    const netns = await joinContainer(sandbox);
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    await server[Symbol.asyncDispose]();
    await agent.said(/it is no longer kept: no server has renewed it/);
    assertEquals(await addressesOn(sandbox, netns), []);
    const [link] = await sandbox.ipJson<{ flags: string[] }>(netns, "link show dev eth0");
    assert(link!.flags.includes("UP"));
    assertEquals(leaseFiles(), []);
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
  },
);

kernelTest("dhcp: a live agent is not replaced", { needs }, async (sandbox) => {
  await LeaseAgentProcess.start(sandbox);
  const error = await LeaseAgentProcess.start(sandbox).then(
    () => undefined,
    (error: Error) => error,
  );
  assertMatch(error!.message, /Cannot start the lease agent: ".*" is served by process \d+ \(/);
  await succeed(sandbox, dhcpCall(sandbox, "STATUS"));
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

kernelTest("dhcp: through a bridge plugin, which keeps few permissions", {
  needs: [...needs, "plugin:bridge"],
}, async (sandbox) => {
  await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox);
  await LeaseAgentProcess.start(sandbox, { flags: hasty });
  const netns = await sandbox.container("a");
  const call = (verb: string, more: JsonObject = {}) => ({
    ...dhcpCall(sandbox, verb, { netns, config: { type: "bridge", bridge: "lan0", ...more } }),
    type: "bridge",
  });
  const result = await succeed(sandbox, call("ADD"));
  assertEquals(addressesOf(result), [first]);
  assertEquals(await addressesOn(sandbox, netns), [subnet.first]);
  await succeed(sandbox, call("CHECK", { prevResult: result }));
  await succeed(sandbox, call("DEL", { prevResult: result }));
  await server.logged(/DHCPRELEASE/);
  await until(() => server.leased().length === 0);
  assertEquals(leaseFiles(), []);
});

/** Does what systemd does: opens the socket, and passes it on as descriptor 3. */
const activate = `
use Socket; use Fcntl; use POSIX ();
my $path = shift;
POSIX::close(3);
socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die; bind($s, sockaddr_un($path)) or die; listen($s, 9) or die;
if (fileno($s) != 3) { POSIX::dup2(fileno($s), 3); } else { fcntl($s, F_SETFD, 0); }
$ENV{LISTEN_PID} = $$; $ENV{LISTEN_FDS} = 1;
exec @ARGV;
`;

kernelTest("dhcp: a socket that systemd has passed", {
  needs: [...needs, "tool:perl"],
}, async (sandbox) => {
  await joinLan(sandbox);
  await Dnsmasq.start(sandbox);
  const agent = await LeaseAgentProcess.start(sandbox, {
    flags: hasty,
    through: ["perl", "-e", activate, socketOf(sandbox)],
  });
  const netns = await joinContainer(sandbox);
  const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
  assertEquals(addressesOf(result), [first]);
  await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
  assertEquals((await agent.end("SIGTERM")).code, 0);
});
