import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { ExchangeGoal4 } from "../exchange/client_message4.ts";
import type { LeaseRecordOf } from "../lease/lease_record.ts";
import type { CmdArgs } from "../rpc/cni_gob.ts";
import { decodeMessage4 } from "../codec/message4.ts";
import { golden4, messageOf4, optionsOf4 } from "../codec/testing_message4.ts";
import {
  callCheck,
  callGc,
  callList,
  denocniMethods,
  isUnknownService,
} from "../rpc/denocni_service.ts";
import { callAllocate, dhcpMethods } from "../rpc/dhcp_service.ts";
import { RemoteError, serveRpc } from "../rpc/net_rpc.ts";
import { Agent } from "./agent.ts";
import { cmdArgsOf, FakeAgentTools as Tools } from "./testing_agent.ts";
import {
  ackedResult,
  ackOf,
  failedResult,
  leaseAt,
  leaseRecordOf,
  settle,
} from "./testing_keeper.ts";

const second = 1000;
const never = new AbortController().signal;

/** An agent that has a lease for `c1`, with nothing in the log. */
async function holding(tools = new Tools()) {
  const agent = new Agent(tools);
  const result = agent.allocate(cmdArgsOf(), never);
  await settle();
  tools.only.end(ackedResult());
  await result;
  tools.news();
  return { tools, agent };
}

Deno.test("allocate acquires, keeps and answers", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const result = agent.allocate(
    cmdArgsOf({ args: "K8S_POD_NAME=web" }, {
      provide: [{ option: "host-name", fromArg: "K8S_POD_NAME" }],
      request: [{ option: "121" }],
      priority: 50,
    }),
    never,
  );
  await settle();
  const { job: holding } = tools.only;
  assertEquals([holding.dev, holding.netns, holding.within], ["eth0", {
    path: "/run/netns/c1",
  }, 88_000]);
  assertEquals(new TextDecoder().decode(holding.client.clientId), "\0c1/net/eth0");
  assertEquals(holding.client.requested, [121, 3, 1]);
  assertEquals([...holding.client.provided.keys()], [12]);
  tools.only.end(ackedResult());
  assertEquals(await result, {
    interfaces: [],
    ips: [{ address: "192.168.1.5/24", gateway: "192.168.1.1" }],
    routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1", priority: 50 }],
    dns: {},
  });
  assertEquals(tools.said, [
    'say lease of 192.168.1.5 for "eth0" of container "c1" on network "net": ' +
    "got, until 2023-11-14T22:18:20.000Z",
  ]);
  const entry = [...tools.disk.values()][0]!;
  assertEquals([entry.agent, entry.netns, entry.generation], [tools.socket, "/run/netns/c1", 1]);
  assertEquals(agent.size, 1);
});

Deno.test("flags reach namespaces and messages", async () => {
  const tools = new Tools({ hostPrefix: "/host", broadcast: true });
  new Agent(tools).allocate(cmdArgsOf(), never);
  await settle();
  assertEquals(tools.only.job.netns.path, "/host/run/netns/c1");
  assertEquals(tools.only.job.client.broadcast, true);
});

Deno.test("the same container asking again gets its lease at once", async () => {
  const { tools, agent } = await holding();
  const { ips } = await agent.allocate(cmdArgsOf(), never);
  assertEquals(ips[0]!.address, "192.168.1.5/24");
  assertEquals(tools.news().filter((line) => line.startsWith("hold")), []);
});

Deno.test("the same container asking during a renewal gets its lease at once", async () => {
  const { tools, agent } = await holding();
  await tools.clock.pass(150 * second);
  assertEquals(tools.only.job.goal.kind, "renew");
  const { ips } = await agent.allocate(cmdArgsOf(), never);
  assertEquals(ips[0]!.address, "192.168.1.5/24");
  assertEquals(tools.pending.length, 1);
});

Deno.test("two calls at one time make one acquisition", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const results = [agent.allocate(cmdArgsOf(), never), agent.allocate(cmdArgsOf(), never)];
  await settle();
  tools.only.end(ackedResult());
  const [a, b] = await Promise.all(results);
  assertEquals(a, b);
  assertEquals(agent.size, 1);
});

