/**
 * Options of DHCPv4 (RFC 2132 and its successors).
 *
 * @module
 */
import type { Cidr, Ip } from "../../../host/ip.ts";
import type { Options4 } from "./message4.ts";
import type { OptionDefinition, OptionFormat } from "./option_format.ts";
import { network } from "../../../host/ip.ts";
import { chunks, concat } from "./bytes.ts";
import {
  encodeName,
  isDomainName,
  nameFormat,
  nameListFormat,
  readSingleName,
  rootLabel,
} from "./domain_names.ts";
import { rawFormat, textFormat } from "./option_format.ts";

/** Values of option 53 (RFC 2132 section 9.6). */
export const messageType4 = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

/** A route of option 121 (RFC 3442). The router of a destination on the link is `0.0.0.0`. */
export interface ClasslessRoute {
  /** Host bits are cleared. */
  readonly dst: Cidr;
  readonly gw: Ip;
}

/** A route of option 33. */
export interface StaticRoute {
  readonly dst: Ip;
  readonly gw: Ip;
}

/** Name of the client (RFC 4702). */
export interface ClientFqdn {
  /** 1 server updates DNS, 2 it overrides, 4 the name is in the form of DNS, 8 no update. */
  readonly flags: number;
  /** With a dot at its end when it is whole. */
  readonly name: string;
}

function unsigned(size: 1 | 2 | 4, least = 0): OptionFormat<number> {
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

/** Reads an address of 4 bytes; missing bytes at its end are zero. */
function toIp(bytes: Uint8Array): Ip {
  const bits = [0, 1, 2, 3].reduce((sum, index) => sum * 256 + (bytes[index] ?? 0), 0);
  return { family: 4, bits: BigInt(bits) };
}

function fromIp(ip: Ip): Uint8Array {
  return octets(ip.bits, 4);
}

const address: OptionFormat<Ip> = {
  read: (bytes) => bytes.length === 4 ? toIp(bytes) : undefined,
  write: fromIp,
};

const addresses: OptionFormat<readonly Ip[]> = {
  read: (bytes) =>
    bytes.length > 0 && bytes.length % 4 === 0 ? chunks(bytes, 4).map(toIp) : undefined,
  write: (list) => concat(list.map(fromIp)),
};

/** A subnet mask as its prefix length, 1–32; a mask with holes is refused. */
const mask: OptionFormat<number> = {
  read(bytes) {
    if (bytes.length !== 4) return undefined;
    const prefix = toIp(bytes).bits.toString(2).replace(/0+$/, "").length;
    const same = mask.write(prefix).every((byte, index) => byte === bytes[index]);
    return same && prefix > 0 ? prefix : undefined;
  },
  write: (prefix) => octets(2n ** 32n - 2n ** BigInt(32 - prefix), 4),
};

/** Pairs of addresses; an incomplete pair at the end is ignored. */
const pairs: OptionFormat<readonly StaticRoute[]> = {
  read: (bytes) =>
    chunks(bytes, 8).map((pair) => ({ dst: toIp(pair), gw: toIp(pair.subarray(4)) })),
  write: (list) => concat(list.flatMap(({ dst, gw }) => [fromIp(dst), fromIp(gw)])),
};

const codeList: OptionFormat<readonly number[]> = {
  read: (bytes) => [...bytes],
  write: (list) => Uint8Array.from(list),
};

const fqdn: OptionFormat<ClientFqdn> = {
  read(bytes) {
    const flags = bytes[0];
    if (flags === undefined || bytes.length < 3) return undefined;
    const plain = flags & 4
      ? readSingleName(bytes.subarray(3))
      : textFormat.read(bytes.subarray(3));
    const fits = plain === "" || plain !== undefined && isDomainName(plain.replace(/\.$/, ""));
    return fits ? { flags, name: plain } : undefined;
  },
  write({ flags, name }) {
    if (!(flags & 4)) return concat([Uint8Array.of(flags, 0, 0), textFormat.write(name)]);
    const end = name.endsWith(".") ? [rootLabel] : [];
    return concat([Uint8Array.of(flags, 0, 0), encodeName(name), ...end]);
  },
};

/** Classless routes (RFC 3442); the value is refused when one is malformed, or there is none. */
const classless: OptionFormat<readonly ClasslessRoute[]> = {
  read(bytes) {
    const list: ClasslessRoute[] = [];
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

/** The options that this client reads or writes. Times are seconds, sizes bytes. */
export const option4 = {
  /** Prefix length. */
  subnetMask: { code: 1, ...mask },
  routers: { code: 3, ...addresses },
  nameServers: { code: 6, ...addresses },
  hostName: { code: 12, ...nameFormat },
  domainName: { code: 15, ...nameFormat },
  mtu: { code: 26, ...unsigned(2, 68) },
  staticRoutes: { code: 33, ...pairs },
  vendorSpecific: { code: 43, ...rawFormat },
  requestedAddress: { code: 50, ...address },
  leaseTime: { code: 51, ...unsigned(4) },
  messageType: { code: 53, ...unsigned(1, 1) },
  serverId: { code: 54, ...address },
  parameterRequestList: { code: 55, ...codeList },
  message: { code: 56, ...textFormat },
  maxMessageSize: { code: 57, ...unsigned(2, 576) },
  renewalTime: { code: 58, ...unsigned(4) },
  rebindingTime: { code: 59, ...unsigned(4) },
  vendorClass: { code: 60, ...rawFormat },
  clientId: { code: 61, ...rawFormat },
  userClass: { code: 77, ...rawFormat },
  fqdn: { code: 81, ...fqdn },
  relayAgent: { code: 82, ...rawFormat },
  searchList: { code: 119, ...nameListFormat },
  classlessRoutes: { code: 121, ...classless },
  /** The same under the number that Windows asks for. */
  msClasslessRoutes: { code: 249, ...classless },
} as const;

/** Reads an option; `undefined` when it is absent or malformed. */
export function readOption4<T>(
  options: Options4,
  { code, read }: OptionDefinition<T>,
): T | undefined {
  const bytes = options.get(code);
  return bytes && read(bytes);
}
