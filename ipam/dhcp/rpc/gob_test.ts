/**
 * The hex that is called Go's was written by `encoding/gob` of Go 1.19.8: `gob.NewEncoder` over a
 * `bytes.Buffer`, in a program for each text, so that its types are numbered from 65.
 *
 * @module
 */
import { assertEquals, assertThrows } from "@std/assert";
import type { GobField, GobType, GobValue, StructType } from "./gob_types.ts";
import { Random, seedOf } from "../../../tests/harness/random.ts";
import { GobDecoder, readUint, uintSize } from "./gob_decoder.ts";
import { GobEncoder } from "./gob_encoder.ts";
import { GobError } from "./gob_types.ts";

const bool: GobType = { kind: "bool" };
const int: GobType = { kind: "int" };
const uint: GobType = { kind: "uint" };
const float: GobType = { kind: "float" };
const bytes: GobType = { kind: "bytes" };
const text: GobType = { kind: "string" };

const pointFields: GobField[] = [{ name: "X", type: int }, { name: "Y", type: int }];
const point: StructType = { kind: "struct", name: "Point", fields: pointFields };
/** The same behind a pointer. */
const pointed: StructType = { kind: "struct", name: "", fields: pointFields };
const net: StructType = {
  kind: "struct",
  name: "IPNet",
  fields: [{ name: "IP", type: bytes }, { name: "Mask", type: bytes }],
};

const everything: StructType = {
  kind: "struct",
  name: "Everything",
  fields: [
    { name: "Bool", type: bool },
    { name: "Int", type: int },
    { name: "Neg", type: int },
    { name: "Min", type: int },
    { name: "Uint", type: uint },
    { name: "Float", type: float },
    { name: "Bytes", type: bytes },
    { name: "String", type: text },
    { name: "Array", type: { kind: "array", name: "[3]uint16", element: uint, length: 3 } },
    { name: "Points", type: { kind: "slice", name: "[]*main.Point", element: pointed } },
    { name: "Map", type: { kind: "map", name: "map[string]int", key: text, element: int } },
    {
      name: "Nested",
      type: {
        kind: "map",
        name: "map[int][]main.Point",
        key: int,
        element: { kind: "slice", name: "", element: pointed },
      },
    },
    { name: "Net", type: net },
    { name: "Pointer", type: pointed, pointer: true },
    { name: "Nil", type: pointed, pointer: true },
    { name: "Zero", type: pointed },
  ],
};

/** Every kind of value that has a definition or a number, from Go. */
const everythingHex =
  "ffb6ff810301010a45766572797468696e6701ff820001100104426f6f6c0102000103496e7401040001034e6567" +
  "01040001034d696e010400010455696e740106000105466c6f617401080001054279746573010a000106537472" +
  "696e67010c000105417272617901ff84000106506f696e747301ff880001034d617001ff8a0001064e65737465" +
  "6401ff8e0001034e657401ff90000107506f696e74657201ff860001034e696c01ff860001045a65726f01ff86" +
  "00000019ff83010101095b335d75696e74313601ff84000106010600001cff870201010d5b5d2a6d61696e2e50" +
  "6f696e7401ff880001ff86000018ff85030102ff8600010201015801040001015901040000001eff890401010e" +
  "6d61705b737472696e675d696e7401ff8a00010c0104000025ff8d040101146d61705b696e745d5b5d6d61696e" +
  "2e506f696e7401ff8e00010401ff8c00000dff8b020102ff8c0001ff86000023ff8f0301010549504e657401ff" +
  "9000010201024950010a0001044d61736b010a00000061ff82010101fa02000000000001fe010101f8ffffffff" +
  "ffffffff01f8ffffffffffffffff01fe3140010200ff0103c3bc0001030001fe012c0102012c01420000010101" +
  "6101010105010102000101040a0000070104ffffff000001020100020000";

