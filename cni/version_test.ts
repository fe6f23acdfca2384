import { assert, assertEquals, assertThrows } from "@std/assert";
import { CniError } from "./error.ts";
import {
  atLeast,
  compareVersions,
  formatVersionObject,
  latest,
  oldest,
  parseVersion,
  reconcile,
  versions,
  versionsFrom,
} from "./version.ts";

const readable: readonly [string, [number, number, number]][] = [
  ["1.2.3", [1, 2, 3]],
  ["", [0, 1, 0]],
  ["7", [7, 0, 0]],
  ["7.8", [7, 8, 0]],
  ["01.+1.-42", [1, 1, -42]],
];
for (const [text, parts] of readable) {
  Deno.test(`parseVersion reads "${text}"`, () => assertEquals(parseVersion(text), parts));
}

const unreadable: readonly [string, string][] = [
  ["1.2.3.4.5", 'invalid version "1.2.3.4.5": too many parts'],
  ["1.2.3.", 'invalid version "1.2.3.": too many parts'],
  ["asdf.adsf.", 'failed to convert major version part "asdf": invalid syntax'],
  ["asdfasdf", 'failed to convert major version part "asdfasdf": invalid syntax'],
  ["asdf.", 'failed to convert major version part "asdf": invalid syntax'],
  [".asdfas", 'failed to convert major version part "": invalid syntax'],
  ["..", 'failed to convert major version part "": invalid syntax'],
  [" 1.0.0", 'failed to convert major version part " 1": invalid syntax'],
  ["0.", 'failed to convert minor version part "": invalid syntax'],
  ["1.0x1", 'failed to convert minor version part "0x1": invalid syntax'],
  ["1.0.0-rc1", 'failed to convert micro version part "0-rc1": invalid syntax'],
  ["1.0.1e3", 'failed to convert micro version part "1e3": invalid syntax'],
  ["1.0.0\n", 'failed to convert micro version part "0\\n": invalid syntax'],
  [
    "1.0.9223372036854775808",
    'failed to convert micro version part "9223372036854775808": value out of range',
  ],
];
for (const [text, message] of unreadable) {
  Deno.test(`parseVersion refuses ${JSON.stringify(text)}`, () => {
    const error = assertThrows(() => parseVersion(text), CniError);
    assertEquals([error.code, error.msg], [6, message]);
  });
}

const newerAndOlder: readonly [string, string][] = [
  ["1.2.34", "1.2.14"],
  ["2.5.4", "2.4.4"],
  ["1.2.3", "0.2.3"],
  ["0.4.0", "0.3.1"],
  ["1.1.1", "1.1.0"],
  ["1.10.0", "1.9.9"],
  ["0.2.0", ""],
];
for (const [newer, older] of newerAndOlder) {
  Deno.test(`"${newer}" is newer than "${older}"`, () => {
    assert(compareVersions(newer, older) > 0);
    assert(compareVersions(older, newer) < 0);
    assert(atLeast(newer, older));
    assert(!atLeast(older, newer));
  });
}

Deno.test("equal versions are at least each other, however they are written", () => {
  for (const [a, b] of [["1.2.3", "1.2.3"], ["1.1", "1.1.0"], ["", oldest]] as const) {
    assertEquals(compareVersions(a, b), 0);
    assert(atLeast(a, b));
  }
});

Deno.test("atLeast refuses a malformed version on either side", () => {
  assertThrows(() => atLeast("1.2.3", "banana"), CniError, "banana");
  assertThrows(() => atLeast("banana", "1.2.3"), CniError, "banana");
});

Deno.test("versionsFrom gives the rest of the list", () => {
  assertEquals(versionsFrom("0.3.1"), ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
  assertEquals(versionsFrom(""), [...versions]);
  assertEquals(versionsFrom("1.1.1"), []);
});

Deno.test("versions are in order and end with the latest", () => {
  assertEquals([...versions].sort(compareVersions), [...versions]);
  assertEquals(versions.at(-1), latest);
  assertEquals(versions[0], oldest);
});

Deno.test("reconcile accepts a supported version, which need not exist", () => {
  reconcile("4.3.2", ["1.2.3", "4.3.2"]);
});

const irreconcilable: readonly [string, string[], string][] = [
  ["0.1.0", ["1.2.3", "4.3.2"], 'config is "0.1.0", plugin supports ["1.2.3" "4.3.2"]'],
  ["0.1.0", ["4.3.2"], 'config is "0.1.0", plugin supports ["4.3.2"]'],
  ["1.1", ["1.1.0"], 'config is "1.1", plugin supports ["1.1.0"]'],
  ["some garbage", ["1.1.0"], 'config is "some garbage", plugin supports ["1.1.0"]'],
];
for (const [version, supported, details] of irreconcilable) {
  Deno.test(`reconcile refuses "${version}" for ${supported.join(", ")}`, () => {
    const error = assertThrows(() => reconcile(version, supported), CniError);
    assertEquals(error.toJson(), { code: 1, msg: "incompatible CNI versions", details });
  });
}

Deno.test("formatVersionObject writes one line in the reference's order", () => {
  assertEquals(
    formatVersionObject(["9.8.7", "10.0.0"]),
    '{"cniVersion":"1.1.0","supportedVersions":["9.8.7","10.0.0"]}',
  );
});
