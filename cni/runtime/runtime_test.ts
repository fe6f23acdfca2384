import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { fails, prints, supports } from "../../tests/harness/recorder.ts";
import { CniError } from "../error.ts";
import type { JsonObject } from "../types.ts";
import type { Attachment } from "./chain.ts";
import { CheckNotSupportedError } from "./errors.ts";
import type { Runtime } from "./runtime.ts";
import {
  addThree,
  attachment,
  Bench,
  network,
  result,
  single,
  withDns,
} from "../../tests/harness/runtime.ts";

const legacy = JSON.stringify(result);
const wanted: JsonObject = {
  portMappings: attachment.capabilityArgs!.portMappings!,
  somethingElse: attachment.capabilityArgs!.somethingElse!,
};
const key = { network: "apitest", containerId: attachment.containerId, ifName: "eth0" };

function rejected(work: () => Promise<unknown>): Promise<CniError> {
  return assertRejects(work, CniError);
}

// A single plugin.

Deno.test("addPlugin calls ADD, gives the result and remembers everything", async () => {
  using bench = new Bench();
  bench.add("noop", { ADD: { ...prints(result), stderr: "hello\n" } });
  assertEquals(await bench.runtime.addPlugin(single(), attachment), result);
  const [call] = bench.calls("noop");
  const { env, config } = call!;
  assertEquals(
    [
      env.CNI_COMMAND,
      env.CNI_CONTAINERID,
      env.CNI_NETNS,
      env.CNI_IFNAME,
      env.CNI_ARGS,
      env.CNI_PATH,
    ],
    ["ADD", "some-container-id", "/some/netns/path", "eth0", "FOO=BAR", bench.dir],
  );
  assertEquals(config, { ...single().config, runtimeConfig: wanted });
  assertEquals(bench.stderr, "hello\n");
  const remembered = { ...key, ...attachment, config: single().text, result };
  assertEquals(bench.runtime.cache.attachments(), [remembered] as never);
  assertEquals(bench.runtime.cache.attachments("some-container-id").length, 1);
  assertEquals(bench.runtime.cache.attachments("another").length, 0);
  assertEquals(bench.runtime.cache.result(key, "1.1.0"), result);
});

Deno.test("addPlugin sends no runtimeConfig when no declared capability is supplied", async () => {
  using bench = new Bench();
  bench.add("noop", { ADD: prints(result) });
  const plugin = single({ capabilities: { elsewhere: true }, runtimeConfig: { stale: 1 } });
  await bench.runtime.addPlugin(plugin, attachment);
  assert(!("runtimeConfig" in bench.calls("noop")[0]!.config));
});

Deno.test("keys that only the runtime sets do not leak from a configuration", async () => {
  using bench = new Bench();
  bench.add("noop", { ADD: prints(result) });
  const plugin = single({ prevResult: { stale: 1 }, "cni.dev/attachments": [], args: { a: 1 } });
  await bench.runtime.addPlugin(plugin, attachment);
  const keys = Object.keys(bench.calls("noop")[0]!.config);
  assertEquals(keys, [
    "args",
    "capabilities",
    "cniVersion",
    "name",
    "runtimeConfig",
    "some-key",
    "type",
  ]);
});

type Operation = (runtime: Runtime) => Promise<unknown>;
const singles: Readonly<Record<string, (type: string) => Operation>> = {
  ADD: (type) => (runtime) => runtime.addPlugin(single({ type }), attachment),
  CHECK: (type) => (runtime) => runtime.checkPlugin(single({ type }), attachment),
  DEL: (type) => (runtime) => runtime.delPlugin(single({ type }), attachment),
  VERSION: (type) => (runtime) => runtime.versions(type),
  validate: (type) => (runtime) => runtime.validatePlugin(single({ type })),
};
for (const [name, operation] of Object.entries(singles)) {
  Deno.test(`${name} of a plugin that is missing`, async () => {
    using bench = new Bench();
    const error = await rejected(() => operation("nope")(bench.runtime));
    assertEquals(error.msg, `failed to find plugin "nope" in path [${bench.dir}]`);
  });

  Deno.test(`${name} of a plugin that does not end`, async () => {
    using bench = new Bench();
    const sleep = { run: "exec sleep 60" };
    bench.add("sleep", { "*": sleep, VERSION: sleep });
    const error = await rejected(() => operation("sleep")(bench.withDeadline(100)));
    assertStringIncludes(error.msg, "netplugin failed with no error message");
    assertEquals(bench.cached(), []);
  });

  Deno.test(`${name} relays the plugin's error`, async () => {
    using bench = new Bench();
    bench.add("noop", { "*": fails(77, "banana"), VERSION: fails(77, "banana") });
    const error = await rejected(() => operation("noop")(bench.runtime));
    assertEquals([error.code, error.msg, error.message], [77, "banana", "banana"]);
    assertEquals(bench.cached(), []);
  });
}

