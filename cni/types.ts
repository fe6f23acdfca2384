/**
 * The values of the CNI specification. Inside the project a result is always of
 * the newest version; `result.ts` reads and writes the older ones.
 *
 * @module
 */

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | JsonObject;

/** A JSON object. */
export interface JsonObject {
  /** Any key. */
  [key: string]: Json;
}

/** A network interface made or used by an attachment (specification section 5). */
export interface Interface {
  /** Name of the link. */
  name: string;
  /** Hardware address, lower-case colon hex. */
  mac?: string;
  /** Bytes; since 1.1.0. */
  mtu?: number;
  /** Path of the namespace file; absent on the host. */
  sandbox?: string;
  /** Since 1.1.0. */
  socketPath?: string;
  /** Since 1.1.0. */
  pciID?: string;
}

/** An address given to an attachment. */
export interface IpConfig {
  /** Index into `interfaces`. */
  interface?: number;
  /** `address/prefix`, host bits kept. */
  address: string;
  /** Address of the gateway, without a prefix length. */
  gateway?: string;
}

/** A route; fields beyond `dst` and `gw` since 1.1.0. */
export interface Route {
  /** Destination `address/prefix`. */
  dst: string;
  /** Next hop; absent means the first gateway of the family, if there is one. */
  gw?: string;
  /** Bytes. */
  mtu?: number;
  /** Bytes. */
  advmss?: number;
  /** Metric; lower wins. */
  priority?: number;
  /** Routing table; 0 and absent differ on the wire and both mean main. */
  table?: number;
  /** 0 global, 253 link, 254 host. */
  scope?: number;
}

/** Name resolution. */
export interface Dns {
  /** Addresses of name servers, in order of preference. */
  nameservers?: string[];
  /** The local domain. */
  domain?: string;
  /** Domains to search, in order. */
  search?: string[];
  /** Options of the resolver. */
  options?: string[];
}

/** Result of ADD, in the newest form (1.1.0). Lists are empty, never absent. */
export interface Result {
  /** Links of the attachment; addresses refer to them by index. */
  interfaces: Interface[];
  /** Addresses of the attachment. */
  ips: IpConfig[];
  /** Routes of the attachment. */
  routes: Route[];
  /** Name resolution of the attachment. */
  dns: Dns;
}

/** A verb of the protocol. */
export type Verb = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** A result that holds nothing. */
export function emptyResult(): Result {
  return { interfaces: [], ips: [], routes: [], dns: {} };
}
