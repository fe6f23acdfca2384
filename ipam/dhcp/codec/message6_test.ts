import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Message6, OptionEntry6 } from "./message6.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { concat } from "./bytes.ts";
import {
  decodeMessage6,
  decodeOptions6,
  encodeMessage6,
  encodeOptions6,
  messageType6,
} from "./message6.ts";
import { option6, readOption6, readOptions6 } from "./options6.ts";
import { serverAnswer6 } from "./server_answer6.ts";
import { hex, mutate, randomBytes } from "./testing_message4.ts";
import { golden6, messageOf6, optionsOf6 } from "./testing_message6.ts";

const xid = 0x123456;
const client = [1, "0004 00112233445586778899aabbccddeeff"] as const;
const server = [2, "0003 0001 020000000099"] as const;
const address = "20010db8 00000000 00000000 00000005";
const ia = [3, `0a0b0c0d 00*8 0005 0018 ${address} 00*8`] as const;
const leased = [3, `0a0b0c0d 00000096 000000f0 0005 0018 ${address} 0000012c 00000258`] as const;
const requested = [6, "0017 0018 0052"] as const;
const elapsed = [8, "0000"] as const;
const names = [
  [23, "20010db8 00*11 53 20010db8 00*11 54"],
  [24, "07 6578616d706c65 03 6f7267 00 01 61 07 6578616d706c65 02 6575 00"],
] as const;

const messages: Readonly<Record<keyof typeof golden6, readonly [type: number, OptionEntry6[]]>> = {
  solicit: [
    1,
    optionsOf6(client, [3, "0a0b0c0d 00*8"], requested, elapsed, [14, ""]),
  ],
  solicitAddress: [1, optionsOf6(client, ia, requested, elapsed, [14, ""])],
  advertise: [2, optionsOf6(client, server, leased, [7, "0a"], ...names)],
  request: [3, optionsOf6(client, server, ia, requested, elapsed)],
  confirm: [4, optionsOf6(client, ia, elapsed)],
  renew: [5, optionsOf6(client, server, ia, requested, elapsed)],
  rebind: [6, optionsOf6(client, ia, requested, [8, "03e8"])],
  reply: [
    7,
    optionsOf6(
      client,
      server,
      leased,
      [13, "0000 6f6b"],
      ...names,
      [31, "20010db8 00*10 0123"],
      [56, "0001 0010 20010db8 00*10 0123"],
      [82, "00000e10"],
      [83, "00000e10"],
    ),
  ],
  rapidReply: [7, optionsOf6(client, server, leased, [14, ""])],
  noAddresses: [
    7,
    optionsOf6(client, server, [3, "0a0b0c0d 00*8 000d 0006 0002 66756c6c"]),
  ],
  release: [8, optionsOf6(client, server, ia, elapsed)],
  decline: [9, optionsOf6(client, server, ia, elapsed)],
  informationRequest: [11, optionsOf6(client, [6, "0017 0018 0053"], elapsed)],
};

for (const [kind, bytes] of Object.entries(golden6)) {
  Deno.test(`golden packet, both ways: ${kind}`, () => {
    const plain = messageOf6(...withXid(messages[kind as keyof typeof golden6]));
    assertEquals(encodeMessage6(plain).toHex(), bytes.toHex());
    assertEquals(decodeMessage6(bytes), plain);
  });
}

function withXid(
  [type, options]: readonly [number, OptionEntry6[]],
): [number, number, OptionEntry6[]] {
  return [type, xid, options];
}

const read: readonly (readonly [what: string, bytes: string, OptionEntry6[]])[] = [
  ["no option", "01 123456", []],
  ["an option without a value", "01 123456 000e 0000", optionsOf6([14, ""])],
  [
    "equal codes apart, in their order",
    "01 123456 0003 0001 61 0017 0000 0003 0001 62",
    optionsOf6([3, "61"], [23, ""], [3, "62"]),
  ],
  [
    "codes that nobody knows",
    "01 123456 0000 0001 61 ffff 0000",
    optionsOf6([0, "61"], [65535, ""]),
  ],
];

