/// <reference lib="deno.unstable" />
import { assertEquals } from "@std/assert";
import rules, { longest } from "./lint.ts";

function broken(file: string, source: string): string[] {
  return Deno.lint.runPlugin(rules, file, source).map(({ id }) => id.replace("denocni/", ""));
}

Deno.test("import() takes a literal", () => {
  assertEquals(broken("cni/a.ts", 'const a = "./b.ts"; await import(a);'), ["literal-import"]);
  assertEquals(broken("cni/a.ts", 'await import("./b.ts");'), []);
});

Deno.test("one file starts programs", () => {
  const source = 'new Deno.Command("ip");';
  assertEquals(broken("ns/enter.ts", source), ["one-spawner"]);
  assertEquals(broken("tests/a_test.ts", source), ["one-spawner"]);
  for (const file of ["host/spawn.ts", "tests/harness/process.ts"]) {
    assertEquals(broken(file, source), [], file);
  }
  assertEquals(broken("ns/enter.ts", '// new Deno.Command\n"new Deno.Command";'), []);
});

Deno.test("an alias of Deno.Command is one too", () => {
  assertEquals(broken("ns/enter.ts", "const { spawn } = new (Deno.Command)('ip');"), [
    "one-spawner",
  ]);
});

Deno.test("plugins contain no try, their private parts included", () => {
  const source = "try { f(); } finally { g(); }";
  for (const file of ["plugins/bridge.ts", "ipam/host-local/store.ts", "meta/portmap.ts"]) {
    assertEquals(broken(file, source), ["no-try"], file);
  }
  for (const file of ["cni/serve.ts", "plugins/bridge_test.ts"]) {
    assertEquals(broken(file, source), [], file);
  }
});

Deno.test("shipped code re-exports nothing", () => {
  for (const source of ['export * from "./a.ts";', 'export { a } from "./a.ts";']) {
    assertEquals(broken("host/ip.ts", source), ["no-barrel"], source);
    assertEquals(broken("mod.ts", source), [], source);
    assertEquals(broken("types/std_assert.ts", source), [], source);
  }
  assertEquals(broken("host/ip.ts", "export { a }; const a = 1;"), []);
});

Deno.test("nothing imports node:", () => {
  for (
    const source of [
      'import fs from "node:fs"; fs;',
      'export * from "node:fs";',
      'await import("node:fs");',
    ]
  ) {
    assertEquals(broken("scripts/a.ts", source), ["no-node"], source);
  }
});

Deno.test("a function of shipped code is short", () => {
  const of = (lines: number) => `function f() {${"\n".repeat(lines - 1)}}`;
  assertEquals(broken("host/ip.ts", of(longest)), []);
  assertEquals(broken("host/ip.ts", of(longest + 1)), ["short-functions"]);
  assertEquals(broken("tests/a_test.ts", of(longest + 1)), []);
});
