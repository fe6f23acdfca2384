import { assert, assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import type { Decoder, Issue } from "./decode.ts";
import {
  anyObject,
  boolean,
  cidr,
  decodeForRemoval,
  decodeOrThrow,
  expected,
  formatIssue,
  integer,
  ip,
  isObject,
  list,
  lookup,
  map,
  object,
  oneOf,
  optional,
  refine,
  required,
  string,
  stringThat,
  withDefault,
} from "./decode.ts";
import { CniError } from "./error.ts";

/** The value and every issue as a line. */
function decode<T>(decoder: Decoder<T>, value: unknown): [T | undefined, ...string[]] {
  const issues: Issue[] = [];
  const decoded = decoder.decode(value, "", issues);
  return [decoded, ...issues.map(formatIssue)];
}

// deno-lint-ignore no-explicit-any
const accepted: readonly [string, Decoder<any>, unknown, unknown][] = [
  ["string", string(), "", ""],
  ["string", string(), "a b", "a b"],
  ["stringThat", stringThat("short", (text) => text.length < 3), "ab", "ab"],
  ["oneOf", oneOf(["l2", "l3"]), "l3", "l3"],
  ["boolean", boolean(), false, false],
  ["integer", integer(), -5, -5],
  ["integer", integer(), 1.0, 1],
  ["integer", integer({ min: 1, max: 3 }), 1, 1],
  ["integer", integer({ min: 1, max: 3 }), 3, 3],
  ["ip", ip(), "FD00:0::1", "fd00::1"],
  ["ip", ip(), "::ffff:10.0.0.7", "10.0.0.7"],
  ["cidr", cidr(), "10.1.2.3/08", "10.1.2.3/8"],
  ["list", list(integer()), [], []],
  ["list", list(integer()), [1, 2], [1, 2]],
  ["anyObject", anyObject(), { a: [1] }, { a: [1] }],
];
for (const [name, decoder, value, result] of accepted) {
  Deno.test(`${name} takes ${JSON.stringify(value)}`, () => {
    assertEquals(decode(decoder, value), [result]);
  });
}

const short = stringThat("short word", (text) => text.length < 3);
const bounded = integer({ min: 1, max: 4094 });
// deno-lint-ignore no-explicit-any
const refused: readonly [string, Decoder<any>, unknown, string][] = [
  ["string", string(), 5, "expected string but received 5"],
  ["string", string(), null, "expected string but received null"],
  ["string", string(), undefined, "expected string but received nothing"],
  ["string", string(), "a\nb", 'expected string but received "a\\nb"'],
  ["string", string(), "a\rb", 'expected string but received "a\\rb"'],
  ["string", string(), "a\0", 'expected string but received "a\\u0000"'],
  ["stringThat", short, "abc", 'expected short word but received "abc"'],
  ["stringThat", short, ["a"], 'expected short word but received ["a"]'],
  ["oneOf", oneOf(["l2", "l3"]), "L2", 'expected "l2" or "l3" but received "L2"'],
  ["boolean", boolean(), "true", 'expected boolean but received "true"'],
  ["boolean", boolean(), 0, "expected boolean but received 0"],
  ["integer", integer(), 1.5, "expected integer but received 1.5"],
  ["integer", integer(), "1", 'expected integer but received "1"'],
  ["integer", integer(), 1e300, "expected integer but received 1e+300"],
  ["integer", bounded, 5000, "expected integer 1–4094 but received 5000"],
  ["integer", bounded, 0, "expected integer 1–4094 but received 0"],
  ["integer", integer({ min: 0 }), -1, "expected integer from 0 but received -1"],
  ["ip", ip(), "1.2.3", 'expected IP address but received "1.2.3"'],
  ["ip", ip(), "", 'expected IP address but received ""'],
  [
    "cidr",
    cidr(),
    "1.2.3.4",
    'expected IP address with prefix length but received "1.2.3.4"',
  ],
  ["list", list(integer()), {}, "expected list but received {}"],
  ["anyObject", anyObject(), [], "expected object but received []"],
  ["object", object({}), "a", 'expected object but received "a"'],
];
for (const [name, decoder, value, message] of refused) {
  Deno.test(`${name} refuses ${JSON.stringify(value)}`, () => {
    assertEquals(decode(decoder, value), [undefined, message]);
  });
}

Deno.test("integer may say itself what is wrong with a number, and with numbers only", () => {
  const decoder = integer({ min: 0, max: 9, message: (value) => `invalid VLAN ID ${value}` });
  assertEquals(decode(decoder, 10), [undefined, "invalid VLAN ID 10"]);
  assertEquals(decode(decoder, "x"), [undefined, 'expected integer 0–9 but received "x"']);
});

Deno.test("expected() cuts long values", () => {
  const message = expected("integer", "x".repeat(100));
  assertEquals(message, `expected integer but received "${"x".repeat(76)}…`);
});

const range = object({
  minID: required(bounded, "First."),
  maxID: required(bounded, "Last."),
});
const conf = object({
  bridge: withDefault(string(), "cni0", "Name of the bridge."),
  mtu: optional(integer({ min: 0 }), "Bytes."),
  vlanTrunk: optional(list(range), "VLANs."),
});

Deno.test("object fills in defaults, and undefined for what is optional", () => {
  assertEquals(decode(conf, {}), [{ bridge: "cni0", mtu: undefined, vlanTrunk: undefined }]);
});

Deno.test("object takes null for absent and ignores unknown keys", () => {
  assertEquals(decode(conf, { bridge: null, mtu: null, other: 1 }), [
    { bridge: "cni0", mtu: undefined, vlanTrunk: undefined },
  ]);
});

Deno.test("object finds keys whatever their case, an exact one first", () => {
  assertEquals(decode(conf, { BRIDGE: "a", Mtu: 1 })[0], {
    bridge: "a",
    mtu: 1,
    vlanTrunk: undefined,
  });
  assertEquals(decode(conf, { bridge: "exact", BRIDGE: "other" })[0]!.bridge, "exact");
});

Deno.test("object reports every issue with its path", () => {
  const value = { bridge: 5, mtu: -1, vlanTrunk: [{ minID: 1, maxID: 5000 }, 7] };
  const [, ...issues] = decode(conf, value);
  assertEquals(issues, [
    "bridge: expected string but received 5",
    "mtu: expected integer from 0 but received -1",
    "vlanTrunk[0].maxID: expected integer 1–4094 but received 5000",
    "vlanTrunk[1]: expected object but received 7",
  ]);
});

Deno.test("object reports every key that is missing", () => {
  assertEquals(decode(range, {}), [
    undefined,
    "minID: expected integer 1–4094 but received nothing",
    "maxID: expected integer 1–4094 but received nothing",
  ]);
});

Deno.test("a wrong field gives its default, a list leaves wrong elements out", () => {
  const value = { bridge: 5, mtu: "x", vlanTrunk: [{ minID: 1, maxID: 2 }, { minID: 1 }, null] };
  assertEquals(decode(conf, value)[0], {
    bridge: "cni0",
    mtu: undefined,
    vlanTrunk: [{ minID: 1, maxID: 2 }],
  });
});

Deno.test("keys of every object are only its own", () => {
  const fields = object({ constructor: optional(string(), "A key like any other.") });
  assertEquals(decode(fields, {}), [{ constructor: undefined }]);
});

Deno.test("refine checks a whole value and reports by path", () => {
  const ordered = refine(range, ({ minID, maxID }, report) => {
    if (minID > maxID) report("maxID", `expected at least ${minID} but received ${maxID}`);
  });
  assertEquals(decode(ordered, { minID: 1, maxID: 2 }), [{ minID: 1, maxID: 2 }]);
  const [value, ...issues] = decode(list(ordered), [{ minID: 3, maxID: 2 }]);
  assertEquals(issues, ["[0].maxID: expected at least 3 but received 2"]);
  assertEquals(value, [{ minID: 3, maxID: 2 }]);
});

Deno.test("refine leaves a value alone that has issues already", () => {
  let called = 0;
  const counting = refine(range, () => void called++);
  decode(counting, { minID: 1 });
  assertEquals(called, 0);
  // An issue of a neighbour is none of this value.
  const [, ...issues] = decode(list(refine(range, (_, report) => report("", "bad"))), [
    {},
    { minID: 1, maxID: 2 },
  ]);
  assertEquals(issues.at(-1), "[1]: bad");
});

Deno.test("refine may report an element of a list", () => {
  const unique = refine(list(integer()), (_, report) => report("[1]", "twice"));
  assertEquals(decode(object({ ids: required(unique, "IDs.") }), { ids: [1, 1] }).slice(1), [
    "ids[1]: twice",
  ]);
});

Deno.test("map turns a value, and is not called for a wrong one", () => {
  const upper = map(string(), (text) => text.toUpperCase());
  assertEquals(decode(upper, "a"), ["A"]);
  assertEquals(decode(upper, 1), [undefined, "expected string but received 1"]);
});

Deno.test("isObject is true for objects only", () => {
  assertEquals([{}, [], null, "a", 1, undefined].map(isObject), [
    true,
    false,
    false,
    false,
    false,
    false,
  ]);
});

Deno.test("lookup prefers the exact key, then the last one of another case", () => {
  assertStrictEquals(lookup({ A: 1, a: 2 }, "A"), 1);
  assertStrictEquals(lookup({ Ab: 1, aB: 2 }, "ab"), 2);
  assertStrictEquals(lookup({ ab: null, AB: 2 }, "ab"), null);
  assertStrictEquals(lookup({}, "toString"), undefined);
});

Deno.test("decodeOrThrow lists every issue with code 7", () => {
  const error = assertThrows(
    () => decodeOrThrow(conf, { bridge: 5, mtu: -1 }, "network configuration"),
    CniError,
  );
  assertEquals(error.toJson(), {
    code: 7,
    msg: "Cannot use network configuration: bridge: expected string but received 5; " +
      "mtu: expected integer from 0 but received -1",
  });
  assertEquals(decodeOrThrow(conf, { mtu: 5 }, "x").mtu, 5);
});

Deno.test("decodeForRemoval takes wrong fields for absent ones", () => {
  const value = { bridge: 5, mtu: "x" };
  assertEquals(decodeForRemoval(conf, value, "x"), {
    bridge: "cni0",
    mtu: undefined,
    vlanTrunk: undefined,
  });
});

Deno.test("decodeForRemoval throws only when nothing can be made of the value", () => {
  const error = assertThrows(() => decodeForRemoval(conf, "a", "configuration"), CniError);
  assertEquals(error.msg, 'Cannot use configuration: expected object but received "a"');
  assertThrows(() => decodeForRemoval(range, { minID: 1 }, "configuration"), CniError, "maxID");
});

Deno.test("a decoder keeps fields and elements for the documentation", () => {
  assertEquals(Object.keys(conf.fields!), ["bridge", "mtu", "vlanTrunk"]);
  assertEquals(conf.fields!.bridge!.default, "cni0");
  assertEquals(withDefault(string(), "", "A name.", "made up").defaultText, "made up");
  assert(list(range).element?.fields?.minID);
  assertEquals(list(bounded).expects, "list of integer 1–4094");
  assertEquals(refine(range, () => {}).fields, range.fields);
});
