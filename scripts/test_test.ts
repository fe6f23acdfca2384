import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { spawn } from "../host/spawn.ts";
import { root } from "./build.ts";
import { insideWords, longestFirst, readArguments, requireUse } from "./test.ts";

const plain = { packaging: undefined, orLaunchers: false, vm: false, paths: [], flags: [] };

Deno.test("all files are tested, packed as usual, unless something else is said", () => {
  assertEquals(readArguments([]), plain);
});

Deno.test("what stands behind -- goes to deno test", () => {
  assertEquals(readArguments(["--compiled", "tests/a_test.ts", "--", "--filter", "/a b/"]), {
    ...plain,
    packaging: "compiled",
    paths: ["tests/a_test.ts"],
    flags: ["--filter", "/a b/"],
  });
});

Deno.test("an option that does not exist is refused", () => {
  for (const arg of ["--compield", "--filter", "-v"]) {
    assertThrows(() => readArguments([arg]), Error, `Cannot use "${arg}": no such option`);
  }
});

Deno.test("a file behind -- is refused, which every run of deno test would get", () => {
  const args = ["--", "--filter", "x", "tests/a_test.ts"];
  const message = 'Cannot use "tests/a_test.ts": files are named before --';
  assertThrows(() => readArguments(args), Error, message);
});

Deno.test("two packagings at once are refused", () => {
  assertThrows(() => readArguments(["--compiled", "--multicall"]), Error, "choose one of");
});

Deno.test("launchers in place of executables are tested by request only", () => {
  for (const packaging of ["compiled", "multicall"] as const) {
    const plan = { ...plain, packaging, orLaunchers: true };
    assertEquals(readArguments(["--or-launchers", `--${packaging}`]), plan);
    assertEquals(readArguments([`--${packaging}`]).orLaunchers, false);
  }
  for (const args of [["--or-launchers"], ["--launchers", "--or-launchers"]]) {
    assertThrows(() => readArguments(args), Error, "launchers are tested anyway");
  }
});

Deno.test("an option that the files have no use for is refused", () => {
  const files = { kernel: [], pure: ["host/ip_test.ts"] };
  const multicall = readArguments(["--multicall", "host/ip_test.ts"]);
  assertThrows(
    () => requireUse(multicall, files),
    Error,
    "none of the tests is about packed plugins",
  );
  const vm = readArguments(["--vm", "host/ip_test.ts"]);
  assertThrows(() => requireUse(vm, files), Error, 'Cannot test "host/ip_test.ts" in a guest');
  const all = { kernel: ["tests/a_test.ts"], pure: ["host/ip_test.ts"] };
  requireUse(readArguments(["--vm", "--compiled"]), all);
});

/** Status and last lines of `deno task test`, which tests one file beside the code. */
async function testDummy(...args: string[]): Promise<{ code: number; lines: string[] }> {
  const words = ["run", "-A", "--no-check", `${root}/scripts/test.ts`, "plugins/dummy_test.ts"];
  const { code, stdout, stderr } = await spawn(Deno.execPath(), [...words, ...args], {
    inherit: true,
    env: { NO_COLOR: "1" },
    deadline: 600_000,
  });
  return { code, lines: `${stderr}${stdout}`.trim().split("\n") };
}

Deno.test("a run of nothing is a failure, and a run of something is none", async () => {
  const nothing = await testDummy("--", "--filter", "zzznothing");
  assertEquals([nothing.code, nothing.lines.at(-1)], [1, "0 passed, 0 failed"]);
  assert(nothing.lines.includes("Cannot run any of the tests: the filter matches none"));
  const { code, lines } = await testDummy();
  assertEquals(code, 0);
  assertMatch(lines.at(-1)!, /^[1-9]\d* passed, 0 failed$/);
});

Deno.test("only root enters private namespaces without one of users", () => {
  assertEquals(insideWords(0).length, 1);
  assertEquals(insideWords(1000).slice(0, 3), ["unshare", "--user", "--map-root-user"]);
});

Deno.test("longestFirst() starts with what takes long", () => {
  assertEquals(
    longestFirst(["tests/conformance_test.ts", "tests/netns_test.ts", "tests/kill_test.ts"]),
    [
      "tests/kill_test.ts",
      "tests/conformance_test.ts",
      "tests/netns_test.ts",
    ],
  );
});
