/**
 * bandwidth on a real kernel: what it makes of a configuration on each kind of
 * interface, that nothing of it stays, and by measurement how fast and how late
 * packets are.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Chain } from "./harness/chain.ts";
import { addChain, chainCall, checkChain, delChain } from "./harness/chain.ts";
import { kernelTest } from "./harness/need.ts";
import type { Agent } from "./harness/packets.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, callPlugin, fail, okJson, succeed } from "./harness/plugin.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:veth", "link:ifb", "plugin:bandwidth"] as const;
const chainNeeds = [...needs, "plugin:ptp", "plugin:host-local"] as const;
const network = "cni-plugin-bandwidth-test";
/** The reference's name for this network and the container `dummy`. */
const ifb = "bwpa8eda89404b7";
const both = { ingressRate: 8, ingressBurst: 8, egressRate: 16, egressBurst: 16 };

/** A container with a pair made by hand, with MTU 1024. */
async function pair(sandbox: Sandbox): Promise<string> {
  const netns = await sandbox.container("a");
  await sandbox.ip(sandbox.host, [
    `link add veth9 mtu 1024 type veth peer name eth0 mtu 1024 netns ${netns}`,
    "link set veth9 up",
  ]);
  await sandbox.ip(netns, ["link set eth0 up"]);
  return netns;
}

interface CallOptions {
  readonly version?: string;
  readonly interfaces?: JsonObject[];
}

function callOf(netns: string, keys: JsonObject, options: CallOptions = {}) {
  const cniVersion = options.version ?? "1.0.0";
  const interfaces = options.interfaces ?? [{ name: "veth9" }, { name: "eth0", sandbox: netns }];
  const prevResult = { cniVersion, interfaces, ips: [], dns: {} };
  return (verb: "ADD" | "CHECK" | "DEL"): PluginCall => ({
    type: "bandwidth",
    verb,
    netns,
    containerId: "dummy",
    config: { name: network, cniVersion, ...(verb !== "DEL" && { prevResult }), ...keys },
  });
}

interface Shown {
  readonly dev: string;
  readonly kind: string;
  readonly options: { readonly rate?: number; readonly limit?: number };
}

async function qdiscs(sandbox: Sandbox, netns: string, dev: string): Promise<Shown[]> {
  const text = await sandbox.inside(netns, ["tc", "-raw", "-j", "qdisc", "show"]);
  return (JSON.parse(text) as Shown[]).filter((qdisc) => qdisc.dev === dev);
}

/** Rate and limit of the token buckets of a link. */
async function buckets(sandbox: Sandbox, dev: string, netns = sandbox.host) {
  return (await qdiscs(sandbox, netns, dev)).filter(({ kind }) => kind === "tbf")
    .map(({ options: { rate, limit } }) => [rate, limit]);
}

async function ifbs(sandbox: Sandbox, netns = sandbox.host): Promise<string[]> {
  const links = await sandbox.ipJson<{ ifname: string }>(netns, "link show type ifb");
  return links.map(({ ifname }) => ifname);
}

const names = (result: JsonObject) =>
  (result["interfaces"] as { name: string }[]).map(({ name }) => name);

