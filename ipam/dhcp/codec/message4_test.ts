import { assert, assertEquals, assertThrows } from "@std/assert";
import type { Message4 } from "./message4.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { concat } from "./bytes.ts";
import { decodeMessage4, encodeMessage4 } from "./message4.ts";
import {
  chaddr,
  golden4,
  hex,
  ip,
  messageOf4,
  mutate,
  optionsOf4,
  randomBytes,
} from "./testing_message4.ts";

const ids = { 55: "0301", 57: "05dc", 61: "00 6331 2f 6e6574 2f 65746830" };
const server = { 54: "c0a80101" };
const lease = { 1: "ffffff00", 3: "c0a80101", 51: "0000012c", 58: "00000096", 59: "00000106" };
const request = (parts: Partial<Message4>) => messageOf4({ op: 1, ...parts });
const [address, gateway] = [ip("192.168.1.5"), ip("192.168.1.1")];

const messages: Readonly<Record<keyof typeof golden4, Message4>> = {
  discover: request({ options: optionsOf4({ 53: "01", ...ids }) }),
  selecting: request({ options: optionsOf4({ 50: "c0a80105", 53: "03", ...server, ...ids }) }),
  renewing: request({ flags: 0, ciaddr: address, options: optionsOf4({ 53: "03", ...ids }) }),
  rebinding: request({
    flags: 0,
    secs: 3,
    ciaddr: address,
    options: optionsOf4({ 53: "03", ...ids }),
  }),
  initReboot: request({ options: optionsOf4({ 50: "c0a80105", 53: "03", ...ids }) }),
  release: request({
    flags: 0,
    ciaddr: address,
    options: optionsOf4({ 53: "07", ...server, 61: ids[61] }),
  }),
  decline: request({
    flags: 0,
    options: optionsOf4({ 50: "c0a80105", 53: "04", ...server, 61: ids[61] }),
  }),
  offer: messageOf4({
    yiaddr: address,
    siaddr: gateway,
    options: optionsOf4({ ...lease, 53: "02", ...server }),
  }),
  ack: messageOf4({
    yiaddr: address,
    siaddr: gateway,
    options: optionsOf4({ ...lease, 53: "05", ...server }),
  }),
  nak: messageOf4({
    hops: 1,
    giaddr: ip("192.168.1.254"),
    options: optionsOf4({ 53: "06", ...server, 56: "61646472657373 20 696e 20 757365" }),
  }),
};

for (const [kind, bytes] of Object.entries(golden4)) {
  Deno.test(`golden packet, both ways: ${kind}`, () => {
    const plain = messages[kind as keyof typeof golden4];
    assertEquals(bytes.length, 300);
    assertEquals(encodeMessage4(plain).toHex(), bytes.toHex());
    assertEquals(decodeMessage4(bytes), plain);
  });
}

const header = golden4.offer.subarray(0, 240);
/** A packet of the golden header and this option field. */
const packet = (options: string) => concat([header, hex(options)]);
/** The same with other fields before the options. */
const overloaded = ({ sname = "", file = "", options }: Record<"options", string> & {
  readonly sname?: string;
  readonly file?: string;
}) => {
  const bytes = packet(options);
  bytes.set(hex(sname), 44);
  bytes.set(hex(file), 108);
  return bytes;
};

const read:
  readonly (readonly [what: string, bytes: Uint8Array, options: Record<number, string>])[] = [
    [
      "in another order, as dnsmasq writes them",
      packet("350102 3604c0a80101 33040000012c 0104ffffff00 0304c0a80101 ff"),
      { 1: "ffffff00", 3: "c0a80101", 51: "0000012c", 53: "02", 54: "c0a80101" },
    ],
    ["padding between options", packet("00 350102 00*3 0c0161 ff"), { 53: "02", 12: "61" }],
    ["an option without a value", packet("350102 0c00 ff"), { 53: "02", 12: "" }],
    ["what stands behind END", packet("350102 ff 0c0161 99"), { 53: "02" }],
    ["no option", packet("ff"), {}],
    ["a value in two pieces", packet("0c026162 350102 0c0163 ff"), { 53: "02", 12: "616263" }],
    ["option 82 in the middle", packet("520161 350102 ff"), { 53: "02", 82: "61" }],
    [
      "options in the file field",
      overloaded({ options: "340101 350102 ff", file: "0c0161 ff" }),
      { 53: "02", 12: "61" },
    ],
    [
      "options in the sname field",
      overloaded({ options: "340102 350102 ff", sname: "0c0161 00 ff" }),
      { 53: "02", 12: "61" },
    ],
    [
      "pieces in all three fields, the sname's last",
      overloaded({ options: "340103 350102 0c0161 ff", file: "0c0162 ff", sname: "0c0163 ff" }),
      { 53: "02", 12: "616263" },
    ],
    [
      "a field of options without END",
      overloaded({ options: "340101 350102 ff", file: "0c0161" }),
      { 53: "02", 12: "61" },
    ],
    [
      "an overload inside an overloaded field",
      overloaded({ options: "340101 350102 ff", file: "340103 0c0161 ff", sname: "ff" }),
      { 53: "02", 12: "61" },
    ],
  ];

