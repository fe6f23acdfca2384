/**
 * Options of DHCPv6 (RFC 8415 section 21, RFC 3646): what their bytes mean.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Format, Option } from "./options4.ts";
import type { Options } from "./message6.ts";
import { option as option4 } from "./options4.ts";
import { concat } from "./message4.ts";
import { decodeOptions, encodeOptions } from "./message6.ts";

/** Seconds that mean no end, as a lifetime, T1 or T2 (RFC 8415 section 7.7). */
export const infinite = 0xffff_ffff;

/** Addresses that are leased together under one number of the client's (section 21.4). */
export interface Ia {
  /** Number of the association; 32 bits. */
  readonly iaid: number;
  /** Seconds until the client asks its server; 0 leaves it to the client. */
  readonly t1: number;
  /** Seconds until it asks every server; 0 leaves it to the client. */
  readonly t2: number;
  /** Addresses, and the status. */
  readonly options: Options;
}

/** An address of an association (section 21.6). */
export interface IaAddress {
  readonly address: Ip;
  /** Seconds for which new connections may use it. */
  readonly preferred: number;
  /** Seconds for which it may be used; 0 means that it may not. */
  readonly valid: number;
  /** Its status, where it has one. */
  readonly options: Options;
}

/** How a server answers (section 21.13). */
export interface Status {
  /** One of {@linkcode statusCode}. */
  readonly code: number;
  /** For people. */
  readonly message: string;
}

/** Values of a status. */
export const statusCode = {
  success: 0,
  unspecFail: 1,
  noAddrsAvail: 2,
  noBinding: 3,
  notOnLink: 4,
  useMulticast: 5,
} as const;

/** Bytes of a DUID with its two bytes of type (section 11.1). */
const duidSize = { least: 3, most: 130 } as const;
/** Bytes of an association and of an address before their options. */
const size = { ia: 12, iaAddress: 24, address: 16 } as const;
/** From this byte on it is no length of a label but a pointer, which has no place here (section 10). */
const pointer = 0xc0;

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function words(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  values.forEach((value, index) => viewOf(bytes).setUint32(index * 4, value));
  return bytes;
}

function toIp(bytes: Uint8Array): Ip {
  return { family: 6, bits: BigInt(`0x${bytes.toHex()}`) };
}

function fromIp({ bits }: Ip): Uint8Array {
  return Uint8Array.fromHex(bits.toString(16).padStart(size.address * 2, "0"));
}

