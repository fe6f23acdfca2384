import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { CniError } from "../error.ts";
import type { JsonObject } from "../types.ts";
import { inject, networkFromPlugin, parseNetwork, parsePlugin } from "./config.ts";

const plugin = { type: "noop" };

function parse(list: unknown) {
  return parseNetwork(JSON.stringify(list));
}

/** A list that is right but for what is changed. */
function listWith(changes: Record<string, unknown>): Record<string, unknown> {
  const list: Record<string, unknown> = { name: "net", cniVersion: "1.0.0", plugins: [plugin] };
  return Object.fromEntries(
    Object.entries({ ...list, ...changes }).filter(([, value]) => value !== undefined),
  );
}

Deno.test("parseNetwork reads a list and keeps its text", () => {
  const list = {
    name: "some-list",
    cniVersion: "0.2.0",
    disableCheck: true,
    extra: 1,
    plugins: [{ type: "host-local", subnet: "10.0.0.1/24", b: { z: 1, a: [2, 1] } }, plugin],
  };
  const text = JSON.stringify(list, null, 2);
  const network = parseNetwork(text);
  assertEquals(network.name, "some-list");
  assertEquals(network.cniVersion, "0.2.0");
  assertEquals(network.disableCheck, true);
  assertEquals(network.disableGC, false);
  assertEquals(network.text, text);
  assertEquals(network.plugins.map(({ type }) => type), ["host-local", "noop"]);
  assertEquals(
    network.plugins[0]!.text,
    '{"b":{"a":[2,1],"z":1},"subnet":"10.0.0.1/24","type":"host-local"}',
  );
});

Deno.test("parseNetwork accepts comments, and keeps JSON that others can read", () => {
  const network = parseNetwork(
    '// a list\n{"name": "net", /* here */ "plugins": [{"type": "noop"}]}',
  );
  assertEquals(JSON.parse(network.text), { name: "net", plugins: [plugin] });
});

Deno.test("parsePlugin reads capabilities with their values", () => {
  const { capabilities, type, name, cniVersion } = parsePlugin(
    JSON.stringify({
      ...plugin,
      name: "n",
      cniVersion: "1.0.0",
      capabilities: { portMappings: true, somethingElse: true, noCapability: false },
    }),
  );
  assertEquals(capabilities, { portMappings: true, somethingElse: true, noCapability: false });
  assertEquals([type, name, cniVersion], ["noop", "n", "1.0.0"]);
});

const flags: readonly [string, unknown, boolean][] = [
  ["disableCheck", "true", true],
  ["disableCheck", "false", false],
  ["disableCheck", "TRUE", true],
  ["disableGC", true, true],
  ["disableGC", undefined, false],
  ["loadOnlyInlinedPlugins", true, true],
  ["loadOnlyInlinedPlugins", undefined, false],
];
for (const [key, value, expected] of flags) {
  Deno.test(`parseNetwork takes ${key} ${JSON.stringify(value)} for ${expected}`, () => {
    const network = parse(listWith({ [key]: value }));
    assertEquals(network[key as "disableGC"], expected);
  });
}

const prefix = "error parsing configuration list: ";
const wrong: readonly [Record<string, unknown>, string][] = [
  [{ name: undefined }, `${prefix}no name`],
  [{ name: 5 }, `${prefix}invalid name type number`],
  [{ cniVersion: 1 }, `${prefix}invalid cniVersion type number`],
  [
    { disableCheck: "adsfasdfasf" },
    `${prefix}invalid value "adsfasdfasf" for disableCheck`,
  ],
  [
    { loadOnlyInlinedPlugins: "sphagnum" },
    `${prefix}invalid value "sphagnum" for loadOnlyInlinedPlugins`,
  ],
  [{ disableGC: null }, `${prefix}invalid type null for disableGC`],
  [
    { disableGC: 1, disableCheck: 1 },
    `${prefix}invalid type number for disableCheck`,
  ],
  [{ plugins: null }, `${prefix}invalid 'plugins' type null`],
  [{ plugins: {} }, `${prefix}invalid 'plugins' type object`],
  [{ plugins: [] }, `${prefix}no plugins in list`],
  [
    { plugins: undefined, loadOnlyInlinedPlugins: true },
    `${prefix}\`loadOnlyInlinedPlugins\` is true, and no 'plugins' key`,
  ],
  [
    { plugins: [plugin, 5] },
    "failed to parse plugin config 1: error parsing configuration: expected object but received 5",
  ],
  ...[null, {}, { type: "" }, { tpye: "noop" }].map((element): [
    Record<string, unknown>,
    string,
  ] => [
    { plugins: [element] },
    "failed to parse plugin config 0: error parsing configuration: missing 'type'",
  ]),
  [
    { plugins: [{ ...plugin, name: 5 }] },
    "failed to parse plugin config 0: error parsing configuration: name: expected string but received 5",
  ],
  [{ cniVersions: "1.0.0" }, `${prefix}invalid type for cniVersions: string`],
  [{ cniVersions: [1] }, `${prefix}invalid type for cniVersions index 0: number`],
];
for (const [changes, message] of wrong) {
  Deno.test(`parseNetwork refuses ${JSON.stringify(changes)}`, () => {
    const error = assertThrows(() => parse(listWith(changes)), CniError);
    assertEquals(error.msg, message);
  });
}

