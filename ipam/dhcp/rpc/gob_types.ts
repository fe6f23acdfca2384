/**
 * Types and values of Go's `encoding/gob`, as far as structs of plain data need it. A stream consists
 * of messages that either define a type or carry a value, each preceded by its length in bytes.
 * Fields of structs match by name, and a field that holds the zero value of its type is not sent; so
 * either side may know fields that the other does not. Source: the documentation of Go's package
 * `encoding/gob`.
 *
 * @module
 */

/**
 * A value as it is sent. Integers outside of ±(2^53 − 1) are bigints. A fixed array and a
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

/** A type that needs no definition. Complex numbers, interfaces and opaque values can only be decoded. */
export interface BasicType {
  /** A value that encodes itself (GobEncoder, BinaryMarshaler, TextMarshaler) is `opaque`: bytes. */
  readonly kind: BasicKind | "opaque";
}

/** Kinds that can be encoded and decoded. */
export type BasicKind =
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
  /** How Go writes the type; it informs people only. */
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
  /** How Go writes the type; it informs people only. */
  readonly name: string;
  /** Of every element; whether these are pointers does not show. */
  readonly element: GobType;
}

/** `map[key]element` */
export interface MapType {
  /** Tells the type from others. */
  readonly kind: "map";
  /** How Go writes the type; it informs people only. */
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
  /** Its name without the package; empty for `struct{}`. It informs people only. */
  readonly name: string;
  /** In the order of the declaration. */
  readonly fields: readonly GobField[];
}

/** A field of a struct. */
export interface GobField {
  /** Name by which the other side finds its own field. */
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
  /** Type that is sent along. */
  readonly type: GobType;
  /** Value of this type. */
  readonly value: GobValue;
}

/** The bytes are no gob, or a value does not fit its type. */
export class GobError extends Error {
  /** Tells this error from others. */
  override readonly name: string = "GobError";
}

/** Ids of the types that need no definition. */
export const basicIds: Readonly<Record<BasicKind, number>> = {
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

/** `wireType`: the definition of a type; exactly one of its fields is set. */
export const wireType: StructType = {
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

/** Whether a type needs no definition. */
export function isBasicType(type: GobType): type is BasicType {
  return !("name" in type);
}

/** Name of a type, for people. */
export function gobTypeName(type: GobType): string {
  return isBasicType(type) ? type.kind : type.name;
}

/** Whether a value is a list. */
export function isGobList(value: GobValue): value is readonly GobValue[] {
  return Array.isArray(value);
}

/** Whether a value is a struct, rather than another kind of object. */
export function isGobStruct(value: GobValue | undefined): value is GobStruct {
  return typeof value === "object" && value !== null && !isGobList(value) &&
    !(value instanceof Uint8Array) && !(value instanceof Map);
}
