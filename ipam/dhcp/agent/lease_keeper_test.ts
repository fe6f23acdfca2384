import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { CniError } from "../../../cni/error.ts";
import { LeaseKeeper } from "./lease_keeper.ts";
import {
  ackedResult,
  ackOf,
  failedResult,
  FakeKeeperTools,
  leaseAt,
  leaseRecordOf,
  refusedResult,
  settle,
} from "./testing_keeper.ts";

const second = 1000;

/** A keeper that has just begun, with nothing in the log. */
function begun(tools = new FakeKeeperTools()) {
  const keeper = LeaseKeeper.begin(leaseRecordOf(leaseAt(tools.clock.now())), tools);
  return { tools, keeper };
}

Deno.test("a lease is on the disk before anything else is done", () => {
  const { tools, keeper } = begun();
  assertEquals(tools.news(), ["write 192.168.1.5"]);
  assertEquals(tools.clock.pending, 1);
  assertEquals(keeper.phase, "bound");
  assert(keeper.isValid);
});

Deno.test("a lease that cannot be written down is not kept", () => {
  const tools = new FakeKeeperTools();
  tools.full = true;
  assertThrows(() => begun(tools), Error, "no space");
  assertEquals(tools.clock.pending, 0);
});

Deno.test("a lease is renewed at T1, again and again", async () => {
  const { tools, keeper } = begun();
  for (let round = 0; round < 3; round++) {
    tools.news();
    await tools.clock.pass(149 * second);
    assertEquals(tools.news(), []);
    await tools.clock.pass(second);
    assertEquals(tools.news(), ["hold renew 192.168.1.5 within 112000"]);
    const { job: holding } = tools.only;
    assertEquals(holding.netns, { path: "/run/netns/c1" });
    assertEquals([holding.dev, holding.timeout, holding.resendMax], ["eth0", 10_000, 62_000]);
    tools.only.end(ackedResult());
    await settle();
    assertEquals(tools.news(), ["write 192.168.1.5"]);
    assertEquals(keeper.record.lease.since, tools.clock.now());
  }
});

Deno.test("nobody answers: renewed, rebound, asked for again, and then taken away", async () => {
  const { tools, keeper } = begun();
  const asked = new Set<string>();
  for (let second = 0; keeper.phase !== "ended" && second < 600; second++) {
    await tools.clock.pass(1000);
    for (const { job: holding, end } of tools.pending) {
      asked.add(holding.goal.kind);
      end(failedResult);
    }
  }
  assertEquals([...asked], ["renew", "rebind", "acquire"]);
  assertEquals(await keeper.ended, "expired");
  assertEquals(tools.news().slice(-4, -1), [
    "ip route del 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
    "ip addr del 192.168.1.5/24 dev eth0",
    "remove",
  ]);
  assertEquals([tools.clock.pending, tools.disk.size], [0, 0]);
  assert(!keeper.isValid);
});

Deno.test("an address that cannot be taken away is told of, and the lease still ends", async () => {
  const { tools, keeper } = begun();
  tools.broken = true;
  while (keeper.phase !== "ended") {
    await tools.clock.pass(second);
    for (const { end } of tools.pending) end(failedResult);
  }
  assertEquals(await keeper.ended, "expired");
  assertEquals(tools.disk.size, 0);
  assert(tools.said.some((line) => line.endsWith(": Cannot apply")));
});

Deno.test("another address is on the interface before the old one goes, and both are known until then", async () => {
  const { tools, keeper } = begun();
  await tools.clock.pass(150 * second);
  tools.news();
  tools.only.end(ackedResult(ackOf({ address: "192.168.1.6", router: "192.168.1.2" })));
  await Promise.resolve();
  await settle();
  assertEquals(tools.news(), [
    "write 192.168.1.6",
    "sh -c 'echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries'",
    "ip addr add 192.168.1.6/24 brd + dev eth0",
    "ip route prepend 0.0.0.0/0 via 192.168.1.2 dev eth0 scope global",
    "ip route del 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
    "ip addr del 192.168.1.5/24 dev eth0",
    "ip route prepend 0.0.0.0/0 via 192.168.1.2 dev eth0 scope global",
    "write 192.168.1.6",
    'say lease of 192.168.1.6 for "eth0" of container "c1" on network "net": ' +
    "the interface has 192.168.1.6/24 now, and what else the lease says",
  ]);
  assertEquals(keeper.record.replacedAcks, []);
  assertEquals(keeper.result.ips, [{ address: "192.168.1.6/24", gateway: "192.168.1.2" }]);
});

