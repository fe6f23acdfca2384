/**
 * Options of DHCPv4 (RFC 2132 and its successors): what their bytes mean, and
 * what the configuration says about them.
 *
 * @module
 */
import type { Cidr, Ip } from "../../../host/ip.ts";
import type { Options } from "./message4.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { network } from "../../../host/ip.ts";
import { concat } from "./message4.ts";

/** Values of option 53 (RFC 2132 section 9.6). */
export const messageType = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

/** How the bytes of an option are read and written. */
export interface Format<T> {
  /** The value, or `undefined` when the bytes are none. */
  read(bytes: Uint8Array): T | undefined;
  /** The bytes of a value. */
  write(value: T): Uint8Array;
}

/** An option with its code. */
export interface Option<T> extends Format<T> {
  readonly code: number;
}

/** A destination and its router; the router is `0.0.0.0` for what is on the link (RFC 3442). */
export interface Route4 {
  /** Host bits are cleared. */
  readonly dst: Cidr;
  readonly gw: Ip;
}

/** An address and the router to it (option 33). */
export interface Route33 {
  readonly dst: Ip;
  readonly gw: Ip;
}

/** Name of the client (RFC 4702). */
export interface Fqdn {
  /** 1 server updates DNS, 2 it overrides, 4 the name is in the form of DNS, 8 no update. */
  readonly flags: number;
  /** With a dot at its end when it is whole. */
  readonly name: string;
}

/** Most names of a search list; more are not sent in earnest. */
const mostNames = 64;
/** Longest name in the form of DNS, without its root. */
const longestName = 254;

const raw: Format<Uint8Array> = { read: (bytes) => bytes, write: (value) => value };

function unsigned(size: 1 | 2 | 4, least = 0): Format<number> {
  return {
    read(bytes) {
      const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
      return bytes.length === size && value >= least ? value : undefined;
    },
    write: (value) => octets(BigInt(value), size),
  };
}

function octets(value: bigint, size: number): Uint8Array {
  const shift = (index: number) => BigInt(size - 1 - index) * 8n;
  return Uint8Array.from({ length: size }, (_, index) => Number(value >> shift(index) & 0xffn));
}

/** Address of 4 bytes; the bytes that lack at its end are zero. */
function toIp(bytes: Uint8Array): Ip {
  const bits = [0, 1, 2, 3].reduce((sum, index) => sum * 256 + (bytes[index] ?? 0), 0);
  return { family: 4, bits: BigInt(bits) };
}

function fromIp(ip: Ip): Uint8Array {
  return octets(ip.bits, 4);
}

function chunks(bytes: Uint8Array, size: number): Uint8Array[] {
  const count = Math.floor(bytes.length / size);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

const address: Format<Ip> = {
  read: (bytes) => bytes.length === 4 ? toIp(bytes) : undefined,
  write: fromIp,
};

const addresses: Format<readonly Ip[]> = {
  read: (bytes) =>
    bytes.length > 0 && bytes.length % 4 === 0 ? chunks(bytes, 4).map(toIp) : undefined,
  write: (list) => concat(list.map(fromIp)),
};

/** A prefix length, 1–32; masks with holes are refused. */
const mask: Format<number> = {
  read(bytes) {
    if (bytes.length !== 4) return undefined;
    const prefix = toIp(bytes).bits.toString(2).replace(/0+$/, "").length;
    const same = mask.write(prefix).every((byte, index) => byte === bytes[index]);
    return same && prefix > 0 ? prefix : undefined;
  },
  write: (prefix) => octets(2n ** 32n - 2n ** BigInt(32 - prefix), 4),
};

/** Pairs of addresses; what is left of a pair at the end does not count. */
const pairs: Format<readonly Route33[]> = {
  read: (bytes) =>
    chunks(bytes, 8).map((pair) => ({ dst: toIp(pair), gw: toIp(pair.subarray(4)) })),
  write: (list) => concat(list.flatMap(({ dst, gw }) => [fromIp(dst), fromIp(gw)])),
};

/** For people: what could steer a terminal or end a line becomes a space. */
const text: Format<string> = {
  read: (bytes) =>
    new TextDecoder().decode(bytes).replace(/\0+$/, "").replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, " "),
  write: (value) => new TextEncoder().encode(value),
};

const label = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i;

/** Whether a text may be written into `resolv.conf` as a name. */
function isName(name: string): boolean {
  return name.length < longestName && name.split(".").every((part) => label.test(part));
}

/** A name without a dot at its end; anything that is none is refused, since files are made of it. */
const name: Format<string> = {
  read(bytes) {
    const plain = text.read(bytes)!.replace(/\.$/, "");
    return isName(plain) ? plain : undefined;
  },
  write: text.write,
};

const codeList: Format<readonly number[]> = {
  read: (bytes) => [...bytes],
  write: (list) => Uint8Array.from(list),
};

interface Name {
  readonly labels: readonly string[];
  /** Whether the root ended it, rather than the end of the bytes. */
  readonly whole: boolean;
  /** Where what follows it begins. */
  readonly next: number;
}

