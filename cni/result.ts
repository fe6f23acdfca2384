/**
 * Results on the wire: every version of the specification is read into the newest form and
 * written from it, so that nothing else in the project knows the older ones.
 *
 * @module
 */
import { formatCidr, formatIp, parseCidr, parseIp } from "../host/ip.ts";
import type { Decoder, Issue } from "./decode.ts";
import {
  expected,
  formatIssue,
  integer,
  isObject,
  list,
  lookup,
  map,
  object,
  optional,
  required,
  string,
  withDefault,
} from "./decode.ts";
import { CniError, codes } from "./error.ts";
import { dnsDecoder } from "./sections.ts";
import type { Dns, Interface, IpConfig, Json, JsonObject, Result, Route } from "./types.ts";
import { latest, oldest } from "./version.ts";

/** Versions whose results have the same form. */
interface Family {
  /** The empty version is the oldest one. */
  readonly versions: readonly string[];
  readonly decoder: Decoder<Result>;
  readonly format: (result: Result, version: string) => JsonObject;
}

/**
 * Reads a result of any version. The document's own version counts; without one (or with one
 * that is no text) it is that of the request. Throws a `CniError` of code 6, or of code 1 for a
 * version that does not exist.
 */
export function parseResult(
  value: unknown,
  fallbackVersion: string,
): { version: string; result: Result } {
  const document = value ?? {};
  if (!isObject(document)) {
    throw new CniError(
      codes.decodingFailure,
      `failed to unmarshal raw result: ${expected("object", value)}`,
    );
  }
  const own = lookup(document, "cniVersion");
  const version = typeof own === "string" && own || fallbackVersion || oldest;
  const family = familyOf(version);
  if (!family) throw new CniError(codes.incompatibleVersion, unsupported(version));
  const result = read(family, document);
  if (typeof result !== "string") return { version, result };
  throw new CniError(codes.decodingFailure, `Cannot read result: ${result}`);
}

/**
 * Reads `prevResult` of a request configuration; `undefined` when there is none. Its version must
 * be of the same family as the configuration's, which it has when it names none. Throws a
 * `CniError` of code 7.
 */
export function parsePrevResult(raw: JsonObject, configVersion: string): Result | undefined {
  const value = lookup(raw, "prevResult");
  if (value === undefined || value === null) return undefined;
  const result = readPrevResult(value, configVersion);
  if (typeof result !== "string") return result;
  throw new CniError(codes.invalidNetworkConfig, `could not parse prevResult: ${result}`);
}

/** Gives the result, or what is wrong with it. */
function readPrevResult(value: unknown, configVersion: string): Result | string {
  if (!isObject(value)) return expected("object", value);
  const family = familyOf(configVersion);
  if (!family) return unsupported(configVersion);
  const version = lookup(value, "cniVersion") ?? configVersion;
  if (typeof version !== "string") return `cniVersion: ${expected("string", version)}`;
  if (!family.versions.includes(version)) {
    const list = family.versions.join(" ");
    return `result type supports [${list}] but unmarshalled CNIVersion is "${version}"`;
  }
  return read(family, value);
}

/**
 * Writes a result as a version of the specification wants it: what that version does not know is
 * left out, keys stand in the reference's order. Throws a `CniError` of code 1 when the version
 * does not exist, or is too old to hold a result without addresses.
 */
export function formatResult(result: Result, version: string): JsonObject {
  const wanted = version || oldest;
  const family = familyOf(wanted);
  if (family) return family.format(result, wanted);
  throw new CniError(
    codes.incompatibleVersion,
    `no converter for CNI result version ${latest} to ${wanted}`,
  );
}

/** JSON text as plugins print it: four blanks of indent, no newline at the end. */
export function stringifyResult(json: JsonObject): string {
  return JSON.stringify(json, undefined, 4);
}

function familyOf(version: string): Family | undefined {
  return families.find((family) => family.versions.includes(version));
}

function unsupported(version: string): string {
  return `unsupported CNI result version ${JSON.stringify(version)}`;
}

function read({ decoder }: Family, document: Record<string, unknown>): Result | string {
  const issues: Issue[] = [];
  const result = decoder.decode(document, "", issues);
  return result && issues.length === 0 ? result : issues.map(formatIssue).join("; ");
}