Deno.test("addPlugin fails when the result cannot be remembered", async () => {
  using bench = new Bench();
  bench.add("noop", { ADD: prints(result) });
  Deno.writeTextFileSync(`${bench.cacheDir}/results`, "");
  const error = await rejected(() => bench.runtime.addPlugin(single(), attachment));
  assertStringIncludes(error.msg, 'failed to set network "apitest" cached result: ');
});

for (const stdout of ["", "text", "[]", "{}{}"]) {
  Deno.test(`addPlugin refuses ${JSON.stringify(stdout)} for a result`, async () => {
    using bench = new Bench();
    bench.add("noop", { ADD: { stdout } });
    const error = await rejected(() => bench.runtime.addPlugin(single(), attachment));
    assertStringIncludes(error.msg, "failed to unmarshal raw result: ");
    assertEquals(bench.cached(), []);
  });
}

const resultVersions: readonly [JsonObject, string, string][] = [
  [{}, "0.3.1", "0.3.1"],
  [{ cniVersion: "" }, "0.3.1", "0.3.1"],
  [{ cniVersion: null }, "1.0.0", "1.0.0"],
  [{ cniVersion: 5 }, "1.0.0", "1.0.0"],
  [{}, "", "0.1.0"],
  [{ cniVersion: "0.4.0" }, "1.1.0", "0.4.0"],
];
for (const [printed, configured, version] of resultVersions) {
  Deno.test(`a result ${JSON.stringify(printed)} under "${configured}" is of ${version}`, async () => {
    using bench = new Bench();
    bench.add("noop", { ADD: prints(printed) });
    const plugin = single({ cniVersion: configured });
    assertEquals(await bench.runtime.addPlugin(plugin, attachment), { cniVersion: version });
  });
}

Deno.test("a plugin of the first days is understood, and removed", async () => {
  using bench = new Bench();
  const old = {
    ip4: { ip: "10.1.2.3/24", gateway: "10.1.2.1", routes: [{ dst: "15.5.6.0/24" }] },
    dns: { nameservers: ["8.8.8.8"] },
  };
  bench.add("noop", { ADD: prints(old) });
  const plugin = single({ cniVersion: "" });
  const added = await bench.runtime.addPlugin(plugin, attachment);
  assertEquals(added, { cniVersion: "0.1.0", ...old });
  await bench.runtime.delPlugin(plugin, attachment);
  assertEquals(bench.log(), ["noop ADD", "noop DEL"]);
  assertEquals(bench.cached(), []);
});

Deno.test("checkPlugin sends a legacy file's result as prevResult", async () => {
  using bench = new Bench();
  bench.add("noop");
  bench.plant("apitest", legacy);
  await bench.runtime.checkPlugin(single(), attachment);
  const [{ verb, config }] = bench.calls("noop") as [ReturnType<Bench["calls"]>[0]];
  assertEquals(verb, "CHECK");
  assertEquals(config, { ...single().config, prevResult: result, runtimeConfig: wanted });
  assert(!("kind" in config) && !("config" in config));
});

