import { assert, assertEquals } from "@std/assert";
import type { Problem } from "./imports.ts";
import { budgetOf, check, codeLines, readGraph, sourceFiles } from "./imports.ts";

const config = {
  imports: {
    "@std/assert": "./types/std_assert.ts",
    "@std/path/posix/join": "./types/std_path_join.ts",
  },
};

/** A small tree in which every rule holds. */
const sound: Readonly<Record<string, string>> = {
  "deno.json": JSON.stringify(config),
  "types/std_assert.ts": "export const assert = 1;\n",
  "types/std_path_join.ts": "export const join = 1;\n",
  "host/ip.ts": 'import { join } from "@std/path/posix/join";\nexport const ip = join;\n',
  "host/ip_test.ts":
    'import { assert } from "@std/assert";\nimport { help } from "../tests/harness/help.ts";\nassert; help;\n',
  "ns/netns.ts": 'import { ip } from "../host/ip.ts";\nexport const netns = ip;\n',
  "cni/types.ts": "export interface Result { ip: string }\n",
  "plugins/bridge.ts":
    'import { part } from "./bridge/part.ts";\nimport type { Result } from "../cni/types.ts";\nexport const plugin: Result | unknown = part;\n',
  "plugins/bridge/part.ts":
    'import { netns } from "../../ns/netns.ts";\nexport const part = netns;\n',
  "ipam/static.ts": "export const plugin = 1;\n",
  "registry.ts":
    'export const load = [() => import("./plugins/bridge.ts"), () => import("./ipam/static.ts")];\n',
  "cli/main.ts": 'import { load } from "../registry.ts";\nexport const main = load;\n',
  "mod.ts": 'export * from "./host/ip.ts";\n',
  "lib/host.ts": 'export * from "../host/ip.ts";\nexport * from "../registry.ts";\n',
  "main.ts": 'import { load } from "./registry.ts";\nload; import("./cli/main.ts");\n',
  "tests/harness/help.ts":
    'import "../../main.ts";\nimport "../../mod.ts";\nimport "../../lib/host.ts";\nexport const help = 1;\n',
};

/** Problems of the sound tree with some files in place of its own. */
async function problems(changes: Readonly<Record<string, string>>): Promise<string[]> {
  const root = await Deno.makeTempDir();
  for (const [file, text] of Object.entries({ ...sound, ...changes })) {
    const folder = `${root}/${file}`.replace(/\/[^/]*$/, "");
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(`${root}/${file}`, text);
  }
  const found = check(await readGraph(root));
  await Deno.remove(root, { recursive: true });
  return found.map(line);
}

function line({ file, line, message }: Problem): string {
  return `${file}:${line}: ${message}`;
}

Deno.test("a sound tree has no problem", async () => {
  assertEquals(await problems({}), []);
});

Deno.test("a file does not import from further right, types included", async () => {
  assertEquals(
    await problems({
      "host/ip.ts":
        'import type { Result } from "../cni/types.ts";\nexport const ip = 1 as Result;\n',
      "ns/netns.ts": '\nexport const netns = () => import("../main.ts");\n',
      "cli/main.ts": 'import "../tests/harness/help.ts";\nexport const main = 1;\n',
    }),
    [
      "cli/main.ts:1: cli imports from the left only, and tests is not: tests/harness/help.ts",
      "cli/main.ts:1: import cycle: cli/main.ts → tests/harness/help.ts → main.ts → cli/main.ts",
      "host/ip.ts:1: host imports from the left only, and cni is not: cni/types.ts",
      "ns/netns.ts:2: ns imports from the left only, and main.ts is not: main.ts",
    ],
  );
});

Deno.test("nothing that is shipped imports the library's entry files, types included", async () => {
  assertEquals(
    await problems({
      "cni/types.ts": 'export type { ip } from "../mod.ts";\n',
      "plugins/bridge.ts": 'import { ip } from "../mod.ts";\nexport const plugin = ip;\n',
      "plugins/bridge/part.ts": 'export { ip as part } from "../../lib/host.ts";\n',
      "main.ts": 'import "./lib/host.ts";\n',
    }),
    [
      "cni/types.ts:1: cni imports from the left only, and mod.ts is not: mod.ts",
      "main.ts:1: main.ts imports from the left only, and lib is not: lib/host.ts",
      "plugins/bridge.ts:1: plugins imports from the left only, and mod.ts is not: mod.ts",
      "plugins/bridge/part.ts:1: plugins imports from the left only, and lib is not: lib/host.ts",
    ],
  );
});

