import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { anyObject, integer, object, optional, required, string, withDefault } from "./decode.ts";
import { CniError, codes } from "./error.ts";
import type { GcRequest, Request } from "./plugin.ts";
import { callPlugin } from "./request.ts";
import { call, makeCall, spy } from "./testing.ts";
import type { TestCall } from "./testing.ts";
import { Machine } from "../ns/machine.ts";
import type { Json, JsonObject, Verb } from "./types.ts";
import { emptyResult } from "./types.ts";

const conf = object({
  mtu: withDefault(integer({ min: 0, max: 65535 }), 1500, "Bytes."),
  label: optional(string(), "A word."),
});

const every = ["ADD", "CHECK", "DEL", "GC", "STATUS"] as const;
const list = { "cni.dev/valid-attachments": [] };
const ownNetns = "/proc/self/ns/net";

Deno.test("callPlugin() calls the verb it is told, and only ADD gives a result", async () => {
  for (const verb of every) {
    const { plugin, seen } = spy(conf);
    const result = await call(plugin, verb, { config: list });
    assertEquals(seen.map(({ verb }) => verb), [verb]);
    assertEquals(result !== undefined, verb === "ADD");
  }
});

Deno.test("callPlugin() tells a verb everything", async () => {
  const { plugin, seen } = spy(conf);
  const config = { name: "net", cniVersion: "0.4.0", mtu: 9000, "x-other": [1] };
  const host = new Machine();
  await call(plugin, "ADD", {
    config,
    containerId: "c1",
    ifName: "eth7",
    netns: "/no/such/namespace",
    args: "A=B",
    host,
  });
  const { req } = seen[0]!;
  assertEquals(req.conf, { mtu: 9000, label: undefined });
  assertEquals(req.raw, config as JsonObject);
  assertEquals([req.network, req.cniVersion], ["net", "0.4.0"]);
  assertEquals([req.containerId, req.ifName, req.args], ["c1", "eth7", "A=B"]);
  assertEquals(req.netns, "/no/such/namespace");
  assertEquals(req.sandbox, { is: "missing", path: "/no/such/namespace" });
  assertEquals(req.prevResult, undefined);
  assertEquals(req.ipam.type, "");
  assertStrictEquals(req.host, host);
});

Deno.test("the network's name counts in any case", async () => {
  const { plugin, seen } = spy(conf);
  const { name: _, ...config } = makeCall({ config: {} }).config;
  const made = { ...makeCall({ config: {} }), config: { ...config, Name: "other" } };
  await callPlugin(plugin, "ADD", made, { host: new Machine() });
  assertEquals(seen[0]!.req.network, "other");
});

Deno.test("ADD, CHECK and STATUS refuse a wrong configuration with every issue", async () => {
  for (const verb of ["ADD", "CHECK", "STATUS"] as const) {
    const { plugin, seen } = spy(conf);
    const error = await assertRejects(
      () => call(plugin, verb, { config: { mtu: -1, label: 7 } }),
      CniError,
    );
    assertEquals(error.toJson(), {
      code: codes.invalidNetworkConfig,
      msg: "Cannot use network configuration: mtu: expected integer 0–65535 but received -1; " +
        "label: expected string but received 7",
    });
    assertEquals(seen, []);
  }
});

Deno.test("DEL and GC count wrong fields as absent", async () => {
  for (const verb of ["DEL", "GC"] as const) {
    const { plugin, seen } = spy(conf);
    await call(plugin, verb, { config: { ...list, mtu: "x", label: 7 } });
    assertEquals(seen[0]!.req.conf, { mtu: 1500, label: undefined });
  }
});

Deno.test("DEL fails when nothing can be made of the configuration", async () => {
  const { plugin } = spy(object({ master: required(string(), "A link.") }));
  const error = await assertRejects(() => call(plugin, "DEL", { config: {} }), CniError);
  assertStringIncludes(error.msg, "master: expected string but received nothing");
});

const result = {
  cniVersion: "1.1.0",
  ips: [{ address: "10.0.0.2/24" }],
};

Deno.test("a verb gets the previous result", async () => {
  for (const verb of every) {
    const { plugin, seen } = spy(conf);
    await call(plugin, verb, { config: { ...list, prevResult: result } });
    assertEquals(seen[0]!.req.prevResult!.ips, result.ips);
  }
});

