/**
 * Into the VRF and out of it. The kernel sets an interface down and up when its
 * master changes: its IPv6 addresses are lost then, and its routes but for those
 * that come with an address. Both are carried over, in one process.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { NetnsRef } from "../../host/command.ts";
import { formatCidr, hostPrefix, parseCidr, parseIp, sameIp } from "../../host/ip.ts";
import type { WholeAddress } from "../../host/ip_whole_addr.ts";
import { removeAddress, replaceAddress } from "../../host/ip_whole_addr.ts";
import type { Link } from "../../host/ip_link.ts";
import { addLink, deleteLink, setLink } from "../../host/ip_link.ts";
import { localTable, mainTable } from "../../host/ip_route.ts";
import type { WholeRoute } from "../../host/ip_whole_route.ts";
import { appendRoute, deleteRoute } from "../../host/ip_whole_route.ts";
import type { Rule } from "../../host/ip_rule.ts";
import type { Reason } from "../../host/reason.ts";
import type { Step } from "../../host/step.ts";
import type { Address } from "../../recipes/configure.ts";
import type { Facts, Where } from "./facts.ts";

/** Number of the protocol by which the kernel marks the routes that come with addresses. */
const byKernel = "2";

/** A route and the table that it is in while the interface is in no VRF. */
export interface CarriedRoute {
  readonly words: readonly string[];
  readonly table: number;
}

/** What an interface takes along, in the order in which it is given again. */
export interface Carried {
  readonly addresses: readonly WholeAddress[];
  readonly routes: readonly CarriedRoute[];
}

/** The interface as it may join, and the VRF if there is one. */
export interface Joinable {
  readonly link: Link;
  readonly vrf: Link | undefined;
}

/** Finds both. Throws code 102 for a link that is no VRF, another table, another master; 103 without interface. */
export function requireJoinable(
  { links }: Pick<Facts, "links">,
  { name, table, ifName }: { name: string; table: number; ifName: string },
): Joinable {
  const vrf = findLink(links, name);
  const link = findLink(links, ifName);
  const problem = vrf && vrfProblem(vrf, table);
  if (problem) throw cannotJoin(name, problem);
  if (!link) throw cannotJoin(name, `could not get link by name ${ifName}`, codes.objectMissing);
  if (!link.master) return { link, vrf };
  throw cannotJoin(name, `interface ${ifName} has already a master set: ${link.master}`);
}

/** A link by its name. */
export function findLink(links: readonly Link[], name: string): Link | undefined {
  return links.find((link) => link.name === name);
}

function vrfProblem({ name, kind, vrfTable }: Link, table: number): string | undefined {
  if (kind !== "vrf") return `Netlink ${name} is not a VRF`;
  if (table === 0 || vrfTable === table) return undefined;
  return `VRF ${name} already exist with different routing table ${vrfTable}`;
}

function cannotJoin(name: string, state: string, code: number = codes.alreadyExists): CniError {
  return new CniError(code, `Cannot join VRF "${name}": ${state}`);
}

/** The first table that no VRF has, no route is in and no rule leads to; never one of the kernel's. */
export function freeTable(
  { links, routes, rules }: Pick<Facts, "links" | "routes"> & { readonly rules: readonly Rule[] },
): number {
  const taken = new Set([
    ...[253, mainTable, localTable],
    ...links.map(({ vrfTable }) => vrfTable),
    ...[...routes, ...rules].map(({ table }) => table),
  ]);
  let table = 1;
  while (taken.has(table)) table++;
  return table;
}

/**
 * What the interface takes along from a table: what did not come by itself. The oldest address
 * comes first, so that their order stays; routes on the link come before those by a gateway.
 */
export function carriedFrom(
  table: number,
  { facts, ifName }: { facts: Facts; ifName: string },
): Carried {
  const routes = facts.routes
    .filter((route) => !isKernels(route, table))
    .flatMap((route) => ownPart(route, ifName))
    .map((route) => ({ ...route, table: route.table === table ? mainTable : route.table }));
  return {
    addresses: facts.addresses.toReversed(),
    routes: [
      ...routes.filter(({ gateways }) => gateways.length === 0),
      ...routes.filter(({ gateways }) => gateways.length > 0),
    ].map(({ words, table, expires }) => ({
      words: expires === undefined ? words : [...words, "expires", String(expires)],
      table,
    })),
  };
}

function isKernels({ table, words }: WholeRoute, own: number): boolean {
  return table === localTable ||
    table === own && words[words.indexOf("proto") + 1] === byKernel;
}

