/**
 * The writing side of a gob stream. It does no input or output: it gives the bytes to send.
 *
 * @module
 */
import type {
  ArrayType,
  BasicType,
  GobField,
  GobStruct,
  GobType,
  GobValue,
  MapType,
  SliceType,
  StructType,
  TypedValue,
} from "./gob_types.ts";
import {
  basicIds,
  GobError,
  gobTypeName,
  isBasicType,
  isGobList,
  isGobStruct,
  wireType,
} from "./gob_types.ts";

/** Lowest id that Go gives to a type. */
const firstUsedId = 65;

/** Encodes one stream: defines each type before its first value. */
export class GobEncoder {
  readonly #ids = new Map<GobType, number>();
  readonly #sent = new Set<GobType>();
  #nextId = firstUsedId;

  /**
   * Encodes values as messages: definitions of the types that this stream has not seen, and the
   * values, each after its length. Throws a {@linkcode GobError} when a value is not of its type;
   * then nothing counts as sent, and the stream can be used on.
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
    writeValue(out, { type, value, at: gobTypeName(type) });
    return out;
  }

  /** Numbers types in the same order as Go. */
  #idOf(type: GobType): number {
    const known = isBasicType(type) ? basicIdOf(type) : this.#ids.get(type);
    if (known !== undefined) return known;
    if (type.kind === "struct") this.#ids.set(type, this.#nextId++);
    partsOf(type).forEach((part) => this.#idOf(part));
    if (type.kind !== "struct") this.#ids.set(type, this.#nextId++);
    return this.#ids.get(type)!;
  }

  /** Types that the other side does not know yet, a whole before its parts. */
  #unsent(type: GobType, seen: Set<GobType>): GobType[] {
    if (isBasicType(type) || this.#sent.has(type) || seen.has(type)) return [];
    seen.add(type);
    return [type, ...partsOf(type).flatMap((part) => this.#unsent(part, seen))];
  }

  #define(type: GobType): Writer {
    const id = this.#idOf(type);
    const out = new Writer();
    out.int(-id);
    const CommonType = { Name: gobTypeName(type), Id: id };
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

function basicIdOf({ kind }: BasicType): number {
  if (kind !== "opaque") return basicIds[kind];
  throw new GobError(`Cannot encode gob "${kind}": it can be decoded alone`);
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

/** A value to write; `at` names its field or type in an error. */
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
      return writeStruct(out, { type, value: fit(isGobStruct(value) && value, item) });
    case "map":
      return writeMap(out, { type, value: fit(value instanceof Map && value, item), at });
    case "slice":
    case "array":
      return writeList(out, { type, value: fit(fits(value, type) && value, item), at });
    default:
      throw new GobError(`Cannot encode gob "${at}": ${type.kind} can be decoded alone`);
  }
}

/** Gives the value that has passed its test; throws when the test has given false. */
function fit<T>(value: T | false, { type, value: given, at }: Item): T {
  if (value !== false) return value;
  const text = given === null || typeof given === "object" ? "an object" : String(given);
  throw new GobError(`Cannot encode gob "${at}": expected ${type.kind} but received ${text}`);
}

/** Whether a value fits a signed integer of 64 bits. */
function isInt64(value: GobValue): value is number | bigint {
  return Number.isSafeInteger(value) ||
    typeof value === "bigint" && BigInt.asIntN(64, value) === value;
}

function isUint64(value: GobValue): value is number | bigint {
  return Number.isSafeInteger(value) && Number(value) >= 0 ||
    typeof value === "bigint" && BigInt.asUintN(64, value) === value;
}

function fits(value: GobValue, type: SliceType | ArrayType): value is readonly GobValue[] {
  return isGobList(value) && (type.kind === "slice" || type.length === value.length);
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
  return !value || (isGobList(value) || value instanceof Uint8Array) && value.length === 0;
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

/** Bits of a float with their bytes reversed, so that round numbers are short. */
function floatBits(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return view.getBigUint64(0, true);
}

/** Writes to a buffer that grows. */
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

  /** Writes one byte below 128; else the negated count of bytes, and the bytes, high ones first. */
  uint(value: number | bigint): void {
    if (value < 128) return this.append([Number(value)]);
    const bytes: number[] = [];
    for (let rest = BigInt(value); rest > 0n; rest >>= 8n) bytes.unshift(Number(rest & 0xffn));
    this.append([256 - bytes.length, ...bytes]);
  }

  /** Writes a sign in the lowest bit; the complement of a negative number stands above it. */
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
