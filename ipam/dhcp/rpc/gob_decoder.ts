/**
 * The reading side of a gob stream. It does no input or output: it takes one whole message at a time.
 * Whatever the sender says, a message stays within bounds for its depth, its number of values and
 * the number of types.
 *
 * @module
 */
import type {
  ArrayType,
  BasicKind,
  GobField,
  GobStruct,
  GobType,
  GobValue,
  MapType,
  SliceType,
  StructType,
} from "./gob_types.ts";
import { basicIds, GobError, wireType } from "./gob_types.ts";

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
/** Length in bytes, 1–9, of the unsigned integer that begins with this byte. */
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

/** Decodes one stream: keeps the types that the stream has defined. */
export class GobDecoder {
  readonly #types = new Map<number, GobType>();

  /** Makes a decoder that knows the types without a definition. */
  constructor() {
    for (const [kind, id] of Object.entries(basicIds)) {
      this.#types.set(id, { kind: kind as BasicKind });
    }
  }

  /**
   * Decodes one message without its length. Gives its value, or `undefined` when it defines a type.
   * Throws a {@linkcode GobError}, after which the stream cannot be used. Types that are defined
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

  /** Makes a type whose parts are looked up on demand, since definitions come in any order. */
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

/** Reads a value at the top of a message or of an interface; a zero precedes one that is no struct. */
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

/** Reads a list. Every element takes a byte at least, so no count can exceed the bytes left. */
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

/** Reads the name of a type, its id, and a value after its length; an empty name is nil. */
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

/** Reads a message, and counts how much of its bounds is used. */
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

  /** Counts one more value. */
  count(): void {
    if (++this.#values > maxValues) throw broken(`more than ${maxValues} values`);
  }

  /** Reads a value one level deeper. */
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

  /** Reads a count of elements that are each at least a byte long. */
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

function bitsToFloat(bits: number | bigint): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, BigInt(bits), true);
  return view.getFloat64(0);
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
