/**
 * CNI's types as the reference's plugin and daemon send them to each other in gob: `skel.CmdArgs`,
 * and `Result` of the package `types/100`. Either side may be older: only the fields that it does not
 * know are lost. (Before version 1.2 of its library `cni`, which its plugins use since 1.6, the
 * reference knew `Dst` and `GW` of a route, `Name`, `Mac` and `Sandbox` of an interface, and no
 * `NetnsOverride`.)
 *
 * @module
 */
import type { Dns, Interface, IpConfig, Result, Route } from "../../../cni/types.ts";
import type { Cidr, Ip } from "../../../host/ip.ts";
import type { GobField, GobStruct, GobType, GobValue, StructType } from "./gob_types.ts";
import { formatCidr, formatIp, parseCidr, parseIp, width } from "../../../host/ip.ts";
import { GobError, isGobStruct } from "./gob_types.ts";

/** `skel.CmdArgs`: what a plugin was called with. */
export interface CmdArgs {
  /** `CNI_CONTAINERID` */
  readonly containerID: string;
  /** `CNI_NETNS`, made absolute. */
  readonly netns: string;
  /** `CNI_IFNAME` */
  readonly ifname: string;
  /** `CNI_ARGS`; bytes that are no UTF-8 are replaced. */
  readonly args: string;
  /** `CNI_PATH` */
  readonly path: string;
  /** `CNI_NETNS_OVERRIDE`; empty from plugins before 1.6. */
  readonly netnsOverride: string;
  /** The configuration, as it was on stdin. */
  readonly stdin: Uint8Array;
}

const text: GobType = { kind: "string" };
const bytes: GobType = { kind: "bytes" };
const int: GobType = { kind: "int" };
const texts: GobType = { kind: "slice", name: "[]string", element: text };

/** Fields that end with `?` are pointers. */
function struct(name: string, fields: Readonly<Record<string, GobType>>): StructType {
  return {
    kind: "struct",
    name,
    fields: Object.entries(fields).map(([name, type]): GobField => {
      const pointer = name.endsWith("?");
      return { name: pointer ? name.slice(0, -1) : name, type, pointer };
    }),
  };
}

function sliceOf(name: string, element: GobType): GobType {
  return { kind: "slice", name, element };
}

/** `skel.CmdArgs` */
export const argsType: StructType = struct("CmdArgs", {
  ContainerID: text,
  Netns: text,
  IfName: text,
  Args: text,
  Path: text,
  NetnsOverride: text,
  StdinData: bytes,
});

const netType = struct("IPNet", { IP: bytes, Mask: bytes });

// Go does not send the names of types that stand behind pointers.
const interfaceType = struct("", {
  Name: text,
  Mac: text,
  Mtu: int,
  Sandbox: text,
  SocketPath: text,
  PciID: text,
});

const ipType = struct("", { "Interface?": int, Address: netType, Gateway: bytes });

const routeType = struct("", {
  Dst: netType,
  GW: bytes,
  MTU: int,
  AdvMSS: int,
  Priority: int,
  "Table?": int,
  "Scope?": int,
});

/** `types/100.Result`. Its version is not sent: the plugin fills in its own. */
export const resultType: StructType = struct("Result", {
  CNIVersion: text,
  Interfaces: sliceOf("[]*types100.Interface", interfaceType),
  IPs: sliceOf("[]*types100.IPConfig", ipType),
  Routes: sliceOf("[]*types.Route", routeType),
  DNS: struct("DNS", { Nameservers: texts, Domain: text, Search: texts, Options: texts }),
});

/** Makes a value of {@linkcode argsType}. */
export function writeArgs(args: CmdArgs): GobStruct {
  return {
    ContainerID: args.containerID,
    Netns: args.netns,
    IfName: args.ifname,
    Args: args.args,
    Path: args.path,
    NetnsOverride: args.netnsOverride,
    StdinData: args.stdin,
  };
}

