/**
 * DHCPv6 messages between clients and servers as bytes (RFC 8415 section 8). Decoding is total: any
 * bytes give a message or nothing, in time linear to their number. Options inside options are
 * decoded one level at a time, on demand (`options6.ts`).
 *
 * @module
 */
import { concat, viewOf } from "./bytes.ts";

/** An option: its code (16 bits) and its value, at most 65535 bytes. */
export type OptionEntry6 = readonly [code: number, value: Uint8Array];

/** Options in order. A code may occur more than once: values are not joined. */
export type Options6 = readonly OptionEntry6[];

/** A message; numbers are unsigned. */
export interface Message6 {
  /** One of {@linkcode messageType6}. */
  readonly type: number;
  /** Transaction ID; 24 bits. */
  readonly xid: number;
  readonly options: Options6;
}

/** Types of messages (RFC 8415 section 7.3), without those of relay agents, which have another form. */
export const messageType6 = {
  solicit: 1,
  advertise: 2,
  request: 3,
  confirm: 4,
  renew: 5,
  rebind: 6,
  reply: 7,
  release: 8,
  decline: 9,
  reconfigure: 10,
  informationRequest: 11,
} as const;

/** Length in bytes of the header of a message, and of an option. */
const head = 4;
const most = { type: 11, xid: 0xff_ffff, code: 0xffff, length: 0xffff } as const;

/** Encodes a message, its options in order. Throws a `RangeError` for a value that does not fit its field. */
export function encodeMessage6({ type, xid, options }: Message6): Uint8Array {
  checkRange("type", type, { least: 1, most: most.type });
  checkRange("xid", xid, { most: most.xid });
  const first = new Uint8Array(head);
  new DataView(first.buffer).setUint32(0, type * 2 ** 24 + xid);
  return concat([first, encodeOptions6(options)]);
}

/** Encodes options in order. Throws a `RangeError` like {@linkcode encodeMessage6}. */
export function encodeOptions6(options: Options6): Uint8Array {
  return concat(options.flatMap(([code, value]) => {
    checkRange("option", code, { most: most.code });
    checkRange("length of option", value.length, { most: most.length });
    const first = new Uint8Array(head);
    const view = new DataView(first.buffer);
    view.setUint16(0, code);
    view.setUint16(2, value.length);
    return [first, value];
  }));
}

function checkRange(
  what: string,
  value: number,
  { least = 0, most }: { readonly least?: number; readonly most: number },
): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`Cannot encode ${what} "${value}": it is not in ${least}–${most}`);
}

/**
 * Decodes a message. Gives `undefined` for bytes that are too short, are of a type that clients and
 * servers do not send each other, or hold an option longer than the rest. The message holds copies.
 */
export function decodeMessage6(bytes: Uint8Array): Message6 | undefined {
  if (bytes.length < head) return undefined;
  const first = viewOf(bytes).getUint32(0);
  const [type, xid] = [first >>> 24, first & most.xid];
  if (type < 1 || type > most.type) return undefined;
  const options = decodeOptions6(bytes.subarray(head));
  return options && { type, xid, options };
}

/** Decodes options that fill the bytes; else gives `undefined`. The options are copies. */
export function decodeOptions6(bytes: Uint8Array): Options6 | undefined {
  const view = viewOf(bytes);
  const found: OptionEntry6[] = [];
  let start = 0;
  while (start < bytes.length) {
    const value = start + head;
    if (value > bytes.length) return undefined;
    const end = value + view.getUint16(start + 2);
    if (end > bytes.length) return undefined;
    found.push([view.getUint16(start), bytes.slice(value, end)]);
    start = end;
  }
  return found;
}
