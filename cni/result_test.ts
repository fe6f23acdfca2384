import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { CniError } from "./error.ts";
import { formatResult, parsePrevResult, parseResult, stringifyResult } from "./result.ts";
import type { JsonObject, Result } from "./types.ts";
import { emptyResult } from "./types.ts";
import { versions } from "./version.ts";

/** One of everything. */
const full: Result = {
  interfaces: [
    { name: "cni0", mac: "00:11:22:33:44:55", mtu: 1500, socketPath: "/s", pciID: "8086:9a01" },
    { name: "eth0", mac: "00:11:22:33:44:66", sandbox: "/proc/3553/ns/net" },
  ],
  ips: [
    { address: "10.0.0.5/24", gateway: "10.0.0.1", interface: 0 },
    { address: "10.0.0.6/24" },
    { address: "fd00::1/64", interface: -1 },
  ],
  routes: [
    {
      dst: "0.0.0.0/0",
      gw: "10.0.0.1",
      mtu: 1400,
      advmss: 1340,
      priority: 9,
      table: 100,
      scope: 253,
    },
    { dst: "::/0" },
    { dst: "10.9.9.9/8", table: 0, scope: 0 },
  ],
  dns: { nameservers: ["1.2.3.4"], domain: "d", search: ["s"], options: ["o"] },
};

const newestJson = (cniVersion: string): JsonObject => ({
  cniVersion,
  dns: { domain: "d", nameservers: ["1.2.3.4"], options: ["o"], search: ["s"] },
  interfaces: [
    { mac: "00:11:22:33:44:55", mtu: 1500, name: "cni0", pciID: "8086:9a01", socketPath: "/s" },
    { mac: "00:11:22:33:44:66", name: "eth0", sandbox: "/proc/3553/ns/net" },
  ],
  ips: [
    { address: "10.0.0.5/24", gateway: "10.0.0.1", interface: 0 },
    { address: "10.0.0.6/24" },
    { address: "fd00::1/64", interface: -1 },
  ],
  routes: [
    {
      advmss: 1340,
      dst: "0.0.0.0/0",
      gw: "10.0.0.1",
      mtu: 1400,
      priority: 9,
      scope: 253,
      table: 100,
    },
    { dst: "::/0" },
    { dst: "10.9.9.9/8", scope: 0, table: 0 },
  ],
});

const olderJson = (cniVersion: string): JsonObject => ({
  cniVersion,
  interfaces: [
    { name: "cni0", mac: "00:11:22:33:44:55" },
    { name: "eth0", mac: "00:11:22:33:44:66", sandbox: "/proc/3553/ns/net" },
  ],
  ips: [
    { version: "4", interface: 0, address: "10.0.0.5/24", gateway: "10.0.0.1" },
    { version: "4", address: "10.0.0.6/24" },
    { version: "6", interface: -1, address: "fd00::1/64" },
  ],
  routes: [
    {
      dst: "0.0.0.0/0",
      gw: "10.0.0.1",
      mtu: 1400,
      advmss: 1340,
      priority: 9,
      table: 100,
      scope: 253,
    },
    { dst: "::/0" },
    { dst: "10.9.9.9/8", table: 0, scope: 0 },
  ],
  dns: { nameservers: ["1.2.3.4"], domain: "d", search: ["s"], options: ["o"] },
});

const oldestJson = (cniVersion: string): JsonObject => ({
  cniVersion,
  ip4: {
    ip: "10.0.0.5/24",
    gateway: "10.0.0.1",
    routes: [{ dst: "0.0.0.0/0", gw: "10.0.0.1" }, { dst: "10.9.9.9/8" }],
  },
  ip6: { ip: "fd00::1/64", routes: [{ dst: "::/0" }] },
  dns: { nameservers: ["1.2.3.4"], domain: "d", search: ["s"], options: ["o"] },
});

function expectedJson(version: string): JsonObject {
  if (version >= "1") return newestJson(version);
  return version >= "0.3" ? olderJson(version) : oldestJson(version);
}

for (const version of versions) {
  Deno.test(`formatResult writes ${version} to the letter, key order included`, () => {
    assertEquals(
      stringifyResult(formatResult(full, version)),
      JSON.stringify(expectedJson(version), undefined, 4),
    );
  });

  Deno.test(`parseResult reads what formatResult writes as ${version}`, () => {
    const document = formatResult(full, version);
    const { version: read, result } = parseResult(document, "");
    assertEquals(read, version);
    assertEquals(formatResult(result, version), document);
  });
}

Deno.test("every version is converted into every newer one and back without loss", () => {
  for (const from of versions) {
    for (const to of versions.slice(versions.indexOf(from))) {
      const there = formatResult(parseResult(expectedJson(from), from).result, to);
      const back = formatResult(parseResult(there, to).result, from);
      assertEquals(back, expectedJson(from), `${from} to ${to} and back`);
    }
  }
});