for (const [what, bytes, options] of read) {
  Deno.test(`reads ${what}`, () =>
    assertEquals(decodeMessage4(bytes)?.options, optionsOf4(options)));
}

Deno.test("fields that hold options hold no name, others do", () => {
  const names = { file: "6266 00", sname: "7376" };
  const at = (options: string) => {
    const { sname, file } = decodeMessage4(overloaded({ ...names, options }))!;
    return [sname.toHex(), file.toHex()];
  };
  assertEquals(at("ff"), ["7376", "6266"]);
  // 7376 is no whole option, 6266 neither: read as names, they cannot be malformed.
  assertEquals(at("3401 00 ff"), ["7376", "6266"], "overload of none");
  assertEquals(at("3401 07 ff"), ["7376", "6266"], "overload of unknown fields");
  assertEquals(at("3402 0101 ff"), ["7376", "6266"], "overload of two bytes");
  assertEquals(at("340101 340101 ff"), ["7376", "6266"], "overload given twice");
  const fields = overloaded({ file: "0c0161 ff", sname: "7376", options: "340101 ff" });
  assertEquals([decodeMessage4(fields)!.sname.toHex(), decodeMessage4(fields)!.file.toHex()], [
    "7376",
    "",
  ]);
});

const refused: readonly (readonly [what: string, bytes: Uint8Array])[] = [
  ["nothing", new Uint8Array()],
  ["less than a header", golden4.offer.subarray(0, 239)],
  ["a header alone", header],
  ["no END", packet("350102")],
  ["no END but padding", packet("350102 00*64")],
  ["an option's code alone", packet("350102 0c")],
  ["an option longer than what is left", packet("350102 0c0361 ff")],
  ["an option that runs over END", packet("3504 02 ff")],
  ["another cookie", golden4.offer.map((byte, at) => at === 239 ? byte ^ 1 : byte)],
  [
    "a hardware address longer than its field",
    golden4.offer.map((byte, at) => at === 2 ? 17 : byte),
  ],
  [
    "an option that runs out of the file field",
    overloaded({ options: "340101 ff", file: "0c7f 61*126" }),
  ],
  [
    "an option that runs out of the sname field",
    overloaded({ options: "340102 ff", sname: "0cff" }),
  ],
];

for (const [what, bytes] of refused) {
  Deno.test(`refuses ${what}`, () => assertEquals(decodeMessage4(bytes), undefined));
}

Deno.test("reads from the middle of a larger buffer and keeps nothing of it", () => {
  const buffer = new Uint8Array(2000).fill(0xaa);
  buffer.set(golden4.ack, 700);
  const found = decodeMessage4(buffer.subarray(700, 1000))!;
  buffer.fill(0x55);
  assertEquals(found, messages.ack);
});

for (
  const [length, lengths] of [[0, [0]], [255, [255]], [256, [255, 1]], [600, [
    255,
    255,
    90,
  ]]] as const
) {
  Deno.test(`writes a value of ${length} bytes in ${lengths.length} pieces`, () => {
    const value = Uint8Array.from({ length }, (_, index) => index);
    const bytes = encodeMessage4(messageOf4({ options: new Map([[77, value]]) }));
    const found: number[] = [];
    let at = 240;
    for (; bytes[at] !== 255; at += 2 + bytes[at + 1]!) {
      assertEquals(bytes[at], 77);
      found.push(bytes[at + 1]!);
    }
    assertEquals(found, [...lengths]);
    assertEquals(bytes.length, Math.max(300, at + 1));
    assertEquals(decodeMessage4(bytes)!.options.get(77), value);
  });
}

Deno.test("writes options in ascending order, that of the relay last", () => {
  const bytes = encodeMessage4(
    messageOf4({ options: optionsOf4({ 249: "07", 82: "08", 12: "61", 1: "09" }) }),
  );
  assertEquals(bytes.subarray(240, 253).toHex(), "010109" + "0c0161" + "f90107" + "520108" + "ff");
});

