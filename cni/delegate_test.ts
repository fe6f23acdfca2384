import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DryRun } from "../ns/machine.ts";
import { FakeHost } from "../ns/testing.ts";
import type { Answers } from "../tests/harness/recorder.ts";
import { fails, prints, Recorder } from "../tests/harness/recorder.ts";
import { anyObject } from "./decode.ts";
import { isOurs, markerName, ownPlugin } from "./delegate.ts";
import { CniError, codes } from "./error.ts";
import type { Delegate, Plugin } from "./plugin.ts";
import type { CallContext } from "./call.ts";
import { callPlugin } from "./request.ts";
import { makeCall, spy, testTraits } from "./testing.ts";
import type { JsonObject } from "./types.ts";

const ours = spy(anyObject(), { type: "ours" });
const load = (type: string) => type === "ours" ? Promise.resolve(ours.plugin as Plugin) : undefined;

/** The delegate that a plugin gets, with these directories as `CNI_PATH`. */
async function ipamOf(
  config: JsonObject,
  { path = [], text, ...rest }: Partial<CallContext> & {
    path?: readonly string[];
    text?: string;
  } = {},
): Promise<Delegate> {
  const { plugin, seen } = spy(anyObject());
  const made = { ...makeCall({ config, containerId: "c1", ifName: "eth7", args: "A=B" }), path };
  const surroundings = { host: new FakeHost(), load, ...rest };
  await callPlugin(plugin, "DEL", text === undefined ? made : { ...made, text }, surroundings);
  return seen[0]!.req.ipam;
}

const result = { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }] };

/** A recorder with one plugin `theirs`, and the delegate that is it. */
async function theirs(
  recorder: Recorder,
  { answers = {}, ...rest }: Partial<CallContext> & {
    answers?: Answers;
    config?: JsonObject;
    text?: string;
  } = {},
): Promise<Delegate> {
  recorder.add("theirs", answers);
  const { config = {}, ...options } = rest;
  return await ipamOf({ ...config, ipam: { type: "theirs" } }, {
    path: ["/nowhere", recorder.dir],
    ...options,
  });
}

Deno.test("the delegate's type is that of the configuration, in any case of the keys", async () => {
  assertEquals((await ipamOf({ ipam: { type: "static" } })).type, "static");
  assertEquals((await ipamOf({ IPAM: { Type: "static" } })).type, "static");
  for (const ipam of [null, "static", [], {}, { type: null }, { type: 7 }]) {
    assertEquals((await ipamOf({ ipam })).type, "");
  }
  assertEquals((await ipamOf({})).type, "");
});

Deno.test("a call without a delegate says that none is named", async () => {
  const ipam = await ipamOf({});
  for (const verb of ["add", "del", "check", "gc", "status"] as const) {
    await assertRejects(() => ipam[verb](), CniError, "no plugin name provided");
  }
});

Deno.test("an executed delegate gets environment and configuration as they came", async () => {
  using recorder = new Recorder();
  const text = '{ "name": "mynet", "big": 12345678901234567890, "ipam": {"type": "theirs"} }';
  const ipam = await theirs(recorder, { text, answers: { ADD: prints(result) } });
  await ipam.status();
  await ipam.add();
  await ipam.check();
  await ipam.gc();
  await ipam.del();
  const calls = recorder.calls("theirs");
  assertEquals(calls.map(({ verb }) => verb), ["STATUS", "ADD", "CHECK", "GC", "DEL"]);
  for (const { env, stdin } of calls) {
    assertEquals(stdin, text);
    assertEquals([env.CNI_CONTAINERID, env.CNI_IFNAME, env.CNI_ARGS], ["c1", "eth7", "A=B"]);
    assertEquals([env.CNI_NETNS, env.CNI_PATH], ["/some/where", `/nowhere:${recorder.dir}`]);
    assert(env.PATH, "the rest of the environment is inherited");
  }
});

Deno.test("a configuration without text is written for an executed delegate", async () => {
  using recorder = new Recorder();
  await (await theirs(recorder, { config: { "x-kept": [1, { b: "ü" }] } })).del();
  assertEquals(recorder.calls("theirs")[0]!.config, {
    cniVersion: "1.1.0",
    name: "mynet",
    "x-kept": [1, { b: "ü" }],
    ipam: { type: "theirs" },
  });
});