for (const cniVersion of ["0.4.0", "1.0.0"]) {
  Deno.test(`checkPlugin and delPlugin of ${cniVersion} convert an older result`, async () => {
    using bench = new Bench();
    bench.add("noop");
    const ips = [{ version: "4", address: "10.1.2.3/24" }];
    bench.plant("apitest", JSON.stringify({ cniVersion: "0.3.1", ips }));
    await bench.runtime.checkPlugin(single({ cniVersion }), attachment);
    await bench.runtime.delPlugin(single({ cniVersion }), attachment);
    for (const { config } of bench.calls("noop")) {
      const previous = config.prevResult as JsonObject;
      assertEquals(previous.cniVersion, cniVersion);
      assertEquals(((previous.ips as JsonObject[])[0]!).address, "10.1.2.3/24");
    }
    assertEquals(bench.calls("noop").length, 2);
  });
}

const corrupt: readonly [string, string][] = [
  [
    "adfadsfasdfasfdsafaf",
    "decoding version from network config: invalid character 'a' looking for beginning of value",
  ],
  ["", "decoding version from network config: unexpected end of JSON input"],
  [JSON.stringify({ cniVersion: "0.4567.0" }), 'unsupported CNI result version "0.4567.0"'],
];
for (const [text, problem] of corrupt) {
  Deno.test(`a remembered result ${JSON.stringify(text)} fails CHECK and does not hinder DEL`, async () => {
    using bench = new Bench();
    bench.add("noop");
    addThree(bench);
    for (
      const [name, check, del] of [
        [
          "apitest",
          () => bench.runtime.checkPlugin(single(), attachment),
          () => bench.runtime.delPlugin(single(), attachment),
        ],
        [
          "some-list",
          () => bench.runtime.check(network(), attachment),
          () => bench.runtime.del(network(), attachment),
        ],
      ] as const
    ) {
      bench.plant(name, text);
      const error = await rejected(check);
      assertEquals(error.msg, `failed to get network "${name}" cached result: ${problem}`);
      await del();
    }
    assertEquals(bench.cached(), []);
    assertEquals(bench.log(), ["noop DEL", "third DEL", "second DEL", "first DEL"]);
    assert(!("prevResult" in bench.calls("noop")[0]!.config));
  });
}

Deno.test("checkPlugin below 0.4.0 is not supported and runs nothing", async () => {
  using bench = new Bench();
  bench.add("noop");
  for (
    const check of [
      () => bench.runtime.checkPlugin(single({ cniVersion: "0.3.1" }), attachment),
      () => bench.runtime.check(network({ cniVersion: "0.3.1" }), attachment),
    ]
  ) {
    const error = await assertRejects(check, CheckNotSupportedError);
    assertEquals(
      error.msg,
      'configuration version "0.3.1" does not support the CHECK command',
    );
  }
  assertEquals(bench.log(), []);
});

Deno.test("delPlugin sends the result, forgets it, and succeeds once more", async () => {
  using bench = new Bench();
  bench.add("noop");
  bench.plant("apitest", legacy);
  await bench.runtime.delPlugin(single(), attachment);
  assertEquals(bench.calls("noop")[0]!.config.prevResult, result);
  assertEquals(bench.runtime.cache.result(key, "1.1.0"), undefined);
  assertEquals(bench.runtime.cache.attachment(key), undefined);
  assertEquals(bench.runtime.cache.attachments(), []);
  await bench.runtime.delPlugin(single(), attachment);
  assertEquals(bench.log(), ["noop DEL", "noop DEL"]);
});

Deno.test("DEL below 0.4.0 gets no remembered result, which is forgotten all the same", async () => {
  using bench = new Bench();
  bench.add("noop");
  addThree(bench);
  for (const name of ["apitest", "some-list"]) bench.plant(name, legacy);
  await bench.runtime.delPlugin(single({ cniVersion: "0.3.1" }), attachment);
  await bench.runtime.del(network({ cniVersion: "0.3.1" }), attachment);
  assert(!("prevResult" in bench.calls("noop")[0]!.config));
  assert(!("prevResult" in bench.calls("first")[0]!.config));
  assertEquals(bench.cached(), []);
});

Deno.test("DEL of an incomplete key runs the plugins", async () => {
  using bench = new Bench();
  bench.add("noop");
  await bench.runtime.delPlugin(single(), { ...attachment, ifName: "" });
  assertEquals(bench.log(), ["noop DEL"]);
});

Deno.test("DEL of a version that cannot be read runs nothing", async () => {
  using bench = new Bench();
  addThree(bench);
  await rejected(() => bench.runtime.del(network({ cniVersion: "x" }), attachment));
  assertEquals(bench.log(), []);
});

