import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { anyObject, integer, object, withDefault } from "./decode.ts";
import { CniError, codes } from "./error.ts";
import type { Plugin, Request } from "./plugin.ts";
import type { Input, Outcome } from "./serve.ts";
import { handle } from "./serve.ts";
import type { Spy } from "./testing.ts";
import { spy } from "./testing.ts";
import type { JsonObject } from "./types.ts";
import { emptyResult } from "./types.ts";
import { versions } from "./version.ts";

const variables = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/no/such/namespace",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin",
};

const config: JsonObject = { cniVersion: "1.1.0", name: "net", "cni.dev/valid-attachments": [] };

/** What differs from a good ADD. */
interface Given {
  readonly env?: Readonly<Record<string, string>>;
  /** Configuration, or text of stdin. */
  readonly config?: JsonObject | string;
  readonly signal?: AbortSignal;
}

function input({ env = {}, config: given = {}, signal }: Given): Input {
  const all: Readonly<Record<string, string>> = { ...variables, ...env };
  const text = typeof given === "string" ? given : JSON.stringify({ ...config, ...given });
  return {
    env: (name) => all[name],
    stdin: () => text,
    ...(signal && { signal }),
  };
}

/** A plugin that succeeds, and handles this. */
async function run(given: Given, own: Partial<Plugin> = {}): Promise<[Outcome, Spy<unknown>]> {
  const made = spy<unknown>(anyObject(), own);
  return [await handle(made.plugin, input(given)), made];
}

/** The error object of a failure that reached no callback. */
async function refused(given: Given, own: Partial<Plugin> = {}): Promise<JsonObject> {
  const [outcome, { seen }] = await run(given, own);
  assertEquals(seen, []);
  return errorOf(outcome);
}

function errorOf({ exit, stdout, stderr }: Outcome): JsonObject {
  assertEquals([exit, stderr], [1, ""]);
  const error = JSON.parse(stdout);
  assertEquals(stdout, JSON.stringify(error, undefined, 4));
  assertEquals(error.cniVersion, "1.1.0");
  return error;
}

const verb = (CNI_COMMAND: string) => ({ env: { CNI_COMMAND } });

Deno.test("ADD prints the result in the configuration's version", async () => {
  const ips = [{ address: "10.0.0.2/24" }];
  const add = () => Promise.resolve({ ...emptyResult(), ips });
  const printed: Record<string, JsonObject> = {
    "0.2.0": { cniVersion: "0.2.0", ip4: { ip: "10.0.0.2/24" }, dns: {} },
    "0.4.0": { cniVersion: "0.4.0", ips: [{ version: "4", ...ips[0]! }], dns: {} },
    "1.1.0": { cniVersion: "1.1.0", ips },
  };
  for (const [cniVersion, expected] of Object.entries(printed)) {
    const [outcome] = await run({ config: { cniVersion } }, { add });
    assertEquals(outcome, {
      exit: 0,
      stdout: JSON.stringify(expected, undefined, 4),
      stderr: "",
    });
  }
});

Deno.test("the other verbs print nothing", async () => {
  for (const name of ["DEL", "CHECK", "GC", "STATUS"]) {
    const [outcome, { seen }] = await run(verb(name));
    assertEquals(outcome, { exit: 0, stdout: "", stderr: "" });
    assertEquals(seen.map(({ verb }) => verb), [name as "DEL"]);
  }
});

Deno.test("GC and STATUS need a command and a path alone", async () => {
  for (const name of ["GC", "STATUS"]) {
    const env = { CNI_COMMAND: name, CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "" };
    const [{ exit }, { seen }] = await run({ env });
    const { containerId, netns, ifName, args } = seen[0]!.req;
    assertEquals([exit, containerId, netns, ifName, args], [0, "", "", "", ""]);
  }
});

Deno.test("without a command a text about the plugin goes to stderr", async () => {
  const { plugin, seen } = spy(anyObject(), { versions: ["0.4.0", "1.0.0"] });
  for (const command of [undefined, ""]) {
    const outcome = await handle(plugin, {
      env: (name) => name === "CNI_COMMAND" ? command : undefined,
      stdin: unread,
    });
    assertEquals(outcome, {
      exit: 0,
      stdout: "",
      stderr: "CNI spy plugin of denocni: notes its calls\n" +
        "CNI protocol versions supported: 0.4.0, 1.0.0\n",
    });
  }
  assertEquals(seen, []);
});

function unread(): string {
  throw new Error("stdin was read");
}