Deno.test("an executed delegate's result is read by its version, or by the configuration's", async () => {
  const { cniVersion: _, ...bare } = result;
  const older = { cniVersion: "0.2.0", ip4: { ip: "10.0.0.2/24", gateway: "10.0.0.1" } };
  for (const answer of [result, bare, older]) {
    using recorder = new Recorder();
    const ipam = await theirs(recorder, { answers: { ADD: prints(answer) } });
    assertEquals((await ipam.add()).ips, result.ips);
  }
});

Deno.test("an executed ADD has its DEL as undo before it runs", async () => {
  using recorder = new Recorder();
  const host = new FakeHost();
  const ipam = await theirs(recorder, { host, answers: { ADD: fails(123, "no address") } });
  const error = await assertRejects(() => ipam.add(), CniError, "no address");
  assertEquals(error.code, 123);
  assertEquals(host.undos.map(({ why }) => why), ['call ADD of "theirs"']);
  await host.undos[0]!.undo();
  assertEquals(recorder.log(), ["theirs ADD", "theirs DEL"]);
});

Deno.test("no other verb of an executed delegate is taken back", async () => {
  using recorder = new Recorder();
  const host = new FakeHost();
  const ipam = await theirs(recorder, { host });
  await ipam.del();
  await ipam.check();
  await ipam.gc();
  await ipam.status();
  assertEquals(host.undos, []);
});

Deno.test("a delegate that is nowhere has nothing to take back", async () => {
  const host = new FakeHost();
  const ipam = await ipamOf({ ipam: { type: "theirs" } }, { host, path: ["/nowhere"] });
  await assertRejects(() => ipam.add(), CniError, 'failed to find plugin "theirs"');
  assertEquals(host.undos, []);
});

Deno.test("output of an executed delegate that is no result is an error", async () => {
  for (const stdout of ["", "hello", "[1]", "{}{}"]) {
    using recorder = new Recorder();
    const ipam = await theirs(recorder, { answers: { ADD: { stdout } } });
    const error = await assertRejects(() => ipam.add(), CniError);
    assert(error.code !== codes.internal, stdout);
  }
  using recorder = new Recorder();
  const ipam = await theirs(recorder, { answers: { ADD: { stdout: "hello" } } });
  const error = await assertRejects(() => ipam.add(), CniError);
  assertEquals([error.code, error.details], [codes.delegateFailed, "hello"]);
  assertStringIncludes(error.msg, 'Cannot read result of plugin "theirs": ');
});

Deno.test("a dry run executes no delegate that would change something", async () => {
  using recorder = new Recorder();
  const ipam = await theirs(recorder, { host: new DryRun() });
  for (const verb of ["add", "del", "gc"] as const) {
    const error = await assertRejects(() => ipam[verb](), CniError);
    assertEquals(error.code, codes.notAvailable);
    assertStringIncludes(error.msg, `Cannot plan ${verb.toUpperCase()} of plugin`);
  }
  assertEquals(recorder.log(), []);
  await ipam.check();
  await ipam.status();
  assertEquals(recorder.log(), ["theirs CHECK", "theirs STATUS"]);
});

Deno.test("a delegate of ours runs in process, also in a dry run", async () => {
  for (const host of [new FakeHost(), new DryRun()]) {
    ours.seen.length = 0;
    const ipam = await ipamOf({ ipam: { type: "ours" } }, { host, inProcessIfMissing: true });
    assertEquals(await ipam.add(), { interfaces: [], ips: [], routes: [], dns: {} });
    await ipam.check();
    await ipam.del();
    assertEquals(ours.seen.map(({ verb }) => verb), ["ADD", "CHECK", "DEL"]);
    if (host instanceof FakeHost) assertEquals(host.undos, []);
  }
});

/** A folder with a file `ours` of two bytes and this marker. */
function installed(recorder: Recorder, marker?: string): string {
  const file = `${recorder.dir}/ours`;
  Deno.writeTextFileSync(file, "ab");
  if (marker !== undefined) Deno.writeTextFileSync(`${recorder.dir}/${markerName}`, marker);
  return file;
}