for (const version of ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
  kernelTest(
    `${version}: both directions are what the reference makes`,
    { needs },
    async (sandbox) => {
      const netns = await pair(sandbox);
      const before = await snapshot(sandbox);
      const call = callOf(netns, both, { version });
      const result = await succeed(sandbox, call("ADD"));
      assertEquals(names(result), ["veth9", "eth0", ifb]);
      const [, , device] = result["interfaces"] as JsonObject[];
      assertEquals(device!["sandbox"] ?? "", "");
      const [link] = await sandbox.ipJson<{ mtu: number; address: string; txqlen?: number }>(
        sandbox.host,
        `link show dev ${ifb}`,
      );
      assertEquals([link!.mtu, link!.address, link!.txqlen ?? 0], [1024, device!["mac"], 0]);
      assertEquals(await buckets(sandbox, ifb), [[2, 2]]);
      assertEquals((await qdiscs(sandbox, sandbox.host, ifb)).length, 1);
      assertEquals(await buckets(sandbox, "veth9"), [[1, 1]]);
      assertEquals((await qdiscs(sandbox, sandbox.host, "veth9")).length, 2);
      const filters = await sandbox.inside(sandbox.host, [
        ...["tc", "-j", "filter", "show", "dev", "veth9", "parent", "ffff:"],
      ]);
      assertEquals(filters.match(/"to_dev":"[^"]*"/g), [`"to_dev":"${ifb}"`]);
      if (version >= "0.4.0") await succeed(sandbox, call("CHECK"));
      await succeed(sandbox, call("DEL"));
      assertSame(before, await snapshot(sandbox), {
        only: /^a\/|^files$|^host\/(links|addresses)$/,
      });
      assertEquals(await ifbs(sandbox), []);
    },
  );
}

kernelTest(
  "from the container alone: a device, and no bucket on the pair",
  { needs },
  async (sandbox) => {
    const netns = await pair(sandbox);
    const keys = { ingressRate: 0, ingressBurst: 0, egressRate: 8000, egressBurst: 80 };
    await succeed(sandbox, callOf(netns, keys)("ADD"));
    assertEquals(await buckets(sandbox, ifb), [[1000, 35]]);
    const own = await qdiscs(sandbox, sandbox.host, "veth9");
    assertEquals(own.map(({ kind }) => kind).sort(), ["ingress", "noqueue"]);
  },
);

kernelTest("to the container alone: no device", { needs }, async (sandbox) => {
  const netns = await pair(sandbox);
  const keys = { egressRate: 0, egressBurst: 0, ingressRate: 8000, ingressBurst: 80 };
  const result = await succeed(sandbox, callOf(netns, keys)("ADD"));
  assertEquals(names(result), ["veth9", "eth0"]);
  assertEquals(await ifbs(sandbox), []);
  assertEquals(await buckets(sandbox, "veth9"), [[1000, 35]]);
  assertEquals((await qdiscs(sandbox, sandbox.host, "veth9")).length, 1);
});

kernelTest("the right pair is found among others", { needs }, async (sandbox) => {
  const netns = await pair(sandbox);
  const others = await sandbox.container("b");
  await sandbox.ip(
    sandbox.host,
    [1, 2].map((index) => `link add other${index} type veth peer name eth${index} netns ${others}`),
  );
  const interfaces = [
    ...["other1", "other2", "veth9"].map((name) => ({ name })),
    { name: "eth0", sandbox: netns },
  ];
  const result = await succeed(sandbox, callOf(netns, both, { interfaces })("ADD"));
  assertEquals(names(result), ["other1", "other2", "veth9", "eth0", ifb]);
  assertEquals(await buckets(sandbox, "veth9"), [[1, 1]]);
  for (const name of ["other1", "other2"]) assertEquals(await buckets(sandbox, name), []);
});

kernelTest(
  "a result without interfaces, or with another pair, is refused",
  { needs },
  async (sandbox) => {
    const netns = await pair(sandbox);
    const before = await snapshot(sandbox);
    const cases: [JsonObject[], string][] = [
      [[], "no interfaces provided"],
      [
        [{ name: "veth8" }, { name: "eth0", sandbox: netns }],
        "no veth peer of container interface found in host ns",
      ],
    ];
    for (const [interfaces, text] of cases) {
      const { code, msg } = await fail(sandbox, callOf(netns, both, { interfaces })("ADD"));
      assertEquals(code, 7);
      assertStringIncludes(msg, text);
    }
    assertSame(before, await snapshot(sandbox));
  },
);

kernelTest(
  "zeros pass the result on; without a result there is no ADD",
  { needs },
  async (sandbox) => {
    const netns = await pair(sandbox);
    const before = await snapshot(sandbox);
    const keys = { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 };
    const result = await succeed(sandbox, callOf(netns, keys)("ADD"));
    assertEquals(names(result), ["veth9", "eth0"]);
    for (const settings of [keys, both]) {
      const call = callOf(netns, settings)("ADD");
      const { prevResult: _, ...config } = call.config as JsonObject;
      const { code, msg } = await fail(sandbox, { ...call, config });
      assertEquals([code, msg], [7, "must be called as chained plugin"]);
    }
    assertSame(before, await snapshot(sandbox));
  },
);

kernelTest("DEL without namespace and result; and of what is gone", { needs }, async (sandbox) => {
  const netns = await pair(sandbox);
  const call = callOf(netns, both);
  await succeed(sandbox, call("ADD"));
  assertEquals(await ifbs(sandbox), [ifb]);
  for (let time = 1; time <= 2; time++) {
    await succeed(sandbox, { ...call("DEL"), netns: "" });
    assertEquals(await ifbs(sandbox), []);
  }
});

kernelTest("a second ADD with other rates replaces the first", { needs }, async (sandbox) => {
  const netns = await pair(sandbox);
  await succeed(sandbox, callOf(netns, both)("ADD"));
  const other = callOf(netns, { ...both, egressRate: 8000, egressBurst: 80 });
  const checked = await fail(sandbox, other("CHECK"));
  assertEquals(checked.code, 105);
  assertStringIncludes(checked.msg + checked.details, "Rate doesn't match");
  await succeed(sandbox, other("ADD"));
  assertEquals(await buckets(sandbox, ifb), [[1000, 35]]);
  await succeed(sandbox, other("CHECK"));
});

kernelTest(
  "packets pass again after a DEL, though the pair stays",
  { needs: chainNeeds },
  async (sandbox) => {
    const { chain, address, host } = await attach(sandbox, { egressRate: 8e6, ingressRate: 8e6 });
    const [, plugin] = chain.plugins;
    await succeed(sandbox, chainCall(chain, "DEL", { plugin: plugin! }));
    assertEquals(await ifbs(sandbox), []);
    assert(await host.ping(address), "the container cannot be reached");
  },
);

kernelTest("two attachments of one container to one network have a device each", {
  needs: chainNeeds,
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const { chain, result } = await attach(sandbox, { egressRate: 8e6 });
  // Of another subnet: two peers of one address cannot be reached in one namespace.
  const pairToo = { type: "ptp", ipam: hostLocal(sandbox, "10.1.3.0/24") };
  const second = { ...chain, ifname: "net1", plugins: [pairToo, ...chain.plugins.slice(1)] };
  const other = await addChain(sandbox, second);
  assertEquals((await ifbs(sandbox)).length, 2);
  await checkChain(sandbox, chain, result);
  await checkChain(sandbox, second, other);
  await delChain(sandbox, chain, result);
  assertEquals((await ifbs(sandbox)).length, 1);
  await checkChain(sandbox, second, other);
  await delChain(sandbox, second, other);
  assertSame(before, await snapshot(sandbox), {
    allow: ["hostLocal", "forwarding4"],
    only: /^host|^files$/,
  });
});

kernelTest(
  "a device without its container goes with GC",
  { needs: chainNeeds },
  async (sandbox) => {
    const { chain } = await attach(sandbox, { egressRate: 8e6, unshapedSubnets: ["192.0.2.0/24"] });
    await attach(sandbox, { egressRate: 8e6 }, "kept");
    await sandbox.removeNetns("a");
    assertEquals((await ifbs(sandbox)).length, 2);
    const [, plugin] = chain.plugins;
    const valid = [{ containerID: "kept", ifname: "eth0" }];
    const extra = { "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid };
    await succeed(sandbox, chainCall(chain, "GC", { plugin: plugin!, extra }));
    assertEquals((await ifbs(sandbox)).length, 1);
  },
);

kernelTest("on a macvlan link: inside the container, and nothing on the host", {
  needs: [...needs, "link:macvlan", "plugin:macvlan"],
}, async (sandbox) => {
  await sandbox.outside();
  const netns = await sandbox.container("a");
  const before = await snapshot(sandbox);
  const chain: Chain = {
    name: "net1",
    cniVersion: "1.1.0",
    netns,
    plugins: [
      { type: "macvlan", master: "out0" },
      { type: "bandwidth", ...both },
    ],
  };
  const result = await addChain(sandbox, chain);
  const [, device] = result["interfaces"] as { name: string; sandbox: string }[];
  assertEquals(device!.sandbox, netns);
  assertEquals(await ifbs(sandbox), []);
  assertEquals(await ifbs(sandbox, netns), [device!.name]);
  assertEquals(await buckets(sandbox, "eth0", netns), [[2, 2]]);
  assertEquals(await buckets(sandbox, device!.name, netns), [[1, 1]]);
  await checkChain(sandbox, chain, result);
  await delChain(sandbox, chain, result);
  assertSame(before, await snapshot(sandbox));
});

kernelTest(
  "a burst smaller than a packet, and a placeholder, are worth a line",
  { needs },
  async (sandbox) => {
    const netns = await pair(sandbox);
    const keys = { ingressRate: 8e6, ingressBurst: 80, egressRate: 8e6, egressBurst: 2147483647 };
    const call = callOf(netns, keys)("ADD");
    const output = await callPlugin(sandbox, call);
    okJson(call, output);
    assertStringIncludes(output.stderr, "ingressBurst of 10 bytes is smaller than a packet");
    assertStringIncludes(output.stderr, "egressBurst 2147483647 is a placeholder");
    assertEquals(await buckets(sandbox, ifb), [[1e6, 50_000]]);
  },
);

/** A container behind ptp with its limits, and who can send packets there. */
async function attach(sandbox: Sandbox, keys: JsonObject, id = "a") {
  const netns = await sandbox.container(id);
  const chain: Chain = {
    name: "net1",
    cniVersion: "1.1.0",
    netns,
    containerId: id,
    plugins: [
      { type: "ptp", ipam: hostLocal(sandbox, "10.1.2.0/24") },
      { type: "bandwidth", ...keys },
    ],
  };
  const result = await addChain(sandbox, chain);
  const [address] = addressesOf(result).map((text) => text.replace(/\/.*/, ""));
  const [host, container] = [sandbox.agent(sandbox.host), sandbox.agent(netns)];
  return { chain, result, address: address!, host, container };
}

const gateway = "10.1.2.1";

/** Someone who sends, and someone who takes. */
interface Way {
  readonly what: string;
  readonly from: Agent;
  readonly address: string;
  readonly to: Agent;
}

/** Bits a second, by the time that it really took. */
async function measure({ what, from, address, to }: Way, duration: number): Promise<number> {
  const { bytes, milliseconds } = await to.draw(address, await from.pour(), duration);
  const rate = bytes * 8000 / milliseconds;
  console.log(`  ${what}: ${(rate / 1e6).toFixed(2)} Mbit/s over ${milliseconds.toFixed(0)} ms`);
  return rate;
}

/** A busy machine may be late once. */
async function assertRate(way: Way, rate: number): Promise<void> {
  for (let attempt = 1;; attempt++) {
    const measured = await measure(way, 3000);
    if (Math.abs(measured / rate - 1) <= 0.15) return;
    assert(attempt < 2, `${way.what}: ${measured} and not ${rate} bits/s`);
  }
}

/** The quickest of some answers, in milliseconds. */
async function delay(from: Agent, address: string, port: number): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < 10; count++) {
    const start = performance.now();
    await from.call(address, port, { transport: "udp" });
    times.push(performance.now() - start);
  }
  return Math.min(...times);
}

