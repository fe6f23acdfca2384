import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { decodeForRemoval, decodeOrThrow } from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { formatIp } from "../../host/ip.ts";
import { conditionsOf, conf, formatMapping, mappingsOf, requireOptionsFor } from "./conf.ts";

function decode(config: JsonObject) {
  return decodeOrThrow(conf, config, "network configuration");
}

function mapped(...portMappings: readonly JsonObject[]): JsonObject {
  return { runtimeConfig: { portMappings: [...portMappings] } };
}

const good = { hostPort: 8080, containerPort: 80, protocol: "tcp" };

/** The message of the refusal. */
function refusal(config: JsonObject): string {
  const error = assertThrows(() => decode(config), CniError);
  assertEquals(error.code, codes.invalidNetworkConfig);
  return error.msg;
}

Deno.test("defaults are the reference's", () => {
  const { snat, masqAll, backend, markMasqBit, runtimeConfig } = decode({});
  assertEquals([snat, masqAll, backend, markMasqBit], [true, false, undefined, undefined]);
  assertEquals(runtimeConfig.portMappings, []);
});

Deno.test("keys match in any letter case", () => {
  const value = decode({ RuntimeConfig: { PortMappings: [{ ...good, HostIP: "10.0.0.1" }] } });
  assertEquals(formatIp(value.runtimeConfig.portMappings[0]!.hostIp!), "10.0.0.1");
});

Deno.test("a mapping has ranges, a lower-case protocol and an address only if one is given", () => {
  const [one, two, three] = decode(mapped(
    { ...good, protocol: "UDP", hostIP: "" },
    { hostPort: "30000-30010", containerPort: 40000, protocol: "sctp" },
    { hostPort: "20000-20001", containerPort: "7-8" },
  )).runtimeConfig.portMappings;
  assertEquals(one, {
    protocol: "udp",
    host: { first: 8080, last: 8080 },
    container: { first: 80, last: 80 },
  });
  assertEquals(two!.container, { first: 40000, last: 40010 });
  assertEquals(three, {
    protocol: "tcp",
    host: { first: 20000, last: 20001 },
    container: { first: 7, last: 8 },
  });
});

const refused: readonly (readonly [string, JsonObject, RegExp])[] = [
  ["host port 0", mapped({ ...good, hostPort: 0 }), /Invalid host port number: 0$/],
  ["a negative host port", mapped({ ...good, hostPort: -1 }), /Invalid host port number: -1$/],
  ["host port 65536", mapped({ ...good, hostPort: 65536 }), /Invalid host port number: 65536$/],
  [
    "container port 0",
    mapped({ ...good, containerPort: 0 }),
    /Invalid container port number: 0$/,
  ],
  [
    "a port that is text",
    mapped({ ...good, hostPort: "http" }),
    /portMappings\[0\]\.hostPort: expected port 1–65535 or range of ports but received "http"/,
  ],
  [
    "a range that runs backwards",
    mapped({ ...good, hostPort: "9-8" }),
    /Invalid host port number: 9-8/,
  ],
  [
    "ranges of different lengths",
    mapped({ ...good, hostPort: "10-20", containerPort: "30-31" }),
    /expected as many ports as hostPort \(10-20\) but received 30-31/,
  ],
  [
    "a range in place of one port",
    mapped({ ...good, containerPort: "30-31" }),
    /expected as many ports as hostPort \(8080\)/,
  ],
  [
    "a range that is moved beyond the last port",
    mapped({ ...good, hostPort: "10-20", containerPort: 65530 }),
    /Invalid container port number: 65530-65540/,
  ],
  [
    "a protocol without ports",
    mapped({ ...good, protocol: "icmp" }),
    /portMappings\[0\]\.protocol: expected "sctp" or "tcp" or "udp" but received "icmp"/,
  ],
  ["a host name", mapped({ ...good, hostIP: "host" }), /hostIP: expected IP address/],
  [
    "a port twice",
    mapped(good, { ...good, containerPort: 81 }),
    /\[1\]: host port 8080\/tcp is mapped by \[0\] already/,
  ],
  [
    "a port twice, once within a range",
    mapped({ ...good, hostPort: "8000-9000", containerPort: 8000 }, good),
    /\[1\]: host port 8080\/tcp is mapped by \[0\] already/,
  ],
  [
    "a port twice, once for one family",
    mapped(good, { ...good, hostIP: "0.0.0.0" }),
    /\[1\]: host port 8080\/tcp is mapped/,
  ],
  ["an unknown back end", { backend: "pf" }, /unrecognized backend "pf"/],
  [
    "a mark bit and a chain",
    { markMasqBit: 5, externalSetMarkChain: "X" },
    /Cannot specify externalSetMarkChain and markMasqBit/,
  ],
  ["mark bit 32", { markMasqBit: 32 }, /MasqMarkBit must be between 0 and 31/],
  ["mark bit -1", { markMasqBit: -1 }, /MasqMarkBit must be between 0 and 31/],
  [
    "conditions of nftables with iptables",
    { backend: "iptables", conditionsV4: ["a", "b"], conditionsV6: ["c", "d"] },
    /iptables backend was requested but configuration contains nftables-specific options \[conditionsV4 conditionsV6\]/,
  ],
  [
    "options of iptables with nftables",
    {
      backend: "nftables",
      externalSetMarkChain: "KUBE-MARK-MASQ",
      conditionsV4: ["-a", "b"],
      conditionsV6: ["!", "-c", "d"],
    },
    /nftables backend was requested but configuration contains iptables-specific options \[externalSetMarkChain conditionsV4 conditionsV6\]/,
  ],
  ["a chain that is two words", { externalSetMarkChain: "A -j B" }, /name of a chain/],
];

