import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import type { Answer } from "../tests/harness/recorder.ts";
import { fails, Recorder, supports } from "../tests/harness/recorder.ts";
import { CniError } from "./error.ts";
import type { PluginEnv } from "./invoke.ts";
import {
  execPlugin,
  execVersion,
  findPlugin,
  parseError,
  parseVersionInfo,
  splitPath,
} from "./invoke.ts";

const env: PluginEnv = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/some/netns",
  CNI_IFNAME: "eth7",
  CNI_ARGS: "KEY1=VALUE1;KEY2=VALUE2",
  CNI_PATH: "/some/bin:/path",
};
const stdin = '{ "some": "stdin-json", "cniVersion": "0.3.1" }';

Deno.test("findPlugin finds the first regular file, links followed", () => {
  using first = new Recorder();
  using second = new Recorder();
  second.add("noop");
  Deno.mkdirSync(`${first.dir}/noop`);
  Deno.symlinkSync(`${second.dir}/noop`, `${first.dir}/linked`);
  const dirs = [first.dir, `${second.dir}/`];
  assertEquals(findPlugin("noop", dirs), `${second.dir}/noop`);
  assertEquals(findPlugin("linked", dirs), `${first.dir}/linked`);
});

const unfindable: readonly [string, string[], string][] = [
  ["noop", [], "no paths provided"],
  ["", ["/tmp"], "no plugin name provided"],
  ["x", ["/a", "/b"], 'failed to find plugin "x" in path [/a /b]'],
  ["../pluginname", ["/tmp"], "invalid plugin name: ../pluginname"],
  ["..", ["/tmp"], 'failed to find plugin ".." in path [/tmp]'],
  ["a\0b", ["/tmp"], "invalid plugin name: a\0b"],
];
for (const [type, dirs, message] of unfindable) {
  Deno.test(`findPlugin refuses ${JSON.stringify(type)} in ${dirs.length} dirs`, () => {
    const error = assertThrows(() => findPlugin(type, dirs), CniError);
    assertEquals(error.msg, message);
  });
}

Deno.test("splitPath drops empty directories", () => {
  assertEquals(splitPath(":/a::/b:"), ["/a", "/b"]);
  assertEquals(splitPath(""), []);
});

Deno.test("execPlugin hands over environment and stdin and gives stdout byte for byte", async () => {
  using plugins = new Recorder();
  const stdout = '{ "ips":  [] }\n\n';
  const path = plugins.add("noop", { ADD: { stdout } });
  assertEquals(await execPlugin(path, { env, stdin }), stdout);
  const [call] = plugins.calls("noop");
  assertEquals(call!.stdin, stdin);
  for (const [name, value] of Object.entries(env)) {
    assertEquals(call!.env[name], value);
  }
  assertEquals(call!.env.PATH, Deno.env.get("PATH"));
});

Deno.test("execPlugin hides the caller's own CNI variables, empty values too", async () => {
  using plugins = new Recorder();
  const path = plugins.add("noop");
  const before = Deno.env.get("CNI_ARGS");
  Deno.env.set("CNI_ARGS", "stale");
  try {
    await execPlugin(path, { env: { ...env, CNI_ARGS: "" }, stdin });
  } finally {
    if (before === undefined) Deno.env.delete("CNI_ARGS");
    else Deno.env.set("CNI_ARGS", before);
  }
  assertEquals(plugins.calls("noop")[0]!.env.CNI_ARGS, "");
});

Deno.test("execPlugin passes stderr on, also when the plugin fails", async () => {
  using plugins = new Recorder();
  const path = plugins.add("noop", {
    ADD: { stderr: "one\n" },
    DEL: { ...fails(50, "banana"), stderr: "two\n" },
  });
  let seen = "";
  const stderr = (text: string) => void (seen += text);
  await execPlugin(path, { env, stdin, stderr });
  const del = { ...env, CNI_COMMAND: "DEL" };
  await assertRejects(() => execPlugin(path, { env: del, stdin, stderr }));
  assertEquals(seen, "one\ntwo\n");
});