Deno.test("plugins do not know each other, within a folder or across", async () => {
  assertEquals(
    await problems({
      "plugins/bridge/part.ts":
        'import { plugin } from "../../ipam/static.ts";\nexport const part = plugin;\n',
      "plugins/ptp.ts": 'import { part } from "./bridge/part.ts";\nexport const plugin = part;\n',
      "registry.ts": `${sound["registry.ts"]}import("./plugins/ptp.ts");\n`,
    }),
    [
      "plugins/bridge/part.ts:1: plugins do not know each other: ipam/static.ts",
      "plugins/ptp.ts:1: plugins do not know each other: plugins/bridge/part.ts",
    ],
  );
});

Deno.test("packages are listed, and tests alone have theirs", async () => {
  assertEquals(
    await problems({
      "host/ip.ts": 'import { assert } from "@std/assert";\nexport const ip = assert;\n',
      "ns/netns.ts":
        'import "node:fs";\nimport "../types/std_assert.ts";\nexport const netns = 1;\n',
    }),
    [
      'host/ip.ts:1: package "@std/assert" is not on the list in scripts/imports.ts',
      "ns/netns.ts:1: no `node:` imports: node:fs",
      "ns/netns.ts:2: reach types/ through the import map, not by path: ../types/std_assert.ts",
    ],
  );
});

Deno.test("plugins are loaded lazily, and by the registry", async () => {
  assertEquals(
    await problems({
      "registry.ts": 'import { plugin } from "./plugins/bridge.ts";\nexport const load = plugin;\n',
    }),
    [
      "ipam/static.ts:1: registry.ts does not load it by import()",
      "lib/host.ts:1: plugins/bridge.ts is not loaded lazily",
      "lib/host.ts:1: plugins/bridge/part.ts is not loaded lazily",
      "main.ts:1: plugins/bridge.ts is not loaded lazily",
      "main.ts:1: plugins/bridge/part.ts is not loaded lazily",
      "plugins/bridge.ts:1: registry.ts does not load it by import()",
    ],
  );
});

Deno.test("a plugin stays within its budget of lines and bytes", async () => {
  const { lines, bytes } = budgetOf("static");
  const long = Array.from({ length: lines + 1 }, (_, i) => `export const p${i} = 1;\n`).join("");
  assertEquals(
    await problems({
      "ipam/static.ts": `${long}import "../host/ip.ts";\n`,
      "host/ip.ts": `export const ip = 1; // ${"x".repeat(bytes)}\n`,
      "plugins/bridge/part.ts": "export const part = 1;\n",
    }).then((found) => found.map((it) => it.replace(/\d+ bytes/, "N bytes"))),
    [
      `ipam/static.ts:1: ${lines + 2} lines of code, at most ${lines}`,
      `ipam/static.ts:1: loads N bytes of code, at most ${bytes}`,
    ],
  );
});

/** A plugin with rooms in which every rule holds. */
const housed: Readonly<Record<string, string>> = {
  "registry.ts": `${sound["registry.ts"]}import("./ipam/dhcp.ts");\n`,
  "ipam/dhcp.ts": 'import { part } from "./dhcp/part.ts";\nexport const plugin = part;\n',
  "ipam/dhcp/part.ts":
    'import { lease } from "./lease/lease.ts";\nimport { message } from "./codec/message.ts";\nexport const part = [lease, message];\n',
  "ipam/dhcp/lease/lease.ts":
    'import { exchange } from "../exchange/exchange.ts";\nimport { ip } from "../../../host/ip.ts";\nexport const lease = [exchange, ip];\n',
  "ipam/dhcp/exchange/exchange.ts":
    'import { message } from "../codec/message.ts";\nexport const exchange = message;\n',
  "ipam/dhcp/codec/message.ts":
    'import { bytes } from "./bytes.ts";\nexport const message = bytes;\n',
  "ipam/dhcp/codec/bytes.ts": "export const bytes = 1;\n",
};

Deno.test("rooms that import from the left are no problem", async () => {
  assertEquals(await problems(housed), []);
});

Deno.test("a room imports from rooms to its left only, types included", async () => {
  assertEquals(
    await problems({
      ...housed,
      "ipam/dhcp/codec/message.ts":
        'import type { Lease } from "../lease/types.ts";\nexport const message = 1 as Lease;\n',
      "ipam/dhcp/lease/types.ts": "export type Lease = number;\n",
      "ipam/dhcp/exchange/exchange.ts":
        'import { conf } from "../conf/conf.ts";\nimport "../codec/message.ts";\nexport const exchange = conf;\n',
      "ipam/dhcp/conf/conf.ts": "export const conf = 1;\n",
      "ipam/dhcp/agent/agent.ts": 'import { other } from "../other.ts";\nother;\n',
      "ipam/dhcp/other.ts": "export const other = 1;\n",
    }),
    [
      "ipam/dhcp/agent/agent.ts:1: room agent imports from the left only, and no room is not: ipam/dhcp/other.ts",
      "ipam/dhcp/codec/message.ts:1: room codec imports from the left only, and lease is not: ipam/dhcp/lease/types.ts",
      "ipam/dhcp/exchange/exchange.ts:1: room exchange imports from the left only, and conf is not: ipam/dhcp/conf/conf.ts",
    ],
  );
});

