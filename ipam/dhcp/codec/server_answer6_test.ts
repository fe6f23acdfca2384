import { assertEquals } from "@std/assert";
import type { ServerAnswer6 } from "./server_answer6.ts";
import { decodeMessage6 } from "./message6.ts";
import { serverAnswer6 } from "./server_answer6.ts";
import { ip } from "./testing_message4.ts";
import { golden6, messageOf6, optionsOf6 } from "./testing_message6.ts";

const iaid = 0x0a0b0c0d;
/** An association with this inside, its T1 1 s and its T2 2 s. */
const ia = (inside = "") => [3, `0a0b0c0d 00000001 00000002 ${inside}`] as const;
/** An address `2001:db8::n`, n of two digits. */
const address = (n: string, preferred: string, valid: string) =>
  `0005 0018 20010db8 00*11 ${n} ${preferred} ${valid} `;
const special = (bytes: string) => ia(`0005 0018 ${bytes} 00000001 00000002`);
const leased = (text: string, preferred: number, valid: number): ServerAnswer6 => ({
  iaid,
  leased: { address: ip(text), preferred, valid, t1: 1, t2: 2 },
  withdrawn: false,
});
const nothing: ServerAnswer6 = { iaid, withdrawn: false };

type Pairs = readonly (readonly [code: number, text: string])[];

const cases: readonly (readonly [what: string, Pairs, ServerAnswer6])[] = [
  ["nothing", [], { withdrawn: false }],
  ["an association without addresses", [ia()], nothing],
  ["an address", [ia(address("05", "00000003", "00000004"))], leased("2001:db8::5", 3, 4)],
  [
    "an address for a second",
    [ia(address("05", "00000001", "00000001"))],
    leased("2001:db8::5", 1, 1),
  ],
  [
    "an address that is no longer preferred",
    [ia(address("05", "00*4", "00000004"))],
    leased("2001:db8::5", 0, 4),
  ],
  ["the first of equal addresses", [
    ia(address("05", "00000003", "00000004") + address("06", "00000003", "00000009")),
  ], leased("2001:db8::5", 3, 4)],
  ["the address that is preferred for longest", [
    ia(address("05", "00*4", "ffffffff") + address("06", "00000003", "00000004")),
  ], leased("2001:db8::6", 3, 4)],
  ["the address that has not ended", [
    ia(address("05", "00*4", "00*4") + address("06", "00*4", "00000004")),
  ], leased("2001:db8::6", 0, 4)],
  ["an address that is no malformed one", [
    ia(address("05", "00000009", "00000004") + address("06", "00*4", "00000004")),
  ], leased("2001:db8::6", 0, 4)],
  ["an address that has ended", [ia(address("05", "00*4", "00*4"))], { iaid, withdrawn: true }],
  ["a special address that has ended", [ia("0005 0018 00*15 01 00*8")], nothing],
  ["::", [special("00*16")], nothing],
  ["::1", [special("00*15 01")], nothing],
  ["an address of IPv4", [special("00*10 ffff 0a000001")], nothing],
  ["a link-local address", [special("fe80 00*13 01")], nothing],
  ["the last link-local address", [special("febf ff*14")], nothing],
  ["an address of many", [special("ff02 00*13 01")], nothing],
  ["a unique local address", [special("fd00 00*13 01")], leased("fd00::1", 1, 2)],
  ["the first address of a common form", [special("0100 00*13 01")], leased("100::1", 1, 2)],
  ["the last address before the link-local ones", [special("fe7f ff*14")], {
    ...leased("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, 2),
  }],
  ["two associations", [
    ia(address("05", "00000003", "00000004")),
    [3, "00*12"],
  ], { withdrawn: false }],
  ["a malformed association", [[3, `0a0b0c0d 00000002 00000001`]], { withdrawn: false }],
  ["a status of the whole", [[13, "0004 6e6f"], ia(address("05", "00000003", "00000004"))], {
    iaid,
    status: { code: 4, message: "no" },
    withdrawn: false,
  }],
  ["a status of the association", [
    [13, "0000"],
    ia(`000d 0002 0003 ${address("05", "00*4", "00*4")}`),
  ], { iaid, status: { code: 3, message: "" }, withdrawn: true }],
  ["success everywhere", [
    [13, "0000"],
    ia(`${address("05", "00000003", "00000004")} 000d 0002 0000`),
  ], leased("2001:db8::5", 3, 4)],
  ["a malformed status", [[13, "00"], ia(address("05", "00000003", "00000004"))], {
    ...leased("2001:db8::5", 3, 4),
  }],
  ["a status of the address", [
    ia(
      `0005 001e 20010db8 00*11 05 00000003 00000004 000d 0002 0001 ${
        address("06", "00*4", "00000004")
      }`,
    ),
  ], leased("2001:db8::6", 0, 4)],
  ["success of the address", [
    ia("0005 001e 20010db8 00*11 05 00000003 00000004 000d 0002 0000"),
  ], leased("2001:db8::5", 3, 4)],
];

for (const [what, options, answer] of cases) {
  Deno.test(`an answer: ${what}`, () => {
    assertEquals(serverAnswer6(messageOf6(7, 1, optionsOf6(...options))), answer);
  });
}

Deno.test("the golden answers", () => {
  const lease: ServerAnswer6 = {
    iaid,
    leased: { address: ip("2001:db8::5"), preferred: 300, valid: 600, t1: 150, t2: 240 },
    withdrawn: false,
  };
  assertEquals(serverAnswer6(decodeMessage6(golden6.advertise)!), lease);
  assertEquals(serverAnswer6(decodeMessage6(golden6.reply)!), lease);
  assertEquals(serverAnswer6(decodeMessage6(golden6.noAddresses)!), {
    iaid,
    status: { code: 2, message: "full" },
    withdrawn: false,
  });
});
