import { assertEquals } from "@std/assert";
import type { OptionDefinition } from "./option_format.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { decodeMessage6 } from "./message6.ts";
import { writeOption } from "./option_format.ts";
import { option6, readOption6, readOptions6 } from "./options6.ts";
import { hex, ip, mutate } from "./testing_message4.ts";
import { duid, golden6, optionsOf6, serverDuid } from "./testing_message6.ts";

const address = ip("2001:db8::5");
const bytesOfAddress = "20010db8 00*11 05";
const leased = { address, preferred: 300, valid: 600, options: [] };
const nested = `0005 0018 ${bytesOfAddress} 0000012c 00000258`;

type Case = readonly [what: string, OptionDefinition<unknown>, bytes: string, value: unknown];
const kept = <T>(what: string, one: OptionDefinition<T>, bytes: string, value: T): Case => [
  what,
  one as OptionDefinition<unknown>,
  bytes,
  value,
];

const both: readonly Case[] = [
  kept("client identifier", option6.clientId, "0004 00112233445586778899aabbccddeeff", duid),
  kept("shortest identifier", option6.clientId, "0003 01", hex("0003 01")),
  kept("longest identifier", option6.serverId, "0002 61*128", hex("0002 61*128")),
  kept("server identifier", option6.serverId, "0003 0001 020000000099", serverDuid),
  kept("association without addresses", option6.iaNa, "0a0b0c0d 00*8", {
    iaid: 0x0a0b0c0d,
    t1: 0,
    t2: 0,
    options: [],
  }),
  kept("association", option6.iaNa, `ffffffff 00000096 000000f0 ${nested}`, {
    iaid: 0xffff_ffff,
    t1: 150,
    t2: 240,
    options: optionsOf6([5, `${bytesOfAddress} 0000012c 00000258`]),
  }),
  kept("association whose T2 is the client's choice", option6.iaNa, "00000001 00000096 00000000", {
    iaid: 1,
    t1: 150,
    t2: 0,
    options: [],
  }),
  kept("association whose T1 is T2", option6.iaNa, "00000001 ffffffff ffffffff", {
    iaid: 1,
    t1: 0xffff_ffff,
    t2: 0xffff_ffff,
    options: [],
  }),
  kept("address", option6.iaAddress, `${bytesOfAddress} 0000012c 00000258`, leased),
  kept("address that begins with zeros", option6.iaAddress, "0064ff9b 00*11 01 00*8", {
    ...leased,
    address: ip("64:ff9b::1"),
    preferred: 0,
    valid: 0,
  }),
  kept("address of no end", option6.iaAddress, `${bytesOfAddress} ffffffff ffffffff`, {
    ...leased,
    preferred: 0xffff_ffff,
    valid: 0xffff_ffff,
  }),
  kept("address with a status", option6.iaAddress, `${bytesOfAddress} 00*8 000d 0002 0002`, {
    ...leased,
    preferred: 0,
    valid: 0,
    options: optionsOf6([13, "0002"]),
  }),
  kept("wishes", option6.optionRequest, "0017 0018 0052", [23, 24, 82]),
  kept("no wish", option6.optionRequest, "", []),
  kept("preference", option6.preference, "ff", 255),
  kept("elapsed time", option6.elapsedTime, "fffe", 65534),
  kept("success", option6.statusCode, "0000", { code: 0, message: "" }),
  kept("status with words", option6.statusCode, "0004 6761 c3af", { code: 4, message: "gaï" }),
  kept("rapid commit", option6.rapidCommit, "", true),
  kept("name servers", option6.nameServers, `${bytesOfAddress} fe80 00*13 01`, [
    address,
    ip("fe80::1"),
  ]),
  kept("search list", option6.searchList, "07 6578616d706c65 03 6f7267 00 02 6575 00", [
    "example.org",
    "eu",
  ]),
  kept("SNTP servers, raw", option6.sntpServers, bytesOfAddress, hex(bytesOfAddress)),
  kept("NTP servers, raw", option6.ntpServers, "0001 0000", hex("0001 0000")),
  kept("least SOL_MAX_RT", option6.solMaxRt, "0000003c", 60),
  kept("greatest INF_MAX_RT", option6.infMaxRt, "00015180", 86_400),
];

for (const [what, one, bytes, value] of both) {
  Deno.test(`both ways: ${what}`, () => {
    assertEquals(one.read(hex(bytes)), value);
    assertEquals(one.write(value).toHex(), hex(bytes).toHex());
  });
}

const codes: [string, number][] = [
  ["clientId", 1],
  ["serverId", 2],
  ["iaNa", 3],
  ["iaAddress", 5],
  ["optionRequest", 6],
  ["preference", 7],
  ["elapsedTime", 8],
  ["statusCode", 13],
  ["rapidCommit", 14],
  ["nameServers", 23],
  ["searchList", 24],
  ["sntpServers", 31],
  ["ntpServers", 56],
  ["solMaxRt", 82],
  ["infMaxRt", 83],
];

Deno.test("each option has its number", () => {
  assertEquals(
    Object.entries(option6).map(([name, { code }]): [string, number] => [name, code]),
    codes,
  );
});