for (const [what, bytes, options] of read) {
  Deno.test(`reads ${what}`, () => {
    assertEquals(decodeMessage6(hex(bytes)), messageOf6(1, xid, options));
    assertEquals(encodeMessage6(messageOf6(1, xid, options)), hex(bytes));
  });
}

Deno.test("each kind has its number", () => {
  const { reconfigure, ...spoken } = messageType6;
  assertEquals(reconfigure, 10);
  for (const [kind, number] of Object.entries(spoken)) {
    assertEquals(golden6[kind as keyof typeof spoken][0], number, kind);
  }
});

Deno.test("reads every xid and the kinds between client and server", () => {
  assertEquals(decodeMessage6(hex("0a ffffff")), messageOf6(10, 0xffffff, []));
  assertEquals(decodeMessage6(hex("0b 000000")), messageOf6(11, 0, []));
});

const refused: readonly (readonly [what: string, bytes: string])[] = [
  ["nothing", ""],
  ["less than a header", "01 1234"],
  ["the kind 0", "00 123456"],
  ["what a relay sends", "0c 00 20010db8 00*12 fe80 00*14 0009 0004 01123456"],
  ["what a relay gets", "0d 00 20010db8 00*12 fe80 00*14 0009 0004 07123456"],
  ["a kind that is not known", "ff 123456"],
  ["an option's code alone", "01 123456 000e"],
  ["an option with half a length", "01 123456 000e 00"],
  ["an option longer than what is left", "01 123456 0007 0002 01"],
  ["an option longer than anything", "01 123456 0007 ffff 01"],
  ["a byte too many", "01 123456 000e 0000 00"],
];

for (const [what, bytes] of refused) {
  Deno.test(`refuses ${what}`, () => assertEquals(decodeMessage6(hex(bytes)), undefined));
}

Deno.test("reads from the middle of a larger buffer and keeps nothing of it", () => {
  const buffer = new Uint8Array(2000).fill(0xaa);
  buffer.set(golden6.reply, 700);
  const found = decodeMessage6(buffer.subarray(700, 700 + golden6.reply.length))!;
  buffer.fill(0x55);
  assertEquals(found, messageOf6(...withXid(messages.reply)));
});

const unencodable: readonly (readonly [Message6, error: string])[] = [
  [messageOf6(0, 1, []), 'Cannot encode type "0": it is not in 1–11'],
  [messageOf6(12, 1, []), 'Cannot encode type "12": it is not in 1–11'],
  [messageOf6(1, -1, []), 'Cannot encode xid "-1": it is not in 0–16777215'],
  [messageOf6(1, 2 ** 24, []), 'Cannot encode xid "16777216": it is not in 0–16777215'],
  [messageOf6(1, 0.5, []), 'Cannot encode xid "0.5": it is not in 0–16777215'],
  [messageOf6(1, 1, [[-1, hex("")]]), 'Cannot encode option "-1": it is not in 0–65535'],
  [messageOf6(1, 1, [[65536, hex("")]]), 'Cannot encode option "65536": it is not in 0–65535'],
  [
    messageOf6(1, 1, [[1, new Uint8Array(65536)]]),
    'Cannot encode length of option "65536": it is not in 0–65535',
  ],
];

for (const [plain, error] of unencodable) {
  Deno.test(`refuses to write: ${error}`, () => {
    assertEquals(assertThrows(() => encodeMessage6(plain), RangeError).message, error);
  });
}

