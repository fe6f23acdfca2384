/**
 * The lease agent with real servers: leases that are renewed, moved, changed, lost and given back,
 * and agents that are killed and replaced.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import {
  addressesOn,
  configure,
  dhcpCall,
  hasty,
  joinContainer,
  joinLan,
  joinOther,
  lan,
  LeaseAgentProcess,
  leaseFiles,
  socketOf,
  until,
} from "./harness/dhcp_agent.ts";
import { countReached, Dnsmasq, startUdhcpd, subnet } from "./harness/dhcp_server.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, callPlugin, succeed } from "./harness/plugin.ts";
import { Random, seedOf } from "./harness/random.ts";

const needs = ["link:bridge", "link:veth", "tool:dnsmasq", "plugin:dhcp"] as const;

/** The shortest times that dnsmasq takes; its leases are of two minutes at least. */
const t1 = 3000;
const soon = ["--dhcp-option=option:T1,3s"];
/** How much earlier the agent may ask, so that leases of one moment are not renewed in one. */
const fuzz = 0.05;

kernelTest(
  "dhcp: a lease is renewed at T1 and given back, each by one packet to the server alone",
  { needs },
  async (sandbox) => {
    const { server, netns, host } = await lan(sandbox, { more: soon });
    const start = Date.now();
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    await server.logged(/DHCPACK/);
    const reached = await countReached(sandbox, host);
    await server.logged(/DHCPREQUEST/);
    const passed = Date.now() - start;
    assert(passed >= t1 * (1 - fuzz) && passed < 30_000, `renewed after ${passed} ms`);
    await server.logged(/DHCPACK/);
    const again = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    assertEquals(again, result);
    assertEquals(await reached(), { nameless: 0, broadcast: 0, unicast: 1, strange: 0 });
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
    await server.logged(/DHCPRELEASE/);
    assertEquals(await reached(), { nameless: 0, broadcast: 0, unicast: 2, strange: 0 });
    await until(() => server.leased().length === 0);
  },
);

kernelTest(
  "dhcp: an agent that has the host's files below a folder keeps leases that the host can read",
  { needs },
  async (sandbox) => {
    await joinLan(sandbox);
    const server = await Dnsmasq.start(sandbox);
    const prefix = `${sandbox.dir}/root`;
    Deno.mkdirSync(prefix);
    for (const dir of ["run", "proc"]) Deno.symlinkSync(`/${dir}`, `${prefix}/${dir}`);
    const flags = [...hasty, "-hostprefix", prefix];
    const agent = await LeaseAgentProcess.start(sandbox, { flags });
    const netns = await joinContainer(sandbox);
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    const [name] = leaseFiles();
    const text = Deno.readTextFileSync(`/run/cni/denocni/dhcp/${name}`);
    assertEquals([text.includes(prefix), text.includes(`"${netns}"`)], [false, true]);
    await agent.end("SIGKILL");
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
    await server.logged(/DHCPRELEASE/);
    assertEquals(leaseFiles(), []);
  },
);

kernelTest(
  "dhcp: an agent renews what one before it has got that was killed",
  { needs },
  async (sandbox) => {
    const { server, agent, netns } = await lan(sandbox, { more: soon });
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    await server.logged(/DHCPACK/);
    await agent.end("SIGKILL");
    assert(Deno.lstatSync(socketOf(sandbox)).isSocket, "nobody has removed the socket");
    const next = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    await server.logged(/DHCPREQUEST/);
    await server.logged(/DHCPACK/);
    assertEquals(await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns })), result);
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
    await server.logged(/DHCPRELEASE/);
    assertEquals((await next.end("SIGTERM")).code, 0);
  },
);

kernelTest(
  "dhcp: when its server has moved, a lease is bound to another one",
  { needs },
  async (sandbox) => {
    const more = [...soon, "--dhcp-option=option:T2,5s"];
    const { server, netns, host: gone } = await lan(sandbox, { more });
    const result = await succeed(sandbox, dhcpCall(sandbox, "ADD", { netns }));
    await configure(sandbox, { netns, result });
    await server[Symbol.asyncDispose]();
    await sandbox.ip(gone, ["addr flush dev eth0"]);
    const host = await joinOther(sandbox, "192.168.77.2");
    const reached = await countReached(sandbox, host);
    const other = await Dnsmasq.start(sandbox, { server: "other" });
    await other.logged(/DHCPREQUEST/);
    await other.logged(/DHCPACK\(eth0\) 192\.168\.77\.5 /);
    assertEquals(await reached(), { nameless: 0, broadcast: 1, unicast: 0, strange: 0 });
    assertEquals(await addressesOn(sandbox, netns), [subnet.first]);
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns }));
    await other.logged(/DHCPRELEASE/);
    await until(() => other.leased().length === 0);
  },
);

kernelTest(
  "dhcp: agents killed at random moments lose no lease and leave none",
  { needs },
  async (sandbox, test) => {
    const seed = seedOf(20_261_121);
    const random = new Random(seed);
    await joinLan(sandbox);
    const server = await Dnsmasq.start(sandbox, { more: soon });
    const netns = await joinContainer(sandbox);
    const kept = await joinContainer(sandbox, { name: "b" });
    let agent = await LeaseAgentProcess.start(sandbox, { flags: hasty });
    // Its lease is renewed meanwhile.
    const result = await succeed(
      sandbox,
      dhcpCall(sandbox, "ADD", { netns: kept, containerId: "c2" }),
    );
    await configure(sandbox, { netns: kept, result });
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
        assertEquals(leaseFiles().filter((name) => !name.endsWith(".tmp")).length, 1);
        await until(() => server.leased().length === 1);
      });
    }
    assertEquals(await addressesOn(sandbox, kept), [subnet.first]);
    await succeed(sandbox, dhcpCall(sandbox, "DEL", { netns: kept, containerId: "c2" }));
    await until(() => server.leased().length === 0);
    assertEquals(leaseFiles(), []);
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

const udhcpd = { needs: ["link:bridge", "link:veth", "tool:busybox", "plugin:dhcp"] } as const;

kernelTest(
  "dhcp: at its end a lease takes its address along, and the link stays up",
  udhcpd,
  async (sandbox) => {
    await joinLan(sandbox);
    const server = await startUdhcpd(sandbox, { seconds: 4 });
    const agent = await LeaseAgentProcess.start(sandbox, {
      flags: ["-timeout", "1s", "-resendtimeout", "2s"],
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
