/**
 * Go's `encoding/gob`, as far as structs of plain data need it: a stream of messages that either
 * define a type or carry a value, each preceded by its length in bytes. Struct fields match by
 * name, and a field that holds the zero value of its type is not sent; so either side may know
 * fields that the other does not. Source: the documentation of Go's package `encoding/gob`.
 *
 * Nothing here reads or writes; a message is decoded as a whole, within bounds for its depth, its
 * number of values and the number of types, whatever the sender says.
 *
 * @module
 */

/**
 * A value as it is on the wire. Integers outside of ±(2^53 − 1) are bigints. A fixed array and a
 * slice are lists, a complex number is a list of two, a nil interface is null.
 */
export type GobValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly GobValue[]
  | ReadonlyMap<GobValue, GobValue>
  | GobStruct;

/** Fields by their Go names. One that is absent is zero. */
export interface GobStruct {
  /** Any field. */
  readonly [field: string]: GobValue | undefined;
}

/** A Go type. The encoder tells types apart by identity: make each once. */
export type GobType = BasicType | ArrayType | SliceType | MapType | StructType;

/** A type that needs no definition; the last three can be decoded alone. */
export interface BasicType {
  /** `opaque` is what encodes itself (GobEncoder, BinaryMarshaler, TextMarshaler): bytes to us. */
  readonly kind: BasicKind | "opaque";
}

type BasicKind =
  | "bool"
  | "int"
  | "uint"
  | "float"
  | "bytes"
  | "string"
  | "complex"
  | "interface";

/** `[length]element` */
export interface ArrayType {
  /** Tells the type from others. */
  readonly kind: "array";
  /** As Go writes the type; for people alone. */
  readonly name: string;
  /** Of every element. */
  readonly element: GobType;
  /** Number of elements. */
  readonly length: number;
}

/** `[]element`, except `[]byte`, which is of kind `bytes`. */
export interface SliceType {
  /** Tells the type from others. */
  readonly kind: "slice";
  /** As Go writes the type; for people alone. */
  readonly name: string;
  /** Of every element; whether these are pointers does not show. */
  readonly element: GobType;
}

/** `map[key]element` */
export interface MapType {
  /** Tells the type from others. */
  readonly kind: "map";
  /** As Go writes the type; for people alone. */
  readonly name: string;
  /** Of every key. */
  readonly key: GobType;
  /** Of every value. */
  readonly element: GobType;
}

/** A struct with its exported fields. */
export interface StructType {
  /** Tells the type from others. */
  readonly kind: "struct";
  /** Its name without the package; empty for `struct{}`. For people alone. */
  readonly name: string;
  /** In the order of the declaration. */
  readonly fields: readonly GobField[];
}

/** A field of a struct. */
export interface GobField {
  /** By which the other side finds its own field. */
  readonly name: string;
  /** Type, without the pointer. */
  readonly type: GobType;
  /**
   * Whether it is a pointer: then zero is sent, and absent is nil. (Go's encoder loses the
   * difference; its decoder does not.)
   */
  readonly pointer?: boolean;
}

/** A value and the type to send it as. */
export interface TypedValue {
  /** What the other side is told about it. */
  readonly type: GobType;
  /** Of this type. */
  readonly value: GobValue;
}

/** Bytes that are no gob, or a value that does not fit its type. */
export class GobError extends Error {
  /** Tells this error from others. */
  override readonly name: string = "GobError";
}

/** Deepest nesting of a value. */
const maxDepth = 32;
/** Most values of one message: elements, keys and fields. */
const maxValues = 100_000;
/** Most types of one stream. */
const maxTypes = 256;
/** Longest definition of a type, in bytes. */
const maxDefinition = 16_384;
/** Lowest id of a type that a stream defines. */
const firstDefinableId = 64;
/** Where Go begins to number types. */
const firstUsedId = 65;

const basicIds: Readonly<Record<BasicKind, number>> = {
  bool: 1,
  int: 2,
  uint: 3,
  float: 4,
  bytes: 5,
  string: 6,
  complex: 7,
  interface: 8,
};

const int: GobType = { kind: "int" };

/** `CommonType`: the name and id inside every definition. */
const commonType: StructType = {
  kind: "struct",
  name: "CommonType",
  fields: [{ name: "Name", type: { kind: "string" } }, { name: "Id", type: int }],
};

