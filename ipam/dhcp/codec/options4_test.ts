import { assert, assertEquals } from "@std/assert";
import type { OptionDefinition } from "./option_format.ts";
import type { ClasslessRoute } from "./options4.ts";
import { parseCidr } from "../../../host/ip.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { concat } from "./bytes.ts";
import { writeOption } from "./option_format.ts";
import { option4, readOption4 } from "./options4.ts";
import { hex, ip, mutate, randomBytes } from "./testing_message4.ts";

type Key = keyof typeof option4;

const route = (dst: string, gw: string): ClasslessRoute => ({ dst: parseCidr(dst)!, gw: ip(gw) });

const routes = {
  bytes: "00 0a000001  08 0a 0a000001  19 81d2b180 0a000002  20 0a111111 00000000",
  value: [
    route("0.0.0.0/0", "10.0.0.1"),
    route("10.0.0.0/8", "10.0.0.1"),
    route("129.210.177.128/25", "10.0.0.2"),
    route("10.17.17.17/32", "0.0.0.0"),
  ],
};

/** Bytes and value of every option, read and written. */
const golden: Readonly<Record<Key, readonly (readonly [bytes: string, value: unknown])[]>> = {
  subnetMask: [["ffffff00", 24], ["80000000", 1], ["ffffffff", 32], ["fffffe00", 23]],
  routers: [["c0a80101", [ip("192.168.1.1")]], [
    "0a000001 00000000 ffffffff",
    [ip("10.0.0.1"), ip("0.0.0.0"), ip("255.255.255.255")],
  ]],
  nameServers: [["08080808 01010101", [ip("8.8.8.8"), ip("1.1.1.1")]]],
  hostName: [["706f64", "pod"], ["612d622e 6578616d706c65", "a-b.example"]],
  domainName: [["6578616d706c65 2e 6f7267", "example.org"], ["5f75", "_u"]],
  mtu: [["05dc", 1500], ["0044", 68], ["ffff", 65535]],
  staticRoutes: [[
    "0a000000 0a010203 c0a80100 c0a80203",
    [
      { dst: ip("10.0.0.0"), gw: ip("10.1.2.3") },
      { dst: ip("192.168.1.0"), gw: ip("192.168.2.3") },
    ],
  ]],
  vendorSpecific: [["00ff01", hex("00ff01")], ["", new Uint8Array()]],
  requestedAddress: [["c0a80105", ip("192.168.1.5")]],
  leaseTime: [["00000e10", 3600], ["00000000", 0], ["ffffffff", 0xffff_ffff]],
  messageType: [["01", 1], ["06", 6], ["ff", 255]],
  serverId: [["c0a80101", ip("192.168.1.1")]],
  parameterRequestList: [["0301", [3, 1]], ["", []]],
  message: [["61646472657373 20 696e 20 757365", "address in use"], ["c3a9", "é"]],
  maxMessageSize: [["05dc", 1500], ["0240", 576]],
  renewalTime: [["00000708", 1800]],
  rebindingTime: [["00000c4e", 3150]],
  vendorClass: [["4d53465420 352e30", hex("4d53465420352e30")]],
  clientId: [["00 6331", hex("006331")], ["01 020000000001", hex("01020000000001")]],
  userClass: [["03 616263", hex("03616263")]],
  fqdn: [
    ["05 0000 03 706f64 07 6578616d706c65 00", { flags: 5, name: "pod.example." }],
    ["04 0000 03 706f64", { flags: 4, name: "pod" }],
    ["00 0000 706f642e6578616d706c65", { flags: 0, name: "pod.example" }],
    ["04 0000", { flags: 4, name: "" }],
  ],
  relayAgent: [["01 04 65746830", hex("010465746830")]],
  searchList: [
    ["03 656e67 05 6170706c65 03 636f6d 00", ["eng.apple.com"]],
    ["01 61 00 01 62 01 63 00", ["a", "b.c"]],
  ],
  classlessRoutes: [[routes.bytes, routes.value]],
  msClasslessRoutes: [[routes.bytes, routes.value]],
};