/**
 * A name in the form of DNS (RFC 1035 section 4.1.4). A pointer leads to before
 * everything that has been read of the name, so that none can go round.
 */
function readName(bytes: Uint8Array, start: number): Name | undefined {
  const labels: string[] = [];
  let [at, limit, size] = [start, start, 0];
  let next: number | undefined;
  while (at < bytes.length) {
    const length = bytes[at]!;
    if (length === 0) return { labels, whole: true, next: next ?? at + 1 };
    const end = at + 1 + length;
    if (length >= 0xc0) {
      const low = bytes[at + 1];
      const target = (length & 0x3f) << 8 | (low ?? 0);
      if (low === undefined || target >= limit) return undefined;
      next ??= at + 2;
      at = limit = target;
    } else {
      size += length + 1;
      if (length > 63 || end > bytes.length || size > longestName) return undefined;
      labels.push(String.fromCharCode(...bytes.subarray(at + 1, end)));
      at = end;
    }
  }
  return next === undefined ? { labels, whole: false, next: at } : undefined;
}

function writeName(name: string): Uint8Array {
  const labels = name.split(".").filter((part) => part !== "");
  return concat(labels.flatMap((part) => [Uint8Array.of(part.length), text.write(part)]));
}

const root = Uint8Array.of(0);

/** Names in the form of DNS, compressed or not (RFC 3397); written without compression. */
const names: Format<readonly string[]> = {
  read(bytes) {
    const list: string[] = [];
    for (let at = 0; at < bytes.length;) {
      const found = readName(bytes, at);
      const plain = found?.labels.join(".");
      if (!found?.whole || !isName(plain!) || list.length === mostNames) return undefined;
      list.push(plain!);
      at = found.next;
    }
    return list.length > 0 ? list : undefined;
  },
  write: (list) => concat(list.flatMap((one) => [writeName(one), root])),
};

const fqdn: Format<Fqdn> = {
  read(bytes) {
    const flags = bytes[0];
    if (flags === undefined || bytes.length < 3) return undefined;
    const plain = flags & 4 ? dotted(bytes.subarray(3)) : text.read(bytes.subarray(3));
    const fits = plain === "" || plain !== undefined && isName(plain.replace(/\.$/, ""));
    return fits ? { flags, name: plain } : undefined;
  },
  write({ flags, name }) {
    if (!(flags & 4)) return concat([Uint8Array.of(flags, 0, 0), text.write(name)]);
    const end = name.endsWith(".") ? [root] : [];
    return concat([Uint8Array.of(flags, 0, 0), writeName(name), ...end]);
  },
};

/** One name that fills the bytes; pointers have nothing to lead to there. */
function dotted(bytes: Uint8Array): string | undefined {
  const found = readName(bytes, 0);
  if (!found || found.next !== bytes.length) return undefined;
  return found.labels.join(".") + (found.whole ? "." : "");
}

/** Destinations with their routers (RFC 3442); all or, when one is malformed or there is none, nothing. */
const classless: Format<readonly Route4[]> = {
  read(bytes) {
    const list: Route4[] = [];
    for (let at = 0; at < bytes.length;) {
      const prefix = bytes[at]!;
      const gateway = at + 1 + Math.ceil(prefix / 8);
      if (prefix > 32 || gateway + 4 > bytes.length) return undefined;
      const dst = network({ ...toIp(bytes.subarray(at + 1, gateway)), prefix });
      list.push({ dst, gw: toIp(bytes.subarray(gateway)) });
      at = gateway + 4;
    }
    return list.length > 0 ? list : undefined;
  },
  write: (list) =>
    concat(list.flatMap(({ dst, gw }) => [
      Uint8Array.of(dst.prefix),
      fromIp(dst).subarray(0, Math.ceil(dst.prefix / 8)),
      fromIp(gw),
    ])),
};

/** The options that mean something to us. Times are seconds, sizes bytes. */
export const option = {
  /** Prefix length. */
  subnetMask: { code: 1, ...mask },
  routers: { code: 3, ...addresses },
  nameServers: { code: 6, ...addresses },
  hostName: { code: 12, ...name },
  domainName: { code: 15, ...name },
  mtu: { code: 26, ...unsigned(2, 68) },
  staticRoutes: { code: 33, ...pairs },
  vendorSpecific: { code: 43, ...raw },
  requestedAddress: { code: 50, ...address },
  leaseTime: { code: 51, ...unsigned(4) },
  messageType: { code: 53, ...unsigned(1, 1) },
  serverId: { code: 54, ...address },
  parameterList: { code: 55, ...codeList },
  message: { code: 56, ...text },
  maxMessageSize: { code: 57, ...unsigned(2, 576) },
  renewalTime: { code: 58, ...unsigned(4) },
  rebindingTime: { code: 59, ...unsigned(4) },
  vendorClass: { code: 60, ...raw },
  clientId: { code: 61, ...raw },
  userClass: { code: 77, ...raw },
  fqdn: { code: 81, ...fqdn },
  relayAgent: { code: 82, ...raw },
  searchList: { code: 119, ...names },
  classlessRoutes: { code: 121, ...classless },
  /** The same under the number that Windows asks for. */
  msClasslessRoutes: { code: 249, ...classless },
} as const;

