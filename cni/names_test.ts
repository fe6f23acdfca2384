import { assert, assertEquals, assertThrows } from "@std/assert";
import { CniError } from "./error.ts";
import {
  checkContainerId,
  checkIfName,
  checkNetworkName,
  checkNewIfName,
  isIfName,
  isNewIfName,
  isPluginType,
} from "./names.ts";

const identifiers = ["a51debf7e1eb", "eth0", "0", "a..b", "trailing.", "A_b-C", "x".repeat(300)];
const badIdentifiers = ["1234%%%", "some-%%container-id", "te%%st", "-a", ".a", "_a", "a/b", "ok\n"]
  .concat("\nok", "é", "a b", "a\0");

Deno.test("identifiers of the pattern are container IDs and network names", () => {
  for (const name of identifiers) {
    checkContainerId(name);
    checkNetworkName(name);
  }
});

for (const name of badIdentifiers) {
  Deno.test(`${JSON.stringify(name)} is no container ID and no network name`, () => {
    const asId = assertThrows(() => checkContainerId(name), CniError);
    assertEquals(asId.toJson(), {
      code: 4,
      msg: "invalid characters in containerID",
      details: name,
    });
    const asNetwork = assertThrows(() => checkNetworkName(name), CniError);
    assertEquals(asNetwork.toJson(), {
      code: 7,
      msg: "invalid characters found in network name",
      details: name,
    });
  });
}

Deno.test("empty identifiers are missing ones", () => {
  const id = assertThrows(() => checkContainerId(""), CniError);
  assertEquals(id.toJson(), { code: 3, msg: "missing containerID" });
  const network = assertThrows(() => checkNetworkName(""), CniError);
  assertEquals(network.toJson(), { code: 7, msg: "missing network name:" });
});

const empty = { code: 4, msg: "interface name is empty" };
const long = {
  code: 4,
  msg: "interface name is too long",
  details: "interface name should be less than 16 characters",
};
const dots = { code: 4, msg: "interface name is . or .." };
const characters = {
  code: 4,
  msg: "interface name contains / or : or whitespace characters",
};
const badIfNames: readonly [string, typeof empty | typeof long][] = [
  ["", empty],
  ["testnamemorethan16", long],
  ["sixteen/bytes/a:", long],
  ["é".repeat(8), long],
  [".", dots],
  ["..", dots],
  ["/testname", characters],
  ["a/b", characters],
  ["eth0:1", characters],
  ["test name", characters],
  ["a\0b", characters],
  ["a\ud800", { code: 4, msg: "interface name contains half a character" }],
];
for (const [name, json] of badIfNames) {
  Deno.test(`${JSON.stringify(name)} is no interface name`, () => {
    assertEquals(assertThrows(() => checkIfName(name), CniError).toJson(), json);
    assert(!isIfName(name));
  });
}

/** White space as the reference has it. */
const whiteSpace = [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x85, 0xa0, 0x1680].concat(
  Array.from({ length: 11 }, (_, index) => 0x2000 + index),
  [0x2028, 0x2029, 0x202f, 0x205f, 0x3000],
);

Deno.test("no white space of Unicode is part of an interface name, and nothing else is white space", () => {
  const refused = [];
  for (let code = 1; code <= 0xffff; code++) {
    const lone = code >= 0xd800 && code <= 0xdfff;
    if (!lone && !isIfName(`a${String.fromCodePoint(code)}b`)) refused.push(code);
  }
  const expected = [...whiteSpace, "/".charCodeAt(0), ":".charCodeAt(0)];
  assertEquals(refused, expected.sort((a, b) => a - b));
});

Deno.test("unusual interface names that the kernel takes are accepted", () => {
  for (const name of ["testname", "x".repeat(15), "-a", "...", "a%b", "é", "up", "a\ufeffb"]) {
    checkIfName(name);
    assert(isIfName(name));
  }
});

Deno.test("names that the kernel gives to no new interface are refused for one", () => {
  for (const name of ["a%b", "eth%d", "%", "all", "default", "", "a/b"]) {
    assert(!isNewIfName(name), name);
    const { code, msg } = assertThrows(() => checkNewIfName(name), CniError);
    assertEquals(code, 4);
    assertEquals(msg, `Cannot use CNI_IFNAME "${name}": the kernel gives no interface this name`);
  }
  for (const name of ["eth0", "All", "default0", "é", "a'b", "-a"]) {
    assert(isNewIfName(name), name);
    checkNewIfName(name);
  }
});

Deno.test("isPluginType takes plain file names only", () => {
  for (const name of ["bridge", "host-device", "a", "0x", "_a", "my.plugin", "a..b"]) {
    assert(isPluginType(name), name);
  }
  for (
    const name of ["", ".", "..", ".a", "-a", "a/b", "../bridge", "a b", "a\n", "a\0", "é", "%"]
  ) {
    assert(!isPluginType(name), name);
  }
});
