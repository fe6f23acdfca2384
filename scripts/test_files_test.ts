import { assert, assertEquals, assertThrows } from "@std/assert";
import { root } from "./build.ts";
import { chooseTests, findTests, split } from "./test_files.ts";

const files = ["host/ip_test.ts", "plugins/bridge_test.ts", "tests/a_test.ts", "tests/b_test.ts"];

Deno.test("findTests() finds tests of both kinds, and nothing else", () => {
  const found = findTests(root);
  assert(found.includes("scripts/test_files_test.ts"));
  assert(found.includes("tests/bridge_test.ts"));
  assertEquals(found.filter((file) => !file.endsWith("_test.ts")), []);
});

Deno.test("all tests are chosen where none is named", () => {
  assertEquals(chooseTests(files, []), files);
  assertEquals(chooseTests(files, ["."]), files);
});

Deno.test("a path names a file or a folder, with or without a slash, once", () => {
  assertEquals(chooseTests(files, ["./host/ip_test.ts"]), ["host/ip_test.ts"]);
  for (const folder of ["tests", "tests/", "./tests/"]) {
    assertEquals(chooseTests(files, [folder, "tests/b_test.ts"]), files.slice(2));
  }
});

Deno.test("a path that names no test is refused", () => {
  for (const path of ["tests/bridg_test.ts", "test", "host/ip.ts", "bridge"]) {
    const message = `Cannot test "${path}": there is neither a test file nor a folder with one`;
    assertThrows(() => chooseTests(files, [path]), Error, message);
  }
});

Deno.test("tests below tests/ need a kernel of their own", () => {
  assertEquals(split(files), { kernel: files.slice(2), pure: files.slice(0, 2) });
});