Deno.test("VERSION needs no other variable and does not touch stdin", async () => {
  const { plugin, seen } = spy(anyObject());
  const env = (name: string) => name === "CNI_COMMAND" ? "VERSION" : undefined;
  assertEquals(await handle(plugin, { env, stdin: unread }), {
    exit: 0,
    stdout: `{"cniVersion":"1.1.0","supportedVersions":${JSON.stringify(versions)}}\n`,
    stderr: "",
  });
  const few = { ...plugin, versions: ["0.1.0", "0.2.0"] };
  const { stdout } = await handle(few, { env, stdin: unread });
  assertEquals(JSON.parse(stdout).supportedVersions, ["0.1.0", "0.2.0"]);
  assertEquals(seen, []);
});

/** What may be wrong with an ADD, in the order in which it is found. */
const order: readonly (readonly [Given, code: number, msg: string])[] = [
  [{ env: { CNI_IFNAME: "a/b" } }, 4, "interface name contains / or : or whitespace characters"],
  [{ env: { CNI_PATH: "" } }, 4, "required env variables [CNI_PATH] missing"],
  [{ config: "{" }, 6, "error unmarshall network config: unexpected end of JSON input"],
  [{ config: { name: "../net" } }, 7, "invalid characters found in network name"],
  [{ env: { CNI_COMMAND: "NOPE" } }, 4, "unknown CNI_COMMAND: NOPE"],
  [{ config: { cniVersion: "9.9.9" } }, 1, "incompatible CNI versions"],
  [
    { env: { CNI_IFNAME: "eth%d" } },
    4,
    'Cannot use CNI_IFNAME "eth%d": the kernel gives no interface this name',
  ],
  [
    { env: { CNI_NETNS: "/proc/self/ns/net" } },
    8,
    "plugin's netns and netns from CNI_NETNS should not be the same",
  ],
  [
    { config: { mtu: -1 } },
    7,
    "Cannot use network configuration: mtu: expected integer from 0 but received -1",
  ],
];

/** Everything that is wrong from one place of the order on. */
function broken(from: number): Given {
  return order.slice(from).reduceRight<Given>((rest, [given]) => ({
    env: { ...rest.env, ...given.env },
    config: typeof given.config === "string"
      ? given.config
      : { ...rest.config as JsonObject, ...given.config },
  }), {});
}

Deno.test("what is wrong is found in the order of the reference", async (test) => {
  const conf = object({ mtu: withDefault(integer({ min: 0 }), 0, "Bytes.") });
  for (const [index, [given, code, msg]] of order.entries()) {
    // An unknown command needs no variable: both cannot be wrong at once.
    const all = index < 2
      ? { ...broken(index), env: { ...broken(index).env, CNI_COMMAND: "ADD" } }
      : broken(index);
    for (const wrong of [given, all]) {
      await test.step(`${msg}, ${wrong === given ? "alone" : "with all that comes later"}`, async () => {
        const { plugin, seen } = spy(conf);
        const error = errorOf(await handle(plugin, input(wrong)));
        assertEquals([error.code, error.msg], [code, msg]);
        assertEquals(seen, []);
      });
    }
  }
});

Deno.test("stdin that cannot be read is an I/O error, found before what it holds", async () => {
  const { plugin, seen } = spy(anyObject());
  const stdin = () => {
    throw new Error("banana");
  };
  for (const CNI_COMMAND of ["ADD", "NOPE"]) {
    const outcome = await handle(plugin, { ...input({ env: { CNI_COMMAND } }), stdin });
    const { code, msg } = errorOf(outcome);
    assertEquals([code, msg], [codes.ioFailure, "error reading from stdin: banana"]);
  }
  assertEquals(seen, []);
});

const unreadable: readonly (readonly [string, reason: string])[] = [
  ["", "unexpected end of JSON input"],
  ['{"name":"net"', "unexpected end of JSON input"],
  ["x", "invalid character 'x' looking for beginning of value"],
  ['{"name":"net"}x', "invalid character 'x' after top-level value"],
  ["[1]", "expected object but received [1]"],
  ["1", "expected object but received 1"],
  ['{"name":1}', "name: expected string but received 1"],
  ['{"name":["net"]}', 'name: expected string but received ["net"]'],
];
for (const [text, reason] of unreadable) {
  Deno.test(`stdin ${JSON.stringify(text)} is no configuration`, async () => {
    const error = await refused({ config: text });
    assertEquals(error, {
      cniVersion: "1.1.0",
      code: 6,
      msg: `error unmarshall network config: ${reason}`,
    });
  });
}