Deno.test("who waits for another's acquisition acquires itself when that fails", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const first = agent.allocate(cmdArgsOf(), never);
  const second = agent.allocate(cmdArgsOf(), never);
  await settle();
  tools.only.end(failedResult);
  await assertRejects(() => first, Error, "no more tries");
  await settle();
  tools.only.end(ackedResult());
  assertEquals((await second).ips.length, 1);
});

Deno.test("an attachment whose namespace is another one gets a lease anew, and may keep its address", async () => {
  const { tools, agent } = await holding();
  tools.inodes.set("/run/netns/c1", 2);
  const result = agent.allocate(cmdArgsOf(), never);
  await settle();
  assertEquals(tools.news(), [
    "hold release 192.168.1.5 within 5000",
    "hold acquire 192.168.1.5 within 88000",
  ]);
  tools.only.end(ackedResult());
  await result;
  assertEquals([...tools.disk.values()].map(({ identity }) => identity.ino), [2]);
  assertEquals(agent.size, 1);
});

Deno.test("a lease that has ended is acquired anew", async () => {
  const { tools, agent } = await holding();
  await tools.clock.pass(150 * second);
  await tools.clock.pass(200 * second);
  const result = agent.allocate(cmdArgsOf(), never);
  await settle();
  assertEquals(tools.only.job.goal.kind, "acquire");
  tools.only.end(ackedResult());
  assertEquals((await result).ips.length, 1);
});

const refusals: readonly [name: string, parts: Partial<CmdArgs>, says: string][] = [
  ["a bad container", { containerID: "a/b" }, "invalid characters in containerID"],
  ["a bad interface", { ifname: "a/b" }, "interface name contains"],
  ["no JSON", { stdin: new Uint8Array([123]) }, "unexpected end of JSON input"],
  ["a list", { stdin: new TextEncoder().encode("[]") }, "it is no object"],
  ["no name", { stdin: new TextEncoder().encode('{"ipam":{}}') }, "missing network name"],
  ["no section", { stdin: new TextEncoder().encode('{"name":"net"}') }, "missing 'ipam' key"],
  [
    "a bad option",
    { stdin: new TextEncoder().encode('{"name":"net","ipam":{"request":[{"option":"x"}]}}') },
    "Can not parse option",
  ],
];

for (const [name, parts, says] of refusals) {
  Deno.test(`allocate refuses ${name} before it asks anybody`, async () => {
    const tools = new Tools();
    await assertRejects(() => new Agent(tools).allocate(cmdArgsOf(parts), never), Error, says);
    assertEquals(tools.log, []);
  });
}

Deno.test("allocate refuses a namespace that is none", async () => {
  const tools = new Tools();
  tools.gone.add("/run/netns/c1");
  await assertRejects(
    () => new Agent(tools).allocate(cmdArgsOf(), never),
    Error,
    'Cannot use network namespace "/run/netns/c1": no such file',
  );
});

const ends = [
  [failedResult, "no more tries: 3 REQUEST sent"],
  [{ kind: "link missing" }, 'error looking up "eth0": Link not found'],
  [{ kind: "namespace gone" }, 'Cannot use network namespace "/run/netns/c1": it is gone'],
  [{ kind: "cancelled" }, "it is not wanted any more"],
] as const;

for (const [held, says] of ends) {
  Deno.test(`an acquisition without a lease: ${says}`, async () => {
    const tools = new Tools();
    const agent = new Agent(tools);
    const result = agent.allocate(cmdArgsOf(), never);
    await settle();
    tools.only.end(held);
    await assertRejects(() => result, Error, says);
    assertEquals([tools.disk.size, agent.size], [0, 0]);
  });
}

Deno.test("a lease without a subnet mask goes back", async () => {
  const tools = new Tools();
  const result = new Agent(tools).allocate(cmdArgsOf(), never);
  await settle();
  const options = optionsOf4({ 51: "0000012c", 53: "05", 54: "c0a80101" });
  tools.only.end(ackedResult(messageOf4({ yiaddr: decodeMessage4(golden4.ack)!.yiaddr, options })));
  await assertRejects(() => result, Error, "DHCP option Subnet Mask not found in DHCPACK");
  assertEquals(tools.log.at(-1), "hold release 192.168.1.5 within 5000");
  assertEquals(tools.disk.size, 0);
});