Deno.test("a result of 1.1.0 goes through 1.0.0 unchanged", () => {
  const older = formatResult(full, "1.0.0");
  assertEquals(parseResult(older, "1.0.0").result, full);
});

Deno.test("gateways of old routes are kept and none is invented", () => {
  const document = {
    cniVersion: "0.2.0",
    ip4: {
      ip: "10.1.2.3/24",
      gateway: "10.1.2.1",
      routes: [{ dst: "10.0.0.0/8", gw: "10.1.2.9" }, { dst: "11.0.0.0/8" }],
    },
    dns: {},
  };
  const newer = formatResult(parseResult(document, "").result, "0.4.0");
  assertEquals(newer.routes, [{ dst: "10.0.0.0/8", gw: "10.1.2.9" }, { dst: "11.0.0.0/8" }]);
  assertEquals(formatResult(parseResult(newer, "").result, "0.2.0"), document);
});

Deno.test("the IPv4 slot comes first, with its routes, and no index is made up", () => {
  const { result } = parseResult({
    ip6: { ip: "fd00::2/64", routes: [{ dst: "::/0" }] },
    ip4: { ip: "10.0.0.2/24", routes: [{ dst: "0.0.0.0/0" }] },
  }, "0.2.0");
  assertEquals(result, {
    interfaces: [],
    ips: [{ address: "10.0.0.2/24" }, { address: "fd00::2/64" }],
    routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
    dns: {},
  });
});

Deno.test("a route whose family has no address is left out of the oldest versions", () => {
  const result: Result = {
    ...emptyResult(),
    ips: [{ address: "fd00::2/64" }],
    routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
  };
  assertEquals(formatResult(result, "0.1.0"), {
    cniVersion: "0.1.0",
    ip6: { ip: "fd00::2/64", routes: [{ dst: "::/0" }] },
    dns: {},
  });
});

Deno.test("the oldest versions cannot hold a result without addresses", () => {
  for (const version of ["", "0.1.0", "0.2.0"]) {
    const error = assertThrows(() => formatResult(emptyResult(), version), CniError);
    assertEquals([error.code, error.msg], [1, "cannot convert: no valid IP addresses"]);
  }
});

const empties: readonly [string, JsonObject][] = [
  ["0.3.0", { cniVersion: "0.3.0", dns: {} }],
  ["0.3.1", { cniVersion: "0.3.1", dns: {} }],
  ["0.4.0", { cniVersion: "0.4.0", dns: {} }],
  ["1.0.0", { cniVersion: "1.0.0" }],
  ["1.1.0", { cniVersion: "1.1.0" }],
];
for (const [version, json] of empties) {
  Deno.test(`an empty result of ${version} is ${JSON.stringify(json)}`, () => {
    assertEquals(formatResult(emptyResult(), version), json);
    assertEquals(parseResult(json, "").result, emptyResult());
    const emptyLists = { nameservers: [], domain: "", search: [], options: [] };
    assertEquals(formatResult({ ...emptyResult(), dns: emptyLists }, version), json);
  });
}

Deno.test("values that mean unset are left out, and 0 where it is a value is kept", () => {
  const result: Result = {
    interfaces: [{ name: "", mac: "", mtu: 0, sandbox: "", socketPath: "", pciID: "" }],
    ips: [{ address: "10.0.0.5/24", gateway: "", interface: 0 }],
    routes: [{ dst: "::/0", gw: "", mtu: 0, advmss: 0, priority: 0, table: 0, scope: 0 }],
    dns: {},
  };
  assertEquals(formatResult(result, "1.1.0"), {
    cniVersion: "1.1.0",
    interfaces: [{ name: "" }],
    ips: [{ address: "10.0.0.5/24", interface: 0 }],
    routes: [{ dst: "::/0", scope: 0, table: 0 }],
  });
});

Deno.test("parseResult reads values that mean unset as absent", () => {
  const { result } = parseResult({
    cniVersion: "1.1.0",
    interfaces: [{ mac: "", mtu: 0, sandbox: null }],
    ips: [{ address: "10.0.0.5/24", gateway: "" }, { address: "10.0.0.6/24", gateway: null }],
    routes: [{ dst: "::/0", gw: null, mtu: 0, advmss: 0, priority: 0, table: 0, scope: 0 }],
    dns: null,
  }, "");
  assertEquals(result, {
    interfaces: [{ name: "" }],
    ips: [{ address: "10.0.0.5/24" }, { address: "10.0.0.6/24" }],
    routes: [{ dst: "::/0", table: 0, scope: 0 }],
    dns: {},
  });
});

