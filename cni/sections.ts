/**
 * Decoders of the configuration sections that many plugins share: routes,
 * `dns`, `ipam`, and addresses where an empty string means "not set".
 *
 * @module
 */
import type { Family } from "../host/ip.ts";
import { formatIp, parseIp } from "../host/ip.ts";
import type { Decoder } from "./decode.ts";
import {
  cidr,
  expected,
  integer,
  list,
  map,
  object,
  optional,
  required,
  string,
} from "./decode.ts";
import type { Dns, Route } from "./types.ts";
import { atLeast } from "./version.ts";

/** An address in canonical text; an empty string counts as absent, as in the reference. */
export function ipOrEmpty(): Decoder<string> {
  const expects = "IP address";
  return {
    expects,
    decode(value, path, issues) {
      if (value === "") return undefined;
      const parsed = typeof value === "string" ? parseIp(value) : undefined;
      if (!parsed) issues.push({ path, message: expected(expects, value) });
      return parsed && formatIp(parsed);
    },
  };
}

const u32 = integer({ min: 0, max: 0xffff_ffff });

/** One route: `dst` keeps its host bits, values that mean "not set" are left out. */
export const routeDecoder: Decoder<Route> = map(
  object({
    dst: required(cidr(), "Destination, `address/prefix`."),
    gw: optional(ipOrEmpty(), "Next hop; the address's gateway when absent."),
    mtu: optional(u32, "MTU along the route in bytes; 0 means not set."),
    advmss: optional(u32, "MSS to advertise in bytes; 0 means not set."),
    priority: optional(u32, "Metric; the lower one wins. 0 means not set."),
    table: optional(u32, "Routing table; the main one when absent."),
    scope: optional(
      integer({ min: 0, max: 255 }),
      "0 global, 253 link, 254 host.",
    ),
  }),
  ({ dst, gw, mtu, advmss, priority, table, scope }) => ({
    dst,
    ...(gw !== undefined && { gw }),
    ...(mtu && { mtu }),
    ...(advmss && { advmss }),
    ...(priority && { priority }),
    ...(table !== undefined && { table }),
    ...(scope !== undefined && { scope }),
  }),
);

/** The `dns` section; an empty list stays, because it replaces IPAM's as well as a full one. */
export const dnsDecoder: Decoder<Dns> = map(
  object({
    nameservers: optional(list(string()), "Addresses of name servers."),
    domain: optional(string(), "The local domain."),
    search: optional(list(string()), "Domains to search."),
    options: optional(list(string()), "Resolver options."),
  }),
  ({ nameservers, domain, search, options }) => ({
    ...(nameservers && { nameservers }),
    ...(domain && { domain }),
    ...(search && { search }),
    ...(options && { options }),
  }),
);

/** The `ipam` section as a main plugin reads it; the rest is the delegate's. */
export const ipamDecoder: Decoder<{ readonly type: string }> = map(
  object({
    type: optional(
      string(),
      "IPAM plugin that hands out addresses; none when absent.",
    ),
  }),
  ({ type }) => ({ type: type ?? "" }),
);

/** Before 0.3.0 a result holds one address of each family at most. */
export function addressCountIssues(families: readonly Family[], cniVersion: string): string[] {
  const repeated = new Set(families).size < families.length;
  if (!repeated || atLeast(cniVersion, "0.3.0")) return [];
  return [`CNI version ${cniVersion} does not support more than 1 address per family`];
}