const unreadable: Record<string, Json> = {
  "no object": "x",
  "another family": { ...result, cniVersion: "0.4.0" },
  "no version": { ...result, cniVersion: "7.0.0" },
  "a bad address": { ips: [{ address: "10.0.0.300/24" }] },
};

Deno.test("ADD and CHECK refuse a previous result that is none, where they look at it", async () => {
  for (const [title, prevResult] of Object.entries(unreadable)) {
    for (const verb of ["ADD", "CHECK"] as const) {
      const { plugin, seen } = spy(conf);
      await call(plugin, verb, { config: { prevResult } });
      const error = assertThrows(() => seen[0]!.req.prevResult, CniError, undefined, title);
      assertEquals(error.code, codes.invalidNetworkConfig);
      assertStringIncludes(error.msg, "could not parse prevResult: ");
    }
  }
});

Deno.test("DEL and GC go on without a previous result that is none", async () => {
  for (const prevResult of Object.values(unreadable)) {
    for (const verb of ["DEL", "GC"] as const) {
      const { plugin, seen } = spy(conf);
      await call(plugin, verb, { config: { ...list, prevResult } });
      assertEquals(seen[0]!.req.prevResult, undefined);
    }
  }
});

/** What GC takes for valid. */
async function valid(config: JsonObject): Promise<GcRequest<unknown>["valid"]> {
  const { plugin, seen } = spy(conf);
  await call(plugin, "GC", { config });
  return (seen[0]!.req as GcRequest<unknown>).valid;
}

const a = { containerID: "a", ifname: "eth0" };
const b = { containerID: "b", ifname: "eth1" };
const keyA = { network: "mynet", containerId: "a", ifName: "eth0" };
const keyB = { network: "mynet", containerId: "b", ifName: "eth1" };

Deno.test("GC reads the list under its name and under its first one", async () => {
  assertEquals(await valid({ "cni.dev/valid-attachments": [a, b] }), [keyA, keyB]);
  assertEquals(await valid({ "cni.dev/attachments": [a, b] }), [keyA, keyB]);
  assertEquals(
    await valid({ "CNI.dev/Valid-Attachments": [{ ContainerID: "a", IfName: "eth0" }] }),
    [keyA],
  );
});

Deno.test("GC keeps what either of two lists holds", async () => {
  const both = { "cni.dev/valid-attachments": [a], "cni.dev/attachments": [a, b] };
  assertEquals(new Set((await valid(both)).map(({ containerId }) => containerId)), new Set("ab"));
  assertEquals(await valid({ ...both, "cni.dev/valid-attachments": null }), [keyA, keyB]);
});

Deno.test("GC takes null for an empty list", async () => {
  assertEquals(await valid({ "cni.dev/valid-attachments": null, "cni.dev/attachments": null }), []);
  assertEquals(await valid({ "cni.dev/valid-attachments": [] }), []);
});

Deno.test("GC ignores what else an attachment carries", async () => {
  assertEquals(await valid({ "cni.dev/valid-attachments": [{ ...a, extra: 1 }] }), [keyA]);
});

Deno.test("GC without a list is refused: it is not an empty one", async () => {
  const { plugin, seen } = spy(conf);
  const error = await assertRejects(() => call(plugin, "GC", { config: {} }), CniError);
  assertEquals(error.code, codes.invalidNetworkConfig);
  assertStringIncludes(error.msg, '"cni.dev/valid-attachments" is absent');
  assertEquals(seen, []);
});

Deno.test("GC refuses a list that it cannot read, rather than take it for a shorter one", async () => {
  const bad: readonly [Json, string][] = [
    ["x", '"x"'],
    [{}, "{}"],
    [[a, null], "null"],
    [[a, { containerID: "b" }], '{"containerID":"b"}'],
    [[{ containerID: 1, ifname: "eth0" }], '{"containerID":1,"ifname":"eth0"}'],
  ];
  for (const [value, received] of bad) {
    const { plugin, seen } = spy(conf);
    const config = { "cni.dev/valid-attachments": value };
    const error = await assertRejects(() => call(plugin, "GC", { config }), CniError);
    assertEquals(error.toJson(), {
      code: codes.invalidNetworkConfig,
      msg: 'Cannot use "cni.dev/valid-attachments": expected list of {containerID, ifname} ' +
        `but received ${received}`,
    });
    assertEquals(seen, []);
  }
});