kernelTest("10 Mbit/s with the default burst, the first second included; idle pings are not late", {
  needs: chainNeeds,
}, async (sandbox) => {
  const rate = 10e6;
  const { address, host, container } = await attach(sandbox, {
    ingressRate: rate,
    egressRate: rate,
  });
  const idle = await delay(host, address, await container.listen("udp"));
  console.log(`  idle: ${idle.toFixed(2)} ms`);
  assert(idle < 10, `an idle ping took ${idle} ms`);
  await assertRate({ what: "to the container", from: host, address: gateway, to: container }, rate);
  await assertRate({ what: "from the container", from: container, address, to: host }, rate);
});

for (const shaped of [false, true]) {
  const key = shaped ? "shapedSubnets" : "unshapedSubnets";
  kernelTest(`${key} go by the remote address, in both directions`, {
    needs: chainNeeds,
  }, async (sandbox) => {
    const rate = 4e6;
    const outside = await sandbox.outside();
    await sandbox.ip(outside, [`route add 10.1.2.0/24 via ${outsideNet.host4}`]);
    const keys = { ingressRate: rate, egressRate: rate, [key]: ["203.0.113.0/24"] };
    const { address, host, container } = await attach(sandbox, keys);
    const client = sandbox.agent(outside);
    const listed = [
      { what: "from a listed address", from: client, address: outsideNet.client4, to: container },
      { what: "to a listed address", from: container, address, to: client },
    ];
    const others = [
      { what: "from another address", from: host, address: gateway, to: container },
      { what: "to another address", from: container, address, to: host },
    ];
    for (const way of shaped ? listed : others) await assertRate(way, rate);
    for (const way of shaped ? others : listed) {
      const measured = await measure(way, 1000);
      assert(measured > 5 * rate, `${way.what}: ${measured} bits/s is not more than the limit`);
    }
  });
}

kernelTest("with a queue for each flow a ping under load is not late", {
  needs: [...chainNeeds, "qdisc:fq_codel"],
}, async (sandbox) => {
  const keys = { ingressRate: 10e6, queue: "fq_codel" };
  const { address, host, container } = await attach(sandbox, keys);
  const port = await container.listen("udp");
  const way = { what: "under load", from: host, address: gateway, to: container };
  // A busy machine is late itself, now and then.
  for (let attempt = 1;; attempt++) {
    const idle = await delay(host, address, port);
    const load = measure(way, 5000);
    await measure({ ...way, what: "a second flow" }, 1000);
    const loaded = await delay(host, address, port);
    await load;
    console.log(`  ${idle.toFixed(2)} ms idle, ${loaded.toFixed(2)} ms under load`);
    if (loaded < idle + 5) return;
    assert(attempt < 10, `a ping took ${loaded} ms`);
  }
});