Deno.test("a folder beside rooms that is no room is a problem", async () => {
  assertEquals(
    await problems({
      ...housed,
      "ipam/dhcp/part.ts": 'import { x } from "./util/x.ts";\nexport const part = x;\n',
      "ipam/dhcp/util/x.ts": "export const x = 1;\n",
    }),
    ["ipam/dhcp/part.ts:1: ipam/dhcp/util is no room"],
  );
});

Deno.test("a cycle is a problem, by whatever kind of import", async () => {
  assertEquals(
    await problems({
      "host/ip.ts":
        '\nimport type { A } from "./a.ts";\nexport const ip = 1 as A;\nexport type B = A;\n',
      "host/a.ts": 'import { c } from "./c.ts";\nimport "./ip.ts";\nexport type A = number;\nc;\n',
      "host/c.ts": 'export const c = () => import("./d.ts");\n',
      "host/d.ts": 'import "./c.ts";\nimport "./e.ts";\n',
      "host/e.ts": "export const e = 1;\n",
      "tests/harness/one.ts": 'import type { Two } from "./two.ts";\nexport type One = Two;\n',
      "tests/harness/two.ts": 'import type { One } from "./one.ts";\nexport type Two = One[];\n',
    }),
    [
      "host/a.ts:2: import cycle: host/a.ts → host/ip.ts → host/a.ts",
      "host/c.ts:1: import cycle: host/c.ts → host/d.ts → host/c.ts",
      "tests/harness/one.ts:1: import cycle: tests/harness/one.ts → tests/harness/two.ts → tests/harness/one.ts",
    ],
  );
});

Deno.test("shipped code imports neither tests nor test doubles; tests and doubles do", async () => {
  assertEquals(
    await problems({
      "host/testing.ts": 'import "./testing_ip.ts";\nexport const fake = 1;\n',
      "host/testing_ip.ts": "export const fakeIp = 1;\n",
      "host/fake_test.ts": 'import "./testing.ts";\nimport "./more_test.ts";\n',
      "host/more_test.ts": "export const more = 1;\n",
      "tests/harness/help.ts": 'import "../../host/testing.ts";\nexport const help = 1;\n',
      "ns/netns.ts":
        'import type {} from "../host/testing.ts";\nimport "../host/more_test.ts";\nexport const netns = 1;\n',
      "cli/main.ts": 'export const main = () => import("../host/testing_ip.ts");\n',
      "ns/testing_netns.ts": 'import { assert } from "@std/assert";\nassert;\n',
    }),
    [
      "cli/main.ts:1: shipped code imports what is for tests: host/testing_ip.ts",
      "ns/netns.ts:1: shipped code imports what is for tests: host/testing.ts",
      "ns/netns.ts:2: shipped code imports what is for tests: host/more_test.ts",
      'ns/testing_netns.ts:1: package "@std/assert" is not on the list in scripts/imports.ts',
    ],
  );
});

Deno.test("a folder that no layer knows is a problem", async () => {
  assertEquals(
    await problems({ "util/a.ts": 'import { ip } from "../host/ip.ts";\nip;\n' }),
    ["util/a.ts:1: util is in no layer"],
  );
});

Deno.test("a file that is not there is a problem", async () => {
  const [first] = await problems({ "ns/netns.ts": 'export * from "../host/none.ts";\n' });
  assert(first?.includes("host/none.ts"), first);
});

Deno.test("lines of code are those that are neither blank nor comment", () => {
  assertEquals(codeLines("/** a\n * b\n */\n\nconst a = 1;\n// c\n  f();\n"), [
    "const a = 1;",
    "  f();",
  ]);
});

Deno.test("source files are found in every folder but those of builds", async () => {
  const root = await Deno.makeTempDir();
  for (const file of ["b.ts", "a/c.ts", "a/d.d.ts", "dist/e.ts", ".git/f.ts", "g.md"]) {
    await Deno.mkdir(`${root}/${file}`.replace(/\/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${root}/${file}`, "");
  }
  assertEquals(sourceFiles(root), ["a/c.ts", "b.ts"]);
  await Deno.remove(root, { recursive: true });
});