Deno.test("execPlugin survives a plugin that does not read a long stdin", async () => {
  using plugins = new Recorder();
  const path = `${plugins.dir}/deaf`;
  Deno.writeTextFileSync(path, "#!/bin/sh\necho {}\n", { mode: 0o755 });
  const long = JSON.stringify({ pad: "x".repeat(1 << 20) });
  assertEquals(await execPlugin(path, { env, stdin: long }), "{}\n");
});

const failures: readonly [string, Answer, number, string | RegExp][] = [
  ["an error object", fails(11, "banana"), 11, "banana"],
  ["code 0", fails(0, "zero"), 0, "zero"],
  [
    "only stderr",
    { exit: 1, stderr: "some stderr message" },
    110,
    'netplugin failed: "some stderr message": exit status 1',
  ],
  [
    "nothing",
    { exit: 3 },
    110,
    "netplugin failed with no error message: exit status 3",
  ],
  [
    "death by signal",
    { run: "kill -KILL $$" },
    110,
    "netplugin failed with no error message: signal: killed",
  ],
  [
    "text",
    { exit: 1, stdout: 'oops "x"' },
    110,
    /^netplugin failed but error parsing its diagnostic message "oops \\"x\\"": /,
  ],
  ["a list", { exit: 1, stdout: "[]" }, 110, /"\[\]": expected object/],
  ["two values", { exit: 1, stdout: "{}{}" }, 110, /diagnostic message/],
  [
    "a negative code",
    { exit: 1, stdout: '{"code":-1,"msg":"x"}' },
    110,
    /code is not an unsigned integer$/,
  ],
  [
    "a fractional code",
    { exit: 1, stdout: '{"code":1.5}' },
    110,
    /unsigned integer$/,
  ],
  [
    "a code as text",
    { exit: 1, stdout: '{"code":"5"}' },
    110,
    /unsigned integer$/,
  ],
  [
    "a result in place of an error",
    { exit: 1, stdout: '{"ips":[]}' },
    110,
    /it has no code and no msg$/,
  ],
];
for (const [name, answer, code, message] of failures) {
  Deno.test(`execPlugin of a plugin that fails with ${name}`, async () => {
    using plugins = new Recorder();
    const path = plugins.add("noop", { ADD: answer });
    const error = await assertRejects(
      () => execPlugin(path, { env, stdin, stderr: () => {} }),
      CniError,
    );
    assertEquals(error.code, code);
    if (typeof message === "string") assertEquals(error.msg, message);
    else assert(message.test(error.msg), error.msg);
  });
}

Deno.test("execPlugin keeps the details of an error object", async () => {
  using plugins = new Recorder();
  const stdout = JSON.stringify({ code: 7, msg: "m", details: "d" });
  const path = plugins.add("noop", { ADD: { exit: 1, stdout } });
  const error = await assertRejects(
    () => execPlugin(path, { env, stdin }),
    CniError,
  );
  assertEquals([error.code, error.msg, error.details], [7, "m", "d"]);
});

Deno.test("execPlugin names a file that cannot be started", async () => {
  using plugins = new Recorder();
  const path = plugins.add("noop");
  Deno.chmodSync(path, 0o600);
  const error = await assertRejects(
    () => execPlugin(path, { env, stdin }),
    CniError,
  );
  assertStringIncludes(error.msg, path);
  assertEquals(error.code, 110);
});

Deno.test("execPlugin ends a plugin after its deadline", async () => {
  using plugins = new Recorder();
  const path = plugins.add("sleeper", { "*": { run: "exec sleep 60" } });
  const error = await assertRejects(
    () => execPlugin(path, { env, stdin, deadline: 100 }),
    CniError,
  );
  assertEquals(
    error.msg,
    "netplugin failed with no error message: signal: killed",
  );
  assertStringIncludes(error.details, "no end after 100 ms");
});