/** Text that a function reads, refused with the reference's words. */
function text(
  expects: string,
  { invalid, read }: { invalid: string; read: (text: string) => string | undefined },
): Decoder<string> {
  return {
    expects,
    decode(value, path, issues) {
      const isText = typeof value === "string";
      const decoded = isText ? read(value) : undefined;
      if (decoded === undefined) {
        const message = isText ? `${invalid}: ${value}` : expected(expects, value);
        issues.push({ path, message });
      }
      return decoded;
    },
  };
}

/** `address/prefix`, host bits kept. */
const cidr = text("IP address with prefix length", {
  invalid: "invalid CIDR address",
  read(text) {
    const parsed = parseCidr(text);
    return parsed && formatCidr(parsed);
  },
});

/** An address, or an empty text for none. */
const address = text("IP address", {
  invalid: "invalid IP address",
  read(text) {
    const parsed = parseIp(text);
    return parsed ? formatIp(parsed) : text === "" ? "" : undefined;
  },
});

/** Any version's route may carry the newer fields, and they are kept. */
const route: Decoder<Route> = map(
  object({
    dst: required(cidr, "Destination."),
    gw: optional(address, "Next hop."),
    mtu: optional(integer(), "Bytes."),
    advmss: optional(integer(), "Bytes."),
    priority: optional(integer(), "Metric."),
    table: optional(integer(), "Routing table."),
    scope: optional(integer(), "0 global, 253 link, 254 host."),
  }),
  withoutUnset,
);

const routes = optional(list(route), "Routes.");
const dns = optional(dnsDecoder, "Name resolution.");

/** `ip4` or `ip6` of the oldest versions. */
const slot = object({
  ip: required(cidr, "The address."),
  gateway: optional(address, "Its gateway."),
  routes,
});

const oldestDecoder: Decoder<Result> = map(
  object({ ip4: optional(slot, "IPv4."), ip6: optional(slot, "IPv6."), dns }),
  ({ ip4, ip6, dns }) => {
    const slots = [ip4, ip6].filter((slot) => slot !== undefined);
    return {
      interfaces: [],
      ips: slots.map(({ ip, gateway }) => withoutUnset({ address: ip, gateway })),
      routes: slots.flatMap(({ routes }) => routes ?? []),
      dns: dns ?? {},
    };
  },
);

const olderInterfaceFields = {
  name: withDefault(string(), "", "Its name."),
  mac: optional(string(), "Hardware address."),
  sandbox: optional(string(), "Namespace path."),
};

const olderInterface: Decoder<Interface> = map(object(olderInterfaceFields), toInterface);

const newestInterface: Decoder<Interface> = map(
  object({
    ...olderInterfaceFields,
    mtu: optional(integer(), "Bytes."),
    socketPath: optional(string(), "Path of a socket."),
    pciID: optional(string(), "PCI address."),
  }),
  toInterface,
);

/** The name is there also when it is empty. */
function toInterface(fields: { name: string }): Interface {
  return { ...withoutUnset(fields), name: fields.name };
}

/** The older versions' `version` key says what the address says already. */
const ipConfig: Decoder<IpConfig> = map(
  object({
    interface: optional(integer(), "Index into `interfaces`."),
    address: required(cidr, "The address."),
    gateway: optional(address, "Its gateway."),
  }),
  withoutUnset,
);

function resultWith(element: Decoder<Interface>): Decoder<Result> {
  return map(
    object({
      interfaces: optional(list(element), "Interfaces."),
      ips: optional(list(ipConfig), "Addresses."),
      routes,
      dns,
    }),
    ({ interfaces = [], ips = [], routes = [], dns = {} }) => ({ interfaces, ips, routes, dns }),
  );
}

const families: readonly Family[] = [
  { versions: ["", "0.1.0", "0.2.0"], decoder: oldestDecoder, format: formatOldest },
  {
    versions: ["0.3.0", "0.3.1", "0.4.0"],
    decoder: resultWith(olderInterface),
    format: formatOlder,
  },
  { versions: ["1.0.0", "1.1.0"], decoder: resultWith(newestInterface), format: formatNewest },
];

