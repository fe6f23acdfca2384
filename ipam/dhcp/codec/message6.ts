/**
 * DHCPv6 messages between clients and servers as bytes (RFC 8415 section 8).
 * Reading is total: whatever the bytes are, they give a message or nothing, in
 * time linear to their number. Options inside options are read one level at a
 * time (`options6.ts`), by whoever wants them.
 *
 * @module
 */
import { concat } from "./message4.ts";

/** An option: its code (16 bits) and its value, at most 65535 bytes. */
export type Entry = readonly [code: number, value: Uint8Array];

/** Options in their order. One code may stand more than once: values are not joined. */
export type Options = readonly Entry[];

/** A message; numbers are unsigned. */
export interface Message {
  /** One of {@linkcode messageType}. */
  readonly type: number;
  /** What joins requests and replies; 24 bits. */
  readonly xid: number;
  readonly options: Options;
}

/** Kinds of message (RFC 8415 section 7.3). Those of relays have another form and are left out. */
export const messageType = {
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

/** Bytes of a message before its options, and of an option before its value. */
const head = 4;
const most = { type: 11, xid: 0xff_ffff, code: 0xffff, length: 0xffff } as const;

/** The bytes of a message, its options in their order. Throws a `RangeError` for what has no such form. */
export function encode({ type, xid, options }: Message): Uint8Array {
  checkRange("type", type, { least: 1, most: most.type });
  checkRange("xid", xid, { most: most.xid });
  const first = new Uint8Array(head);
  new DataView(first.buffer).setUint32(0, type * 2 ** 24 + xid);
  return concat([first, encodeOptions(options)]);
}

/** The bytes of options one after the other. Throws a `RangeError` like {@linkcode encode}. */
export function encodeOptions(options: Options): Uint8Array {
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
 * Reads a message, or gives `undefined`: too short, of a kind that is not spoken
 * between client and server, an option longer than what is left. Copies what it keeps.
 */
export function decode(bytes: Uint8Array): Message | undefined {
  if (bytes.length < head) return undefined;
  const first = viewOf(bytes).getUint32(0);
  const [type, xid] = [first >>> 24, first & most.xid];
  if (type < 1 || type > most.type) return undefined;
  const options = decodeOptions(bytes.subarray(head));
  return options && { type, xid, options };
}

/** Reads options that fill the bytes, or gives `undefined`. Copies what it keeps. */
export function decodeOptions(bytes: Uint8Array): Options | undefined {
  const view = viewOf(bytes);
  const found: Entry[] = [];
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

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