/** Of an IPv6 route by several links the interface's hops; one of IPv4 stays as it is. */
function ownPart(route: WholeRoute, ifName: string): WholeRoute[] {
  if (!isShared(route, ifName)) return route.devs.includes(ifName) ? [route] : [];
  if (route.family === 4) return [];
  const { head, own } = hopsOf(route, ifName);
  return [{ ...route, words: own.length === 1 ? oneHop(head, own[0]!) : [...head, ...own.flat()] }];
}

function isShared({ devs }: WholeRoute, ifName: string): boolean {
  return devs.includes(ifName) && devs.some((dev) => dev !== ifName);
}

function hopsOf({ words }: WholeRoute, ifName: string): { head: string[]; own: string[][] } {
  const [head = [], ...hops] = splitAt(words, "nexthop");
  return { head, own: hops.filter((hop) => hop[hop.indexOf("dev") + 1] === ifName) };
}

/**
 * The interface's hops of IPv6 routes by several links, a route for each: the kernel joins
 * routes of one destination and metric, and takes a hop from them only when it is told to.
 */
function sharedHops(table: number, { facts, ifName }: { facts: Facts; ifName: string }) {
  return facts.routes
    .filter((route) => route.table === table && route.family === 6 && isShared(route, ifName))
    .flatMap((route) => {
      const { head, own } = hopsOf(route, ifName);
      return own.map((hop) => oneHop(head, hop));
    });
}

function takeHops(
  table: number,
  { facts, netns, ifName }: Where & { readonly facts: Facts },
): Step[] {
  return sharedHops(table, { facts, ifName }).map((words) => ({
    why: `take container interface "${ifName}" out of route ${words[0]} in table ${table}`,
    do: deleteRoute(words, { table, netns }),
    tolerate: ["missing"],
  }));
}

