/**
 * IP addresses and prefixes as plain values: family and bits. Text is read and
 * written by `ipaddr.js`, in canonical form (RFC 5952 for IPv6, an IPv4-mapped
 * IPv6 address becomes IPv4).
 *
 * @module
 */
import ipaddr from "ipaddr.js";

/** Address family: 4 or 6. */
export type Family = 4 | 6;

/** One IP address. */
export interface Ip {
  /** IPv4 or IPv6. */
  readonly family: Family;
  /** The address as an unsigned number of 32 (IPv4) or 128 (IPv6) bits. */
  readonly bits: bigint;
}

/** An address with its prefix length; host bits are kept. */
export interface Cidr extends Ip {
  /** Prefix length: 0–32 or 0–128. */
  readonly prefix: number;
}

/** Number of bits of an address of this family. */
export function width(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** Four octets without leading zeros. */
const ipv4Octets = /^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(?!$)|$)){4}$/;

/** Reads an address, or gives `undefined` when the text is not one. Zones and short forms are refused. */
export function parseIp(text: string): Ip | undefined {
  const plain = ipv4Octets.test(text) ? text : withoutDottedPart(text);
  if (plain === undefined || !ipaddr.isValid(plain)) return undefined;
  const parsed = ipaddr.process(plain);
  let bits = 0n;
  for (const byte of parsed.toByteArray()) bits = bits << 8n | BigInt(byte);
  return { family: parsed.kind() === "ipv4" ? 4 : 6, bits };
}

/**
 * The text of an IPv6 address with its dotted end, if it has one, as two groups: `ipaddr.js`
 * reads octal octets there, and takes `::1.2.3.4` for `::ffff:1.2.3.4`.
 */
function withoutDottedPart(text: string): string | undefined {
  if (!text.includes(":") || text.includes("%")) return undefined;
  if (!text.includes(".")) return text;
  const start = text.lastIndexOf(":") + 1;
  if (!ipv4Octets.test(text.slice(start))) return undefined;
  const [a, b, c, d] = text.slice(start).split(".").map(Number);
  const groups = [a! << 8 | b!, c! << 8 | d!].map((group) => group.toString(16));
  return text.slice(0, start) + groups.join(":");
}

/**
 * Reads `address/prefix`, keeping host bits, or gives `undefined`.
 * `::ffff:10.0.0.7/120` becomes `10.0.0.7/24`, as the reference does.
 */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(\d{1,4})$/.exec(text);
  if (!match) return undefined;
  const address = match[1]!;
  const ip = parseIp(address);
  if (!ip) return undefined;
  const mapped = ip.family === 4 && address.includes(":");
  const prefix = Number(match[2]) - (mapped ? 96 : 0);
  if (prefix < 0 || prefix > width(ip.family)) return undefined;
  return { ...ip, prefix };
}

/** Reads an address with or without a prefix; without one the prefix is the full width. */
export function parseIpOrCidr(text: string): Cidr | undefined {
  if (text.includes("/")) return parseCidr(text);
  const ip = parseIp(text);
  return ip && { ...ip, prefix: width(ip.family) };
}

/** Canonical text of an address, without a prefix. */
export function formatIp(ip: Ip): string {
  const bytes: number[] = [];
  for (let shift = width(ip.family) - 8; shift >= 0; shift -= 8) {
    bytes.push(Number(ip.bits >> BigInt(shift) & 0xffn));
  }
  return ipaddr.fromByteArray(bytes).toString();
}

/** Canonical text `address/prefix`, host bits kept. */
export function formatCidr(cidr: Cidr): string {
  return `${formatIp(cidr)}/${cidr.prefix}`;
}

/** Each address with its prefix once, in the order of their first. */
export function distinctCidrs(cidrs: readonly Cidr[]): Cidr[] {
  return [...new Map(cidrs.map((cidr) => [formatCidr(cidr), cidr])).values()];
}

/** The addresses of each family that has any, IPv4 first. */
export function byFamily(cidrs: readonly Cidr[]): (readonly [Family, Cidr[]])[] {
  return ([4, 6] as const)
    .map((family) => [family, cidrs.filter((cidr) => cidr.family === family)] as const)
    .filter(([, own]) => own.length > 0);
}

function hostMask(cidr: Cidr): bigint {
  return (1n << BigInt(width(cidr.family) - cidr.prefix)) - 1n;
}

/** The prefix with its host bits cleared. */
export function network(cidr: Cidr): Cidr {
  return { ...cidr, bits: cidr.bits & ~hostMask(cidr) };
}

/** The highest address of the prefix (the broadcast address of an IPv4 subnet). */
export function lastAddress(cidr: Cidr): Ip {
  return { family: cidr.family, bits: cidr.bits | hostMask(cidr) };
}

/** The address `distance` after this one; may lie outside the family's space. */
export function offset(ip: Ip, distance: bigint): Ip {
  return { family: ip.family, bits: ip.bits + distance };
}

/** First address after the network address: the conventional gateway. */
export function firstHost(cidr: Cidr): Ip {
  const { family, bits } = network(cidr);
  return { family, bits: bits + 1n };
}

/** Whether the address lies in the prefix; false across families. */
export function contains(cidr: Cidr, ip: Ip): boolean {
  return cidr.family === ip.family &&
    network(cidr).bits === (ip.bits & ~hostMask(cidr));
}

/** Whether two prefixes share an address; false across families. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return contains(a, b) || contains(b, a);
}

/** Whether two addresses are the same. */
export function sameIp(a: Ip, b: Ip): boolean {
  return a.family === b.family && a.bits === b.bits;
}

/** The address alone as a prefix: `/32` or `/128`. */
export function hostPrefix(ip: Ip): Cidr {
  return { family: ip.family, bits: ip.bits, prefix: width(ip.family) };
}

/** Whether the prefix is the default network, `0.0.0.0/0` or `::/0`. */
export function isDefault(cidr: Cidr): boolean {
  return cidr.prefix === 0 && cidr.bits === 0n;
}