Deno.test("versions are asked for, and compared as text", async () => {
  using bench = new Bench();
  bench.add("noop", { VERSION: supports(["0.-42.0", "0.1.0", "1.1.0"]) });
  assertEquals(await bench.runtime.versions("noop"), ["0.-42.0", "0.1.0", "1.1.0"]);
  const capabilities = ["portMappings", "somethingElse"];
  assertEquals(await bench.runtime.validatePlugin(single()), capabilities);
  assertEquals(await bench.runtime.validatePlugin(single({ cniVersion: "" })), capabilities);
  const error = await rejected(() =>
    bench.runtime.validatePlugin(single({ cniVersion: "broken" }))
  );
  assertEquals(error.msg, 'plugin noop does not support config version "broken"');
});

// A list.

Deno.test("add chains results, filters runtime data and remembers the last result", async () => {
  using bench = new Bench();
  addThree(bench);
  assertEquals(await bench.runtime.add(network(), attachment), withDns);
  const [first, second, third] = ["first", "second", "third"].map((type) => bench.calls(type)[0]!);
  const { portMappings, otherCapability } = attachment.capabilityArgs!;
  const both = { portMappings: portMappings!, otherCapability: otherCapability! };
  assertEquals(first!.config.runtimeConfig, both);
  assertEquals(second!.config.runtimeConfig, { otherCapability: otherCapability! });
  assertEquals(third!.config.runtimeConfig, undefined);
  assertEquals([first, second, third].map((call) => call!.config.prevResult), [
    undefined,
    result,
    result,
  ] as never);
  for (const call of [first, second, third]) {
    assertEquals([call!.config.name, call!.config.cniVersion], ["some-list", "1.1.0"]);
    assertEquals([call!.verb, call!.env.CNI_ARGS], ["ADD", "FOO=BAR"]);
  }
  const remembered = bench.runtime.cache.attachments();
  assertEquals(remembered, [{
    network: "some-list",
    ...attachment,
    config: network().text,
    result: withDns,
  }] as never);
});

Deno.test("add converts a result for a plugin that is told another version", async () => {
  using bench = new Bench();
  const older = { cniVersion: "0.4.0", ips: [{ version: "4", address: "10.1.2.3/24" }], dns: {} };
  addThree(bench, { first: { ADD: prints(older) } });
  await bench.runtime.add(network(), attachment);
  assertEquals(bench.calls("second")[0]!.config.prevResult, {
    cniVersion: "1.1.0",
    ips: [{ address: "10.1.2.3/24" }],
  });
});

const long = "x".repeat(16);
const characters = "interface name contains / or : or whitespace characters";
const badNames: readonly [Partial<Attachment> & { name?: string }, number, string, string][] = [
  [
    { containerId: "some-%%container-id" },
    4,
    "invalid characters in containerID",
    "some-%%container-id",
  ],
  [{ containerId: "" }, 3, "missing containerID", ""],
  [{ name: "invalid-%%-name" }, 7, "invalid characters found in network name", "invalid-%%-name"],
  [{ ifName: "" }, 4, "interface name is empty", ""],
  [
    { ifName: long },
    4,
    "interface name is too long",
    "interface name should be less than 16 characters",
  ],
  [{ ifName: "." }, 4, "interface name is . or ..", ""],
  [{ ifName: ".." }, 4, "interface name is . or ..", ""],
  [{ ifName: "te/st" }, 4, characters, ""],
  [{ ifName: "te:st" }, 4, characters, ""],
  [{ ifName: "te st" }, 4, characters, ""],
];
for (const [change, code, msg, details] of badNames) {
  Deno.test(`ADD and CHECK refuse ${JSON.stringify(change)}`, async () => {
    using bench = new Bench();
    addThree(bench);
    const { name = "some-list", ...rest } = change;
    const bad = { ...attachment, ...rest };
    const error = await rejected(() => bench.runtime.add(network({ name }), bad));
    const { cause } = error;
    assertInstanceOf(cause, CniError);
    assertEquals([cause.code, cause.msg, cause.details], [code, msg, details]);
    assertEquals(error.code, code);
    assert(error.message.startsWith('plugin type="first" failed (add): '), error.message);
    await rejected(() => bench.runtime.check(network({ name }), bad));
    assertEquals(bench.log(), []);
  });
}