/** Reads a `CmdArgs`. Throws a {@linkcode GobError} when a field is of another type. */
export function readArgs(value: GobValue): CmdArgs {
  const from = new Fields(value, "CmdArgs");
  return {
    containerID: from.text("ContainerID") ?? "",
    netns: from.text("Netns") ?? "",
    ifname: from.text("IfName") ?? "",
    args: from.text("Args") ?? "",
    path: from.text("Path") ?? "",
    netnsOverride: from.text("NetnsOverride") ?? "",
    stdin: from.bytes("StdinData") ?? new Uint8Array(),
  };
}

/** Makes a value of {@linkcode resultType}. Throws a {@linkcode GobError} for a text that is no address. */
export function writeResult({ interfaces, ips, routes, dns }: Result): GobStruct {
  return {
    Interfaces: interfaces.map((link) => ({
      Name: link.name,
      ...set("Mac", link.mac),
      ...set("Mtu", link.mtu),
      ...set("Sandbox", link.sandbox),
      ...set("SocketPath", link.socketPath),
      ...set("PciID", link.pciID),
    })),
    IPs: ips.map((ip) => ({
      ...set("Interface", ip.interface),
      Address: writeNet(ip.address),
      ...set("Gateway", writeIp(ip.gateway)),
    })),
    Routes: routes.map(writeRoute),
    DNS: {
      ...set("Nameservers", dns.nameservers),
      ...set("Domain", dns.domain),
      ...set("Search", dns.search),
      ...set("Options", dns.options),
    },
  };
}

function writeRoute(route: Route): GobStruct {
  return {
    Dst: writeNet(route.dst),
    ...set("GW", writeIp(route.gw)),
    ...set("MTU", route.mtu),
    ...set("AdvMSS", route.advmss),
    ...set("Priority", route.priority),
    ...set("Table", route.table),
    ...set("Scope", route.scope),
  };
}

/** Reads a `Result`. Throws a {@linkcode GobError} that names the field which is wrong. */
export function readResult(value: GobValue): Result {
  const from = new Fields(value, "Result");
  return {
    interfaces: from.structs("Interfaces").map(readInterface),
    ips: from.structs("IPs").map(readIpConfig),
    routes: from.structs("Routes").map(readRoute),
    dns: readDns(from.struct("DNS")),
  };
}

function readInterface(from: Fields): Interface {
  return {
    name: from.text("Name") ?? "",
    ...set("mac", from.text("Mac")),
    ...set("mtu", from.int("Mtu") || undefined),
    ...set("sandbox", from.text("Sandbox")),
    ...set("socketPath", from.text("SocketPath")),
    ...set("pciID", from.text("PciID")),
  };
}

function readIpConfig(from: Fields): IpConfig {
  return {
    ...set("interface", from.int("Interface")),
    address: from.net("Address"),
    ...set("gateway", from.ip("Gateway")),
  };
}

function readRoute(from: Fields): Route {
  return {
    dst: from.net("Dst"),
    ...set("gw", from.ip("GW")),
    ...set("mtu", from.int("MTU") || undefined),
    ...set("advmss", from.int("AdvMSS") || undefined),
    ...set("priority", from.int("Priority") || undefined),
    ...set("table", from.int("Table")),
    ...set("scope", from.int("Scope")),
  };
}

function readDns(from: Fields): Dns {
  return {
    ...set("nameservers", from.texts("Nameservers")),
    ...set("domain", from.text("Domain")),
    ...set("search", from.texts("Search")),
    ...set("options", from.texts("Options")),
  };
}

/** Makes an object with this key, or without it when there is no value. */
function set<K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: T };
}

/** Reads the fields of a received struct; a field that was not sent is `undefined`. */
class Fields {
  readonly #value: GobStruct;

  constructor(value: GobValue, readonly path: string) {
    if (!isGobStruct(value)) throw wrong(path, "struct");
    this.#value = value;
  }