const everythingValue = {
  Bool: true,
  Int: 2 ** 40,
  Neg: -129,
  Min: -(2n ** 63n),
  Uint: 2n ** 64n - 1n,
  Float: 17,
  Bytes: Uint8Array.of(0, 255),
  String: "ü\0",
  Array: [0, 1, 300],
  Points: [{ X: 22, Y: 33 }, {}],
  Map: new Map([["a", -1]]),
  Nested: new Map([[-3, [{ X: 1 }]]]),
  Net: { IP: Uint8Array.of(10, 0, 0, 7), Mask: Uint8Array.of(255, 255, 255, 0) },
  Pointer: { Y: -1 },
  Zero: {},
};

const pointHex = "1fff8103010105506f696e7401ff820001020101580104000101590104000000";

/** Streams from Go and what they carry. */
const streams: Record<string, { readonly hex: string; readonly values: GobValue[] }> = {
  "a type is defined once for all its values": {
    hex: pointHex + "07ff82012c01420003ff820005ff82024100",
    values: [{ X: 22, Y: 33 }, {}, { Y: -33 }],
  },
  "every kind of field": { hex: everythingHex, values: [everythingValue] },
  "values that are no structs": {
    hex: "03040006070c000474657874040a00010103020001050800fe04400cff81020102ff8200010c000007ff82" +
      "00020001610b0600f88000000000000000050400fe01010eff83040102ff840001040102000006ff84000102" +
      "000eff85010102ff860001060104000006ff8600020009",
    values: [
      ...[3, "text", Uint8Array.of(1), true, 2.5, ["", "a"], 2n ** 63n, -129],
      ...[new Map([[1, false]]), [0, 9]],
    ],
  },
  "numbers that are complex, values that encode themselves, interfaces": {
    hex: pointHex +
      "07ff8201020104004aff83030101034f646401ff840001060107436f6d706c6578010e00010454696d6501ff" +
      "860001034e696c0110000103496e740110000105506f696e7401100001044c617374010c00000010ff850501" +
      "010454696d6501ff860000003cff8401fef83fffc0010f010000000e7791f70100000000ffff0203696e7404" +
      "02000a010a6d61696e2e506f696e74ff820501060108000103656e6400",
    values: [{ X: 1, Y: 2 }, {
      Complex: [1.5, -2],
      Time: Uint8Array.fromHex("010000000e7791f70100000000ffff"),
      Int: 5,
      Point: { X: 3, Y: 4 },
      Last: "end",
    }],
  },
  "a type that contains itself": {
    hex: "2eff81030101044c6f6f7001ff8200010301044e616d65010c0001044e65787401ff82000103416c6c01ff" +
      "840000001aff830201010b5b5d6d61696e2e4c6f6f7001ff840001ff82000011ff8201016101010162020101" +
      "016300000006ff8201016400",
    values: [{ Name: "a", Next: { Name: "b", All: [{ Name: "c" }] } }, { Name: "d" }],
  },
  "a list of its own type": {
    hex: "13ff81020101045472656501ff820001ff82000007ff820002000100",
    values: [[[], [[]]]],
  },
};

/** Cuts a stream as its reader does: a length, then so many bytes. */
function messagesOf(stream: Uint8Array): Uint8Array[] {
  const messages: Uint8Array[] = [];
  for (let rest = stream; rest.length > 0;) {
    const start = uintSize(rest[0]!);
    const end = start + Number(readUint(rest));
    messages.push(rest.subarray(start, end));
    rest = rest.subarray(end);
  }
  return messages;
}

/** What a stream carries, definitions left out. */
function decodeAll(stream: Uint8Array): GobValue[] {
  const decoder = new GobDecoder();
  return messagesOf(stream).map((message) => decoder.decode(message))
    .filter((value) => value !== undefined);
}

/** A copy whose structs are ordinary objects, for comparison. */
function plain(value: GobValue): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, plain(item)]));
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item!)]));
}

for (const [name, { hex, values }] of Object.entries(streams)) {
  Deno.test(`gob from Go: ${name}`, () => {
    assertEquals(decodeAll(Uint8Array.fromHex(hex)).map(plain), values);
  });
}