for (const [name, config, pattern] of refused) {
  Deno.test(`refused: ${name}`, () => assertMatch(refusal(config), pattern));
}

const accepted: readonly (readonly [string, JsonObject])[] = [
  ["one port with two protocols", mapped(good, { ...good, protocol: "udp" })],
  [
    "one port of two addresses and of any",
    mapped(good, { ...good, hostIP: "10.0.0.1" }, { ...good, hostIP: "10.0.0.2" }),
  ],
  [
    "one port for each family",
    mapped({ ...good, hostIP: "0.0.0.0" }, { ...good, hostIP: "::" }),
  ],
  ["mark bits at the ends", { markMasqBit: 31 }],
  ["conditions of nftables", { backend: "nftables", conditionsV4: ["ip", "saddr", "10.0.0.1"] }],
  ["conditions that say nothing", { backend: "nftables", conditionsV4: [], conditionsV6: [""] }],
  ["no back end and conditions of any", { conditionsV4: ["a"], conditionsV6: ["-b"] }],
];

for (const [name, config] of accepted) {
  Deno.test(`accepted: ${name}`, () => void decode(config));
}

Deno.test("a back end that was chosen here is held to the same options", () => {
  const value = decode({ conditionsV4: ["a", "b"] });
  const error = assertThrows(() => requireOptionsFor("iptables", value), CniError);
  assertEquals(error.code, codes.invalidNetworkConfig);
  assertMatch(error.msg, /iptables backend was requested/);
  requireOptionsFor("nftables", value);
});

Deno.test("a removal takes what it can read", () => {
  const config = { backend: "pf", ...mapped(good, { ...good, hostPort: 0 }) };
  const value = decodeForRemoval(conf, config, "network configuration");
  assertEquals(value.backend, undefined);
  assertEquals(value.runtimeConfig.portMappings.map(formatMapping), ["8080/tcp"]);
});

Deno.test("0.0.0.0 and :: are for a family, an address for itself, nothing for both", () => {
  const all = decode(mapped(
    good,
    { ...good, hostPort: 1, hostIP: "0.0.0.0" },
    { ...good, hostPort: 2, hostIP: "::" },
    { ...good, hostPort: 3, hostIP: "192.0.2.1" },
    { ...good, hostPort: 4, hostIP: "2001:db8::1" },
  )).runtimeConfig.portMappings;
  assertEquals(mappingsOf(all, 4).map(({ host }) => host.first), [8080, 1, 3]);
  assertEquals(mappingsOf(all, 6).map(({ host }) => host.first), [8080, 2, 4]);
  assertEquals(all.map(formatMapping), [
    "8080/tcp",
    "1/tcp",
    "2/tcp",
    "3/tcp on 192.0.2.1",
    "4/tcp on 2001:db8::1",
  ]);
});

Deno.test("conditions of an empty first word say nothing", () => {
  assertEquals(conditionsOf(decode({ conditionsV4: ["", "x"] }), 4), []);
  assertEquals(conditionsOf(decode({ conditionsV6: ["-x", "y"] }), 6), ["-x", "y"]);
  assertEquals(conditionsOf(decode({ conditionsV6: ["-x", "y"] }), 4), []);
});
