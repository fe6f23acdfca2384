/**
 * Options of DHCPv6 (RFC 8415 section 21, RFC 3646): what their bytes mean.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Options6 } from "./message6.ts";
import type { OptionDefinition, OptionFormat } from "./option_format.ts";
import { chunks, concat, viewOf } from "./bytes.ts";
import { nameListFormat } from "./domain_names.ts";
import { decodeOptions6, encodeOptions6 } from "./message6.ts";
import { rawFormat, textFormat } from "./option_format.ts";

/** Infinity as a lifetime, T1 or T2, in seconds (RFC 8415 section 7.7). */
export const infiniteLifetime = 0xffff_ffff;

/** An identity association for non-temporary addresses (IA_NA, section 21.4). */
export interface IaNa {
  /** Its identifier, which the client has chosen; 32 bits. */
  readonly iaid: number;
  /** T1: seconds until the client asks its server; 0 leaves it to the client. */
  readonly t1: number;
  /** T2: seconds until it asks every server; 0 leaves it to the client. */
  readonly t2: number;
  /** Addresses, and a status. */
  readonly options: Options6;
}

/** An address of an IA_NA (section 21.6). */
export interface IaAddress {
  readonly address: Ip;
  /** Preferred lifetime in seconds: new connections may use it. */
  readonly preferred: number;
  /** Valid lifetime in seconds; at 0 it must not be used. */
  readonly valid: number;
  /** Its status, where it has one. */
  readonly options: Options6;
}

/** The status of an answer (section 21.13). */
export interface Status6 {
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

/** Length of a DUID in bytes, with its two bytes of type (section 11.1). */
const duidSize = { least: 3, most: 130 } as const;
/** Length in bytes of an IA_NA and of an address before their options. */
const size = { ia: 12, iaAddress: 24, address: 16 } as const;
/** From this value on a byte is a pointer rather than a label's length; DHCPv6 allows none (section 10). */
const pointer = 0xc0;

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

const duid: OptionFormat<Uint8Array> = {
  read: (bytes) =>
    bytes.length >= duidSize.least && bytes.length <= duidSize.most ? bytes : undefined,
  write: (value) => value,
};

/** An option without a value: it is there or not. */
const flag: OptionFormat<true> = {
  read: (bytes) => bytes.length === 0 ? true : undefined,
  write: () => new Uint8Array(),
};

const byte: OptionFormat<number> = {
  read: (bytes) => bytes.length === 1 ? bytes[0] : undefined,
  write: (value) => Uint8Array.of(value),
};

const short: OptionFormat<number> = {
  read: (bytes) => bytes.length === 2 ? viewOf(bytes).getUint16(0) : undefined,
  write: (value) => Uint8Array.of(value >> 8, value),
};

const shorts: OptionFormat<readonly number[]> = {
  read: (bytes) =>
    bytes.length % 2 === 0 ? chunks(bytes, 2).map((two) => short.read(two)!) : undefined,
  write: (list) => concat(list.map(short.write)),
};

/** Seconds, 60–86400; other values are ignored (section 21.24). */
const maxRt: OptionFormat<number> = {
  read(bytes) {
    if (bytes.length !== 4) return undefined;
    const value = viewOf(bytes).getUint32(0);
    return value >= 60 && value <= 86_400 ? value : undefined;
  },
  write: (value) => words(value),
};

const addresses: OptionFormat<readonly Ip[]> = {
  read: (bytes) =>
    bytes.length > 0 && bytes.length % size.address === 0
      ? chunks(bytes, size.address).map(toIp)
      : undefined,
  write: (list) => concat(list.map(fromIp)),
};

/** T1 after T2 makes the option invalid, where the server gives both (section 21.4). */
const ia: OptionFormat<IaNa> = {
  read(bytes) {
    if (bytes.length < size.ia) return undefined;
    const [iaid, t1, t2] = [0, 4, 8].map((at) => viewOf(bytes).getUint32(at)) as [
      number,
      number,
      number,
    ];
    const options = decodeOptions6(bytes.subarray(size.ia));
    return options && (t1 <= t2 || t2 === 0) ? { iaid, t1, t2, options } : undefined;
  },
  write: ({ iaid, t1, t2, options }) => concat([words(iaid, t1, t2), encodeOptions6(options)]),
};

/** A preferred lifetime beyond the valid one makes the option invalid (section 21.6). */
const iaAddress: OptionFormat<IaAddress> = {
  read(bytes) {
    if (bytes.length < size.iaAddress) return undefined;
    const [preferred, valid] = [16, 20].map((at) => viewOf(bytes).getUint32(at)) as [
      number,
      number,
    ];
    const address = toIp(bytes.subarray(0, size.address));
    const options = decodeOptions6(bytes.subarray(size.iaAddress));
    return options && preferred <= valid ? { address, preferred, valid, options } : undefined;
  },
  write: ({ address, preferred, valid, options }) =>
    concat([fromIp(address), words(preferred, valid), encodeOptions6(options)]),
};

/** The message is made harmless like a text of DHCPv4. */
const status: OptionFormat<Status6> = {
  read: (bytes) =>
    bytes.length < 2 ? undefined : {
      code: viewOf(bytes).getUint16(0),
      message: textFormat.read(bytes.subarray(2))!,
    },
  write: ({ code, message }) => concat([short.write(code), textFormat.write(message)]),
};

/** Encoded names without compression (section 10): a pointer is refused. */
const names: OptionFormat<readonly string[]> = {
  read: (bytes) => hasPointer(bytes) ? undefined : nameListFormat.read(bytes),
  write: nameListFormat.write,
};

function hasPointer(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += 1 + bytes[at]!) {
    if (bytes[at]! >= pointer) return true;
  }
  return false;
}

/** The options that this client reads or writes. */
export const option6 = {
  clientId: { code: 1, ...duid },
  serverId: { code: 2, ...duid },
  iaNa: { code: 3, ...ia },
  iaAddress: { code: 5, ...iaAddress },
  /** Codes of options that the client asks for. */
  optionRequest: { code: 6, ...shorts },
  /** The client takes the server with the highest, and takes 255 at once. */
  preference: { code: 7, ...byte },
  /** Hundredths of a second. */
  elapsedTime: { code: 8, ...short },
  statusCode: { code: 13, ...status },
  rapidCommit: { code: 14, ...flag },
  nameServers: { code: 23, ...addresses },
  searchList: { code: 24, ...names },
  /** SNTP servers (RFC 4075). */
  sntpServers: { code: 31, ...rawFormat },
  /** NTP servers (RFC 5908). */
  ntpServers: { code: 56, ...rawFormat },
  /** SOL_MAX_RT: longest wait for an answer to SOLICIT, in seconds. */
  solMaxRt: { code: 82, ...maxRt },
  /** INF_MAX_RT: longest wait for an answer to INFORMATION-REQUEST, in seconds. */
  infMaxRt: { code: 83, ...maxRt },
} as const;

/** Reads an option, the first of several; `undefined` when it is absent or malformed. */
export function readOption6<T>(
  options: Options6,
  { code, read }: OptionDefinition<T>,
): T | undefined {
  const entry = options.find(([found]) => found === code);
  return entry && read(entry[1]);
}

/** Reads every occurrence of an option in order, without the malformed ones. */
export function readOptions6<T>(options: Options6, { code, read }: OptionDefinition<T>): T[] {
  return options.flatMap(([found, value]) => {
    const one = found === code ? read(value) : undefined;
    return one === undefined ? [] : [one];
  });
}