  #read<T>(
    name: string,
    { kind, is }: { kind: string; is: (value: GobValue) => value is T & GobValue },
  ) {
    const value = this.#value[name];
    if (value === undefined || is(value)) return value;
    throw wrong(`${this.path}.${name}`, kind);
  }

  text(name: string): string | undefined {
    return this.#read(name, { kind: "string", is: (value) => typeof value === "string" });
  }

  int(name: string): number | undefined {
    return this.#read(name, { kind: "int", is: (value) => typeof value === "number" });
  }

  bytes(name: string): Uint8Array | undefined {
    return this.#read(name, { kind: "bytes", is: (value) => value instanceof Uint8Array });
  }

  texts(name: string): string[] | undefined {
    return this.#list(name)?.map((value, index) => {
      if (typeof value === "string") return value;
      throw wrong(`${this.path}.${name}[${index}]`, "string");
    });
  }

  struct(name: string): Fields {
    return new Fields(this.#value[name] ?? {}, `${this.path}.${name}`);
  }

  structs(name: string): Fields[] {
    const list = this.#list(name) ?? [];
    return list.map((value, index) => new Fields(value, `${this.path}.${name}[${index}]`));
  }

  #list(name: string): readonly GobValue[] | undefined {
    return this.#read(name, { kind: "slice", is: (value) => Array.isArray(value) });
  }

  /** Reads a `net.IP`; without bytes there is none. */
  ip(name: string): string | undefined {
    const bytes = this.bytes(name);
    if (!bytes || bytes.length === 0) return undefined;
    const ip = toIp(bytes);
    if (ip) return formatIp(ip);
    throw wrong(`${this.path}.${name}`, "IP address");
  }

  /** Reads a `net.IPNet` with its host bits. */
  net(name: string): string {
    const from = this.struct(name);
    const ip = toIp(from.bytes("IP") ?? new Uint8Array());
    const prefix = ip && toPrefix(from.bytes("Mask") ?? new Uint8Array(), ip);
    if (prefix !== undefined) return formatCidr({ ...ip!, prefix });
    throw wrong(from.path, "IP address with mask");
  }
}

function wrong(path: string, expected: string): GobError {
  return new GobError(`Cannot read gob "${path}": expected ${expected}`);
}

/** Go keeps an IPv4 address in 4 bytes, or mapped in 16. */
function toIp(bytes: Uint8Array): Ip | undefined {
  const bits = toBits(bytes);
  if (bytes.length === 4) return { family: 4, bits };
  if (bytes.length !== 16) return undefined;
  return bits >> 32n === 0xffffn ? { family: 4, bits: bits & 0xffff_ffffn } : { family: 6, bits };
}

/** Length of a mask of ones before zeros; the mask of an IPv4 address may have 16 bytes, too. */
function toPrefix(mask: Uint8Array, { family }: Ip): number | undefined {
  const wide = family === 4 && mask.length === 16;
  if (mask.length * 8 !== width(family) && !wide) return undefined;
  const ones = toBits(mask).toString(2).padStart(mask.length * 8, "0");
  const prefix = ones.indexOf("0") < 0 ? ones.length : ones.indexOf("0");
  if (ones.includes("1", prefix) || wide && prefix < 96) return undefined;
  return wide ? prefix - 96 : prefix;
}

function toBits(bytes: Uint8Array): bigint {
  return bytes.reduce((bits, byte) => bits << 8n | BigInt(byte), 0n);
}

function toBytes({ family, bits }: Ip): Uint8Array {
  const length = width(family) / 8;
  return Uint8Array.from(
    { length },
    (_, index) => Number(bits >> BigInt((length - 1 - index) * 8) & 0xffn),
  );
}

function writeIp(text: string | undefined): Uint8Array | undefined {
  return text === undefined ? undefined : toBytes(parseIp(text) ?? noAddress(text));
}

function writeNet(text: string): GobStruct {
  const cidr = parseCidr(text) ?? noAddress(text);
  return { IP: toBytes(cidr), Mask: maskOf(cidr) };
}

function maskOf({ family, prefix }: Cidr): Uint8Array {
  const zeros = BigInt(width(family) - prefix);
  return toBytes({ family, bits: (1n << BigInt(width(family))) - (1n << zeros) });
}

function noAddress(text: string): never {
  throw new GobError(`Cannot encode address "${text}": it is none`);
}