function encodeAll(items: readonly (readonly [GobType, GobValue])[]): string {
  const encoder = new GobEncoder();
  return items.map(([type, value]) => encoder.encode({ type, value }).toHex()).join("");
}

Deno.test("gob: the encoder writes the bytes that Go writes", () => {
  assertEquals(encodeAll([[everything, everythingValue]]), everythingHex);
  assertEquals(
    encodeAll([[point, { X: 22, Y: 33 }], [point, { X: 0 }], [point, { Y: -33 }]]),
    streams["a type is defined once for all its values"]!.hex,
  );
  const singles: GobType[] = [
    ...[int, text, bytes, bool, float],
    { kind: "slice", name: "", element: text },
    ...[uint, int],
    { kind: "map", name: "", key: int, element: bool },
    { kind: "array", name: "", element: uint, length: 2 },
  ];
  const { hex, values } = streams["values that are no structs"]!;
  assertEquals(encodeAll(singles.map((type, index) => [type, values[index]!])), hex);
});

Deno.test("gob: zero behind a pointer is sent, nil is not", () => {
  const type: StructType = {
    kind: "struct",
    name: "",
    fields: [
      { name: "Plain", type: int },
      { name: "Nil", type: int, pointer: true },
      { name: "Zero", type: int, pointer: true },
      { name: "NoStruct", type: net, pointer: true },
      { name: "Struct", type: net },
    ],
  };
  const bytes = new GobEncoder().encode({ type, value: { Plain: 0, Zero: 0 } });
  assertEquals(decodeAll(bytes).map(plain), [{ Zero: 0, Struct: {} }]);
});

Deno.test("gob: integers keep all their bits", () => {
  const numbers = [0, 1, 127, 128, 255, 256, 2 ** 32, 2 ** 53 - 1, 2n ** 53n, 2n ** 63n - 1n];
  for (const number of numbers) {
    for (const value of [number, typeof number === "bigint" ? ~number : ~BigInt(number)]) {
      const [decoded] = decodeAll(new GobEncoder().encode({ type: int, value }));
      assertEquals(BigInt(decoded as number | bigint), BigInt(value), String(value));
    }
    assertEquals(decodeAll(new GobEncoder().encode({ type: uint, value: number })), [number]);
  }
});

Deno.test("gob: floats keep all their bits", () => {
  for (const value of [0, 1, -1, 0.1, 5e-324, Number.MAX_VALUE, -Infinity, NaN]) {
    assertEquals(decodeAll(new GobEncoder().encode({ type: float, value })), [value]);
  }
});

Deno.test("gob: a value that does not fit its type is refused, and the stream goes on", () => {
  const array: GobType = { kind: "array", name: "[2]int", element: int, length: 2 };
  const cases: [GobType, GobValue, string][] = [
    [point, { X: "1" }, 'Cannot encode gob "X": expected int but received 1'],
    [point, { X: 1, Y: 1.5 }, 'Cannot encode gob "Y": expected int but received 1.5'],
    [point, [], 'Cannot encode gob "Point": expected struct but received an object'],
    [int, 2n ** 63n, 'Cannot encode gob "int": expected int but received 9223372036854775808'],
    [uint, -1, 'Cannot encode gob "uint": expected uint but received -1'],
    [uint, 2n ** 64n, 'Cannot encode gob "uint": expected uint but received 18446744073709551616'],
    [text, 7, 'Cannot encode gob "string": expected string but received 7'],
    [bytes, "7", 'Cannot encode gob "bytes": expected bytes but received 7'],
    [bool, 1, 'Cannot encode gob "bool": expected bool but received 1'],
    [float, true, 'Cannot encode gob "float": expected float but received true'],
    [array, [1], 'Cannot encode gob "[2]int": expected array but received an object'],
    [
      { kind: "slice", name: "[]int", element: int },
      null,
      'Cannot encode gob "[]int": expected slice but received an object',
    ],
    [
      { kind: "map", name: "m", key: int, element: int },
      {},
      'Cannot encode gob "m": expected map but received an object',
    ],
    [{ kind: "interface" }, 1, 'Cannot encode gob "interface": interface can be decoded alone'],
    [{ kind: "opaque" }, Uint8Array.of(1), 'Cannot encode gob "opaque": it can be decoded alone'],
  ];
  const encoder = new GobEncoder();
  for (const [type, value, message] of cases) {
    assertThrows(() => encoder.encode({ type, value }), GobError, message);
  }
  assertEquals(decodeAll(encoder.encode({ type: point, value: { X: 1 } })).map(plain), [{ X: 1 }]);
});

