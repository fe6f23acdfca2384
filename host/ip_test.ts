import { assert, assertEquals } from "@std/assert";
import type { Cidr, Ip } from "./ip.ts";
import {
  contains,
  firstHost,
  formatCidr,
  formatIp,
  hostPrefix,
  isDefault,
  lastAddress,
  network,
  offset,
  overlaps,
  parseCidr,
  parseIp,
  parseIpOrCidr,
  sameIp,
  width,
} from "./ip.ts";

function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert(parsed, text);
  return parsed;
}

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert(parsed, text);
  return parsed;
}

const addresses: readonly [string, string][] = [
  ["1.2.3.4", "1.2.3.4"],
  ["0.0.0.0", "0.0.0.0"],
  ["255.255.255.255", "255.255.255.255"],
  ["::", "::"],
  ["::1", "::1"],
  ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
  ["fe80:0001::", "fe80:1::"],
  ["::ffff:10.0.0.7", "10.0.0.7"],
  ["::ffff:0a00:0007", "10.0.0.7"],
  ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
  ["::1.2.3.4", "::102:304"],
  ["0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
];
for (const [text, canonical] of addresses) {
  Deno.test(`parseIp reads ${text} as ${canonical}`, () => {
    assertEquals(formatIp(ip(text)), canonical);
    assertEquals(ip(text).family, canonical.includes(":") ? 6 : 4);
  });
}

const noAddresses = ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.x", "0x1.2.3.4", "1"]
  .concat("16909060", " 1.2.3.4", "1.2.3.4\n", "1.2.3.4/24", "1.2.3.-4", "1.2.3.4%eth0")
  .concat(
    ":",
    ":::",
    "1::2::3",
    "fe80::1%eth0",
    "::12345",
    "::g",
    "[::1]",
    "1:2:3:4:5:6:7",
    "::1\n",
  )
  .concat(
    "1:2:3:4:5:6:7:8:9",
    "::1.2.3",
    "::ffff:1.2.3.256",
    "::01.2.3.4",
    "::300.2.3.4",
    "1::2:3:4:5:6:7:8",
    "eth0",
    "a.b.c.d",
  );
for (const text of noAddresses) {
  Deno.test(`parseIp refuses ${JSON.stringify(text)}`, () =>
    assertEquals(parseIp(text), undefined));
}

Deno.test("parseIp gives family and bits", () => {
  assertEquals(ip("1.2.3.4"), { family: 4, bits: 0x01020304n });
  assertEquals(ip("fd00::1"), { family: 6, bits: (0xfd00n << 112n) + 1n });
});

Deno.test("formatIp writes what parseIp reads, at every bit", () => {
  for (const family of [4, 6] as const) {
    for (let bit = 0; bit < width(family); bit++) {
      const address: Ip = { family, bits: 1n << BigInt(bit) };
      assertEquals(parseIp(formatIp(address)), address);
    }
  }
});

const prefixes: readonly [string, string][] = [
  ["1.2.3.4/24", "1.2.3.4/24"],
  ["10.1.2.3/024", "10.1.2.3/24"],
  ["0.0.0.0/0", "0.0.0.0/0"],
  ["1.2.3.4/32", "1.2.3.4/32"],
  ["2001:db8::/32", "2001:db8::/32"],
  ["::/0", "::/0"],
  ["FD00::1/128", "fd00::1/128"],
  ["::ffff:10.0.0.7/120", "10.0.0.7/24"],
  ["::ffff:10.0.0.7/96", "10.0.0.7/0"],
];
for (const [text, canonical] of prefixes) {
  Deno.test(`parseCidr reads ${text} as ${canonical}`, () => {
    assertEquals(formatCidr(cidr(text)), canonical);
    assertEquals(parseIpOrCidr(text), cidr(text));
  });
}

const noPrefixes = ["1.2.3/45", "1.2.3.4/99", "1.2.3.4/33", "::/129", "1.2.3.4", "1.2.3.4/", "/24"]
  .concat("1.2.3.4/-1", "1.2.3.4/+1", "1.2.3.4/2 4", "1.2.3.4/24/24", "1.2.3.4/24\n", "1.2.3.4/1e1")
  .concat(
    "::ffff:10.0.0.7/95",
    "fe80::1%eth0/64",
    "1.2.3.4/255.255.255.0",
    "1.2.3.4/99999999999",
    "",
  );
for (const text of noPrefixes) {
  Deno.test(`parseCidr refuses ${JSON.stringify(text)}`, () => {
    assertEquals(parseCidr(text), undefined);
  });
}

Deno.test("parseIpOrCidr takes an address for its own prefix", () => {
  assertEquals(parseIpOrCidr("1.2.3.4"), cidr("1.2.3.4/32"));
  assertEquals(parseIpOrCidr("fd00::1"), cidr("fd00::1/128"));
  assertEquals(parseIpOrCidr("1.2.3.4/33"), undefined);
  assertEquals(parseIpOrCidr("eth0"), undefined);
});

const parts: readonly [string, string, string, string][] = [
  ["10.1.2.3/24", "10.1.2.0/24", "10.1.2.255", "10.1.2.1"],
  ["10.1.2.3/8", "10.0.0.0/8", "10.255.255.255", "10.0.0.1"],
  ["10.1.2.3/31", "10.1.2.2/31", "10.1.2.3", "10.1.2.3"],
  ["10.1.2.3/32", "10.1.2.3/32", "10.1.2.3", "10.1.2.4"],
  ["1.2.3.4/0", "0.0.0.0/0", "255.255.255.255", "0.0.0.1"],
  ["fd00::1:2/112", "fd00::1:0/112", "fd00::1:ffff", "fd00::1:1"],
  ["fd00::5/64", "fd00::/64", "fd00::ffff:ffff:ffff:ffff", "fd00::1"],
];
for (const [text, net, last, first] of parts) {
  Deno.test(`the network of ${text} goes from ${net} to ${last}, its gateway is ${first}`, () => {
    assertEquals(formatCidr(network(cidr(text))), net);
    assertEquals(formatIp(lastAddress(cidr(text))), last);
    assertEquals(formatIp(firstHost(cidr(text))), first);
  });
}

Deno.test("offset() counts addresses in both directions", () => {
  assertEquals(formatIp(offset(ip("10.0.0.255"), 1n)), "10.0.1.0");
  assertEquals(formatIp(offset(ip("10.0.1.0"), -1n)), "10.0.0.255");
  assertEquals(offset(ip("255.255.255.255"), 1n).bits, 1n << 32n);
});

const inside: readonly [string, string, boolean][] = [
  ["10.0.0.7/24", "10.0.0.0", true],
  ["10.0.0.7/24", "10.0.0.255", true],
  ["10.0.0.7/24", "10.0.1.0", false],
  ["10.0.0.7/24", "9.255.255.255", false],
  ["10.0.0.7/32", "10.0.0.7", true],
  ["10.0.0.7/32", "10.0.0.6", false],
  ["0.0.0.0/0", "1.2.3.4", true],
  ["::/0", "1.2.3.4", false],
  ["0.0.0.0/0", "::1", false],
  ["fd00::/64", "fd00::ffff", true],
  ["fd00::/64", "fd00:0:0:1::", false],
  ["10.0.0.7/24", "::ffff:10.0.0.9", true],
];
for (const [prefix, address, expected] of inside) {
  Deno.test(`${prefix} ${expected ? "contains" : "does not contain"} ${address}`, () => {
    assertEquals(contains(cidr(prefix), ip(address)), expected);
  });
}

const pairs: readonly [string, string, boolean][] = [
  ["10.0.0.0/24", "10.0.0.128/25", true],
  ["10.0.0.0/25", "10.0.0.128/25", false],
  ["10.0.0.9/24", "10.0.0.1/24", true],
  ["0.0.0.0/0", "10.0.0.1/32", true],
  ["::/0", "10.0.0.1/32", false],
];
for (const [a, b, expected] of pairs) {
  Deno.test(`${a} and ${b} ${expected ? "overlap" : "do not overlap"}`, () => {
    assertEquals(overlaps(cidr(a), cidr(b)), expected);
    assertEquals(overlaps(cidr(b), cidr(a)), expected);
  });
}

Deno.test("sameIp() compares family and bits", () => {
  assert(sameIp(ip("fd00::1"), ip("FD00:0::1")));
  assert(sameIp(ip("::ffff:1.2.3.4"), ip("1.2.3.4")));
  assert(!sameIp(ip("0.0.0.1"), ip("::1")));
  assert(!sameIp(ip("1.2.3.4"), ip("1.2.3.5")));
});

Deno.test("hostPrefix() is the address alone", () => {
  assertEquals(formatCidr(hostPrefix(cidr("10.0.0.7/24"))), "10.0.0.7/32");
  assertEquals(formatCidr(hostPrefix(ip("fd00::1"))), "fd00::1/128");
});

Deno.test("isDefault() is true for the two default networks only", () => {
  const texts = ["0.0.0.0/0", "::/0", "0.0.0.0/1", "1.0.0.0/0", "::/1", "::1/0"];
  assertEquals(texts.filter((text) => isDefault(cidr(text))), ["0.0.0.0/0", "::/0"]);
});