for (const [key, rows] of Object.entries(golden)) {
  Deno.test(`golden option, both ways: ${key}`, () => {
    const one = option4[key as Key] as OptionDefinition<unknown>;
    for (const [bytes, value] of rows) {
      assertEquals(readOption4(new Map([[one.code, hex(bytes)]]), one), value);
      const [code, written] = writeOption(one, value);
      assertEquals([code, written.toHex()], [one.code, hex(bytes).toHex()]);
    }
    assertEquals(readOption4(new Map(), one), undefined);
  });
}

Deno.test("options have the codes of their RFCs", () => {
  const numbers = Object.values(option4).map(({ code }) => code);
  assertEquals(numbers, [
    ...[1, 3, 6, 12, 15, 26, 33, 43, 50, 51, 53, 54, 55, 56, 57, 58, 59, 60, 61, 77, 81, 82, 119],
    ...[121, 249],
  ]);
});

/** Bytes that are read otherwise than they would be written. */
const lenient: readonly (readonly [Key, what: string, bytes: string, value: unknown])[] = [
  ["hostName", "zeros at the end (RFC 2132 section 2)", "706f64 0000", "pod"],
  ["domainName", "a dot at the end", "6578616d706c65 2e", "example"],
  ["staticRoutes", "part of a pair at the end", "0a000000 0a010203 c0a801", [
    { dst: ip("10.0.0.0"), gw: ip("10.1.2.3") },
  ]],
  ["staticRoutes", "less than a pair", "0a000000", []],
  ["message", "control characters, as spaces", "61 1b 5b 0a 62 00", "a [ b"],
  ["message", "bytes that are no text", "61 ff 62", "a\ufffdb"],
  ["fqdn", "codes of the answer", "04 ffff 03 706f64", { flags: 4, name: "pod" }],
  [
    "searchList",
    "compressed names (RFC 3397 section 2)",
    "03 656e67 05 6170706c65 03 636f6d 00  09 6d61726b6574696e67 c004",
    ["eng.apple.com", "marketing.apple.com"],
  ],
  ["searchList", "a pointer to a pointer", "01 61 00  01 62 c000  c005", ["a", "b.a", "a"]],
  [
    "classlessRoutes",
    "host bits, which are cleared (RFC 3442)",
    "19 81d2b184 0a000001  04 ff 0a000002",
    [route("129.210.177.128/25", "10.0.0.1"), route("240.0.0.0/4", "10.0.0.2")],
  ],
];

for (const [key, what, bytes, value] of lenient) {
  Deno.test(`${key} reads ${what}`, () => assertEquals(option4[key].read(hex(bytes)), value));
}