Deno.test("a lease that cannot be written down goes back", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  tools.full = true;
  const result = agent.allocate(cmdArgsOf(), never);
  await settle();
  tools.only.end(ackedResult());
  await assertRejects(() => result, Error, "no space");
  assertEquals(tools.log.at(-1), "hold release 192.168.1.5 within 5000");
  assertEquals(agent.size, 0);
});

Deno.test("a plugin that has gone ends its acquisition", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const caller = new AbortController();
  const result = agent.allocate(cmdArgsOf(), caller.signal);
  await settle();
  const { signal } = tools.only;
  caller.abort();
  await assertRejects(() => result);
  assert(signal.aborted);
  assertEquals([tools.disk.size, agent.size, tools.acquisitions.size], [0, 0, 0]);
});

Deno.test("a container alone may wait for its turn no longer than its limit", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const names = ["c1", "c2", "c3", "c4", "c5"];
  for (const name of names) {
    agent.allocate(cmdArgsOf({ containerID: name, netns: `/run/netns/${name}` }), never)
      .catch(() => {});
  }
  await settle();
  assertEquals(tools.pending.length, 4);
  await tools.clock.pass(50 * second);
  tools.pending[0]!.end(failedResult);
  await settle();
  assertEquals(tools.pending.at(-1)!.job.within, 38_000);
});

Deno.test("an acquisition whose turn does not come in time fails, and leaves nothing", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const blocking = [1, 2, 3, 4].map(() =>
    tools.acquisitions.run({ signal: never }, () => new Promise<void>(() => {}))
  );
  assertEquals(blocking.length, 4);
  const result = agent.allocate(cmdArgsOf(), never);
  result.catch(() => {});
  await tools.clock.pass(88 * second);
  await assertRejects(() => result, Error, "no more tries: nothing was sent: other acquisitions");
  assertEquals([tools.log, tools.intents.size, tools.acquisitions.size], [[], 0, 4]);
});

const timeouts = [
  [undefined, 88_000, "two seconds less than the usual one"],
  [30_000, 28_000, "two seconds less than was configured"],
  [1000, 1000, "a second at least"],
  [3_600_000, 208_000, "no more than the agent's own limit"],
] as const;

for (const [timeout, within, what] of timeouts) {
  Deno.test(`an acquisition ends before the plugin hangs up: ${what}`, async () => {
    const tools = new Tools();
    new Agent(tools).allocate(cmdArgsOf({}, timeout === undefined ? {} : { timeout }), never);
    await settle();
    assertEquals(tools.only.job.within, within);
  });
}

Deno.test("the wait for another's acquisition is part of the time of one's own", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const first = agent.allocate(cmdArgsOf(), never);
  agent.allocate(cmdArgsOf(), never).catch(() => {});
  await settle();
  await tools.clock.pass(60 * second);
  tools.only.end(failedResult);
  await assertRejects(() => first);
  await settle();
  assertEquals(tools.only.job.within, 28_000);
});

Deno.test("release gives up, also several at one time, and once more", async () => {
  const { tools, agent } = await holding();
  await Promise.all([1, 2, 3].map(() => agent.release(cmdArgsOf())));
  await agent.release(cmdArgsOf());
  assertEquals(tools.news(), [
    "hold release 192.168.1.5 within 5000",
    'say lease of 192.168.1.5 for "eth0" of container "c1" on network "net": given back',
  ]);
  assertEquals([tools.disk.size, agent.size, tools.clock.pending], [0, 0, 0]);
});

Deno.test("release of what is not there succeeds, with any configuration that has a name", async () => {
  const tools = new Tools();
  const stdin = new TextEncoder().encode('{"name":"net","ipam":{"request":"all"}}');
  await new Agent(tools).release(cmdArgsOf({ stdin, netns: "" }));
  assertEquals(tools.log, []);
});

Deno.test("release during an acquisition ends it", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const result = agent.allocate(cmdArgsOf(), never);
  result.catch(() => {});
  await settle();
  const { signal } = tools.only;
  const released = agent.release(cmdArgsOf());
  await assertRejects(() => result, Error, "not wanted any more");
  assert(signal.aborted);
  await settle();
  // The server may have given a lease by then.
  tools.only.end(ackedResult());
  await released;
  assertEquals(tools.news().slice(1), [
    "hold acquire within 5000",
    "hold release 192.168.1.5 within 5000",
  ]);
  assertEquals([tools.disk.size, tools.intents.size, agent.size], [0, 0, 0]);
});