Deno.test("gob: definitions come in any order", () => {
  const messages = messagesOf(Uint8Array.fromHex(everythingHex));
  assertEquals(messages.length, 9);
  const decoder = new GobDecoder();
  const [value, ...definitions] = messages.reverse();
  for (const message of definitions) assertEquals(decoder.decode(message), undefined);
  assertEquals(plain(decoder.decode(value!)!), everythingValue);
});

/** A message after the definition of `Point`, and what is wrong with it. */
const broken: Record<string, readonly [hex: string, message: string]> = {
  "no bytes": ["", "1 bytes where 0 are left"],
  "an integer of 9 bytes": ["f7010203040506070809", "an integer of 9 bytes"],
  "an integer cut off": ["f80102", "8 bytes where 2 are left"],
  "a type that is not defined": ["ff840100", "type 66 is not defined"],
  "a reserved type": ["2000", "type 16 is not defined"],
  "a type without number": ["0000", "type 0 is not defined"],
  "a struct cut off": ["ff82012c", "1 bytes where 0 are left"],
  "a field too many": ["ff8203020200", "field 2 of 2"],
  "a field far away": ["ff82f8ffffffffffffffff0200", "field 18446744073709552000 of 2"],
  "bytes after the value": ["ff820001", "1 bytes after the value"],
  "a single value with a field": ["040106", "a single value with a field"],
  "a text longer than all": ["0c00fc7fffffff61", "a count of 2147483647 where 1 bytes are left"],
  "bytes longer than all": ["0a00f8ffffffffffffffff", "a count of 18446744073709552000 where 0"],
  "a type defined twice": [pointHex.slice(2), "type 65 is defined twice"],
  "a basic type defined": ["0303010104506f696e7400", "type 2 is defined twice"],
  "a definition of nothing": ["ff8300", "a definition of nothing"],
  "a definition and more": ["ff83030102ff8400000000", "1 bytes after the value"],
  "a definition that is none": ["ff8308", "field 7 of 7"],
};

for (const [name, [hex, message]] of Object.entries(broken)) {
  Deno.test(`gob refuses ${name}`, () => {
    const decoder = new GobDecoder();
    decoder.decode(Uint8Array.fromHex(pointHex).subarray(1));
    const decode = () => decoder.decode(Uint8Array.fromHex(hex));
    assertThrows(decode, GobError, `Cannot decode gob: ${message}`);
  });
}

/** Streams with definitions, and what is wrong with their value. */
const hostile: Record<string, readonly [hex: string, message: string]> = {
  "a type defined inside a value, as for an interface": [
    "12ff81030102ff8200010101014101100000002dff82010a6d61696e2e506f696e74ff8303010105506f696e74" +
    "01ff84000102010158010400010159010400000009ff8405010601080000",
    "a type is defined inside a value",
  ],
  "an interface whose value is longer than it says": [
    "12ff81030102ff8200010101014101100000000bff820103696e740401000a00",
    "a value of 1 bytes that is not so long",
  ],
  "an array of another length": [
    "0eff85010102ff860001060104000005ff86000109",
    "1 elements of 2",
  ],
  "an array of a negative length": [
    "0eff85010102ff860001060103000004ff860000",
    "0 elements of -2",
  ],
  "a field of a type that is not defined": [
    "12ff81030102ff820001010101410150000000" + "05ff82010000",
    "type 40 is not defined",
  ],
  "a list of a type that is not defined": [
    "0cff81020102ff820001500000" + "05ff82000100",
    "type 40 is not defined",
  ],
};