Deno.test("a configuration without a name is refused", async () => {
  for (const given of ["null", "{}", '{"name":null}', '{"name":""}']) {
    const { code, msg } = await refused({ config: given });
    assertEquals([code, msg], [7, "missing network name"]);
  }
});

Deno.test("a bad name is found before the version", async () => {
  const wrong = { ...verb("GC"), config: { name: "te%%st", cniVersion: "0.4.0" } };
  const { code, msg, details } = await refused(wrong);
  assertEquals([code, msg, details], [7, "invalid characters found in network name", "te%%st"]);
});

Deno.test("keys count in any case", async () => {
  const text = JSON.stringify({ CNIVERSION: "0.4.0", Name: "net" });
  const [, { seen }] = await run({ config: text });
  assertEquals([seen[0]!.req.network, seen[0]!.req.cniVersion], ["net", "0.4.0"]);
});

Deno.test("an unknown command is refused after what stdin holds, without other variables", async () => {
  const env = { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "", CNI_PATH: "" };
  for (const name of ["NOPE", "add", "ADD ", "constructor"]) {
    const { code, msg } = await refused({ env: { ...env, CNI_COMMAND: name } });
    assertEquals([code, msg], [4, `unknown CNI_COMMAND: ${name}`]);
  }
});

Deno.test("a version that is no text is refused by every verb", async () => {
  for (const name of ["ADD", "DEL", "CHECK", "GC", "STATUS"]) {
    const { code, msg } = await refused({ ...verb(name), config: { cniVersion: 1 } });
    assertEquals(
      [code, msg],
      [6, "decoding version from network config: expected string but received 1"],
    );
  }
});

Deno.test("ADD and DEL want a version that the plugin names, letter by letter", async () => {
  for (const name of ["ADD", "DEL"]) {
    for (const cniVersion of ["1.1", "v1.1.0", "1.1.0 ", "banana", "9.9.9"]) {
      const error = await refused({ ...verb(name), config: { cniVersion } });
      assertEquals([error.code, error.msg], [1, "incompatible CNI versions"]);
    }
    const old = { ...verb(name), config: JSON.stringify({ name: "net" }) };
    const error = await refused(old, { versions: ["4.3.2"] });
    assertEquals(error.details, 'config is "0.1.0", plugin supports ["4.3.2"]');
  }
});

Deno.test("a configuration without version is of version 0.1.0", async () => {
  for (
    const text of [{ name: "net" }, { name: "net", cniVersion: "" }, {
      name: "net",
      cniVersion: null,
    }]
  ) {
    const [, { seen }] = await run({ ...verb("DEL"), config: JSON.stringify(text) });
    assertEquals(seen[0]!.req.cniVersion, "0.1.0");
  }
});

const since = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" } as const;
for (const [name, minimum] of Object.entries(since)) {
  Deno.test(`${name} needs version ${minimum} of the configuration`, async () => {
    for (const cniVersion of versions) {
      const given = { ...verb(name), config: { cniVersion } };
      if (cniVersion >= minimum) {
        assertEquals((await run(given))[0].exit, 0);
        continue;
      }
      const { code, msg } = await refused(given);
      assertEquals([code, msg], [1, `config version does not allow ${name}`]);
    }
    const { code, msg } = await refused({ ...verb(name), config: { cniVersion: "" } });
    assertEquals([code, msg], [1, `config version does not allow ${name}`]);
  });

  Deno.test(`${name} needs a plugin of the configuration's version`, async () => {
    const given = { ...verb(name), config: { cniVersion: minimum } };
    const old = await refused(given, { versions: ["0.1.0", "0.3.0"] });
    assertEquals([old.code, old.msg], [1, `plugin version does not allow ${name}`]);
    const other = await refused(given, { versions: ["9.8.7"] });
    assertEquals([other.code, other.msg], [1, "incompatible CNI versions"]);
  });

  Deno.test(`${name} reads the versions of both`, async () => {
    const wrong = await refused({ ...verb(name), config: { cniVersion: "0.3.0.9" } });
    assertEquals([wrong.code, wrong.msg], [6, 'invalid version "0.3.0.9": too many parts']);
    const given = { ...verb(name), config: { cniVersion: minimum } };
    const garbage = await refused(given, { versions: ["0.1.0", "garbage", minimum] });
    assertEquals(garbage.code, 6);
    const [{ exit }] = await run(given, { versions: [minimum, "garbage"] });
    assertEquals(exit, 0);
  });
}

