/**
 * Decoders: one source for a configuration's type, its validation and its
 * documentation. All issues of a value are found in one pass, each with the
 * path to it, the value and what was expected.
 *
 * @module
 */
import { formatCidr, formatIp, parseCidr, parseIp } from "../host/ip.ts";
import { CniError, codes } from "./error.ts";

/** Something wrong with a configuration. */
export interface Issue {
  /** `vlanTrunk[1].maxID`; empty for the whole. */
  readonly path: string;
  /** `expected integer 1–4094 but received 5000`. */
  readonly message: string;
}

/**
 * Reads a JSON value into `T`. Reports issues; what it gives in spite of them is
 * the best that can be made of the value (defaults for fields that are wrong,
 * lists without the elements that are), or `undefined`. Only a removal uses that.
 */
export interface Decoder<T> {
  /** How the documentation names the type: `integer 1–4094`. */
  readonly expects: string;
  /** Reads `value`, which stands at `path`; adds to `issues` what is wrong with it. */
  decode(value: unknown, path: string, issues: Issue[]): T | undefined;
  /** Fields, when it is an object decoder, for the documentation. */
  readonly fields?: Fields;
  /** Element decoder, when it is a list. */
  // deno-lint-ignore no-explicit-any
  readonly element?: Decoder<any>;
}

/** A key of an object: its decoder, its default and one line about it. */
export interface Field<T, Required extends boolean = boolean> {
  /** Reads the value. */
  readonly decoder: Decoder<T>;
  /** One line for the option table. */
  readonly doc: string;
  /** Value when the key is absent or null. */
  readonly default?: T;
  /** Whether an absent key without a default is an issue. */
  readonly required: Required;
  /** Text of the option table in place of the default. */
  readonly defaultText?: string;
}

/** The fields of an object, by key. */
// deno-lint-ignore no-explicit-any
export type Fields = Readonly<Record<string, Field<any>>>;

/** The type a decoder gives. */
export type Infer<D> = D extends Decoder<infer T> ? T : never;

/** Value of an object decoder with these fields. */
export type ObjectOf<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T, infer R> ? R extends true ? T : T | undefined
    : never;
};

/** A key that must be present. */
export function required<T>(decoder: Decoder<T>, doc: string): Field<T, true> {
  return { decoder, doc, required: true };
}

/** A key that may be absent: `undefined` then. */
export function optional<T>(decoder: Decoder<T>, doc: string): Field<T, false> {
  return { decoder, doc, required: false };
}

/** A key with a default. `text` replaces the default in the option table. */
export function withDefault<T>(
  decoder: Decoder<T>,
  value: T,
  doc: string,
  text?: string,
): Field<T, true> {
  return {
    decoder,
    doc,
    default: value,
    required: true,
    ...(text !== undefined && { defaultText: text }),
  };
}

/** Says what was expected and what came, with long values cut. */
export function expected(what: string, value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return `expected ${what} but received ${text.length > 80 ? `${text.slice(0, 77)}…` : text}`;
}

/** A decoder of one value from a function that gives `undefined` for a wrong one. */
export function scalar<T>(
  expects: string,
  read: (value: unknown) => T | undefined,
): Decoder<T> {
  return {
    expects,
    decode(value, path, issues) {
      const decoded = read(value);
      if (decoded === undefined) {
        issues.push({ path, message: expected(expects, value) });
      }
      return decoded;
    },
  };
}

/** A string. NUL and newline never belong into a configuration of ours. */
export function string(): Decoder<string> {
  return scalar(
    "string",
    (value) => typeof value === "string" && !/[\0\n\r]/.test(value) ? value : undefined,
  );
}

/** Any string, line breaks included. */
export function anyString(): Decoder<string> {
  return stringThat("string", () => true);
}

/** A string that a test accepts. */
export function stringThat(
  expects: string,
  test: (text: string) => boolean,
): Decoder<string> {
  return scalar(
    expects,
    (value) => typeof value === "string" && test(value) ? value : undefined,
  );
}

/** One of some words. `unknown` gives the message for any other text. */
export function oneOf<const T extends string>(
  words: readonly T[],
  unknown?: (text: string) => string,
): Decoder<T> {
  const expects = words.map((word) => `"${word}"`).join(" or ");
  return {
    expects,
    decode(value, path, issues) {
      const found = words.find((word) => word === value);
      if (found !== undefined) return found;
      const isUnknown = unknown && typeof value === "string";
      issues.push({ path, message: isUnknown ? unknown(value) : expected(expects, value) });
      return undefined;
    },
  };
}

/** A boolean. */
export function boolean(): Decoder<boolean> {
  return scalar(
    "boolean",
    (value) => typeof value === "boolean" ? value : undefined,
  );
}

/** A whole number within bounds, both included. */
export function integer(
  bounds: { min?: number; max?: number; message?: (value: number) => string } = {},
): Decoder<number> {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = bounds;
  const expects = bounds.min === undefined && bounds.max === undefined
    ? "integer"
    : bounds.max === undefined
    ? `integer from ${min}`
    : `integer ${min}–${max}`;
  return {
    expects,
    decode(value, path, issues) {
      if (
        typeof value === "number" && Number.isInteger(value) && value >= min &&
        value <= max
      ) {
        return value;
      }
      const message = typeof value === "number" && Number.isInteger(value) && bounds.message
        ? bounds.message(value)
        : expected(expects, value);
      issues.push({ path, message });
      return undefined;
    },
  };
}