Deno.test("every parsed result has lists of its own", () => {
  const [one, other] = [parseResult({}, "1.1.0").result, parseResult({}, "1.1.0").result];
  one.interfaces.push({ name: "eth0" });
  one.routes.push({ dst: "::/0" });
  one.dns.domain = "d";
  assertEquals(other, emptyResult());
});

Deno.test("newer interface fields in an older result are dropped", () => {
  const { result } = parseResult({
    cniVersion: "0.4.0",
    interfaces: [{ name: "eth0", mtu: 1500, socketPath: "/s", pciID: "p" }],
  }, "");
  assertEquals(result.interfaces, [{ name: "eth0" }]);
});

Deno.test("keys are matched without regard to case, an exact one first; unknown ones are lost", () => {
  const { version, result } = parseResult({
    CNIVERSION: "1.0.0",
    IPS: [{ Address: "10.0.0.5/24", version: 7 }],
    ips2: 1,
    ROUTES: [{ dst: "::/0" }],
    routes: [],
  }, "0.4.0");
  assertEquals(version, "1.0.0");
  assertEquals(result, { ...emptyResult(), ips: [{ address: "10.0.0.5/24" }] });
});

const addresses: readonly [string, string][] = [
  ["1.2.3.4/24", "1.2.3.4/24"],
  ["10.1.2.3/024", "10.1.2.3/24"],
  ["2001:DB8:0::/32", "2001:db8::/32"],
  ["::ffff:10.0.0.7/120", "10.0.0.7/24"],
];
for (const [text, canonical] of addresses) {
  Deno.test(`parseResult reads the address ${text} as ${canonical}`, () => {
    const { result } = parseResult({ ips: [{ address: text }] }, "1.1.0");
    assertEquals(result.ips, [{ address: canonical }]);
  });
}

const versionless: readonly [unknown, string, string][] = [
  [{}, "0.3.1", "0.3.1"],
  [{ cniVersion: "" }, "0.3.1", "0.3.1"],
  [{ cniVersion: null }, "0.3.1", "0.3.1"],
  [{ cniVersion: 5 }, "0.3.1", "0.3.1"],
  [{}, "", "0.1.0"],
  [null, "1.0.0", "1.0.0"],
  [{ cniVersion: "1.0.0" }, "0.2.0", "1.0.0"],
];
for (const [document, requested, version] of versionless) {
  Deno.test(`${JSON.stringify(document)} under a request of "${requested}" has version ${version}`, () => {
    assertEquals(parseResult(document, requested).version, version);
  });
}

const malformed: readonly [string, unknown, number, string][] = [
  [
    "an unknown version",
    { cniVersion: "4.3.2" },
    1,
    'unsupported CNI result version "4.3.2"',
  ],
  [
    "a list",
    [],
    6,
    "failed to unmarshal raw result: expected object but received []",
  ],
  [
    "a text",
    "{}",
    6,
    'failed to unmarshal raw result: expected object but received "{}"',
  ],
  [
    "an object for a list",
    { ips: {} },
    6,
    "Cannot read result: ips: expected list but received {}",
  ],
  [
    "a missing address",
    { ips: [{}] },
    6,
    "Cannot read result: ips[0].address: expected IP address with prefix length but received nothing",
  ],
  [
    "a number for an address",
    { ips: [{ address: 5 }] },
    6,
    "Cannot read result: ips[0].address: expected IP address with prefix length but received 5",
  ],
  [
    "an empty address",
    { ips: [{ address: "" }] },
    6,
    "Cannot read result: ips[0].address: invalid CIDR address: ",
  ],
  [
    "half an address",
    { ips: [{ address: "1.2.3/45" }] },
    6,
    "Cannot read result: ips[0].address: invalid CIDR address: 1.2.3/45",
  ],
  [
    "a prefix too long",
    { routes: [{ dst: "1.2.3.4/99" }] },
    6,
    "Cannot read result: routes[0].dst: invalid CIDR address: 1.2.3.4/99",
  ],
  [
    "a gateway that is none",
    { routes: [{ dst: "::/0", gw: "1.2.3.x" }] },
    6,
    "Cannot read result: routes[0].gw: invalid IP address: 1.2.3.x",
  ],
  [
    "null elements, all reported",
    { ips: [null], interfaces: [null], routes: [null] },
    6,
    "Cannot read result: interfaces[0]: expected object but received null; " +
    "ips[0]: expected object but received null; routes[0]: expected object but received null",
  ],
  [
    "a fraction",
    { ips: [{ address: "1.2.3.4/24", interface: 0.5 }] },
    6,
    "Cannot read result: ips[0].interface: expected integer but received 0.5",
  ],
  [
    "a number for a name",
    { interfaces: [{ name: 1 }] },
    6,
    "Cannot read result: interfaces[0].name: expected string but received 1",
  ],
  [
    "an old slot without an address",
    { cniVersion: "0.2.0", ip4: { gateway: "1.2.3.4" } },
    6,
    "Cannot read result: ip4.ip: expected IP address with prefix length but received nothing",
  ],
  [
    "a server name that is none",
    { dns: { nameservers: [1] } },
    6,
    "Cannot read result: dns.nameservers[0]: expected string but received 1",
  ],
];
for (const [name, document, code, message] of malformed) {
  Deno.test(`parseResult refuses ${name}`, () => {
    const error = assertThrows(() => parseResult(document, "1.1.0"), CniError);
    assertEquals(error.toJson(), { code, msg: message });
  });
}

