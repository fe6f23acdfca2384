/**
 * The routes of an interface: which ones it takes along when its master changes, and
 * what becomes of them in a VRF.
 *
 * @module
 */
import type { RestorableRoute } from "../../host/ip_route_restore.ts";
import { localTable, mainTable } from "../../host/ip_route.ts";
import type { VrfFacts } from "./facts.ts";

/** Number of the protocol by which the kernel marks the routes that come with addresses. */
const kernelProtocol = "2";

/** A route and the table that it is in while the interface is in no VRF. */
export interface InterfaceRoute {
  /** As after `ip route add`, without the table. */
  readonly words: readonly string[];
  readonly table: number;
}

/** An interface, by its name, among the facts of its container. */
export interface InterfaceFacts {
  readonly facts: VrfFacts;
  readonly ifName: string;
}

/**
 * The routes of an interface that do not come with its addresses: of one table, whose routes go to
 * the main one, and of all others. Routes on the link come before those by a gateway.
 */
export function interfaceRoutes(
  table: number,
  { facts, ifName }: InterfaceFacts,
): InterfaceRoute[] {
  const routes = facts.routes
    .filter((route) => !isFromKernel(route, table))
    .flatMap((route) => partOf(route, ifName))
    .map((route) => ({ ...route, table: route.table === table ? mainTable : route.table }));
  return [
    ...routes.filter(({ gateways }) => gateways.length === 0),
    ...routes.filter(({ gateways }) => gateways.length > 0),
  ].map(({ words, table, expires }) => ({
    words: expires === undefined ? words : [...words, "expires", String(expires)],
    table,
  }));
}

function isFromKernel({ table, words }: RestorableRoute, interfaceTable: number): boolean {
  return table === localTable ||
    table === interfaceTable && words[words.indexOf("proto") + 1] === kernelProtocol;
}

/** Of an IPv6 route by several links the interface's hops; one of IPv4 stays as it is. */
function partOf(route: RestorableRoute, ifName: string): RestorableRoute[] {
  if (!isShared(route, ifName)) return route.devs.includes(ifName) ? [route] : [];
  if (route.family === 4) return [];
  const { head, hops } = hopsOf(route, ifName);
  return [{
    ...route,
    words: hops.length === 1 ? oneHop(head, hops[0]!) : [...head, ...hops.flat()],
  }];
}

function isShared({ devs }: RestorableRoute, ifName: string): boolean {
  return devs.includes(ifName) && devs.some((dev) => dev !== ifName);
}

function hopsOf(
  { words }: RestorableRoute,
  ifName: string,
): { readonly head: string[]; readonly hops: string[][] } {
  const [head = [], ...all] = splitAt(words, "nexthop");
  return { head, hops: all.filter((hop) => hop[hop.indexOf("dev") + 1] === ifName) };
}

/** Pieces, each but the first starting with the word. */
function splitAt(words: readonly string[], word: string): string[][] {
  const pieces: string[][] = [[]];
  for (const next of words) {
    if (next === word) pieces.push([]);
    pieces.at(-1)!.push(next);
  }
  return pieces;
}

/** A route by one hop, as it is read back. */
function oneHop([dst, ...rest]: readonly string[], hop: readonly string[]): string[] {
  return [dst!, ...hop.slice(1, hop.indexOf("weight")), ...rest];
}

/**
 * The interface's hops of IPv6 routes by several links, a route for each: the kernel joins
 * routes of one destination and metric, and takes a hop from them only when it is told to.
 */
export function sharedHops(
  table: number,
  { facts, ifName }: InterfaceFacts,
): (readonly string[])[] {
  return facts.routes
    .filter((route) => route.table === table && route.family === 6 && isShared(route, ifName))
    .flatMap((route) => {
      const { head, hops } = hopsOf(route, ifName);
      return hops.map((hop) => oneHop(head, hop));
    });
}

/**
 * A route while the interface is in the VRF. The kernel knows its addresses in the VRF's table
 * alone by then: a route elsewhere cannot prefer one of IPv4 as source.
 */
export function routeInVrf(route: InterfaceRoute, vrfTable: number): InterfaceRoute {
  const { words, table } = route;
  if (table === mainTable || table === vrfTable) return { words, table: vrfTable };
  return words[0]!.includes(":") ? route : withoutSource(route);
}

/** The route that is left of one when the address that it prefers is removed. */
export function withoutSource(route: InterfaceRoute): InterfaceRoute {
  const src = route.words.indexOf("src");
  return src < 0 ? route : { ...route, words: route.words.toSpliced(src, 2) };
}

/** Whether a route is what has remained of another one without its source. */
export function isWithoutSourceOf(route: InterfaceRoute, whole: InterfaceRoute): boolean {
  return !isSameRoute(route, whole) && isSameRoute(route, withoutSource(whole));
}

/** Whether two routes have the same words and the same table. */
export function isSameRoute(a: InterfaceRoute, b: InterfaceRoute): boolean {
  return a.table === b.table && a.words.join(" ") === b.words.join(" ");
}

/** Whether an interface has a route. Other links may have hops in one of IPv6. */
export function hasInterfaceRoute(
  route: InterfaceRoute,
  { facts, ifName }: InterfaceFacts,
): boolean {
  return facts.routes.some((other) =>
    other.table === route.table && partOf(other, ifName).some((part) => isSameRoute(part, route))
  );
}