Deno.test("an acquisition is noted before it begins, and forgotten when its lease is kept", async () => {
  const tools = new Tools();
  const result = new Agent(tools).allocate(cmdArgsOf(), never);
  await settle();
  const [intent] = tools.intents.values();
  assertEquals([intent!.netns, intent!.agent, intent!.ifName], [
    "/run/netns/c1",
    tools.socket,
    "eth0",
  ]);
  tools.only.end(ackedResult());
  await result;
  assertEquals(tools.intents.size, 0);
});

const unanswered = { ...failedResult.counts, discover: 3, request: 0 };
const leftovers = [
  ["no server has offered anything", { ...failedResult, counts: unanswered }, 0],
  ["the link is missing", { kind: "link missing" }, 0],
  ["a request was not answered", failedResult, 1],
  ["it was called off", { kind: "cancelled" }, 1],
] as const;

for (const [why, held, left] of leftovers) {
  Deno.test(`an acquisition without a lease is ${left ? "remembered" : "forgotten"}: ${why}`, async () => {
    const tools = new Tools();
    const result = new Agent(tools).allocate(cmdArgsOf(), never);
    await settle();
    tools.only.end(held);
    await assertRejects(() => result);
    assertEquals(tools.intents.size, left);
  });
}

/** An agent after one that was killed during an acquisition. */
async function afterKill() {
  const tools = new Tools();
  const path = "/leases/net-c1-eth0.json";
  const { lease: _, replacedAcks: __, generation: ___, ...intent } = leaseRecordOf(leaseAt(0), {
    path,
  });
  tools.intents.set(path, intent);
  const agent = new Agent(tools);
  agent.resume();
  await settle();
  return { tools, agent };
}

Deno.test("what a killed agent may have acquired is got again and given back", async () => {
  const { tools } = await afterKill();
  tools.only.end(ackedResult());
  await settle();
  assertEquals(tools.news(), ["hold acquire within 5000", "hold release 192.168.1.5 within 5000"]);
  assertEquals([tools.disk.size, tools.intents.size], [0, 0]);
});

Deno.test("a server that does not answer is not asked again for what may have been acquired", async () => {
  const { tools } = await afterKill();
  tools.only.end(failedResult);
  await settle();
  assertEquals([tools.news().length, tools.intents.size], [1, 0]);
});

Deno.test("ADD waits until it is cleared up after an acquisition before", async () => {
  const { tools, agent } = await afterKill();
  const result = agent.allocate(cmdArgsOf(), never);
  await settle();
  tools.only.end(ackedResult());
  await settle();
  assertEquals(tools.news(), [
    "hold acquire within 5000",
    "hold release 192.168.1.5 within 5000",
    "hold acquire within 88000",
  ]);
  tools.only.end(ackedResult());
  await result;
  assertEquals([tools.disk.size, tools.intents.size], [1, 0]);
});

Deno.test("clearing up that was cut short is left to the next agent", async () => {
  const { tools, agent } = await afterKill();
  await agent.close();
  assertEquals([tools.intents.size, tools.pending.length], [1, 0]);
});

Deno.test("an acquisition of no agent may be under way in a plugin, until its namespace is gone", async () => {
  const tools = new Tools();
  const entry = leaseRecordOf(leaseAt(0), { path: "/leases/net-c1-eth0.json", agent: undefined });
  tools.intents.set(entry.path, entry);
  const agent = new Agent(tools);
  agent.resume();
  agent.sweep();
  await settle();
  assertEquals([tools.pending.length, tools.intents.size], [0, 1]);
  tools.gone.add(entry.netns);
  agent.sweep();
  await settle();
  assertEquals([tools.pending.length, tools.intents.size, tools.news()], [0, 0, []]);
});

Deno.test("a lease that a plugin has written down while it was searched for is not given back", async () => {
  const { tools } = await afterKill();
  const path = "/leases/net-c1-eth0.json";
  tools.disk.set(path, leaseRecordOf(leaseAt(tools.clock.now()), { path, agent: undefined }));
  tools.only.end(ackedResult());
  await settle();
  assertEquals(tools.news(), ["hold acquire within 5000"]);
  assertEquals([tools.disk.size, tools.intents.size], [1, 0]);
});