Deno.test("formatResult refuses a version that does not exist and takes none as 0.1.0", () => {
  const error = assertThrows(() => formatResult(full, "4.3.2"), CniError);
  assertEquals(error.toJson(), {
    code: 1,
    msg: "no converter for CNI result version 1.1.0 to 4.3.2",
  });
  assertEquals(formatResult(full, "").cniVersion, "0.1.0");
});

Deno.test("parsePrevResult gives nothing when there is none", () => {
  assertStrictEquals(parsePrevResult({}, "1.1.0"), undefined);
  assertStrictEquals(parsePrevResult({ prevResult: null }, "1.1.0"), undefined);
});

Deno.test("parsePrevResult ignores the old version key and keeps the new fields", () => {
  const { result } = parseResult(newestJson("1.0.0"), "");
  const prevResult = {
    ...newestJson("1.0.0"),
    ips: [{ version: "4", address: "10.0.0.5/24", interface: 0 }],
  };
  assertEquals(parsePrevResult({ prevResult }, "1.0.0"), {
    ...result,
    ips: [{ address: "10.0.0.5/24", interface: 0 }],
  });
});

Deno.test("parsePrevResult reads a result without version as the configuration's", () => {
  const prevResult = { ip4: { ip: "10.0.0.5/24" } };
  assertEquals(parsePrevResult({ prevResult }, "0.2.0")?.ips, [{ address: "10.0.0.5/24" }]);
  assertEquals(parsePrevResult({ prevResult }, "")?.ips, [{ address: "10.0.0.5/24" }]);
  assertEquals(parsePrevResult({ prevResult }, "0.4.0")?.ips, []);
});

Deno.test("parsePrevResult takes another version of the same family", () => {
  const prevResult = { cniVersion: "0.3.0", ips: [{ version: "4", address: "10.0.0.5/24" }] };
  assertEquals(parsePrevResult({ prevResult }, "0.4.0")?.ips, [{ address: "10.0.0.5/24" }]);
  const empty = { cniVersion: "", ip4: { ip: "10.0.0.5/24" } };
  assertEquals(parsePrevResult({ prevResult: empty }, "0.2.0")?.ips.length, 1);
});

const foreign: readonly [JsonObject[string], string, string][] = [
  [
    { cniVersion: "5678.456" },
    "1.1.0",
    'result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "5678.456"',
  ],
  [
    { cniVersion: "0.2.0" },
    "1.1.0",
    'result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.2.0"',
  ],
  [
    { cniVersion: "1.0.0" },
    "0.3.1",
    'result type supports [0.3.0 0.3.1 0.4.0] but unmarshalled CNIVersion is "1.0.0"',
  ],
  [
    { cniVersion: "1.0.0" },
    "0.2.0",
    'result type supports [ 0.1.0 0.2.0] but unmarshalled CNIVersion is "1.0.0"',
  ],
  [
    { cniVersion: "" },
    "1.0.0",
    'result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is ""',
  ],
  [{ cniVersion: 1 }, "1.0.0", "cniVersion: expected string but received 1"],
  [{}, "4.3.2", 'unsupported CNI result version "4.3.2"'],
  ["eth0", "1.0.0", 'expected object but received "eth0"'],
  [{ ips: [{ address: "x" }] }, "1.0.0", "ips[0].address: invalid CIDR address: x"],
];
for (const [prevResult, version, message] of foreign) {
  Deno.test(`parsePrevResult refuses ${JSON.stringify(prevResult)} under ${version}`, () => {
    const error = assertThrows(() => parsePrevResult({ prevResult }, version), CniError);
    assertEquals(error.toJson(), { code: 7, msg: `could not parse prevResult: ${message}` });
  });
}

Deno.test("stringifyResult indents by four and ends without a newline", () => {
  assertEquals(
    stringifyResult({ a: [1], b: {} }),
    '{\n    "a": [\n        1\n    ],\n    "b": {}\n}',
  );
});