Deno.test("a request of GC has everything that any other has", async () => {
  const { plugin, seen } = spy(conf);
  await call(plugin, "GC", { config: { ...list, name: "net", prevResult: result } });
  const { network, sandbox, prevResult, conf: decoded, valid } = seen[0]!.req as GcRequest<unknown>;
  assertEquals([network, sandbox.is, prevResult!.ips], ["net", "missing", result.ips]);
  assertEquals([decoded, valid], [{ mtu: 1500, label: undefined }, []]);
});

async function refusal(verb: Exclude<Verb, "VERSION">, test: TestCall): Promise<CniError> {
  const { plugin, seen } = spy(conf);
  const error = await assertRejects(() => call(plugin, verb, test), CniError);
  assertEquals(seen, []);
  return error;
}

Deno.test("ADD and DEL refuse the plugin's own namespace before they do anything", async () => {
  for (const verb of ["ADD", "DEL"] as const) {
    const error = await refusal(verb, { config: { mtu: -1 }, netns: ownNetns });
    assertEquals(error.toJson(), {
      code: codes.invalidNetns,
      msg: "plugin's netns and netns from CNI_NETNS should not be the same",
      details: `CNI_NETNS is ${ownNetns}`,
    });
  }
});

Deno.test("the other verbs do not look whose namespace it is", async () => {
  for (const verb of ["CHECK", "GC", "STATUS"] as const) {
    const { plugin, seen } = spy(conf);
    await call(plugin, verb, { config: list, netns: ownNetns });
    assertEquals(seen[0]!.req.sandbox.is, "namespace");
  }
});

Deno.test("CNI_NETNS_OVERRIDE lets a plugin work on its own namespace", async () => {
  for (const verb of ["ADD", "DEL"] as const) {
    const { plugin, seen } = spy(conf);
    const made = { ...makeCall({ config: {}, netns: ownNetns }), netnsOverride: true };
    await callPlugin(plugin, verb, made, { host: new Machine() });
    assertEquals(seen[0]!.req.sandbox.is, "namespace");
  }
});

Deno.test("DEL takes an empty namespace and what is none", async () => {
  for (const netns of ["", "/no/such/namespace", "/dev/null"]) {
    const { plugin, seen } = spy(conf);
    await call(plugin, "DEL", { config: {}, netns });
    assert(seen[0]!.req.sandbox.is !== "namespace");
  }
});

Deno.test("ADD refuses names that the kernel gives to no interface, and no other verb does", async () => {
  for (const ifName of ["eth%d", "100%", "all", "default"]) {
    const error = await refusal("ADD", { config: {}, ifName });
    assertEquals(error.code, codes.invalidEnvironment);
    assertStringIncludes(error.msg, `Cannot use CNI_IFNAME "${ifName}"`);
    for (const verb of ["CHECK", "DEL"] as const) {
      const { plugin, seen } = spy(conf);
      await call(plugin, verb, { config: {}, ifName });
      assertEquals(seen.length, 1);
    }
  }
});

Deno.test("the namespace is looked at once a call, with the delegate's look", async () => {
  const ipam = spy(conf);
  const { plugin, seen } = spy(conf, { add: (req) => req.ipam.add() });
  const load = () => Promise.resolve(ipam.plugin);
  const made = makeCall({ config: { ipam: { type: "own" } } });
  await callPlugin(plugin, "ADD", made, { host: new Machine(), load, inProcessIfMissing: true });
  const [main, delegate] = [seen[0]!.req, ipam.seen[0]!.req] as Request<unknown>[];
  assertStrictEquals(main!.sandbox, delegate!.sandbox);
  assertStrictEquals(main!.host, delegate!.host);
});

Deno.test("call() answers delegation by the plugins it is given", async () => {
  const address = { ...emptyResult(), ips: [{ address: "10.0.0.2/24" }] };
  const own = { type: "pool", add: () => Promise.resolve(address) };
  const { plugin: pool, seen } = spy(anyObject(), own);
  const { plugin } = spy(anyObject(), { add: (req) => req.ipam.add() });
  const config = { ipam: { type: "pool" } };
  const given = await call(plugin, "ADD", { config, delegates: [pool] });
  assertEquals(given!.ips, address.ips);
  assertEquals(seen.map(({ verb }) => verb), ["ADD"]);
});