const markers: readonly (readonly [string, string | undefined, boolean])[] = [
  ["its name with its size", JSON.stringify({ files: { ours: 2 } }), true],
  ["its name with another size", JSON.stringify({ files: { ours: 3 } }), false],
  ["other names", JSON.stringify({ files: { theirs: 2 } }), false],
  ["no names", JSON.stringify({}), false],
  ["no object", JSON.stringify(null), false],
  ["half a text", '{"files":{"ours', false],
  ["nothing", "", false],
];
for (const [title, marker, expected] of markers) {
  Deno.test(`isOurs(), where the marker holds ${title}: ${expected}`, () => {
    using recorder = new Recorder();
    assertEquals(isOurs(installed(recorder, marker)), expected);
  });
}

Deno.test("isOurs() of a file without a marker beside it, and of no file", () => {
  using recorder = new Recorder();
  assertEquals(isOurs(installed(recorder)), false);
  const [, whole] = markers[0]!;
  Deno.removeSync(installed(recorder, whole));
  assertEquals(isOurs(`${recorder.dir}/ours`), false);
});

Deno.test("ownPlugin() goes by the first file of the name", async () => {
  using foreign = new Recorder();
  using mine = new Recorder();
  foreign.add("ours");
  installed(mine, markers[0]![1]);
  const found = async (...path: string[]) => await ownPlugin("ours", path, { load });
  assertEquals(await found(mine.dir, foreign.dir), ours.plugin as Plugin);
  assertEquals(await found(foreign.dir, mine.dir), undefined);
});

Deno.test("ownPlugin() looks for nothing that is no plain name", async () => {
  for (const type of ["", "../ours", "/bin/ours", ".ours"]) {
    assertEquals(await ownPlugin(type, [], { load, inProcessIfMissing: true }), undefined);
  }
});

const speaking = spy(anyObject(), {
  permissions: { run: [], read: [], write: [], net: true },
}).plugin as Plugin;

/** Whether a plugin that opens sockets would run in process. */
async function runsInProcess(): Promise<boolean> {
  const load = () => Promise.resolve(speaking);
  return await ownPlugin("speaking", ["/nowhere"], { load, inProcessIfMissing: true }) === speaking;
}

Deno.test("a plugin that opens sockets runs in a process that may", async () => {
  assertEquals(await runsInProcess(), true);
});

Deno.test({
  name: "a plugin that opens sockets is executed by a process that may not",
  permissions: { net: false },
  fn: async () => assertEquals(await runsInProcess(), false),
});

Deno.test("the traits of a delegate are those that our plugin of its type declares, whoever's file it is", async () => {
  using recorder = new Recorder();
  const traits = testTraits.leasing;
  const declared = spy(anyObject(), { type: "theirs", ipam: traits }).plugin as Plugin;
  const known = (type: string) => type === "theirs" ? Promise.resolve(declared) : undefined;
  assertEquals(await (await theirs(recorder, { load: known })).traits(), traits);
  assertEquals(recorder.log(), []);
});

Deno.test("the traits of a delegate that declares none, or that nobody knows, are careful ones", async () => {
  using recorder = new Recorder();
  assertEquals(await (await theirs(recorder)).traits(), testTraits.unknown);
  assertEquals(await (await theirs(recorder, { load: undefined })).traits(), testTraits.unknown);
  for (const type of ["ours", "../ours", ""]) {
    assertEquals(await (await ipamOf({ ipam: { type } })).traits(), testTraits.unknown);
  }
  assertEquals(recorder.log(), []);
});

Deno.test("a configuration that cannot do with its IPAM plugin is refused, but for a removal", async () => {
  const own = spy(anyObject(), {
    ipamIssues: (_, { needsInterface }) =>
      needsInterface ? [{ path: "mode", message: "has no interface" }] : [],
  });
  const callWith = (verb: "ADD" | "CHECK" | "STATUS" | "DEL" | "GC", type: string) => {
    const config = { "ipam": { type }, "cni.dev/valid-attachments": [] };
    return callPlugin(own.plugin as Plugin, verb, makeCall({ config }), { host: new FakeHost() });
  };
  for (const verb of ["ADD", "CHECK", "STATUS"] as const) {
    const error = await assertRejects(() => callWith(verb, "theirs"), CniError);
    assertEquals([error.code, error.msg], [
      codes.invalidNetworkConfig,
      "Cannot use network configuration: mode: has no interface",
    ]);
  }
  assertEquals(own.seen, []);
  await callWith("DEL", "theirs");
  await callWith("GC", "theirs");
  await callWith("ADD", "");
  assertEquals(own.seen.map(({ verb }) => verb), ["DEL", "GC", "ADD"]);
});