/** A route by one hop, as it is read back. */
function oneHop([dst, ...rest]: readonly string[], hop: readonly string[]): string[] {
  return [dst!, ...hop.slice(1, hop.indexOf("weight")), ...rest];
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

/** What is worth remembering: the rest has ended by the time it is looked at again. */
export function lasting({ addresses, routes }: Carried): Carried {
  return {
    addresses: addresses.filter(({ passing }) => !passing),
    routes: routes.filter(({ words }) => !words.includes("expires")),
  };
}

/** How an interface joins. */
export interface Joining extends Where {
  readonly name: string;
  readonly table: number;
  /** The VRF as it is; absent when it is to be made. */
  readonly vrf: Link | undefined;
  readonly carried: Carried;
  readonly facts: Facts;
}

/**
 * Makes the VRF unless it is there, joins, gives the interface again what it has lost.
 * {@linkcode leaveSteps} takes it back.
 */
export function joinSteps(plan: Joining): Step[] {
  const { name, table, vrf, netns, ifName, carried, facts } = plan;
  return [
    ...(vrf ? [] : [createVrf(plan)]),
    ...(vrf?.up ? [] : [setUp(plan)]),
    ...takeAddresses(facts, plan),
    ...takeHops(mainTable, plan),
    {
      why: `put container interface "${ifName}" into VRF "${name}"`,
      do: setLink(ifName, { master: name, netns }),
    },
    ...carried.addresses.map((address) => giveAddress(address, { netns, ifName })),
    ...carried.routes.map((route) =>
      giveRoute(inVrf(route, table), { netns, where: `VRF "${name}"` })
    ),
  ];
}

function createVrf({ name, table, netns }: Joining): Step {
  return {
    why: `create VRF "${name}" with table ${table}`,
    do: addLink({ name, type: ["vrf", "table", String(table)], netns }),
    meaning: { unsupported: "the kernel has no VRFs (module vrf)" },
  };
}

function setUp({ name, netns, vrf }: Joining): Step {
  return {
    why: `set VRF "${name}" up`,
    do: setLink(name, { up: true, netns }),
    ...(vrf && { undo: setLink(name, { up: false, netns }) }),
  };
}

/**
 * Where `keep_addr_on_down` is set the kernel does not take addresses, and looks for duplicates of
 * them. They are taken in any case, so that what comes after is the same. Those of the link alone
 * it takes always.
 */
function takeAddresses({ addresses }: Facts, { netns, ifName }: Where): Step[] {
  return addresses.filter(({ words }) => !/^fe[89ab]/.test(words[0]!)).map((address) => ({
    why: `take address ${address.words[0]} from container interface "${ifName}"`,
    do: removeAddress(ifName, { ...address, netns }),
    tolerate: ["missing"],
  }));
}

/** An address that has been used is used without looking for duplicates again. */
function again({ words, nodad, tentative }: WholeAddress): Pick<WholeAddress, "words" | "nodad"> {
  return { words, nodad: nodad || !tentative };
}

function giveAddress(address: WholeAddress, { netns, ifName }: Where): Step {
  return {
    why: `give container interface "${ifName}" address ${address.words[0]} again`,
    do: replaceAddress(ifName, { ...again(address), netns }),
  };
}

/** Others of its destination and metric may be there, by the VRF's other ports: none is replaced. */
function giveRoute(
  { words, table }: CarriedRoute,
  { netns, where }: { netns: NetnsRef; where: string },
): Step {
  return {
    why: `add route ${words[0]} to ${where}`,
    do: appendRoute(words, { table, netns }),
    tolerate: ["exists"],
  };
}

/**
 * Where a route is while the interface is in the VRF. The kernel knows its addresses in the VRF's
 * table alone by then: a route elsewhere cannot prefer one of IPv4 as source.
 */
function inVrf(route: CarriedRoute, vrfTable: number): CarriedRoute {
  const { words, table } = route;
  if (table === mainTable || table === vrfTable) return { words, table: vrfTable };
  return words[0]!.includes(":") ? route : sourceless(route);
}

/** The route that is left of one when the address that it prefers is removed. */
function sourceless(route: CarriedRoute): CarriedRoute {
  const src = route.words.indexOf("src");
  return src < 0 ? route : { ...route, words: route.words.toSpliced(src, 2) };
}

/** Whether a route is what has remained of another one. */
function isRestOf(route: CarriedRoute, whole: CarriedRoute): boolean {
  return !isSame(route, whole) && isSame(route, sourceless(whole));
}

/** How an interface leaves. */
export interface Leaving extends Where {
  readonly name: string;
  readonly facts: Facts;
  /** What its ADD has found there; absent where nobody knows. */
  readonly found: (Carried & { readonly index: number }) | undefined;
  /** Whether the VRF stays although nobody uses it. */
  readonly keepVrf?: boolean;
}

/** What has ended meanwhile does not matter, nor what the kernel does not take back by now. */
const lenient: readonly Reason[] = ["missing", "exists", "unsupported", "invalid", "other"];

/**
 * Leaves the VRF, and gives the interface again what it loses: what it has there, and what ADD
 * has found. Removes a VRF that nobody uses. An interface with another master is somebody else's.
 */
export function leaveSteps({ name, facts, found, netns, ifName, keepVrf }: Leaving): Step[] {
  const vrf = findLink(facts.links, name);
  const link = findLink(facts.links, ifName);
  const table = vrf?.kind === "vrf" ? vrf.vrfTable : undefined;
  const known = found?.index === link?.index ? found : undefined;
  const stays = keepVrf || table === undefined ||
    facts.links.some(({ master, name: port }) => master === name && port !== ifName);
  const steps = link?.master === name && table !== undefined
    ? [
      ...takeAddresses(facts, { netns, ifName }),
      ...takeHops(table, { facts, netns, ifName }),
      ...freeLink(link, { netns, carried: inside(known, { table, facts, ifName }) }),
    ]
    : link && !link.master && known
    ? [
      ...takeRests(known, { facts, netns, ifName }),
      ...freeLink(link, { netns, carried: lost(known, { facts, ifName }) }),
    ]
    : [];
  return [...steps, ...(stays ? [] : [removeVrf(name, netns)])];
}

/** What the interface has in the VRF, and what of the earlier is not among it. */
function inside(
  known: Carried | undefined,
  { table, facts, ifName }: { table: number; facts: Facts; ifName: string },
): Carried {
  const live = carriedFrom(table, { facts, ifName });
  if (!known) return live;
  // The earlier ones, with their sources, are better.
  const routes = live.routes.filter((route) =>
    !known.routes.some((whole) => isRestOf(route, whole))
  );
  return {
    addresses: [...live.addresses, ...without(known.addresses, live.addresses)],
    routes: [
      ...routes,
      ...known.routes.filter((route) => !routes.some((other) => isSame(route, other))),
    ],
  };
}

/** Of what ADD has found: what is gone, because something was killed before it was given again. */
function lost(
  { addresses, routes }: Carried,
  { facts, ifName }: { facts: Facts; ifName: string },
): Carried {
  return {
    addresses: without(addresses, facts.addresses),
    routes: routes.filter((route) => !hasRoute(facts, { route, ifName })),
  };
}

/** Removes what has remained of routes: a whole one beside it would be the same to the kernel. */
function takeRests(
  { routes }: Carried,
  { facts, netns, ifName }: Where & { readonly facts: Facts },
): Step[] {
  return routes.flatMap((whole) => {
    const rest = sourceless(whole);
    if (isSame(rest, whole) || !hasRoute(facts, { route: rest, ifName })) return [];
    return [{
      why: `remove route ${rest.words[0]} without its source from table ${rest.table}`,
      do: deleteRoute(rest.words, { table: rest.table, netns }),
      tolerate: lenient,
    }];
  });
}

function without(
  addresses: readonly WholeAddress[],
  others: readonly WholeAddress[],
): WholeAddress[] {
  const names = new Set(others.map(({ words }) => words[0]));
  return addresses.filter(({ words }) => !names.has(words[0]));
}

function isSame(a: CarriedRoute, b: CarriedRoute): boolean {
  return a.table === b.table && a.words.join(" ") === b.words.join(" ");
}

function freeLink(
  link: Link,
  { netns, carried }: { netns: NetnsRef; carried: Carried },
): Step[] {
  const where = { netns, ifName: link.name };
  // The kernel takes no route to a link that is down.
  const routes = link.up ? carried.routes : [];
  return [
    ...(link.master
      ? [{
        why: `take container interface "${link.name}" out of VRF "${link.master}"`,
        do: setLink(link.name, { nomaster: true, netns }),
        tolerate: ["missing"] as const,
      }]
      : []),
    ...carried.addresses.map((address) => ({
      ...giveAddress(address, where),
      tolerate: lenient,
    })),
    ...routes.map((route) => ({
      ...giveRoute(route, { netns, where: `table ${route.table}` }),
      tolerate: lenient,
    })),
  ];
}

function removeVrf(name: string, netns: NetnsRef): Step {
  return {
    why: `remove VRF "${name}"`,
    do: deleteLink(name, { netns }),
    tolerate: ["missing"],
  };
}

/** The addresses of a result that the interface has. */
export function heldAddresses(link: Link, addresses: readonly Address[]): string[] {
  return addresses.map(({ cidr }) => cidr)
    .filter((cidr) =>
      link.addresses.some(({ address, prefix }) => {
        const ip = parseIp(address);
        return ip && sameIp(ip, cidr) && prefix === cidr.prefix;
      })
    ).map(formatCidr);
}

/** What is to be compared. */
export interface Expected {
  readonly name: string;
  /** The configured table; 0 when any will do. */
  readonly table: number;
  readonly ifName: string;
  /** What ADD remembers; absent where nobody knows. */
  readonly found: (Carried & { readonly held: readonly string[] }) | undefined;
}

/** What is not as it shall be, a line each. */
export function compareMembership(
  { name, table, ifName, found }: Expected,
  facts: Facts,
): string[] {
  const vrf = findLink(facts.links, name);
  if (!vrf) return [`VRF "${name}" is missing`];
  const problem = vrfProblem(vrf, table);
  if (problem) return [problem];
  const own = vrf.vrfTable!;
  if (findLink(facts.links, ifName)?.master !== name) {
    return [`failed to find ${ifName} associated to vrf ${name}`];
  }
  return [
    ...(vrf.up ? [] : [`VRF "${name}" is down`]),
    ...(found?.held ?? []).filter((address) => !isLocal(address, { facts, ifName, table: own }))
      .map((address) => `address ${address} of "${ifName}" is missing from table ${own}`),
    ...(found?.routes ?? []).map((route) => inVrf(route, own))
      .filter((route) => !hasRoute(facts, { route, ifName }))
      .map(({ words, table }) => `route ${words.join(" ")} is missing from table ${table}`),
  ];
}

/** Type of the route that tells an address of the container's own. */
const local = "2";

function isLocal(
  address: string,
  { facts, ifName, table }: { facts: Facts; ifName: string; table: number },
): boolean {
  const dst = formatCidr(hostPrefix(parseCidr(address)!));
  return facts.routes.some((route) =>
    route.table === table && route.dst === dst && route.words[0] === local &&
    route.devs.includes(ifName)
  );
}

/** Other links may have hops in an IPv6 route. */
function hasRoute(
  facts: Facts,
  { route, ifName }: { route: CarriedRoute; ifName: string },
): boolean {
  return facts.routes.some((other) =>
    other.table === route.table && ownPart(other, ifName).some((own) => isSame(route, own))
  );
}
