/**
 * DHCPv4 messages as bytes (RFC 2131 section 2). Decoding is total: any bytes give a message or
 * nothing, in time linear to their number.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import { concat } from "./bytes.ts";

/**
 * Values of options by code (1–254). Values of equal codes are joined (RFC 3396). Option 52 is never
 * among them: it only says where the others are.
 */
export type Options4 = ReadonlyMap<number, Uint8Array>;

/** A message; numbers are unsigned. */
export interface Message4 {
  /** {@linkcode bootRequest} or {@linkcode bootReply}; 8 bits. */
  readonly op: number;
  /** Type of hardware address; 1 is Ethernet; 8 bits. */
  readonly htype: number;
  /** Number of relay agents passed; 8 bits. */
  readonly hops: number;
  /** Transaction ID; 32 bits. */
  readonly xid: number;
  /** Seconds since the client began; 16 bits. */
  readonly secs: number;
  /** {@linkcode broadcastFlag} or 0; 16 bits. */
  readonly flags: number;
  /** Address of the client, once it answers ARP for it. */
  readonly ciaddr: Ip;
  /** Address for the client. */
  readonly yiaddr: Ip;
  /** Next server of a boot. */
  readonly siaddr: Ip;
  /** Relay agent. */
  readonly giaddr: Ip;
  /** Hardware address of the client, at most 16 bytes. */
  readonly chaddr: Uint8Array;
  /** Name of the server, at most 64 bytes, without trailing zeros. */
  readonly sname: Uint8Array;
  /** Name of the boot file, at most 128 bytes, without trailing zeros. */
  readonly file: Uint8Array;
  readonly options: Options4;
}

/** `op` of a client's message. */
export const bootRequest = 1;

/** `op` of a server's message. */
export const bootReply = 2;

/** The bit of `flags` that asks for a broadcast reply. */
export const broadcastFlag = 0x8000;

/** The address `0.0.0.0`. */
export const unspecified: Ip = { family: 4, bits: 0n };

const magic = 0x63825363;
/** Offsets of fields. */
const at = { chaddr: 28, sname: 44, file: 108, magic: 236, options: 240 } as const;
/** BOOTP relay agents and servers drop shorter messages (RFC 1542 section 2.1). */
const shortest = 300;
const code = { pad: 0, overload: 52, relayAgent: 82, end: 255 } as const;

/**
 * Encodes a message in at least 300 bytes. Options stand in ascending order of their codes, except
 * that 82 comes last (RFC 3046 section 2.1), and END follows; values longer than 255 bytes are
 * split (RFC 3396). Throws a `RangeError` for a value that does not fit its field.
 */
export function encodeMessage4(message: Message4): Uint8Array {
  checkRanges(message);
  const options = encodeOptions(message.options);
  const bytes = new Uint8Array(Math.max(shortest, at.options + options.length));
  const view = new DataView(bytes.buffer);
  const { op, htype, hops, chaddr, xid, secs, flags } = message;
  bytes.set([op, htype, chaddr.length, hops]);
  view.setUint32(4, xid);
  view.setUint16(8, secs);
  view.setUint16(10, flags);
  const addresses = [message.ciaddr, message.yiaddr, message.siaddr, message.giaddr];
  addresses.forEach((ip, index) => view.setUint32(12 + index * 4, Number(ip.bits)));
  bytes.set(chaddr, at.chaddr);
  bytes.set(message.sname, at.sname);
  bytes.set(message.file, at.file);
  view.setUint32(at.magic, magic);
  bytes.set(options, at.options);
  return bytes;
}

function checkRanges(message: Message4): void {
  const { op, htype, hops, xid, secs, flags, chaddr, sname, file } = message;
  const most: readonly (readonly [name: string, value: number, most: number])[] = [
    ["op", op, 0xff],
    ["htype", htype, 0xff],
    ["hops", hops, 0xff],
    ["xid", xid, 0xffff_ffff],
    ["secs", secs, 0xffff],
    ["flags", flags, 0xffff],
    ["length of chaddr", chaddr.length, at.sname - at.chaddr],
    ["length of sname", sname.length, at.file - at.sname],
    ["length of file", file.length, at.magic - at.file],
  ];
  const wrong = most.find(([, value, max]) => !Number.isInteger(value) || value < 0 || value > max);
  if (wrong) {
    throw new RangeError(`Cannot encode ${wrong[0]} "${wrong[1]}": it is not in 0–${wrong[2]}`);
  }
  const addresses = [message.ciaddr, message.yiaddr, message.siaddr, message.giaddr];
  if (addresses.some(({ family }) => family !== 4)) {
    throw new RangeError("Cannot encode the message: an address is not IPv4");
  }
}