Deno.test("add reports a missing plugin before a bad name, and only when its turn comes", async () => {
  using bench = new Bench();
  bench.add("first", { ADD: prints(result) });
  const bad = { ...attachment, containerId: "%" };
  const missing = network({ plugins: [{ type: "nope" }] });
  assertStringIncludes(
    (await rejected(() => bench.runtime.add(missing, bad))).msg,
    'failed to find plugin "nope"',
  );
  const second = await rejected(() => bench.runtime.add(network(), attachment));
  assertStringIncludes(second.msg, 'failed to find plugin "second"');
  assertEquals(bench.log(), ["first ADD"]);
  assertEquals(bench.cached(), []);
});

Deno.test("add stops at the first failure, names the plugin and remembers nothing", async () => {
  using bench = new Bench();
  addThree(bench, { second: { ADD: fails(42, "plugin error: banana") } });
  const error = await rejected(() => bench.runtime.add(network(), attachment));
  assertEquals(error.msg, 'plugin type="second" failed (add): plugin error: banana');
  assertEquals((error.cause as CniError).msg, "plugin error: banana");
  assertEquals(error.code, 42);
  assertEquals(bench.log(), ["first ADD", "second ADD"]);
  assertEquals(bench.cached(), []);
});

Deno.test("add names the plugin's own name too", async () => {
  using bench = new Bench();
  bench.add("first", { ADD: fails(42, "banana") });
  const list = network({ plugins: [{ type: "first", name: "own" }] });
  const error = await rejected(() => bench.runtime.add(list, attachment));
  assertEquals(error.msg, 'plugin type="first" name="own" failed (add): banana');
});

Deno.test("add fails when the result cannot be remembered", async () => {
  using bench = new Bench();
  addThree(bench);
  Deno.writeTextFileSync(`${bench.cacheDir}/results`, "");
  const error = await rejected(() => bench.runtime.add(network(), attachment));
  assertStringIncludes(error.msg, 'failed to set network "some-list" cached result: ');
});

Deno.test("check sends the remembered result to every plugin, forward", async () => {
  using bench = new Bench();
  addThree(bench);
  bench.plant("some-list", legacy);
  await bench.runtime.check(network({ cniVersion: "1.1.0" }), attachment);
  assertEquals(bench.log(), ["first CHECK", "second CHECK", "third CHECK"]);
  for (const type of ["first", "second", "third"]) {
    assertEquals(bench.calls(type)[0]!.config.prevResult, result);
  }
});

Deno.test("check with disableCheck does nothing", async () => {
  using bench = new Bench();
  addThree(bench);
  await bench.runtime.check(network({ disableCheck: true }), attachment);
  assertEquals(bench.log(), []);
});

Deno.test("check stops at the first failure and does not name the plugin", async () => {
  using bench = new Bench();
  addThree(bench, { second: { CHECK: fails(42, "banana") } });
  const error = await rejected(() => bench.runtime.check(network(), attachment));
  assertEquals([error.msg, error.code], ["banana", 42]);
  assertEquals(bench.log(), ["first CHECK", "second CHECK"]);
  const missing = network({ plugins: [{ type: "first" }, { type: "nope" }] });
  assertStringIncludes(
    (await rejected(() => bench.runtime.check(missing, attachment))).msg,
    'failed to find plugin "nope"',
  );
});

Deno.test("del without a remembered result leaves a written prevResult", async () => {
  using bench = new Bench();
  addThree(bench);
  await bench.runtime.del(network(), attachment);
  assertEquals(bench.log(), ["third DEL", "second DEL", "first DEL"]);
  const previous = ["first", "second", "third"].map((type) =>
    bench.calls(type)[0]!.config.prevResult
  );
  assertEquals(previous, [undefined, { written: 2 }, { written: 3 }] as never);
  assertEquals(bench.cached(), []);
});