Deno.test("a change that failed is made later, from all that may be there", async () => {
  const { tools, keeper } = begun();
  tools.broken = true;
  await tools.clock.pass(150 * second);
  tools.only.end(ackedResult(ackOf({ address: "192.168.1.6" })));
  await settle();
  assertEquals(keeper.record.replacedAcks.length, 1);
  assertEquals(tools.disk.get("/leases/1.json")!.replacedAcks.length, 1);
  await tools.clock.pass(150 * second);
  tools.broken = false;
  tools.news();
  tools.only.end(ackedResult(ackOf({ address: "192.168.1.7" })));
  await settle();
  const removed = tools.news().filter((line) => line.startsWith("ip addr"));
  assertEquals(removed, [
    "ip addr add 192.168.1.7/24 brd + dev eth0",
    "ip addr del 192.168.1.5/24 dev eth0",
    "ip addr del 192.168.1.6/24 dev eth0",
  ]);
  assertEquals(keeper.record.replacedAcks, []);
});

Deno.test("what is to be replaced is remembered once, and no more than eight of it", async () => {
  const { tools, keeper } = begun();
  tools.broken = true;
  const renewed = async (address: string) => {
    await tools.clock.pass(150 * second);
    tools.only.end(ackedResult(ackOf({ address })));
    await settle();
    return keeper.record.replacedAcks.map(({ yiaddr }) => Number(yiaddr.bits & 0xffn));
  };
  for (const last of [6, 5, 6, 5, 6]) await renewed(`192.168.1.${last}`);
  assertEquals(await renewed("192.168.1.7"), [5, 6]);
  for (let last = 8; last < 30; last++) await renewed(`192.168.1.${last}`);
  assertEquals(await renewed("192.168.1.30"), [5, 23, 24, 25, 26, 27, 28, 29]);
});

Deno.test("a change that a kill has cut short is made after a restart", async () => {
  const tools = new FakeKeeperTools();
  const replaces = [ackOf({ address: "192.168.1.9" })];
  LeaseKeeper.resume(leaseRecordOf(leaseAt(tools.clock.now()), { replacedAcks: replaces }), tools);
  await settle();
  assert(tools.news().includes("ip addr del 192.168.1.9/24 dev eth0"));
  assertEquals(tools.disk.get("/leases/1.json")!.replacedAcks, []);
});

Deno.test("an answer that says the same leaves the interface alone", async () => {
  const { tools } = begun();
  await tools.clock.pass(150 * second);
  tools.news();
  tools.only.end(ackedResult(ackOf({ seconds: 600 })));
  await settle();
  assertEquals(tools.news(), ["write 192.168.1.5"]);
});

Deno.test("stop releases and forgets", async () => {
  const { tools, keeper } = begun();
  tools.news();
  await keeper.stop();
  assertEquals(tools.news(), ["hold release 192.168.1.5 within 5000", "remove"]);
  assertEquals(await keeper.ended, "stopped");
  assertEquals(tools.clock.pending, 0);
  await keeper.stop();
  assertEquals(tools.news(), []);
});

Deno.test("stop ends a renewal that is under way, and what it brings does not matter", async () => {
  const { tools, keeper } = begun();
  await tools.clock.pass(150 * second);
  const { signal } = tools.only;
  tools.news();
  await keeper.stop();
  assert(signal.aborted);
  assertEquals(tools.news(), ["hold release 192.168.1.5 within 5000", "remove"]);
});

Deno.test("many stops at one time are one", async () => {
  const { tools, keeper } = begun();
  tools.news();
  await Promise.all([keeper.stop(), keeper.stop(), keeper.stop()]);
  assertEquals(tools.news(), ["hold release 192.168.1.5 within 5000", "remove"]);
});