for (const [name, [hex, message]] of Object.entries(hostile)) {
  Deno.test(`gob refuses ${name}`, () => {
    const decode = () => decodeAll(Uint8Array.fromHex(hex));
    assertThrows(decode, GobError, `Cannot decode gob: ${message}`);
  });
}

/** `type Tree []Tree` */
const treeHex = "13ff81020101045472656501ff820001ff820000";

function withTree(value: readonly number[]): () => GobValue | undefined {
  const decoder = new GobDecoder();
  decoder.decode(Uint8Array.fromHex(treeHex).subarray(1));
  return () => decoder.decode(Uint8Array.from([0xff, 0x82, 0, ...value]));
}

Deno.test("gob: a value may be deep, but not too deep", () => {
  const deep = (levels: number) => [...Array(levels - 1).fill(1), 0];
  assertEquals(JSON.stringify(withTree(deep(32))()), "[".repeat(32) + "]".repeat(32));
  assertThrows(withTree(deep(33)), GobError, "Cannot decode gob: deeper than 32 levels");
  assertThrows(withTree(deep(900_000)), GobError, "deeper than 32 levels");
});

Deno.test("gob: a value may have many parts, but not too many", () => {
  const wide = (count: number) => [0xfd, count >> 16, count >> 8 & 255, count & 255];
  const parts = (count: number) => withTree([...wide(count), ...Array(count).fill(0)]);
  assertEquals((parts(99_999)() as GobValue[]).length, 99_999);
  assertThrows(parts(100_000), GobError, "Cannot decode gob: more than 100000 values");
});

Deno.test("gob: a stream may define many types, but not too many, and none too long", () => {
  const decoder = new GobDecoder();
  const define = (name: string) => {
    const type: GobType = { kind: "struct", name, fields: [] };
    return messagesOf(new GobEncoder().encode({ type, value: {} }))[0]!;
  };
  assertThrows(
    () => decoder.decode(define("x".repeat(16_384))),
    GobError,
    "Cannot decode gob: a definition of 16396 bytes",
  );
  const defineMany = () => {
    for (let id = 64; id < 400; id++) {
      const minus = id * 2 - 1;
      const rest = define("").subarray(2);
      decoder.decode(Uint8Array.from([0xfe, minus >> 8, minus & 255, ...rest]));
    }
  };
  assertThrows(defineMany, GobError, "Cannot decode gob: more than 256 types");
});

Deno.test("gob: names of fields do no harm", () => {
  const names = ["__proto__", "constructor"];
  const fields = names.map((name) => ({ name, type: net }));
  const value = Object.assign(Object.create(null), { constructor: {} });
  const stream = new GobEncoder().encode({ type: { kind: "struct", name: "", fields }, value });
  const [decoded] = decodeAll(stream);
  assertEquals(Object.getPrototypeOf(decoded), null);
  assertEquals(Object.keys(decoded!).sort(), names);
});

Deno.test("gob: of 20,000 damaged streams each decodes or is refused as such", () => {
  const random = new Random(seedOf(5));
  const intact = Object.values(streams).map(({ hex }) => Uint8Array.fromHex(hex));
  const outcomes = { decoded: 0, refused: 0 };
  for (let round = 0; round < 20_000; round++) {
    const stream = intact[round % intact.length]!.slice();
    for (let left = random.integer(1, 4); left > 0; left--) {
      stream[random.integer(0, stream.length - 1)] = random.integer(0, 255);
    }
    try {
      decodeAll(stream);
      outcomes.decoded++;
    } catch (error) {
      if (!(error instanceof GobError)) throw error;
      outcomes.refused++;
    }
  }
  assertEquals(outcomes.decoded > 1000 && outcomes.refused > 1000, true, JSON.stringify(outcomes));
});