Deno.test("execPlugin starts a plugin afresh, with its whole stdin, once its file is written", async () => {
  using plugins = new Recorder();
  const path = plugins.add("noop", { ADD: { stdout: "{}" } });
  const busy = Deno.openSync(path, { append: true });
  const pauses: number[] = [];
  const pause = (milliseconds: number) => {
    if (pauses.push(milliseconds) === 2) busy.close();
    return Promise.resolve();
  };
  assertEquals(await execPlugin(path, { env, stdin, pause }), "{}");
  assertEquals(pauses, [1000, 1000]);
  assertEquals(plugins.calls("noop").map(({ stdin }) => stdin), [stdin]);
});

Deno.test("execPlugin gives up on a busy file after six attempts, with an error", async () => {
  using plugins = new Recorder();
  const path = plugins.add("noop");
  using _busy = Deno.openSync(path, { append: true });
  let pauses = 0;
  const pause = () => Promise.resolve(void pauses++);
  const error = await assertRejects(
    () => execPlugin(path, { env, stdin, pause }),
    CniError,
  );
  assertStringIncludes(error.msg, "Text file busy");
  assertEquals(pauses, 5);
});

Deno.test("execVersion asks with dummies and the current version", async () => {
  using plugins = new Recorder();
  const versions = ["0.-42.0", "0.1.0", "1.1.0"];
  const path = plugins.add("noop", { VERSION: supports(versions) });
  assertEquals(await execVersion(path), versions);
  const [call] = plugins.calls("noop");
  assertEquals(call!.config, { cniVersion: "1.1.0" });
  const { CNI_COMMAND, CNI_NETNS, CNI_IFNAME, CNI_PATH, CNI_CONTAINERID } = call!.env;
  assertEquals(
    [CNI_COMMAND, CNI_NETNS, CNI_IFNAME, CNI_PATH, CNI_CONTAINERID],
    ["VERSION", "dummy", "dummy", "dummy", ""],
  );
});

Deno.test("execVersion takes a plugin older than the verb for 0.1.0", async () => {
  using plugins = new Recorder();
  const path = plugins.add("old", {
    VERSION: fails(4, "unknown CNI_COMMAND: VERSION"),
  });
  assertEquals(await execVersion(path), ["0.1.0"]);
});

Deno.test("execVersion passes other errors on", async () => {
  using plugins = new Recorder();
  const path = plugins.add("bad", { VERSION: fails(4, "banana") });
  const error = await assertRejects(() => execVersion(path), CniError);
  assertEquals(error.msg, "banana");
});

const versionInfos: readonly [string, string[] | RegExp][] = [
  [
    '{"cniVersion":"1.0.0","supportedVersions":["some-version","1.0.0"]}',
    ["some-version", "1.0.0"],
  ],
  ['{"cniVersion":"0.2.0"}', ["0.1.0", "0.2.0"]],
  [
    "{{{",
    /^decoding version info: invalid character '{' looking for beginning of object key string$/,
  ],
  ["{}", /^decoding version info: missing field cniVersion$/],
  [
    '{"cniVersion":"1.0.0"}',
    /^decoding version info: missing field supportedVersions$/,
  ],
];
for (const [text, expected] of versionInfos) {
  Deno.test(`parseVersionInfo reads ${text}`, () => {
    if (Array.isArray(expected)) {
      return assertEquals(parseVersionInfo(text), expected);
    }
    const error = assertThrows(() => parseVersionInfo(text), CniError);
    assert(expected.test(error.msg), error.msg);
  });
}

Deno.test("parseError reads a plugin's error object", () => {
  const { code, msg, details } = parseError('{"code":999,"msg":"banana"}');
  assertEquals([code, msg, details], [999, "banana", ""]);
});