Deno.test("nothing can be cleared up where the namespace is gone", async () => {
  const { tools, agent } = await holding();
  const [entry] = tools.disk.values();
  tools.intents.set("/leases/2.json", {
    ...entry!,
    path: "/leases/2.json",
    netns: "/run/netns/c2",
  });
  tools.gone.add("/run/netns/c2");
  agent.sweep();
  await settle();
  assertEquals([tools.news(), tools.intents.size, agent.size], [[], 0, 1]);
});

Deno.test("an acquisition whose lease was written down before the kill is no leftover", async () => {
  const { tools } = await holding();
  const [entry] = tools.disk.values();
  tools.intents.set(entry!.path, entry!);
  new Agent(tools).resume();
  await settle();
  assertEquals([tools.pending.length, tools.intents.size, tools.disk.size], [0, 0, 1]);
});

Deno.test("an acquisition that is under way is no leftover", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  agent.allocate(cmdArgsOf(), never).catch(() => {});
  await settle();
  agent.sweep();
  await settle();
  assertEquals([tools.pending.length, tools.intents.size], [1, 1]);
});

Deno.test("release gives up what a plugin without an agent has left", async () => {
  const tools = new Tools();
  const path = "/leases/net-c1-eth0.json";
  tools.disk.set(path, leaseRecordOf(leaseAt(tools.clock.now()), { path, agent: undefined }));
  await new Agent(tools).release(cmdArgsOf());
  assertEquals(tools.log, ["hold release 192.168.1.5 within 5000"]);
  assertEquals(tools.disk.size, 0);
});

Deno.test("check tells whether there is a lease, and asks nobody", async () => {
  const { tools, agent } = await holding();
  assertEquals((await agent.check(cmdArgsOf())).ips[0]!.address, "192.168.1.5/24");
  await assertRejects(() => agent.check(cmdArgsOf({ ifname: "eth1" })), Error, "agent keeps none");
  tools.inodes.set("/run/netns/c1", 2);
  await assertRejects(() => agent.check(cmdArgsOf()), Error, "another namespace");
  tools.inodes.clear();
  await tools.clock.pass(150 * second);
  await tools.clock.pass(200 * second);
  await assertRejects(() => agent.check(cmdArgsOf()), Error, "it has ended");
  assertEquals(tools.news().filter((line) => line.includes("acquire")), []);
});

Deno.test("gc gives up what is not in the list, on this network", async () => {
  const { tools, agent } = await holding();
  const left = leaseRecordOf(leaseAt(tools.clock.now()), { containerId: "c2", agent: undefined });
  const lives = { ...left, path: "/leases/3.json", containerId: "c3" };
  const elsewhere = { ...left, path: "/leases/4.json", network: "other" };
  const others = { ...left, path: "/leases/5.json", agent: "/run/other.sock" };
  for (const entry of [left, lives, elsewhere, others]) tools.disk.set(entry.path, entry);
  await agent.gc("net", [{ containerId: "c3", ifName: "eth0" }]);
  assertEquals(agent.size, 0);
  assertEquals([...tools.disk.values()].map(({ path }) => path).sort(), [
    "/leases/3.json",
    "/leases/4.json",
    "/leases/5.json",
  ]);
});

Deno.test("resume keeps what lives, releases what is gone, and leaves other agents' leases", async () => {
  const tools = new Tools();
  const lease = leaseAt(tools.clock.now());
  const parts: Partial<LeaseRecordOf<4>>[] = [
    { path: "/leases/1.json" },
    { path: "/leases/2.json", netns: "/run/netns/gone" },
    { path: "/leases/3.json", agent: "/run/other.sock", netns: "/run/netns/gone" },
    { path: "/leases/4.json", agent: undefined, netns: "/run/netns/gone" },
    { path: "/leases/5.json", agent: undefined },
  ];
  for (const part of parts) tools.disk.set(part.path!, leaseRecordOf(lease, part));
  tools.gone.add("/run/netns/gone");
  const agent = new Agent(tools);
  agent.resume();
  await settle();
  assertEquals([...tools.disk.keys()], ["/leases/1.json", "/leases/3.json", "/leases/5.json"]);
  assertEquals(tools.log.filter((line) => line.startsWith("host")).length, 2);
  assertEquals(agent.size, 1);
});