function randomOptions(random: Random, depth = 0): OptionEntry6[] {
  return Array.from({ length: random.integer(0, 6) }, (): OptionEntry6 => {
    const code = random.oneIn(5)
      ? random.integer(0, 0xffff)
      : random.pick([1, 2, 3, 5, 13, 23, 24]);
    const length = random.oneIn(10) ? random.integer(0, 1500) : random.integer(0, 40);
    const inner = code === 3 ? 12 : 24;
    if ((code === 3 || code === 5) && depth < 3 && random.oneIn(2)) {
      const options = encodeOptions6(randomOptions(random, depth + 1));
      return [code, concat([randomBytes(random, inner), options])];
    }
    return [code, randomBytes(random, length)];
  });
}

function randomMessage(random: Random): Message6 {
  const xid = Math.floor(random.next() * 2 ** 24);
  return messageOf6(random.integer(1, 11), xid, randomOptions(random));
}

Deno.test("what is written is read the same", () => {
  const random = new Random(seedOf(8415));
  for (let run = 0; run < 2000; run++) {
    const plain = randomMessage(random);
    assertEquals(decodeMessage6(encodeMessage6(plain)), plain, `seed ${random.seed}, run ${run}`);
  }
});

/** Every reader over the options of one level: what it gives may not be of more bytes than there are. */
function readAll(options: readonly OptionEntry6[]): void {
  for (const one of Object.values(option6)) {
    readOption6(options, one as typeof option6.clientId);
    readOptions6(options, one as typeof option6.clientId);
  }
}

Deno.test("100,000 damaged packets are read without a throw, whole or not at all", () => {
  const random = new Random(seedOf(8415));
  const sources = [...Object.values(golden6), encodeMessage6(randomMessage(random))];
  let [whole, broken, leases, refusals] = [0, 0, 0, 0];
  for (let run = 0; run < 100_000; run++) {
    const about = () => `seed ${random.seed}, run ${run}`;
    let bytes = mutate(random, random.pick(sources));
    if (random.oneIn(3)) bytes = mutate(random, bytes);
    const before = random.oneIn(50) ? bytes.slice() : undefined;
    const found = decodeMessage6(bytes);
    if (before) assertEquals(bytes, before, about());
    if (!found) {
      broken++;
      continue;
    }
    whole++;
    // Nothing is left out or added: there is one form for each message.
    if (encodeMessage6(found).toHex() !== bytes.toHex()) {
      throw new Error(`${about()}: not the same`);
    }
    readAll(found.options);
    const { leased, status } = serverAnswer6(found);
    if (leased) leases++;
    if (status) refusals++;
  }
  // Damage that is always or never noticed would test nothing.
  assert(whole > 10_000 && broken > 10_000, `${whole} read, ${broken} refused`);
  assert(leases > 1000 && refusals > 100, `${leases} leases, ${refusals} refusals`);
});

/** Bytes that count how often they are asked for a part of them. */
class Counted extends Uint8Array {
  static parts = 0;
  override slice(start?: number, end?: number): Uint8Array<ArrayBuffer> {
    Counted.parts++;
    return Uint8Array.prototype.slice.call(this, start, end) as Uint8Array<ArrayBuffer>;
  }
}

Deno.test("the largest datagram of the smallest options is read in one pass", () => {
  const many = new Counted(65_507);
  many.set(hex("01 123456"));
  Counted.parts = 0;
  assertEquals(decodeMessage6(many.subarray(0, 65_504))?.options.length, 16_375);
  assertEquals(Counted.parts, 16_375);
  assertEquals(decodeMessage6(many), undefined);
});

Deno.test("associations nested as deep as a datagram allows are read one level at a time", () => {
  let inner = new Uint8Array();
  while (inner.length < 65_000) {
    inner = encodeOptions6([[3, concat([hex("0a0b0c0d 00*8"), inner])]]) as typeof inner;
  }
  const found = decodeMessage6(concat([hex("07 123456"), inner]))!;
  assertEquals(found.options.length, 1);
  const level = readOption6(found.options, option6.iaNa)!;
  assertEquals([level.options.length, level.options[0]![0]], [1, 3]);
  assertEquals(decodeOptions6(inner)!.length, 1);
});