const fieldType: StructType = {
  kind: "struct",
  name: "fieldType",
  fields: [{ name: "Name", type: { kind: "string" } }, { name: "Id", type: int }],
};

function definition(name: string, fields: readonly GobField[]): GobField {
  const common = { name: "CommonType", type: commonType };
  return { name, type: { kind: "struct", name, fields: [common, ...fields] }, pointer: true };
}

const elem: GobField = { name: "Elem", type: int };

/** `wireType`: what defines a type; exactly one of its fields is there. */
const wireType: StructType = {
  kind: "struct",
  name: "wireType",
  fields: [
    definition("ArrayT", [elem, { name: "Len", type: int }]),
    definition("SliceT", [elem]),
    definition("StructT", [
      { name: "Field", type: { kind: "slice", name: "[]*fieldType", element: fieldType } },
    ]),
    definition("MapT", [{ name: "Key", type: int }, elem]),
    definition("GobEncoderT", []),
    definition("BinaryMarshalerT", []),
    definition("TextMarshalerT", []),
  ],
};

/** One side's writing end of a stream: defines each type before its first value. */
export class GobEncoder {
  readonly #ids = new Map<GobType, number>();
  readonly #sent = new Set<GobType>();
  #nextId = firstUsedId;

  /**
   * The messages that carry some values: definitions of types that this stream has not seen, and
   * the values, each after its length. Throws a {@linkcode GobError} when a value is not of its
   * type; nothing counts as sent then, and the stream can be used on.
   */
  encode(...items: readonly TypedValue[]): Uint8Array<ArrayBuffer> {
    const bodies = items.map((item) => this.#body(item));
    const out = new Writer();
    for (const [index, { type }] of items.entries()) {
      for (const inner of this.#unsent(type, new Set())) {
        out.message(this.#define(inner));
        this.#sent.add(inner);
      }
      out.message(bodies[index]!);
    }
    return out.bytes();
  }

  #body({ type, value }: TypedValue): Writer {
    const out = new Writer();
    out.int(this.#idOf(type));
    if (type.kind !== "struct") out.uint(0);
    writeValue(out, { type, value, at: nameOf(type) });
    return out;
  }

  /** Numbers types in the order that Go does. */
  #idOf(type: GobType): number {
    const known = isBasic(type) ? basicIdOf(type) : this.#ids.get(type);
    if (known !== undefined) return known;
    if (type.kind === "struct") this.#ids.set(type, this.#nextId++);
    partsOf(type).forEach((part) => this.#idOf(part));
    if (type.kind !== "struct") this.#ids.set(type, this.#nextId++);
    return this.#ids.get(type)!;
  }

  /** What the other side does not know yet, the whole before its parts. */
  #unsent(type: GobType, seen: Set<GobType>): GobType[] {
    if (isBasic(type) || this.#sent.has(type) || seen.has(type)) return [];
    seen.add(type);
    return [type, ...partsOf(type).flatMap((part) => this.#unsent(part, seen))];
  }

  #define(type: GobType): Writer {
    const id = this.#idOf(type);
    const out = new Writer();
    out.int(-id);
    const CommonType = { Name: nameOf(type), Id: id };
    const value = this.#definitionOf(type, CommonType);
    writeValue(out, { type: wireType, value, at: wireType.name });
    return out;
  }

  #definitionOf(type: GobType, CommonType: GobStruct): GobStruct {
    switch (type.kind) {
      case "struct": {
        const Field = type.fields.map(({ name, type }) => ({ Name: name, Id: this.#idOf(type) }));
        return { StructT: { CommonType, Field } };
      }
      case "map":
        return {
          MapT: { CommonType, Key: this.#idOf(type.key), Elem: this.#idOf(type.element) },
        };
      case "array":
        return { ArrayT: { CommonType, Elem: this.#idOf(type.element), Len: type.length } };
      case "slice":
        return { SliceT: { CommonType, Elem: this.#idOf(type.element) } };
      default:
        throw new GobError(`Cannot encode gob "${type.kind}": it has no definition`);
    }
  }
}

function isBasic(type: GobType): type is BasicType {
  return !("name" in type);
}

function basicIdOf({ kind }: BasicType): number {
  if (kind !== "opaque") return basicIds[kind];
  throw new GobError(`Cannot encode gob "${kind}": it can be decoded alone`);
}

function nameOf(type: GobType): string {
  return isBasic(type) ? type.kind : type.name;
}

function partsOf(type: GobType): readonly GobType[] {
  switch (type.kind) {
    case "struct":
      return type.fields.map((field) => field.type);
    case "map":
      return [type.key, type.element];
    case "array":
    case "slice":
      return [type.element];
    default:
      return [];
  }
}

/** A value to write, and the name of its field or type for an error. */
interface Item extends TypedValue {
  readonly at: string;
}

function writeValue(out: Writer, item: Item): void {
  const { type, value, at } = item;
  switch (type.kind) {
    case "bool":
      return out.uint(fit(typeof value === "boolean" && Number(value), item));
    case "int":
      return out.int(fit(isInt64(value) && value, item));
    case "uint":
      return out.uint(fit(isUint64(value) && value, item));
    case "float":
      return out.uint(floatBits(fit(typeof value === "number" && value, item)));
    case "string":
      return out.counted(new TextEncoder().encode(fit(typeof value === "string" && value, item)));
    case "bytes":
      return out.counted(fit(value instanceof Uint8Array && value, item));
    case "struct":
      return writeStruct(out, { type, value: fit(isStruct(value) && value, item) });
    case "map":
      return writeMap(out, { type, value: fit(value instanceof Map && value, item), at });
    case "slice":
    case "array":
      return writeList(out, { type, value: fit(fits(value, type) && value, item), at });
    default:
      throw new GobError(`Cannot encode gob "${at}": ${type.kind} can be decoded alone`);
  }
}

/** The value, when a test of it has not given false. */
function fit<T>(value: T | false, { type, value: given, at }: Item): T {
  if (value !== false) return value;
  const text = given === null || typeof given === "object" ? "an object" : String(given);
  throw new GobError(`Cannot encode gob "${at}": expected ${type.kind} but received ${text}`);
}

/** Any value that can be an integer of 64 bits with a sign. */
function isInt64(value: GobValue): value is number | bigint {
  return Number.isSafeInteger(value) ||
    typeof value === "bigint" && BigInt.asIntN(64, value) === value;
}

function isUint64(value: GobValue): value is number | bigint {
  return Number.isSafeInteger(value) && Number(value) >= 0 ||
    typeof value === "bigint" && BigInt.asUintN(64, value) === value;
}

function isList(value: GobValue): value is readonly GobValue[] {
  return Array.isArray(value);
}

function fits(value: GobValue, type: SliceType | ArrayType): value is readonly GobValue[] {
  return isList(value) && (type.kind === "slice" || type.length === value.length);
}

/** Whether a value is a struct, and not another thing that is an object here. */
export function isStruct(value: GobValue | undefined): value is GobStruct {
  return typeof value === "object" && value !== null && !isList(value) &&
    !(value instanceof Uint8Array) && !(value instanceof Map);
}

function writeStruct(
  out: Writer,
  { type, value }: { type: StructType; value: GobStruct },
): void {
  let last = -1;
  for (const [index, field] of type.fields.entries()) {
    const item = value[field.name];
    if (!isSent(field, item)) continue;
    out.uint(index - last);
    writeValue(out, { type: field.type, value: item ?? {}, at: field.name });
    last = index;
  }
  out.uint(0);
}

/** Structs are always sent, also empty ones, except behind a pointer. */
function isSent({ type, pointer }: GobField, value: GobValue | undefined): boolean {
  if (value === undefined) return type.kind === "struct" && !pointer;
  return pointer === true || type.kind === "array" || !isZero(value);
}

function isZero(value: GobValue): boolean {
  return !value || (isList(value) || value instanceof Uint8Array) && value.length === 0;
}

function writeMap(
  out: Writer,
  { type, value, at }: { type: MapType; value: ReadonlyMap<GobValue, GobValue>; at: string },
): void {
  out.uint(value.size);
  for (const [key, element] of value) {
    writeValue(out, { type: type.key, value: key, at });
    writeValue(out, { type: type.element, value: element, at });
  }
}

function writeList(
  out: Writer,
  { type, value, at }: { type: ArrayType | SliceType; value: readonly GobValue[]; at: string },
): void {
  out.uint(value.length);
  for (const element of value) writeValue(out, { type: type.element, value: element, at });
}

/** The bits of a float with their bytes reversed, so that round numbers are short. */
function floatBits(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0, true);
}

function bitsToFloat(bits: number | bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(bits), true);
  return view.getFloat64(0);
}

/** Bytes that grow. */
class Writer {
  #bytes = new Uint8Array(256);
  #length = 0;

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  append(bytes: Uint8Array | readonly number[]): void {
    const length = this.#length + bytes.length;
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length = length;
  }

  /** Below 128 one byte; else the count of bytes, negated, and the bytes, high ones first. */
  uint(value: number | bigint): void {
    if (value < 128) return this.append([Number(value)]);
    const bytes: number[] = [];
    for (let rest = BigInt(value); rest > 0n; rest >>= 8n) bytes.unshift(Number(rest & 0xffn));
    this.append([256 - bytes.length, ...bytes]);
  }

  /** The lowest bit tells a negative number, of which the complement stands above it. */
  int(value: number | bigint): void {
    const whole = BigInt(value);
    this.uint(whole < 0n ? ~whole << 1n | 1n : whole << 1n);
  }

  counted(bytes: Uint8Array): void {
    this.uint(bytes.length);
    this.append(bytes);
  }

  message(body: Writer): void {
    this.counted(body.bytes());
  }
}

/** How many bytes the unsigned integer has that begins with this byte: 1–9. */
export function uintSize(first: number): number {
  if (first < 128) return 1;
  const size = 256 - first;
  if (size > 8) throw broken(`an integer of ${size} bytes`);
  return 1 + size;
}

/** Reads the unsigned integer that these bytes begin with. */
export function readUint(bytes: Uint8Array): number | bigint {
  return new Reader(bytes, undefinedType).uint();
}

function broken(what: string): GobError {
  return new GobError(`Cannot decode gob: ${what}`);
}

function undefinedType(id: number): never {
  throw broken(`type ${id} is not defined`);
}

/** One side's reading end of a stream: keeps the types that the stream has defined. */
export class GobDecoder {
  readonly #types = new Map<number, GobType>();

  /** Makes a decoder that knows what every stream knows. */
  constructor() {
    for (const [kind, id] of Object.entries(basicIds)) {
      this.#types.set(id, { kind: kind as BasicKind });
    }
  }

  /**
   * Takes one message without its length; gives its value, or `undefined` when it defines a type.
   * Throws a {@linkcode GobError}; the stream makes no sense after it. Types that are defined
   * inside a value, which only an interface can hold, are refused.
   */
  decode(message: Uint8Array): GobValue | undefined {
    const reader = new Reader(message, this.#typeOf);
    const id = reader.int();
    if (id < 0) return this.#define(-Number(id), reader);
    const value = readWhole(reader, this.#typeOf(Number(id)));
    reader.end();
    return value;
  }

  #define(id: number, reader: Reader): undefined {
    if (reader.left > maxDefinition) throw broken(`a definition of ${reader.left} bytes`);
    if (id < firstDefinableId || this.#types.has(id)) throw broken(`type ${id} is defined twice`);
    if (this.#types.size >= maxTypes) throw broken(`more than ${maxTypes} types`);
    const value = readWhole(reader, wireType) as GobStruct;
    reader.end();
    this.#types.set(id, this.#toType(value));
  }

  #typeOf = (id: number): GobType => {
    const type = this.#types.get(id);
    return type ?? undefinedType(id);
  };

  /** Ids in a definition are looked up when a value needs them: definitions come in any order. */
  #toType(wire: GobStruct): GobType {
    const [kind, parts] = (Object.entries(wire) as [string, GobStruct][])[0] ?? ["", {}];
    const name = ((parts.CommonType ?? {}) as GobStruct).Name as string ?? "";
    const typeOf = this.#typeOf;
    const get = (field: string) => typeOf(Number(parts[field] ?? 0));
    const base = {
      name,
      get element() {
        return get("Elem");
      },
      get key() {
        return get("Key");
      },
    };
    switch (kind) {
      case "ArrayT":
        return Object.assign(base, { kind: "array", length: Number(parts.Len ?? 0) } as const);
      case "SliceT":
        return Object.assign(base, { kind: "slice" } as const);
      case "MapT":
        return Object.assign(base, { kind: "map" } as const);
      case "StructT":
        return { kind: "struct", name, fields: lazyFields(parts.Field, typeOf) };
      case "":
        throw broken("a definition of nothing");
      default:
        return { kind: "opaque" };
    }
  }
}

function lazyFields(fields: GobValue | undefined, typeOf: (id: number) => GobType): GobField[] {
  return (fields as GobStruct[] ?? []).map(({ Name = "", Id = 0 }) => ({
    name: Name as string,
    get type() {
      return typeOf(Number(Id));
    },
  }));
}

/** A value at the top of a message or of an interface: one that is no struct follows a zero. */
function readWhole(reader: Reader, type: GobType): GobValue {
  if (type.kind !== "struct" && reader.uint() !== 0) throw broken("a single value with a field");
  return readValue(reader, type);
}

function readValue(reader: Reader, type: GobType): GobValue {
  reader.count();
  switch (type.kind) {
    case "bool":
      return reader.uint() !== 0;
    case "int":
      return reader.int();
    case "uint":
      return reader.uint();
    case "float":
      return bitsToFloat(reader.uint());
    case "complex":
      return [bitsToFloat(reader.uint()), bitsToFloat(reader.uint())];
    case "string":
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(reader.counted());
    case "bytes":
    case "opaque":
      return reader.counted().slice();
    default:
      return reader.nested(() => readCompound(reader, type));
  }
}

function readCompound(reader: Reader, type: GobType): GobValue {
  switch (type.kind) {
    case "struct":
      return readStruct(reader, type);
    case "map":
      return readMap(reader, type);
    case "array":
    case "slice":
      return readList(reader, type);
    default:
      return readInterface(reader);
  }
}

function readStruct(reader: Reader, { fields }: StructType): GobStruct {
  const value: Record<string, GobValue> = Object.create(null);
  let index = -1;
  for (let delta = reader.uint(); delta !== 0; delta = reader.uint()) {
    index += Number(delta);
    const field = fields[index];
    if (!field) throw broken(`field ${index} of ${fields.length}`);
    value[field.name] = readValue(reader, field.type);
  }
  return value;
}

/** Every element takes a byte at least, so no count can exceed what is left. */
function readList(reader: Reader, type: ArrayType | SliceType): GobValue[] {
  const length = reader.size();
  if (type.kind === "array" && type.length !== length) {
    throw broken(`${length} elements of ${type.length}`);
  }
  const list: GobValue[] = [];
  for (let index = 0; index < length; index++) list.push(readValue(reader, type.element));
  return list;
}

function readMap(reader: Reader, type: MapType): ReadonlyMap<GobValue, GobValue> {
  const map = new Map<GobValue, GobValue>();
  for (let left = reader.size(); left > 0; left--) {
    const key = readValue(reader, type.key);
    map.set(key, readValue(reader, type.element));
  }
  return map;
}

/** The name of a type, its id, and a value after its length; an empty name is nil. */
function readInterface(reader: Reader): GobValue {
  if (reader.counted().length === 0) return null;
  const id = reader.int();
  if (id < 0) throw broken("a type is defined inside a value");
  const size = reader.size();
  const end = reader.left - size;
  const value = readWhole(reader, reader.typeOf(Number(id)));
  if (reader.left !== end) throw broken(`a value of ${size} bytes that is not so long`);
  return value;
}

/** A place in a message, and how much of its bounds is used. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #depth = 0;
  #values = 0;

  constructor(bytes: Uint8Array, readonly typeOf: (id: number) => GobType) {
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Notes one more value. */
  count(): void {
    if (++this.#values > maxValues) throw broken(`more than ${maxValues} values`);
  }

  /** Reads what has parts. */
  nested<T>(read: () => T): T {
    if (++this.#depth > maxDepth) throw broken(`deeper than ${maxDepth} levels`);
    const value = read();
    this.#depth--;
    return value;
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw broken(`${length} bytes where ${this.left} are left`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint(): number | bigint {
    const first = this.take(1)[0]!;
    const size = uintSize(first) - 1;
    if (size === 0) return first;
    let value = 0n;
    for (const byte of this.take(size)) value = value << 8n | BigInt(byte);
    return narrow(value);
  }

  int(): number | bigint {
    const value = BigInt(this.uint());
    return narrow(value & 1n ? ~(value >> 1n) : value >> 1n);
  }

  /** A count of things that are each a byte or longer. */
  size(): number {
    const size = Number(this.uint());
    if (size > this.left) throw broken(`a count of ${size} where ${this.left} bytes are left`);
    return size;
  }

  counted(): Uint8Array {
    return this.take(this.size());
  }

  end(): void {
    if (this.left > 0) throw broken(`${this.left} bytes after the value`);
  }
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