const malformed: readonly (readonly [what: string, OptionDefinition<unknown>, bytes: string])[] = [
  ["an identifier of a type alone", option6.clientId, "0004"],
  ["an identifier that is too long", option6.serverId, "0002 61*129"],
  ["an association that is too short", option6.iaNa, "0a0b0c0d 00*7"],
  ["an association whose T1 is after its T2", option6.iaNa, "0a0b0c0d 000000f1 000000f0"],
  ["an association with a cut option", option6.iaNa, "0a0b0c0d 00*8 0005 0018 00*23"],
  ["an association with a byte too many", option6.iaNa, "0a0b0c0d 00*9"],
  ["an address that is too short", option6.iaAddress, `${bytesOfAddress} 00*7`],
  [
    "an address preferred for longer than valid",
    option6.iaAddress,
    `${bytesOfAddress} 0000012d 0000012c`,
  ],
  ["an address with a cut option", option6.iaAddress, `${bytesOfAddress} 00*8 000d 0002 00`],
  ["half a wish", option6.optionRequest, "0017 00"],
  ["no preference", option6.preference, ""],
  ["a preference of two bytes", option6.preference, "0001"],
  ["half an elapsed time", option6.elapsedTime, "01"],
  ["half a status", option6.statusCode, "00"],
  ["rapid commit with a value", option6.rapidCommit, "00"],
  ["no name server", option6.nameServers, ""],
  ["half a name server", option6.nameServers, "20010db8 00*11"],
  ["no name", option6.searchList, ""],
  ["a name without its end", option6.searchList, "02 6575"],
  ["a name longer than its option", option6.searchList, "09 6575 00"],
  ["the root alone", option6.searchList, "00"],
  ["a name that points to itself", option6.searchList, "c000"],
  ["a name that points to its beginning", option6.searchList, "02 6575 c000"],
  ["a name that points back", option6.searchList, "02 6575 00 01 61 c000"],
  ["a name that points round", option6.searchList, "01 61 c004 01 62 c000"],
  ["a label of an old kind", option6.searchList, "41 6575 00"],
  ["a name with a line's end", option6.searchList, "03 650a75 00"],
  ["a name that is too long", option6.searchList, "3f 61*63 3f 61*63 3f 61*63 3f 61*63 00"],
  ["too many names", option6.searchList, "016100 ".repeat(65)],
  ["a SOL_MAX_RT that is too short", option6.solMaxRt, "0000003b"],
  ["a SOL_MAX_RT that is too long", option6.solMaxRt, "00015181"],
  ["a SOL_MAX_RT of two bytes", option6.solMaxRt, "0e10"],
] as const;

for (const [what, one, bytes] of malformed) {
  Deno.test(`refuses ${what}`, () => assertEquals(one.read(hex(bytes)), undefined));
}

Deno.test("words of a server cannot steer a terminal", () => {
  assertEquals(option6.statusCode.read(hex("0001 1b 61 0a 62 00")), { code: 1, message: " a b" });
});

Deno.test("the golden reply says what it says", () => {
  const { options } = decodeMessage6(golden6.reply)!;
  const [ia] = readOptions6(options, option6.iaNa);
  assertEquals([ia!.iaid, ia!.t1, ia!.t2], [0x0a0b0c0d, 150, 240]);
  assertEquals(readOptions6(ia!.options, option6.iaAddress), [leased]);
  assertEquals(readOption6(options, option6.statusCode), { code: 0, message: "ok" });
  assertEquals(readOption6(options, option6.nameServers), [
    ip("2001:db8::53"),
    ip("2001:db8::54"),
  ]);
  assertEquals(readOption6(options, option6.searchList), ["example.org", "a.example.eu"]);
  assertEquals(readOption6(options, option6.solMaxRt), 3600);
  assertEquals(readOption6(options, option6.infMaxRt), 3600);
});

Deno.test("of equal options the first counts where one is meant, and all where all are", () => {
  const options = optionsOf6([7, "01"], [8, "0002"], [7, "0003"], [7, "04"]);
  assertEquals(readOption6(options, option6.preference), 1);
  assertEquals(readOptions6(options, option6.preference), [1, 4]);
  assertEquals(readOption6(options, option6.statusCode), undefined);
  assertEquals(readOption6(optionsOf6([7, "0001"], [7, "02"]), option6.preference), undefined);
  assertEquals(writeOption(option6.preference, 9), [7, hex("09")]);
});

Deno.test("damaged search lists give names alone", () => {
  const random = new Random(seedOf(3646));
  const source = hex("07 6578616d706c65 03 6f7267 00 01 61 07 6578616d706c65 02 6575 00");
  let lists = 0;
  for (let run = 0; run < 20_000; run++) {
    for (const name of option6.searchList.read(mutate(random, source)) ?? []) {
      lists++;
      if (!/^[\w-]+(\.[\w-]+)*$/.test(name)) {
        throw new Error(`seed ${random.seed}, run ${run}: ${JSON.stringify(name)}`);
      }
    }
  }
  assertEquals(lists > 1000, true, `${lists} names`);
});