Deno.test("parseNetwork names what is wrong with the text", () => {
  const error = assertThrows(() => parseNetwork("{"), CniError);
  assertEquals(error.msg, `${prefix}unexpected end of JSON input`);
  assertEquals(error.code, 6);
  assertThrows(() => parseNetwork('\ufeff{"name":"x"}'), CniError, "invalid character");
  assertThrows(() => parseNetwork("[]"), CniError, `${prefix}expected object but received list`);
});

Deno.test("parseNetwork gives an empty list when plugins may come from a folder", () => {
  assertEquals(parse(listWith({ plugins: undefined })).plugins, []);
});

Deno.test("parseNetwork matches the keys of a list by their case", () => {
  assertThrows(() => parse({ Name: "x", plugins: [plugin] }), CniError, "no name");
});

Deno.test("parsePlugin refuses a configuration without type", () => {
  const error = assertThrows(() => parsePlugin('{"name":"some-plugin"}'), CniError);
  assertEquals(error.msg, "error parsing configuration: missing 'type'");
});

const selections: readonly [Record<string, unknown>, string][] = [
  [{ cniVersions: ["1.1.0", "0.4.0", "1.0.0"] }, "1.1.0"],
  [{ cniVersions: ["99.0.0", "1.1.0", "0.4.0", "1.0.0"] }, "1.1.0"],
  [{ cniVersion: "1.2.3" }, "1.2.3"],
  [{ cniVersion: "1.0.0", cniVersions: ["0.1.0", "0.4.0"] }, "1.0.0"],
  [{ cniVersions: [] }, ""],
  [{ cniVersion: "2.0.0", cniVersions: ["3.0.0"] }, "2.0.0"],
  [{ cniVersion: "garbage" }, "garbage"],
];
for (const [changes, expected] of selections) {
  Deno.test(`parseNetwork chooses "${expected}" from ${JSON.stringify(changes)}`, () => {
    assertEquals(parse({ name: "net", plugins: [plugin], ...changes }).cniVersion, expected);
  });
}

Deno.test("parseNetwork refuses a version it cannot compare, also one it would skip", () => {
  for (const cniVersions of [["1.1.0", "1.0.f"], ["99.0.x"]]) {
    assertThrows(() => parse(listWith({ cniVersions })), CniError, "invalid cniVersions entry");
  }
  const changes = { cniVersion: "x", cniVersions: [] };
  assertThrows(() => parse(listWith(changes)), CniError, "invalid cniVersion x: ");
});

Deno.test("networkFromPlugin makes a list of one whose text parses back to it", () => {
  const single = parsePlugin(JSON.stringify({ ...plugin, name: "net", cniVersion: "0.4.0" }));
  const network = networkFromPlugin(single);
  assertEquals([network.name, network.cniVersion], ["net", "0.4.0"]);
  assertEquals(network.plugins.map(({ config }) => config), [single.config]);
  assertEquals(parseNetwork(network.text), network);
});

Deno.test("networkFromPlugin leaves list keys of a single configuration without effect", () => {
  const network = networkFromPlugin(
    parsePlugin(
      JSON.stringify({ ...plugin, name: "net", disableGC: true, cniVersions: ["1.1.0"] }),
    ),
  );
  assertEquals([network.disableGC, network.cniVersion], [false, ""]);
});

Deno.test("inject sets and replaces keys, whole, and leaves the original alone", () => {
  const config: JsonObject = { type: "noop", dns: { domain: "a", search: ["b"] } };
  const once = inject(config, { foo: "bar", dns: { domain: "c" } });
  assertEquals(JSON.stringify(once), '{"dns":{"domain":"c"},"foo":"bar","type":"noop"}');
  assertEquals(inject(once, { foo: "bar" }), once);
  assertEquals(config, { type: "noop", dns: { domain: "a", search: ["b"] } });
});

Deno.test("inject refuses an empty key and an absent value", () => {
  assertThrows(() => inject({}, { "": "x" }), CniError, "keys cannot be empty");
  assertThrows(() => inject({}, { test: null }), CniError, "key 'test' value must not be nil");
});

Deno.test("parsePlugin names the line of a malformed text", () => {
  const error = assertThrows(() => parsePlugin('{\n"type": "noop"\n"a": 1}'), CniError);
  assertMatch(
    error.msg,
    /^error parsing configuration: invalid character .* \(line 3, column 1\)$/,
  );
});