Deno.test("the lease of a namespace that is gone is released from the host", async () => {
  const { tools, keeper } = begun();
  tools.news();
  tools.gone.add("/run/netns/c1");
  keeper.look();
  assertEquals(await keeper.ended, "namespace gone");
  assertEquals(tools.news().slice(0, 2), ["host release 192.168.1.5", "remove"]);
});

Deno.test("stop of a container whose namespace is gone releases from the host", async () => {
  const { tools, keeper } = begun();
  tools.news();
  tools.gone.add("/run/netns/c1");
  await keeper.stop();
  assertEquals(tools.news(), ["host release 192.168.1.5", "remove"]);
});

Deno.test("a namespace that is gone by T1 is noticed then", async () => {
  const { tools, keeper } = begun();
  tools.news();
  tools.gone.add("/run/netns/c1");
  await tools.clock.pass(150 * second);
  assertEquals(await keeper.ended, "namespace gone");
  assertEquals(tools.news().slice(0, 2), ["host release 192.168.1.5", "remove"]);
});

Deno.test("the lease of a link that is gone is released from the host", async () => {
  const { tools, keeper } = begun();
  const hold = tools.runExchange4;
  tools.runExchange4 = (holding, signal) =>
    holding.goal.kind === "release"
      ? Promise.resolve({ kind: "link missing" })
      : hold(holding, signal);
  await tools.clock.pass(150 * second);
  tools.news();
  tools.only.end({ kind: "link missing" });
  assertEquals(await keeper.ended, "link missing");
  const [released, removed, said] = tools.news();
  assertEquals([released, removed], ["host release 192.168.1.5", "remove"]);
  assertMatch(
    said!,
    /^say lease of 192\.168\.1\.5 .*: it is no longer kept: the interface is gone; the server is told$/,
  );
});

const wrong = [
  [new CniError(109, 'Cannot speak DHCP on "eth0": strange'), 60],
  [new Error('Cannot look at "eth0": no process'), 1],
] as const;

for (const [error, pause] of wrong) {
  Deno.test(`what makes an exchange impossible is told of, and tried again: ${error.message}`, async () => {
    const { tools } = begun();
    await tools.clock.pass(150 * second);
    tools.only.fail(error);
    await settle();
    assert(tools.said[0]!.endsWith(`: ${error.message}`));
    await tools.clock.pass(pause * second - 1);
    assertEquals(tools.pending, []);
    await tools.clock.pass(1);
    tools.only.end(ackedResult());
    await settle();
    assertEquals(tools.clock.pending, 1);
  });

  Deno.test(`what never lets an exchange be held takes the address at the lease's end: ${error.message}`, async () => {
    const { tools, keeper } = begun();
    const end = keeper.record.lease.expireAt;
    let last = 0;
    while (keeper.phase !== "ended") {
      await tools.clock.pass(second);
      for (const { fail } of tools.pending) fail(error);
      await settle();
      last = tools.clock.now();
    }
    assert(last >= end && last <= end + 77 * second, `${(last - end) / second} s after the end`);
    assertEquals(await keeper.ended, "expired");
    assert(tools.news().includes("ip addr del 192.168.1.5/24 dev eth0"));
    assertEquals(tools.disk.size, 0);
  });
}

/** A keeper whose renewal a server has refused, with what came of it in the log. */
async function rejected() {
  const { tools, keeper } = begun();
  await tools.clock.pass(150 * second);
  tools.news();
  tools.only.end(refusedResult);
  await settle();
  return { tools, keeper };
}

const taken = [
  "ip route del 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
  "ip addr del 192.168.1.5/24 dev eth0",
];

Deno.test("a refused address is used no more, and another is asked for", async () => {
  const { tools, keeper } = await rejected();
  assertEquals(tools.news(), [
    "write 192.168.1.5",
    'say lease of 192.168.1.5 for "eth0" of container "c1" on network "net": ' +
    "a server has refused it; its address is taken from the interface",
    ...taken,
    "hold acquire 192.168.1.5 within 150000",
  ]);
  assert(!keeper.isValid);
  tools.only.end(failedResult);
  await settle();
  assertEquals([keeper.phase, keeper.isValid], ["acquiring", false]);
  await tools.clock.pass(60 * second);
  tools.only.end(ackedResult(ackOf({ address: "192.168.1.8" })));
  await settle();
  assert(keeper.isValid);
  assertEquals(keeper.result.ips[0]!.address, "192.168.1.8/24");
  assert(tools.news().includes("ip addr add 192.168.1.8/24 brd + dev eth0"));
});

