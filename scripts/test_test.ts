import { assertEquals, assertThrows } from "@std/assert";
import { insideWords, longestFirst, readArguments, split } from "./test.ts";

Deno.test("launchers are tested, all files, unless something else is said", () => {
  assertEquals(readArguments([]), { packaging: "launchers", vm: false, files: [], flags: [] });
});

Deno.test("what is neither a packaging nor a file goes to deno test", () => {
  assertEquals(readArguments(["--compiled", "--", "--filter", "x y", "tests/a_test.ts"]), {
    packaging: "compiled",
    vm: false,
    files: ["tests/a_test.ts"],
    flags: ["--filter", "x y"],
  });
});

Deno.test("two packagings at once are refused", () => {
  assertThrows(() => readArguments(["--compiled", "--multicall"]), Error, "choose one of");
});

Deno.test("tests below tests/ need a kernel of their own", () => {
  assertEquals(split(["tests/a_test.ts", "./tests/b_test.ts", "host/ip_test.ts"]), {
    kernel: ["tests/a_test.ts", "./tests/b_test.ts"],
    pure: ["host/ip_test.ts"],
  });
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