Deno.test("del sends the remembered result to every plugin, in reverse", async () => {
  using bench = new Bench();
  addThree(bench);
  const older = { cniVersion: "0.4.0", ips: [{ version: "4", address: "10.1.2.3/24" }], dns: {} };
  bench.plant("some-list", JSON.stringify(older));
  await bench.runtime.del(network({ cniVersion: "0.4.0" }), attachment);
  for (const type of ["first", "second", "third"]) {
    assertEquals(bench.calls(type)[0]!.config.prevResult, older);
  }
});

Deno.test("del stops at the first failure, names the plugin and keeps what it remembers", async () => {
  using bench = new Bench();
  addThree(bench, { second: { DEL: fails(42, "plugin error: banana") } });
  bench.plant("some-list", legacy);
  const error = await rejected(() => bench.runtime.del(network(), attachment));
  assertEquals(error.msg, 'plugin type="second" failed (delete): plugin error: banana');
  assertEquals((error.cause as CniError).msg, "plugin error: banana");
  assertEquals(bench.log(), ["third DEL", "second DEL"]);
  assertEquals(bench.cached().length, 1);
  const missing = network({ plugins: [{ type: "nope" }, { type: "first" }] });
  assertStringIncludes(
    (await rejected(() => bench.runtime.del(missing, attachment))).msg,
    'failed to find plugin "nope"',
  );
});

Deno.test("del with best effort goes on, reports all failures and keeps what it remembers", async () => {
  using bench = new Bench();
  addThree(bench, { second: { DEL: fails(42, "apple") }, third: { DEL: fails(42, "banana") } });
  bench.plant("some-list", legacy);
  const del = () => bench.runtime.del(network(), attachment, { bestEffort: true });
  const error = await rejected(del);
  assertEquals(error.code, 42);
  assertEquals(error.msg.split("\n"), [
    'plugin type="third" failed (delete): banana',
    'plugin type="second" failed (delete): apple',
  ]);
  assertEquals(bench.log(), ["third DEL", "second DEL", "first DEL"]);
  assertEquals(bench.cached().length, 1);
});

Deno.test("validate gives the capabilities of all plugins, each once", async () => {
  using bench = new Bench();
  addThree(bench);
  assertEquals(await bench.runtime.validate(network()), ["portMappings", "otherCapability"]);
});

Deno.test("validate collects what is wrong", async () => {
  using bench = new Bench();
  addThree(bench);
  const nope = network({ plugins: [{ type: "nope" }, { type: "first" }] });
  assertEquals(
    (await rejected(() => bench.runtime.validate(nope))).msg,
    `[failed to find plugin "nope" in path [${bench.dir}]]`,
  );
  const broken = ["first", "second", "third"]
    .map((type) => `plugin ${type} does not support config version "broken"`);
  assertEquals(
    (await rejected(() => bench.runtime.validate(network({ cniVersion: "broken" })))).msg,
    `[${broken.join(" ")}]`,
  );
});

for (const name of ["ADD", "CHECK", "DEL", "validate"]) {
  Deno.test(`${name} of a list whose plugin does not end`, async () => {
    using bench = new Bench();
    const sleep = { run: "exec sleep 60" };
    bench.add("sleep", { "*": sleep, VERSION: sleep });
    const runtime = bench.withDeadline(100);
    const list = network({ plugins: [{ type: "sleep" }] });
    const operations: Readonly<Record<string, () => Promise<unknown>>> = {
      ADD: () => runtime.add(list, attachment),
      CHECK: () => runtime.check(list, attachment),
      DEL: () => runtime.del(list, attachment),
      validate: () => runtime.validate(list),
    };
    const error = await rejected(operations[name]!);
    assertStringIncludes(error.message, "netplugin failed with no error message");
  });
}

// GC and STATUS.

const both = ["cni.dev/valid-attachments", "cni.dev/attachments"];