const x63 = "3f 78*63";
const malformed: readonly (readonly [Key, what: string, bytes: string])[] = [
  ["subnetMask", "nothing", ""],
  ["subnetMask", "too little", "ffff00"],
  ["subnetMask", "too much", "ffffff0000"],
  ["subnetMask", "a hole", "ff00ff00"],
  ["subnetMask", "no bit", "00000000"],
  ["routers", "nothing", ""],
  ["routers", "part of an address", "c0a80101 c0"],
  ["nameServers", "part of an address", "c0a801"],
  ["hostName", "nothing", ""],
  ["hostName", "a line break", "706f64 0a 78"],
  ["domainName", "zeros alone", "0000"],
  ["domainName", "a space", "61 20 62"],
  ["domainName", "an empty label", "61 2e2e 62"],
  ["domainName", "a hyphen at the start", "2d61"],
  ["domainName", "a label of 64 letters", "61*64"],
  ["domainName", "254 letters", "612e*126 6161"],
  ["domainName", "letters beyond ASCII", "c3a9"],
  ["mtu", "less than 68", "0043"],
  ["mtu", "three bytes", "0005dc"],
  ["requestedAddress", "too little", "c0a801"],
  ["leaseTime", "two bytes", "0e10"],
  ["messageType", "nothing", ""],
  ["messageType", "none of the types", "00"],
  ["messageType", "two types", "0505"],
  ["serverId", "two servers", "c0a80101 c0a80101"],
  ["maxMessageSize", "less than 576", "023f"],
  ["fqdn", "nothing", ""],
  ["fqdn", "less than its head", "0400"],
  ["fqdn", "bytes behind the name", "04 0000 01 61 00 01"],
  ["fqdn", "a pointer", "04 0000 01 61 c000"],
  ["fqdn", "no name", "00 0000 61 20"],
  ["fqdn", "the root alone", "04 0000 00"],
  ["searchList", "nothing", ""],
  ["searchList", "no root at the end", "03 656e67"],
  ["searchList", "a label longer than what is left", "05 656e67"],
  ["searchList", "the root alone", "00"],
  ["searchList", "a pointer to itself", "c000"],
  ["searchList", "a pointer to its own start", "01 61 c000"],
  ["searchList", "two pointers to each other", "c002 c000"],
  ["searchList", "a loop through an earlier name", "01 61 c004 01 62 c000"],
  ["searchList", "a pointer forwards", "c003 00 01 61 00"],
  ["searchList", "a pointer beyond the end", "01 61 00 c0ff"],
  ["searchList", "half a pointer", "01 61 00 c0"],
  ["searchList", "half a pointer, at the end of a name", "01 61 00 01 62 c0"],
  ["searchList", "a reserved kind of label", "41 61 00"],
  ["searchList", "a line break", "03 610a62 00"],
  ["searchList", "a dot inside a label", "03 612e2e 00"],
  ["searchList", "a name of 256 bytes", `${`${x63} `.repeat(4)} 00`],
  ["searchList", "a name that pointers make too long", `${`${x63} `.repeat(3)} 00 ${x63} c000`],
  ["searchList", "65 names", "016100*65"],
  ["classlessRoutes", "nothing", ""],
  ["classlessRoutes", "a prefix of 33", "21 0a000000 00 0a000001"],
  ["classlessRoutes", "no router", "08 0a"],
  ["classlessRoutes", "part of a router", "08 0a 0a0000"],
  ["classlessRoutes", "a whole route and part of one", "08 0a 0a000001 18"],
  ["msClasslessRoutes", "a prefix of 255", "ff 0a000000 0a000001"],
];

for (const [key, what, bytes] of malformed) {
  Deno.test(`${key} refuses ${what}`, () => assertEquals(option4[key].read(hex(bytes)), undefined));
}

Deno.test("searchList reads the longest name and the most names", () => {
  const longest = `${`${x63} `.repeat(3)} 3d 78*61 00`;
  const [name] = option4.searchList.read(hex(longest))!;
  assertEquals(name!.length, 253);
  assertEquals(option4.searchList.read(hex("016100*64"))!.length, 64);
});

Deno.test("100,000 damaged values are read without a throw, and what is read can be written", () => {
  const random = new Random(seedOf(2132));
  const sources = Object.entries(golden)
    .flatMap(([key, rows]) => rows.map(([bytes]) => [key as Key, hex(bytes)] as const));
  let [whole, broken] = [0, 0];
  for (let run = 0; run < 100_000; run++) {
    const [key, bytes] = random.pick(sources);
    const one = option4[key] as OptionDefinition<unknown>;
    const damaged = random.oneIn(8)
      ? randomBytes(random, random.integer(0, 40))
      : mutate(random, random.oneIn(4) ? concat([bytes, bytes]) : bytes);
    const value = one.read(damaged);
    if (value === undefined) {
      broken++;
      continue;
    }
    whole++;
    if (random.oneIn(10)) {
      assertEquals(one.read(one.write(value)), value, `seed ${random.seed}, run ${run}, ${key}`);
    }
  }
  assert(whole > 10_000 && broken > 10_000, `${whole} read, ${broken} refused`);
});