/** The value of an option; `undefined` when it is absent or malformed. */
export function readOption<T>(options: Options, { code, read }: Option<T>): T | undefined {
  const bytes = options.get(code);
  return bytes && read(bytes);
}

/** An option as an entry of {@linkcode Options}. */
export function writeOption<T>(
  { code, write }: Option<T>,
  value: T,
): readonly [code: number, value: Uint8Array] {
  return [code, write(value)];
}

/** Names that the configuration knows; the reference's. */
const named: Readonly<Record<string, number>> = {
  "dhcp-client-identifier": option.clientId.code,
  "subnet-mask": option.subnetMask.code,
  "routers": option.routers.code,
  "host-name": option.hostName.code,
  "user-class": option.userClass.code,
  "vendor-class-identifier": option.vendorClass.code,
};

/** The code of an option by name or decimal number 0–255. Throws a `CniError` of code 7. */
export function parseOptionCode(text: string): number {
  const code = Object.hasOwn(named, text) ? named[text]! : /^\d+$/.test(text) ? Number(text) : 256;
  if (code <= 255) return code;
  const known = Object.keys(named).join(", ");
  throw invalid(`Can not parse option "${text}": expected a number 0–255 or one of ${known}`);
}

/** An entry of `ipam.request`. */
export interface Requested {
  readonly skipDefault?: boolean | undefined;
  /** Name or number; nothing is asked for when it is empty. */
  readonly option?: string | undefined;
}

/** What is asked for besides, and what when the configuration leaves nothing to ask for. */
const always: readonly string[] = ["routers", "subnet-mask"];
const otherwise: readonly number[] = [1, 3, 15, 6];

/**
 * The codes of option 55 from `ipam.request`, exactly as the reference sends
 * them: a name and its number count as two, so `["3"]` gives 3, 3, 1. Throws a
 * `CniError` of code 7.
 */
export function parameterList(request: readonly Requested[]): number[] {
  const listed = request.map(({ option }) => option ?? "").filter((text) => text !== "");
  const skip = request.some(({ skipDefault }) => skipDefault);
  const list = new Map<string, number>();
  for (const text of [...listed, ...(skip ? [] : always)]) {
    const code = parseOptionCode(text);
    list.set(Object.hasOwn(named, text) ? text : String(code), code);
  }
  return list.size > 0 ? [...list.values()] : [...otherwise];
}

/** An entry of `ipam.provide`. */
export interface Provided {
  /** Name or number. */
  readonly option: string;
  /** Sent as its bytes; nothing when empty. */
  readonly value?: string | undefined;
  /** Key of `CNI_ARGS` whose value is sent, even an empty one; stronger than `value`. */
  readonly fromArg?: string | undefined;
}

/** Codes that are no option, or that only the exchange itself can know. */
const own: readonly number[] = [0, 50, 52, 53, 54, 55, 255];

/**
 * Options to send from `ipam.provide`; the last of equal codes wins. Throws a
 * `CniError` of code 7 for an option that has no code, for one that the protocol
 * sets itself (0, 50, 52–55, 255), and for a value of more than 255 bytes.
 */
export function providedOptions(provide: readonly Provided[], args: string): Options {
  const given = lenientArgs(args);
  const options = new Map<number, Uint8Array>();
  for (const entry of provide) {
    const code = parseOptionCode(entry.option);
    if (own.includes(code)) {
      throw invalid(`Cannot provide option "${entry.option}": the protocol sets it`);
    }
    const { value = "", fromArg = "" } = entry;
    if (value !== "") options.set(code, bytesOf(value, entry.option));
    const argument = fromArg === "" ? undefined : given.get(fromArg);
    if (argument === undefined) continue;
    options.set(code, bytesOf(argument, `${entry.option}" from CNI_ARGS "${fromArg}`));
  }
  return options;
}

function bytesOf(value: string, what: string): Uint8Array {
  const bytes = text.write(value);
  if (bytes.length <= 255) return bytes;
  throw invalid(`value too long for option "${what}": ${JSON.stringify(value)}`);
}

/** `KEY=VALUE` pairs between semicolons: the value may hold `=`, other pieces do not count. */
function lenientArgs(args: string): Map<string, string> {
  const pairs = args.split(";").filter((piece) => piece.includes("="));
  return new Map(pairs.map((piece) => {
    const at = piece.indexOf("=");
    return [piece.slice(0, at), piece.slice(at + 1)];
  }));
}

/** Bytes of a client identifier that are text; one more says of which kind it is. */
const longestId = 254;

/**
 * The value of option 61 for the reference's text of an attachment,
 * `<container>/<network>/<interface>`: cut to 254 bytes, behind a zero.
 */
export function clientIdentifier(id: string): Uint8Array {
  return concat([Uint8Array.of(0), text.write(id).subarray(0, longestId)]);
}

function invalid(message: string): CniError {
  return new CniError(codes.invalidNetworkConfig, message);
}