Deno.test("an error of the callback leaves as it is, and any other is code 999", async () => {
  const add = (error: Error) => ({ add: () => Promise.reject(error) });
  const [known] = await run({}, add(new CniError(1234, "Cannot do it", "for a reason")));
  assertEquals(errorOf(known), {
    cniVersion: "1.1.0",
    code: 1234,
    msg: "Cannot do it",
    details: "for a reason",
  });
  const [unknown] = await run({}, add(new Error("potato")));
  const { code, msg } = errorOf(unknown);
  assertEquals([code, msg], [999, "potato"]);
});

/** A plugin whose ADD writes a file, with its undo, and then does more. */
function writer(path: string, then: (req: Request<unknown>) => Promise<void>): Partial<Plugin> {
  return {
    async add(req) {
      await req.host.apply([{
        why: `write "${path}"`,
        do: { kind: "write", path, text: "x" },
        undo: { kind: "remove", path },
      }]);
      await then(req);
      return emptyResult();
    },
  };
}

async function inTempDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync();
  try {
    await body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function names(dir: string): string[] {
  return [...Deno.readDirSync(dir)].map(({ name }) => name);
}

Deno.test("a failed ADD is taken back", () =>
  inTempDir(async (dir) => {
    const fail = () => Promise.reject(new CniError(codes.refused, "Cannot go on"));
    const [outcome] = await run({}, writer(`${dir}/a`, fail));
    assertEquals(errorOf(outcome).msg, "Cannot go on");
    assertEquals(names(dir), []);
    await run({}, writer(`${dir}/a`, () => Promise.resolve()));
    assertEquals(names(dir), ["a"]);
  }));

Deno.test("an ADD whose result cannot be printed is taken back", () =>
  inTempDir(async (dir) => {
    const [outcome] = await run(
      { config: { cniVersion: "0.2.0" } },
      writer(`${dir}/a`, () => Promise.resolve()),
    );
    assertEquals(errorOf(outcome).msg, "cannot convert: no valid IP addresses");
    assertEquals(names(dir), []);
  }));

Deno.test("what cannot be taken back stands in the details; the rest is taken back", () =>
  inTempDir(async (dir) => {
    const own = writer(`${dir}/a`, (req) => {
      req.host.onRollback("order pizza", () => Promise.reject(new Error("it is eaten")));
      return Promise.reject(new CniError(codes.refused, "Cannot go on", "for a reason"));
    });
    const [outcome] = await run({}, own);
    assertEquals(errorOf(outcome), {
      cniVersion: "1.1.0",
      code: codes.refused,
      msg: "Cannot go on",
      details: 'for a reason; Cannot undo "order pizza": it is eaten',
    });
    assertEquals(names(dir), []);
  }));

Deno.test("a plugin that is told to stop starts no further step and takes back the others", () =>
  inTempDir(async (dir) => {
    const stop = new AbortController();
    const own = writer(`${dir}/a`, async (req) => {
      stop.abort(new CniError(codes.interrupted, "Cannot finish: stopped by SIGTERM"));
      const path = `${dir}/b`;
      await req.host.apply([{ why: "write b", do: { kind: "write", path, text: "x" } }]);
    });
    const [outcome] = await run({ signal: stop.signal }, own);
    const { code, msg } = errorOf(outcome);
    assertEquals([code, msg], [codes.interrupted, "Cannot finish: stopped by SIGTERM"]);
    assertEquals(names(dir), []);
  }));

Deno.test("an ADD that is told to stop in its last step is taken back; a DEL is done", () =>
  inTempDir(async (dir) => {
    const stop = new AbortController();
    const halt = () => {
      stop.abort(new CniError(codes.interrupted, "Cannot finish: stopped by SIGTERM"));
      return Promise.resolve();
    };
    const [outcome] = await run({ signal: stop.signal }, writer(`${dir}/a`, halt));
    assertEquals(errorOf(outcome).code, codes.interrupted);
    assertEquals(names(dir), []);
    const [{ exit }] = await run({ ...verb("DEL"), signal: stop.signal }, { del: halt });
    assertEquals(exit, 0);
  }));

Deno.test("nothing is thrown, whatever a plugin throws", async () => {
  for (const thrown of ["text", undefined, null, { code: 7 }, new TypeError("")]) {
    const [outcome] = await run({}, { add: () => Promise.reject(thrown) });
    const { code, msg } = errorOf(outcome);
    assertEquals(code, 999);
    assert(typeof msg === "string" && msg !== "");
  }
});

Deno.test("an environment that cannot be read is an error", async () => {
  const { plugin } = spy(anyObject());
  const env = () => {
    throw new TypeError("not Unicode");
  };
  assertStringIncludes(
    String(errorOf(await handle(plugin, { env, stdin: unread })).msg),
    "not Unicode",
  );
});