type WithoutUnset<T> =
  & { [K in keyof T as undefined extends T[K] ? never : K]: T[K] }
  & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** Of these 0 means "not set"; of `interface`, `table` and `scope` it is a value. */
const zeroIsUnset: ReadonlySet<string> = new Set(["mtu", "advmss", "priority"]);

function isUnset(key: string, value: unknown): boolean {
  return value === undefined || value === "" || value === 0 && zeroIsUnset.has(key) ||
    Array.isArray(value) && value.length === 0;
}

function withoutUnset<T extends object>(value: T): WithoutUnset<T> {
  const entries = Object.entries(value).filter(([key, item]) => !isUnset(key, item));
  return Object.fromEntries(entries) as WithoutUnset<T>;
}

/** The keys that are set, in this order. */
function pick<T extends object>(value: T, keys: readonly (keyof T & string)[]): JsonObject {
  const entries = keys.filter((key) => !isUnset(key, value[key]))
    .map((key) => [key, value[key] as Json]);
  return Object.fromEntries(entries);
}

const olderDnsKeys = ["nameservers", "domain", "search", "options"] as const;

/** One address of each family with its routes; no interfaces. */
function formatOldest(result: Result, cniVersion: string): JsonObject {
  const ip4 = formatSlot(result, 4);
  const ip6 = formatSlot(result, 6);
  if (!ip4 && !ip6) {
    throw new CniError(
      codes.incompatibleVersion,
      "cannot convert: no valid IP addresses",
      `a result of version ${cniVersion} needs an address`,
    );
  }
  return {
    cniVersion,
    ...(ip4 && { ip4 }),
    ...(ip6 && { ip6 }),
    dns: pick(result.dns, olderDnsKeys),
  };
}

function formatSlot({ ips, routes }: Result, family: 4 | 6): JsonObject | undefined {
  const ip = ips.find(({ address }) => parseCidr(address)?.family === family);
  return ip && pick({
    ip: ip.address,
    gateway: ip.gateway,
    routes: routes.filter(({ dst }) => parseCidr(dst)?.family === family)
      .map((route) => pick(route, ["dst", "gw"])),
  }, ["ip", "gateway", "routes"]);
}

const olderRouteKeys = ["dst", "gw", "mtu", "advmss", "priority", "table", "scope"] as const;

/** With `version` at every address, and without what interfaces have since 1.1.0. */
function formatOlder({ interfaces, ips, routes, dns }: Result, cniVersion: string): JsonObject {
  return {
    ...pick({
      cniVersion,
      interfaces: interfaces.map(({ name, mac, sandbox }) => ({
        name,
        ...pick({ mac, sandbox }, ["mac", "sandbox"]),
      })),
      ips: ips.map((ip) => ({ version: ipVersion(ip), ...pick(ip, olderIpKeys) })),
      routes: routes.map((route) => pick(route, olderRouteKeys)),
    }, ["cniVersion", "interfaces", "ips", "routes"]),
    dns: pick(dns, olderDnsKeys),
  };
}

const olderIpKeys = ["interface", "address", "gateway"] as const;

function ipVersion({ address }: IpConfig): string {
  return parseCidr(address)?.family === 4 ? "4" : "6";
}

/** The reference writes these versions with all keys in byte order. */
function formatNewest({ interfaces, ips, routes, dns }: Result, cniVersion: string): JsonObject {
  const formatted = {
    cniVersion,
    dns: hasFields(dns) ? pick(dns, ["domain", "nameservers", "options", "search"]) : undefined,
    interfaces: interfaces.map(formatInterface),
    ips: ips.map((ip) => pick(ip, ["address", "gateway", "interface"])),
    routes: routes.map((route) =>
      pick(route, ["advmss", "dst", "gw", "mtu", "priority", "scope", "table"])
    ),
  };
  return pick(formatted, ["cniVersion", "dns", "interfaces", "ips", "routes"]);
}

function hasFields(dns: Dns): boolean {
  return Object.keys(withoutUnset(dns)).length > 0;
}

function formatInterface(item: Interface): JsonObject {
  return {
    ...pick(item, ["mac", "mtu"]),
    name: item.name,
    ...pick(item, ["pciID", "sandbox", "socketPath"]),
  };
}