function chunks(bytes: Uint8Array, size: number): Uint8Array[] {
  const count = Math.floor(bytes.length / size);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

const duid: Format<Uint8Array> = {
  read: (bytes) =>
    bytes.length >= duidSize.least && bytes.length <= duidSize.most ? bytes : undefined,
  write: (value) => value,
};

const raw: Format<Uint8Array> = { read: (bytes) => bytes, write: (value) => value };

/** There or not: the option has no value. */
const flag: Format<true> = {
  read: (bytes) => bytes.length === 0 ? true : undefined,
  write: () => new Uint8Array(),
};

const byte: Format<number> = {
  read: (bytes) => bytes.length === 1 ? bytes[0] : undefined,
  write: (value) => Uint8Array.of(value),
};

const short: Format<number> = {
  read: (bytes) => bytes.length === 2 ? viewOf(bytes).getUint16(0) : undefined,
  write: (value) => Uint8Array.of(value >> 8, value),
};

const shorts: Format<readonly number[]> = {
  read: (bytes) =>
    bytes.length % 2 === 0 ? chunks(bytes, 2).map((two) => short.read(two)!) : undefined,
  write: (list) => concat(list.map(short.write)),
};

/** Seconds, 60–86400; others are not heeded (section 21.24). */
const maxRt: Format<number> = {
  read(bytes) {
    if (bytes.length !== 4) return undefined;
    const value = viewOf(bytes).getUint32(0);
    return value >= 60 && value <= 86_400 ? value : undefined;
  },
  write: (value) => words(value),
};

const addresses: Format<readonly Ip[]> = {
  read: (bytes) =>
    bytes.length > 0 && bytes.length % size.address === 0
      ? chunks(bytes, size.address).map(toIp)
      : undefined,
  write: (list) => concat(list.map(fromIp)),
};

/** Nonsense counts as absent: T1 after T2, where the server gives both (section 21.4). */
const ia: Format<Ia> = {
  read(bytes) {
    if (bytes.length < size.ia) return undefined;
    const [iaid, t1, t2] = [0, 4, 8].map((at) => viewOf(bytes).getUint32(at)) as [
      number,
      number,
      number,
    ];
    const options = decodeOptions(bytes.subarray(size.ia));
    return options && (t1 <= t2 || t2 === 0) ? { iaid, t1, t2, options } : undefined;
  },
  write: ({ iaid, t1, t2, options }) => concat([words(iaid, t1, t2), encodeOptions(options)]),
};

/** Nonsense counts as absent: preferred for longer than valid (section 21.6). */
const iaAddress: Format<IaAddress> = {
  read(bytes) {
    if (bytes.length < size.iaAddress) return undefined;
    const [preferred, valid] = [16, 20].map((at) => viewOf(bytes).getUint32(at)) as [
      number,
      number,
    ];
    const address = toIp(bytes.subarray(0, size.address));
    const options = decodeOptions(bytes.subarray(size.iaAddress));
    return options && preferred <= valid ? { address, preferred, valid, options } : undefined;
  },
  write: ({ address, preferred, valid, options }) =>
    concat([fromIp(address), words(preferred, valid), encodeOptions(options)]),
};

/** The words are made harmless like those of DHCPv4. */
const status: Format<Status> = {
  read: (bytes) =>
    bytes.length < 2 ? undefined : {
      code: viewOf(bytes).getUint16(0),
      message: option4.message.read(bytes.subarray(2))!,
    },
  write: ({ code, message }) => concat([short.write(code), option4.message.write(message)]),
};

/** Names in the form of DNS, never compressed (section 10): a name that points elsewhere is refused. */
const names: Format<readonly string[]> = {
  read: (bytes) => hasPointer(bytes) ? undefined : option4.searchList.read(bytes),
  write: option4.searchList.write,
};

function hasPointer(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += 1 + bytes[at]!) {
    if (bytes[at]! >= pointer) return true;
  }
  return false;
}

/** The options that mean something to us. */
export const option = {
  clientId: { code: 1, ...duid },
  serverId: { code: 2, ...duid },
  ia: { code: 3, ...ia },
  iaAddress: { code: 5, ...iaAddress },
  /** Codes of options that the client asks for. */
  requested: { code: 6, ...shorts },
  /** The server with the highest is taken; 255 at once. */
  preference: { code: 7, ...byte },
  /** Hundredths of a second. */
  elapsedTime: { code: 8, ...short },
  statusCode: { code: 13, ...status },
  rapidCommit: { code: 14, ...flag },
  nameServers: { code: 23, ...addresses },
  searchList: { code: 24, ...names },
  /** Simple NTP servers (RFC 4075). */
  sntpServers: { code: 31, ...raw },
  /** NTP servers (RFC 5908). */
  ntpServers: { code: 56, ...raw },
  /** Seconds: the longest wait for an answer to SOLICIT. */
  solMaxRt: { code: 82, ...maxRt },
  /** Seconds: the longest wait for an answer to INFORMATION-REQUEST. */
  infMaxRt: { code: 83, ...maxRt },
} as const;

/** The value of an option, the first if it stands there more than once; `undefined` when it is absent or malformed. */
export function readOption<T>(options: Options, { code, read }: Option<T>): T | undefined {
  const entry = options.find(([found]) => found === code);
  return entry && read(entry[1]);
}

/** The values of an option in their order, without the malformed ones. */
export function readOptions<T>(options: Options, { code, read }: Option<T>): T[] {
  return options.flatMap(([found, value]) => {
    const one = found === code ? read(value) : undefined;
    return one === undefined ? [] : [one];
  });
}