Deno.test("leases of an agent that runs no more are kept, by the next sweep at the latest", async () => {
  const tools = new Tools();
  const lease = leaseAt(tools.clock.now());
  const paths = ["/leases/net-c1-eth0.json", "/leases/net-c2-eth0.json"] as const;
  tools.disk.set(paths[0], leaseRecordOf(lease, { path: paths[0], agent: "/run/other.sock" }));
  const gone = { path: paths[1], agent: "/run/gone.sock", netns: "/run/netns/c2" };
  tools.disk.set(paths[1], leaseRecordOf(lease, { ...gone, containerId: "c2" }));
  const agent = new Agent(tools);
  agent.resume();
  assertEquals(agent.list().map(({ containerId }) => containerId), ["c2"]);
  assertEquals(tools.disk.get(paths[1])!.agent, tools.socket);
  assertMatch(tools.said[0]!, /container "c2" .*: taken over from "\/run\/gone\.sock"$/);
  tools.served.clear();
  agent.sweep();
  agent.sweep();
  assertEquals(agent.list().map(({ containerId }) => containerId), ["c2", "c1"]);
  await agent.release(cmdArgsOf());
  assertEquals([tools.disk.size, agent.size], [1, 1]);
});

Deno.test("what an agent that runs no more may have acquired is cleared up", async () => {
  const tools = new Tools();
  const path = "/leases/net-c1-eth0.json";
  tools.intents.set(path, leaseRecordOf(leaseAt(0), { path, agent: "/run/other.sock" }));
  const agent = new Agent(tools);
  agent.sweep();
  await settle();
  assertEquals([tools.pending.length, tools.intents.size], [0, 1]);
  tools.served.clear();
  agent.sweep();
  await settle();
  tools.only.end(failedResult);
  await settle();
  assertEquals(tools.intents.size, 0);
});

Deno.test("sweep notices namespaces that are gone", async () => {
  const { tools, agent } = await holding();
  agent.sweep();
  await settle();
  assertEquals(agent.size, 1);
  tools.gone.add("/run/netns/c1");
  agent.sweep();
  await settle();
  assertEquals([agent.size, tools.disk.size], [0, 0]);
  assertEquals(tools.log.filter((line) => line.startsWith("host")).length, 1);
});

/** An agent whose sweep gives back a lease of no agent, as soon as `sent` is resolved. */
async function sweeping() {
  const tools = new Tools();
  const sent = Promise.withResolvers<void>();
  const path = "/leases/net-c1-eth0.json";
  const entry = leaseRecordOf(leaseAt(tools.clock.now()), { path, agent: undefined });
  tools.disk.set(path, { ...entry, netns: "/run/netns/gone" });
  tools.gone.add("/run/netns/gone");
  const told = tools.releaseFromHost;
  const slow = Object.assign(tools, {
    releaseFromHost: (goal: ExchangeGoal4) => sent.promise.then(() => told(goal)),
  });
  const agent = new Agent(slow);
  agent.sweep();
  await settle();
  return { tools, agent, sent };
}

const meanwhile: readonly (readonly [string, (agent: Agent) => unknown])[] = [
  ["another sweep", (agent) => agent.sweep()],
  ["DEL", (agent) => agent.release(cmdArgsOf())],
  ["GC", (agent) => agent.gc("net", [])],
];

for (const [what, call] of meanwhile) {
  Deno.test(`what a sweep is giving back is given back once, whatever comes meanwhile: ${what}`, async () => {
    const { tools, agent, sent } = await sweeping();
    call(agent);
    await settle();
    sent.resolve();
    await settle();
    assertEquals(tools.log.filter((line) => line.startsWith("host")), ["host release 192.168.1.5"]);
    assertEquals(tools.disk.size, 0);
  });
}

Deno.test("DEL, ADD and the agent's end wait for what a sweep is giving back", async () => {
  const { tools, agent, sent } = await sweeping();
  const done: string[] = [];
  agent.release(cmdArgsOf()).then(() => done.push("release"), () => {});
  agent.allocate(cmdArgsOf(), never).catch(() => {});
  await settle();
  assertEquals([done, tools.pending], [[], []]);
  const closed = agent.close().then(() => done.push("close"));
  await settle();
  assertEquals(done, []);
  sent.resolve();
  await closed;
  assertEquals([done.includes("close"), tools.disk.size], [true, 0]);
});