function encodeOptions(options: Options4): Uint8Array {
  const rank = (number: number) => number === code.relayAgent ? code.end : number;
  const sorted = [...options].sort(([a], [b]) => rank(a) - rank(b));
  const pieces = sorted.flatMap(([number, value]) => encodeOption(number, value));
  return concat([...pieces, Uint8Array.of(code.end)]);
}

function encodeOption(number: number, value: Uint8Array): Uint8Array[] {
  const reserved = number === code.overload || number <= code.pad || number >= code.end;
  if (reserved || !Number.isInteger(number)) {
    throw new RangeError(`Cannot encode option "${number}": it carries no value of its own`);
  }
  const pieces: Uint8Array[] = [];
  for (let start = 0; start === 0 || start < value.length; start += 255) {
    const piece = value.subarray(start, start + 255);
    pieces.push(Uint8Array.of(number, piece.length), piece);
  }
  return pieces;
}

/**
 * Decodes a message. Gives `undefined` for bytes that are too short, lack the magic cookie or END,
 * or hold a hardware address or an option longer than its place. Bytes behind END are ignored. The
 * message holds copies.
 */
export function decodeMessage4(bytes: Uint8Array): Message4 | undefined {
  if (bytes.length < at.options) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hlen = view.getUint8(2);
  if (view.getUint32(at.magic) !== magic || hlen > at.sname - at.chaddr) return undefined;
  const options = decodeOptions(bytes);
  if (!options) return undefined;
  const address = (start: number): Ip => ({ family: 4, bits: BigInt(view.getUint32(start)) });
  return {
    op: view.getUint8(0),
    htype: view.getUint8(1),
    hops: view.getUint8(3),
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    flags: view.getUint16(10),
    ciaddr: address(12),
    yiaddr: address(16),
    siaddr: address(20),
    giaddr: address(24),
    chaddr: bytes.slice(at.chaddr, at.chaddr + hlen),
    ...options,
  };
}

/** Decodes the options, and the two fields that may hold some of them. */
function decodeOptions(
  bytes: Uint8Array,
): Pick<Message4, "options" | "sname" | "file"> | undefined {
  const main = readField(bytes.subarray(at.options));
  if (!main?.ended) return undefined;
  const sname = bytes.subarray(at.sname, at.file);
  const file = bytes.subarray(at.file, at.magic);
  const overload = overloadOf(main.found);
  // RFC 3396 section 5: options, then file, then sname.
  const inFile = overload & 1 ? readField(file) : nothing;
  const inSname = overload & 2 ? readField(sname) : nothing;
  if (!inFile || !inSname) return undefined;
  return {
    options: join([...main.found, ...inFile.found, ...inSname.found]),
    sname: overload & 2 ? new Uint8Array() : withoutZeros(sname),
    file: overload & 1 ? new Uint8Array() : withoutZeros(file),
  };
}

type Found = readonly [number: number, value: Uint8Array];

interface Field {
  readonly found: readonly Found[];
  /** Whether END was there. */
  readonly ended: boolean;
}

const nothing: Field = { found: [], ended: true };

/** Reads the options of one field up to END; `undefined` when one is longer than the field. */
function readField(field: Uint8Array): Field | undefined {
  const found: Found[] = [];
  let start = 0;
  while (start < field.length) {
    const number = field[start]!;
    if (number === code.end) return { found, ended: true };
    if (number === code.pad) {
      start++;
      continue;
    }
    const length = field[start + 1];
    const next = start + 2 + (length ?? 0);
    if (length === undefined || next > field.length) return undefined;
    found.push([number, field.subarray(start + 2, next)]);
    start = next;
  }
  return { found, ended: false };
}

/** Value of option 52: 1 means that `file` holds options, 2 `sname`, 3 both; anything else is 0. */
function overloadOf(found: readonly Found[]): number {
  const values = found.filter(([number]) => number === code.overload);
  const [value, ...more] = values[0]?.[1] ?? [];
  const one = values.length === 1 && more.length === 0;
  return one && value !== undefined && value <= 3 ? value : 0;
}

function join(found: readonly Found[]): Options4 {
  const pieces = new Map<number, Uint8Array[]>();
  for (const [number, value] of found) {
    if (number === code.overload) continue;
    const list = pieces.get(number);
    if (list) list.push(value);
    else pieces.set(number, [value]);
  }
  return new Map([...pieces].map(([number, list]) => [number, concat(list)]));
}

function withoutZeros(field: Uint8Array): Uint8Array {
  return field.slice(0, field.findLastIndex((byte) => byte !== 0) + 1);
}