const unencodable: readonly (readonly [Partial<Message4>, error: string])[] = [
  [{ op: 256 }, 'Cannot encode op "256": it is not in 0–255'],
  [{ xid: -1 }, 'Cannot encode xid "-1": it is not in 0–4294967295'],
  [{ xid: 2 ** 32 }, 'Cannot encode xid "4294967296": it is not in 0–4294967295'],
  [{ secs: 65536 }, 'Cannot encode secs "65536": it is not in 0–65535'],
  [{ flags: 0.5 }, 'Cannot encode flags "0.5": it is not in 0–65535'],
  [{ chaddr: new Uint8Array(17) }, 'Cannot encode length of chaddr "17": it is not in 0–16'],
  [{ sname: new Uint8Array(65) }, 'Cannot encode length of sname "65": it is not in 0–64'],
  [{ file: new Uint8Array(129) }, 'Cannot encode length of file "129": it is not in 0–128'],
  [{ yiaddr: ip("::1") }, "Cannot encode the message: an address is not IPv4"],
  [
    { options: optionsOf4({ 0: "00" }) },
    'Cannot encode option "0": it carries no value of its own',
  ],
  [
    { options: optionsOf4({ 52: "01" }) },
    'Cannot encode option "52": it carries no value of its own',
  ],
  [
    { options: optionsOf4({ 255: "" }) },
    'Cannot encode option "255": it carries no value of its own',
  ],
];

for (const [parts, error] of unencodable) {
  Deno.test(`refuses to write: ${error}`, () => {
    assertEquals(assertThrows(() => encodeMessage4(messageOf4(parts)), RangeError).message, error);
  });
}

function randomMessage(random: Random): Message4 {
  const number = (bits: number) => Math.floor(random.next() * 2 ** bits);
  const address = () => ({ family: 4 as const, bits: BigInt(number(32)) });
  const field = (most: number) => {
    const bytes = randomBytes(random, random.oneIn(2) ? 0 : random.integer(1, most));
    return bytes.at(-1) === 0 ? bytes.fill(1, -1) : bytes;
  };
  const codes = Array.from({ length: random.integer(0, 20) }, () => random.integer(1, 254));
  const length = () => random.oneIn(10) ? random.integer(0, 1500) : random.integer(0, 20);
  const options = codes.filter((code) => code !== 52)
    .map((code) => [code, randomBytes(random, length())] as const);
  return {
    op: number(8),
    htype: number(8),
    hops: number(8),
    xid: number(32),
    secs: number(16),
    flags: number(16),
    ciaddr: address(),
    yiaddr: address(),
    siaddr: address(),
    giaddr: address(),
    chaddr: randomBytes(random, random.integer(0, 16)),
    sname: field(64),
    file: field(128),
    options: new Map(options),
  };
}

Deno.test("what is written is read the same", () => {
  const random = new Random(seedOf(2131));
  for (let run = 0; run < 2000; run++) {
    const plain = randomMessage(random);
    assertEquals(decodeMessage4(encodeMessage4(plain)), plain, `seed ${random.seed}, run ${run}`);
  }
});

/** Bytes that a message keeps. */
function sizeOf({ chaddr, sname, file, options }: Message4): number {
  const values = [...options.values()].reduce((sum, value) => sum + 2 + value.length, 0);
  return chaddr.length + sname.length + file.length + values;
}

Deno.test("100,000 damaged packets are read without a throw, and keep no more than they hold", () => {
  const random = new Random(seedOf(3396));
  const overload = overloaded({
    options: "340103 350105 0c0161 ff",
    file: "0c0162 0603 010203 ff",
    sname: "7702 6162 ff",
  });
  const long = encodeMessage4(randomMessage(random));
  const sources = [...Object.values(golden4), overload, long];
  let [whole, broken] = [0, 0];
  for (let run = 0; run < 100_000; run++) {
    const about = () => `seed ${random.seed}, run ${run}`;
    let bytes = mutate(random, random.pick(sources));
    if (random.oneIn(3)) bytes = mutate(random, bytes);
    const before = random.oneIn(50) ? bytes.slice() : undefined;
    const found = decodeMessage4(bytes);
    if (before) assertEquals(bytes, before, about());
    if (!found) {
      broken++;
      continue;
    }
    whole++;
    if (sizeOf(found) > bytes.length) throw new Error(`${about()}: more than there is`);
    if (random.oneIn(20)) assertEquals(decodeMessage4(encodeMessage4(found)), found, about());
  }
  // Damage that is always or never noticed would test nothing.
  assert(whole > 10_000 && broken > 10_000, `${whole} read, ${broken} refused`);
});

Deno.test("the largest datagram of the smallest options is read in one pass", () => {
  const many = new Uint8Array(65_507);
  many.set(header);
  for (let at = 240; at + 2 < many.length; at += 2) many.set([1 + (at / 2) % 50, 0], at);
  many[many.length - 1] = 255;
  assertEquals(decodeMessage4(many)?.options.size, 50);
  assertEquals(decodeMessage4(many)?.chaddr, chaddr);
});