Deno.test("close leaves every lease on the disk and ends what is under way", async () => {
  const { tools, agent } = await holding();
  const other = agent.allocate(cmdArgsOf({ containerID: "c2", netns: "/run/netns/c2" }), never);
  other.catch(() => {});
  await settle();
  await agent.close();
  await assertRejects(() => other);
  assertEquals([tools.disk.size, tools.clock.pending, tools.pending.length], [1, 0, 0]);
});

Deno.test("an agent that is ending refuses calls, and leaves what they are about as it is", async () => {
  const { tools, agent } = await holding();
  const ended = agent.close();
  const other = cmdArgsOf({ containerID: "c2", netns: "/run/netns/c2" });
  const calls = [
    () => agent.allocate(other, never),
    () => agent.allocate(cmdArgsOf(), never),
    () => agent.release(cmdArgsOf()),
    () => agent.gc("net", []),
  ];
  for (const call of calls) await assertRejects(call, Error, "the lease agent is ending");
  await ended;
  for (const call of calls) await assertRejects(call, Error, "the lease agent is ending");
  assertEquals([tools.pending, tools.disk.size, tools.intents.size], [[], 1, 0]);
});

Deno.test("a call that waits for an acquisition is refused when the agent ends", async () => {
  const tools = new Tools();
  const agent = new Agent(tools);
  const calls = [1, 2].map(() => agent.allocate(cmdArgsOf(), never));
  await settle();
  const [first, second] = calls.map((call) => assertRejects(() => call, Error));
  const released = assertRejects(
    () => agent.release(cmdArgsOf()),
    Error,
    "the lease agent is ending",
  );
  await agent.close();
  await first;
  assertEquals((await second)!.message.includes("the lease agent is ending"), true);
  await released;
  assertEquals(tools.pending, []);
});

Deno.test("what close has left is found by the next agent, with its address", async () => {
  const { tools, agent } = await holding();
  await agent.close();
  const next = new Agent(tools);
  next.resume();
  assertEquals((await next.allocate(cmdArgsOf(), never)).ips[0]!.address, "192.168.1.5/24");
});

Deno.test("a change of the lease shows in the next answer", async () => {
  const { tools, agent } = await holding();
  await tools.clock.pass(150 * second);
  tools.only.end(ackedResult(ackOf({ address: "192.168.1.6" })));
  await settle();
  assertEquals((await agent.allocate(cmdArgsOf(), never)).ips[0]!.address, "192.168.1.6/24");
});

/** A connection to an agent. */
function connect(agent: Agent, own = true) {
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  const methods = { ...dhcpMethods(agent), ...(own && denocniMethods(agent)) };
  serveRpc({ readable: there.readable, writable: back.writable }, { methods });
  return { readable: back.readable, writable: there.writable };
}

Deno.test("the own methods pass through the protocol", async () => {
  const { agent } = await holding();
  const { ips } = await callCheck(connect(agent), cmdArgsOf());
  assertEquals(ips, [{ address: "192.168.1.5/24", gateway: "192.168.1.1" }]);
  assertEquals(await callAllocate(connect(agent), cmdArgsOf()), await agent.check(cmdArgsOf()));
  const [listed, ...more] = await callList(connect(agent));
  assertEquals(more, []);
  assertEquals([listed!.address, listed!.phase, listed!.netns], [
    "192.168.1.5",
    "bound",
    "/run/netns/c1",
  ]);
  await callGc(connect(agent), { network: "net", valid: [{ containerId: "c1", ifName: "eth0" }] });
  assertEquals(agent.size, 1);
  await callGc(connect(agent), { network: "net", valid: [] });
  assertEquals(agent.size, 0);
  const error = await assertRejects(() => callCheck(connect(agent), cmdArgsOf()), RemoteError);
  assert(!isUnknownService(error));
});

Deno.test("an agent of the reference says that it does not know the own methods", async () => {
  const { agent } = await holding();
  const error = await assertRejects(
    () => callCheck(connect(agent, false), cmdArgsOf()),
    RemoteError,
  );
  assert(isUnknownService(error));
});
