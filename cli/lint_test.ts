import { assertEquals } from "@std/assert";
import { Recorder } from "../tests/harness/recorder.ts";
import { parseNetwork } from "../cni/runtime/config.ts";
import { createExecutor } from "../cni/runtime/executor.ts";
import { Runtime } from "../cni/runtime/runtime.ts";
import type { JsonObject } from "../cni/types.ts";
import { loadPlugin } from "../registry.ts";
import { run } from "./main.ts";
import { lint } from "./lint.ts";

const hostLocal = { type: "host-local", ranges: [[{ subnet: "10.1.2.0/24" }]] };
const bridge: JsonObject = { type: "bridge", bridge: "cni0", isGateway: true, ipam: hostLocal };

/** A type that no plugin of the project can have: its file would be taken for a test. */
const foreign = "foreign_test";

/** Findings for a list that is right but for what is changed. */
async function findingsOf(keys: JsonObject, path: string[] = []): Promise<string[]> {
  const list = { name: "mynet", cniVersion: "1.1.0", plugins: [bridge], ...keys };
  const executor = createExecutor({ path, load: loadPlugin, inProcessIfMissing: true });
  const runtime = new Runtime({ executor });
  const findings = await lint(parseNetwork(JSON.stringify(list)), runtime);
  return findings.map(({ severity, message }) => `${severity}: ${message}`);
}

function withBridge(keys: JsonObject): JsonObject {
  return { plugins: [{ ...bridge, ...keys }] };
}

const cases: readonly [string, JsonObject, string[]][] = [
  ["nothing wrong", {}, []],
  ["a chain", { plugins: [bridge, { type: "portmap", capabilities: { portMappings: true } }] }, []],
  [
    "a mistyped key of the list",
    { disableGc: true },
    ['warning: disableGc: nothing reads this key; did you mean "disableGC"?'],
  ],
  ["a key of another spelling", withBridge({ ISGATEWAY: true, isGateway: true }), []],
  [
    "a mistyped key",
    withBridge({ isGatway: true }),
    ['warning: plugins[0].isGatway: nothing reads this key; did you mean "isGateway"?'],
  ],
  [
    "a mistyped key of the IPAM section",
    withBridge({
      ipam: { ...hostLocal, ranges: [[{ subnet: "10.1.2.0/24", gatway: "10.1.2.1" }]] },
    }),
    [
      'warning: plugins[0].ipam.ranges[0][0].gatway: nothing reads this key; did you mean "gateway"?',
    ],
  ],
  [
    "a key that only the runtime sets",
    withBridge({ runtimeConfig: {} }),
    [
      "warning: plugins[0].runtimeConfig: the runtime sets this key; what is written here does not count",
    ],
  ],
  [
    "a wrong value",
    withBridge({ isGateway: "yes" }),
    ['error: plugins[0].isGateway: expected boolean but received "yes"'],
  ],
  [
    "a mode that the IPAM plugin cannot work in",
    { plugins: [{ type: "ipvlan", mode: "l3", ipam: { type: "dhcp" } }] },
    [
      'error: plugins[0].mode: "l3" carries no broadcasts, which "dhcp" needs: use "l2"',
    ],
  ],
  [
    "a version that nobody supports",
    { cniVersion: "1.2.0" },
    [
      'error: plugins[0].type: plugin "bridge" does not support version "1.2.0"',
      'error: plugins[0].ipam.type: plugin "host-local" does not support version "1.2.0"',
    ],
  ],
  [
    "a name that is refused at ADD",
    { name: "my net" },
    ["error: name: invalid characters found in network name; my net"],
  ],
  [
    "a plugin that is missing",
    { plugins: [{ type: foreign, anything: 1 }] },
    ["error: plugins[0].type: no paths provided"],
  ],
];
for (const [name, keys, expected] of cases) {
  Deno.test(`lint of ${name}`, async () => {
    assertEquals(await findingsOf(keys), expected);
  });
}

Deno.test("lint finds a wrong value of the IPAM section once", async () => {
  const ipam = { ...hostLocal, ranges: [[{ subnet: "10.1.2.0/33" }]] };
  const findings = await findingsOf(withBridge({ ipam }));
  assertEquals(findings.length, 1);
  assertEquals(findings[0]!.startsWith("error: plugins[0].ipam.ranges[0][0].subnet: "), true);
});

Deno.test("lint leaves the keys of another's plugin alone", async () => {
  using plugins = new Recorder();
  plugins.add(foreign);
  const keys = { plugins: [{ type: foreign, anything: { goes: true } }] };
  assertEquals(await findingsOf(keys, [plugins.dir]), []);
  const ipam = { type: foreign, anything: 1 };
  assertEquals(await findingsOf(withBridge({ ipam }), [plugins.dir]), []);
});

async function validate(...args: string[]) {
  let stdout = "";
  const exit = await run(["validate", ...args], {
    env: () => undefined,
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stdout += text),
    stdoutIsTerminal: false,
    stderrIsTerminal: false,
    signal: new AbortController().signal,
  });
  return { exit, stdout };
}

Deno.test("validate judges a directory, a network and a file, and fails for errors alone", async () => {
  const dir = Deno.makeTempDirSync();
  const write = (name: string, list: JsonObject) =>
    Deno.writeTextFileSync(`${dir}/${name}`, JSON.stringify({ cniVersion: "1.1.0", ...list }));
  try {
    write("10-good.conflist", { name: "good", plugins: [{ ...bridge, mut: 1400 }] });
    const good = await validate("good", "--conf-dir", dir);
    assertEquals(good, {
      exit: 0,
      stdout: `good (${dir}): ok\n` +
        '  warning: plugins[0].mut: nothing reads this key; did you mean "mtu"?\n',
    });
    write("20-bad.conf", { name: "bad", ...bridge, mtu: "big" });
    const bad = await validate(`${dir}/20-bad.conf`);
    assertEquals(bad.exit, 1);
    Deno.writeTextFileSync(`${dir}/30-broken.conflist`, "{");
    const all = await validate("--conf-dir", dir, "--json");
    assertEquals(all.exit, 1);
    const judged = JSON.parse(all.stdout) as { network: string | null; findings: JsonObject[] }[];
    assertEquals(judged.map(({ network }) => network), ["good", null, "bad"]);
    assertEquals(judged.map(({ findings }) => findings[0]!.severity), [
      "warning",
      "error",
      "error",
    ]);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