Deno.test("gc removes what is not listed, then tells every plugin what is", async () => {
  using bench = new Bench();
  addThree(bench);
  await bench.runtime.add(network(), attachment);
  const { containerId } = attachment;
  const valid = [{ containerID: containerId, ifname: "eth0" }];
  await bench.runtime.gc(network({ disableGC: true }), []);
  await bench.runtime.gc(network(), [{ containerId, ifName: "eth0" }]);
  await bench.runtime.gc(network(), []);
  const calls = bench.calls("first");
  assertEquals(calls.map(({ verb }) => verb), ["ADD", "GC", "DEL", "GC"]);
  for (const name of both) {
    assertEquals(calls[1]!.config[name], valid as never);
    assertEquals(calls[3]!.config[name], []);
  }
  const { env, config } = calls[1]!;
  assertEquals([env.CNI_CONTAINERID, env.CNI_NETNS, env.CNI_IFNAME, env.CNI_ARGS], [
    "",
    "",
    "",
    "",
  ]);
  assert(!("prevResult" in config) && !("runtimeConfig" in config));
  assertEquals(calls[2]!.env.CNI_ARGS, "FOO=BAR");
  assertEquals(calls[2]!.env.CNI_NETNS, "/some/netns/path");
  assertEquals(bench.cached(), []);
});

Deno.test("gc leaves other networks and attachments of other interfaces alone", async () => {
  using bench = new Bench();
  addThree(bench);
  await bench.runtime.add(network({ name: "other" }), attachment);
  await bench.runtime.add(network(), { ...attachment, ifName: "eth1" });
  await bench.runtime.add(network(), attachment);
  await bench.runtime.gc(network(), [{ containerId: attachment.containerId, ifName: "eth1" }]);
  assertEquals(bench.cached(), [
    "other-some-container-id-eth0",
    "some-list-some-container-id-eth1",
  ]);
});

Deno.test("gc of an older version removes stale attachments and calls no GC", async () => {
  using bench = new Bench();
  addThree(bench);
  const list = network({ cniVersion: "1.0.0" });
  await bench.runtime.add(list, attachment);
  await bench.runtime.gc(list, []);
  assertEquals(bench.calls("first").map(({ verb }) => verb), ["ADD", "DEL"]);
});

Deno.test("gc goes on after failures and reports all of them", async () => {
  using bench = new Bench();
  addThree(bench, {
    first: { ADD: prints(result), GC: fails(5, "apple") },
    second: { DEL: fails(6, "banana") },
  });
  await bench.runtime.add(network(), attachment);
  const list = network({
    plugins: [...network().plugins.map(({ config }) => config), { type: "nope" }],
  });
  const error = await rejected(() => bench.runtime.gc(list, []));
  const lines = error.msg.split("\n");
  assertEquals(lines.length, 3);
  assertEquals(
    lines[0],
    'failed to delete stale attachment some-container-id eth0: plugin type="nope" failed (delete): ' +
      `failed to find plugin "nope" in path [${bench.dir}]`,
  );
  assertEquals(lines[1], "failed to GC plugin first: apple");
  assertStringIncludes(lines[2]!, "failed to GC plugin nope: failed to find plugin");
  assertEquals(bench.log().slice(-3), ["first GC", "second GC", "third GC"]);
});

Deno.test("gc reports a cache that cannot be listed", async () => {
  using bench = new Bench();
  addThree(bench);
  Deno.writeTextFileSync(`${bench.cacheDir}/results`, "");
  assertStringIncludes(
    (await rejected(() => bench.runtime.gc(network(), []))).msg,
    "not a directory",
  );
});

Deno.test("status asks every plugin, forward, without attachment", async () => {
  using bench = new Bench();
  addThree(bench);
  await bench.runtime.status(network());
  assertEquals(bench.log(), ["first STATUS", "second STATUS", "third STATUS"]);
  assert(!("prevResult" in bench.calls("second")[0]!.config));
  assertEquals(bench.calls("first")[0]!.config.name, "some-list");
});

Deno.test("status stops at the first failure and keeps its code", async () => {
  using bench = new Bench();
  addThree(bench, { second: { STATUS: fails(50, "not available") } });
  const error = await rejected(() => bench.runtime.status(network()));
  assertEquals([error.code, error.msg], [50, "not available"]);
  assertEquals(bench.log(), ["first STATUS", "second STATUS"]);
});

for (const cniVersion of ["1.0.0", "garbage"]) {
  Deno.test(`status of version ${cniVersion} runs nothing`, async () => {
    using bench = new Bench();
    addThree(bench);
    await bench.runtime.status(network({ cniVersion }));
    assertEquals(bench.log(), []);
  });
}