Deno.test("an address that was refused and is given again is put back", async () => {
  const { tools, keeper } = await rejected();
  tools.news();
  tools.only.end(ackedResult());
  await settle();
  assertEquals(tools.news().filter((line) => line.startsWith("ip ")), [
    "ip addr add 192.168.1.5/24 brd + dev eth0",
    "ip route prepend 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
  ]);
  assert(keeper.isValid);
  assertEquals(keeper.record.replacedAcks, []);
});

Deno.test("a refused address stays off the interface when a change is still to be made", async () => {
  const { tools, keeper } = begun();
  tools.broken = true;
  await tools.clock.pass(150 * second);
  tools.only.end(ackedResult(ackOf({ address: "192.168.1.6" })));
  await settle();
  await tools.clock.pass(150 * second);
  tools.broken = false;
  tools.news();
  tools.only.end(refusedResult);
  await settle();
  assertEquals(keeper.record.replacedAcks.length, 1);
  const changes = tools.news().filter((line) => line.startsWith("ip addr"));
  assertEquals(changes, [
    "ip addr del 192.168.1.5/24 dev eth0",
    "ip addr del 192.168.1.6/24 dev eth0",
  ]);
});

Deno.test("a refused lease is one after a restart, too", async () => {
  const { tools, keeper } = await rejected();
  await keeper.suspend();
  tools.news();
  const next = LeaseKeeper.resume(keeper.record, tools);
  await settle();
  assert(!next.isValid);
  assertEquals(tools.news().slice(1), [...taken, "hold acquire 192.168.1.5 within 150000"]);
});

Deno.test("what is asked for anew goes into the next exchange and onto the disk", async () => {
  const { tools, keeper } = begun();
  keeper.update({ ...keeper.record.client, requested: [1, 121] });
  assertEquals(tools.disk.get("/leases/1.json")!.client.requested, [1, 121]);
  await tools.clock.pass(150 * second);
  assertEquals(tools.only.job.client.requested, [1, 121]);
});

Deno.test("a suspended lease stays on the disk and does nothing", async () => {
  const { tools, keeper } = begun();
  await tools.clock.pass(150 * second);
  const { signal } = tools.only;
  tools.news();
  await keeper.suspend();
  assert(signal.aborted);
  await tools.clock.pass(1000 * second);
  assertEquals(tools.news(), []);
  assertEquals([tools.clock.pending, tools.disk.size], [0, 1]);
});

Deno.test("a lease that is just given back is, also when it is suspended meanwhile", async () => {
  const { tools, keeper } = begun();
  const hold = tools.runExchange4;
  const sent = Promise.withResolvers<void>();
  tools.runExchange4 = (...args) => sent.promise.then(() => hold(...args));
  const both = [keeper.stop(), keeper.suspend()];
  sent.resolve();
  await Promise.all(both);
  assertEquals([await keeper.ended, tools.disk.size], ["stopped", 0]);
});

Deno.test("a suspended lease waits for the process of its exchange", async () => {
  const { tools, keeper } = begun();
  const ending = Promise.withResolvers<void>();
  const hold = tools.runExchange4;
  tools.runExchange4 = async (...args) => {
    const held = await hold(...args);
    await ending.promise;
    tools.log.push("ended");
    return held;
  };
  await tools.clock.pass(150 * second);
  const suspended = keeper.suspend();
  await settle();
  assert(!tools.log.includes("ended"));
  ending.resolve();
  await suspended;
  assert(tools.log.includes("ended"));
});

