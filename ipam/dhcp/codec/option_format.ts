/**
 * How options are read and written, of either family.
 *
 * @module
 */

/** How the bytes of an option are read and written. */
export interface OptionFormat<T> {
  /** Reads a value; `undefined` when the bytes are none. */
  read(bytes: Uint8Array): T | undefined;
  /** Writes a value. */
  write(value: T): Uint8Array;
}

/** An option: its format and its code. */
export interface OptionDefinition<T> extends OptionFormat<T> {
  readonly code: number;
}

/** Makes an entry of the options of a message. */
export function writeOption<T>(
  { code, write }: OptionDefinition<T>,
  value: T,
): readonly [code: number, value: Uint8Array] {
  return [code, write(value)];
}

/** Bytes as they are. */
export const rawFormat: OptionFormat<Uint8Array> = {
  read: (bytes) => bytes,
  write: (value) => value,
};

/** Text for people: what could steer a terminal or end a line becomes a space. */
export const textFormat: OptionFormat<string> = {
  read: (bytes) =>
    new TextDecoder().decode(bytes).replace(/\0+$/, "").replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, " "),
  write: (value) => new TextEncoder().encode(value),
};