/** An address, in canonical text. */
export function ip(): Decoder<string> {
  return scalar("IP address", (value) => {
    const parsed = typeof value === "string" ? parseIp(value) : undefined;
    return parsed && formatIp(parsed);
  });
}

/** `address/prefix` in canonical text, host bits kept. */
export function cidr(): Decoder<string> {
  return scalar("IP address with prefix length", (value) => {
    const parsed = typeof value === "string" ? parseCidr(value) : undefined;
    return parsed && formatCidr(parsed);
  });
}

/** A list. */
export function list<T>(element: Decoder<T>): Decoder<T[]> {
  return {
    expects: `list of ${element.expects}`,
    element,
    decode(value, path, issues) {
      if (!Array.isArray(value)) {
        issues.push({ path, message: expected("list", value) });
        return undefined;
      }
      return value
        .map((item, index) => element.decode(item, `${path}[${index}]`, issues))
        .filter((item) => item !== undefined) as T[];
    },
  };
}

/** Any JSON object, as it came. */
export function anyObject(): Decoder<Record<string, unknown>> {
  return scalar("object", (value) => isObject(value) ? value : undefined);
}

/**
 * An object of known keys. Keys match without regard to case, an exact match
 * first, as the reference's decoder does; `null` counts as absent; unknown keys
 * are ignored.
 */
export function object<F extends Fields>(fields: F): Decoder<ObjectOf<F>> {
  return {
    expects: "object",
    fields,
    decode(value, path, issues) {
      if (!isObject(value)) {
        issues.push({ path, message: expected("object", value) });
        return undefined;
      }
      const decoded: Record<string, unknown> = {};
      for (const [key, field] of Object.entries(fields)) {
        const at = join(path, key);
        decoded[key] = decodeField(field, lookup(value, key), at, issues);
      }
      const whole = Object.entries(fields)
        .every(([key, field]) => !field.required || decoded[key] !== undefined);
      return whole ? decoded as ObjectOf<F> : undefined;
    },
  };
}

function decodeField<T>(
  field: Field<T>,
  value: unknown,
  path: string,
  issues: Issue[],
): T | undefined {
  if (value !== undefined && value !== null) {
    return field.decoder.decode(value, path, issues) ?? field.default;
  }
  if (field.required && field.default === undefined) {
    issues.push({ path, message: expected(field.decoder.expects, value) });
  }
  return field.default;
}

/** A decoder with a check of its own after it; the check reports issues by path. */
export function refine<T>(
  decoder: Decoder<T>,
  check: (value: T, report: (path: string, message: string) => void) => void,
): Decoder<T> {
  return {
    ...decoder,
    decode(value, path, issues) {
      const before = issues.length;
      const decoded = decoder.decode(value, path, issues);
      if (decoded !== undefined && issues.length === before) {
        check(
          decoded,
          (at, message) => issues.push({ path: join(path, at), message }),
        );
      }
      return decoded;
    },
  };
}

/** A decoder whose value is turned into another. */
export function map<T, U>(
  decoder: Decoder<T>,
  turn: (value: T) => U,
): Decoder<U> {
  return {
    ...decoder,
    decode(value, path, issues) {
      const decoded = decoder.decode(value, path, issues);
      return decoded === undefined ? undefined : turn(decoded);
    },
  };
}

/** Whether a JSON value is an object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value under a key, whatever its case; an exact match wins, then the last one. */
export function lookup(value: Record<string, unknown>, key: string): unknown {
  if (Object.hasOwn(value, key)) return value[key];
  const lower = key.toLowerCase();
  const match = Object.keys(value).findLast((other) => other.toLowerCase() === lower);
  return match === undefined ? undefined : value[match];
}

function join(path: string, key: string): string {
  if (path === "" || key === "") return path + key;
  return key.startsWith("[") ? path + key : `${path}.${key}`;
}

/** Decodes or throws a `CniError` of code 7 that lists every issue. */
export function decodeOrThrow<T>(
  decoder: Decoder<T>,
  value: unknown,
  what: string,
): T {
  const issues: Issue[] = [];
  const decoded = decoder.decode(value, "", issues);
  if (decoded === undefined || issues.length > 0) throw invalidConfig(what, issues);
  return decoded;
}

/**
 * Decodes for a removal, which a configuration that no longer validates must not
 * block: wrong fields count as absent. Throws only when nothing can be made of it.
 */
export function decodeForRemoval<T>(
  decoder: Decoder<T>,
  value: unknown,
  what: string,
): T {
  const issues: Issue[] = [];
  const decoded = decoder.decode(value, "", issues);
  if (decoded === undefined) throw invalidConfig(what, issues);
  return decoded;
}

/** The error of code 7 that lists issues. */
export function invalidConfig(what: string, issues: readonly Issue[]): CniError {
  return new CniError(
    codes.invalidNetworkConfig,
    `Cannot use ${what}: ${issues.map(formatIssue).join("; ")}`,
  );
}

/** One issue as a line. */
export function formatIssue({ path, message }: Issue): string {
  return path ? `${path}: ${message}` : message;
}