Deno.test("renewals wait for their turn, and the wait is part of their time", async () => {
  const tools = new FakeKeeperTools({ exchanges: 1 });
  const now = tools.clock.now();
  LeaseKeeper.begin(leaseRecordOf(leaseAt(now)), tools);
  LeaseKeeper.begin(
    leaseRecordOf(leaseAt(now), { path: "/leases/2.json", netns: "/run/netns/c2" }),
    tools,
  );
  await tools.clock.pass(150 * second);
  assertEquals(tools.only.job.netns.path, "/run/netns/c1");
  await tools.clock.pass(20 * second);
  tools.only.end(ackedResult());
  await settle();
  assertEquals(tools.only.job.netns.path, "/run/netns/c2");
  assertEquals(tools.only.job.within, 92_000);
});

Deno.test("a renewal whose turn does not come in time has failed, and so on until the end", async () => {
  const tools = new FakeKeeperTools({ exchanges: 1 });
  const { promise: stuck, resolve } = Promise.withResolvers<void>();
  const blocking = tools.exchanges.run({ signal: new AbortController().signal }, () => stuck);
  const { keeper } = begun(tools);
  const { rebindAt, expireAt } = keeper.record.lease;
  await tools.clock.pass(150 * second);
  assertEquals([keeper.phase, keeper.running], ["renewing", true]);
  await tools.clock.pass(rebindAt - tools.clock.now());
  assertEquals([keeper.phase, keeper.running], ["rebinding", true]);
  await tools.clock.pass(expireAt - tools.clock.now());
  assertEquals(keeper.phase, "acquiring");
  await tools.clock.pass(60 * second);
  assertEquals(await keeper.ended, "expired");
  assert(tools.log.includes("ip addr del 192.168.1.5/24 dev eth0"));
  assertEquals([tools.clock.pending, tools.exchanges.size], [0, 1]);
  resolve();
  await blocking;
});

Deno.test("a network that keeps others busy keeps those of another network waiting for one", async () => {
  const tools = new FakeKeeperTools({ exchanges: 1 });
  const now = tools.clock.now();
  for (const [name, network] of ["1a", "2a", "3a", "4b"]) {
    const parts = { path: `/leases/${name}.json`, netns: `/run/netns/${name}`, network: network! };
    LeaseKeeper.begin(leaseRecordOf(leaseAt(now), parts), tools);
  }
  await tools.clock.pass(150 * second);
  const order: string[] = [];
  while (tools.pending.length > 0) {
    order.push(tools.only.job.netns.path);
    tools.only.end(ackedResult());
    await settle();
  }
  assertEquals(order, ["1", "2", "4", "3"].map((name) => `/run/netns/${name}`));
});

Deno.test("a resumed lease goes on where it was", async () => {
  const tools = new FakeKeeperTools();
  const lease = leaseAt(tools.clock.now() - 100 * second);
  LeaseKeeper.resume(leaseRecordOf(lease), tools);
  assertEquals(tools.news(), []);
  await tools.clock.pass(50 * second);
  assertEquals(tools.only.job.goal.kind, "renew");
});

Deno.test("a lease that ended while nobody kept it is asked for before it is given up", async () => {
  const tools = new FakeKeeperTools();
  const keeper = LeaseKeeper.resume(
    leaseRecordOf(leaseAt(tools.clock.now() - 1000 * second)),
    tools,
  );
  assert(!keeper.isValid);
  await settle();
  assertEquals(tools.only.job.goal.kind, "reboot");
  tools.only.end(ackedResult());
  await settle();
  assert(keeper.isValid);
});

Deno.test("a lease of a namespace that is gone meanwhile is released at once", async () => {
  const tools = new FakeKeeperTools();
  tools.gone.add("/run/netns/c1");
  const keeper = LeaseKeeper.resume(leaseRecordOf(leaseAt(tools.clock.now())), tools);
  assertEquals(await keeper.ended, "namespace gone");
  assertEquals(tools.news().slice(0, 2), ["host release 192.168.1.5", "remove"]);
});

Deno.test("a disk that is full later is told of, and the lease goes on", async () => {
  const { tools, keeper } = begun();
  tools.full = true;
  await tools.clock.pass(150 * second);
  tools.only.end(ackedResult());
  await settle();
  assertMatch(tools.said[0]!, /: Cannot write: no space$/);
  assertEquals(keeper.phase, "bound");
  assertEquals(tools.clock.pending, 1);
});
