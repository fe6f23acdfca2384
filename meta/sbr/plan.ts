/**
 * Chooses a table for each address, the routes of the table, and the routes that leave
 * the main table. Pure: from facts to a plan.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Cidr, Family, Ip } from "../../host/ip.ts";
import {
  contains,
  formatCidr,
  formatIp,
  hostPrefix,
  isDefault,
  network,
  parseCidr,
  parseIp,
  width,
} from "../../host/ip.ts";
import { localTable, mainTable } from "../../host/ip_route.ts";
import type { RestorableRoute } from "../../host/ip_route_restore.ts";
import type { Address } from "../../recipes/configure.ts";
import type { Conf } from "./conf.ts";
import { staticGateway } from "./conf.ts";
import type { SbrFacts } from "./facts.ts";

/** Tables are taken from here on; the kernel's own (253 to 255) count as taken. */
const firstTable = 100;
const kernelTables = [0, 253, mainTable, localTable];

/** Scope of a destination on the link itself. */
const linkScope = 253;

/** A rule of ours: packets from an address look into a table. */
export interface SbrRule {
  /** Full prefix: `10.0.0.2/32`. */
  readonly from: string;
  readonly table: number;
}

/** A route by its words, and its table. */
export interface SbrRoute {
  readonly words: readonly string[];
  readonly table: number;
}

/** The rules and routes of an attachment, each list in the order in which it is made. */
export interface SbrPlan {
  readonly rules: readonly SbrRule[];
  /** Routes of the tables, and hints in the main one. */
  readonly added: readonly SbrRoute[];
  /** Routes that leave the main table, by their words. */
  readonly moved: readonly (readonly string[])[];
}

/** The plan of an attachment without rules and routes. */
export const emptyPlan: SbrPlan = { rules: [], added: [], moved: [] };

/** What a plan is made from. */
export interface SbrInput {
  readonly facts: SbrFacts;
  readonly ifName: string;
  readonly addresses: readonly Address[];
  readonly conf: Conf;
  /** What an earlier ADD of the attachment has done. */
  readonly known: SbrPlan;
}

/** Plans for every address. Throws code 7 for one that no gateway is known for. */
export function planTables(given: SbrInput): SbrPlan {
  const { conf, known } = given;
  const addresses = each(given.addresses);
  if (conf.table !== undefined) {
    return { ...emptyPlan, rules: chooseRules(addresses, () => conf.table!) };
  }
  const rules = chooseRules(addresses, tableChooser(given));
  const own = ownRoutes(given);
  const copies = addresses.flatMap((address, index) => {
    const { table } = rules[index]!;
    const hasRoutes = known.added.some((route) => route.table === table);
    return tableRoutes(given, { address, own, hasRoutes }).map((words) => ({ words, table }));
  });
  const earlier = known.added.filter(({ table }) =>
    table === mainTable || rules.some((rule) => rule.table === table)
  );
  const leaving = own.filter((route) => leaves(route, given));
  return {
    rules,
    added: distinct([...earlier, ...copies, ...(conf.addSourceHints ? hints(given, own) : [])]),
    moved: distinct([...known.moved, ...leaving.map(({ words }) => words)]),
  };
}

function chooseRules(
  addresses: readonly Address[],
  tableOf: (from: string) => number,
): SbrRule[] {
  return addresses.map(({ cidr }) => formatCidr(hostPrefix(cidr)))
    .map((from) => ({ from, table: tableOf(from) }));
}

/** Each address once. */
function each(addresses: readonly Address[]): Address[] {
  const known = new Map(
    addresses.map((address) => [formatCidr(hostPrefix(address.cidr)), address]),
  );
  return [...known.values()];
}

/**
 * Chooses the table that an earlier ADD has chosen, else the first one that no rule
 * refers to and no route is in, of either family; each address gets its own.
 */
function tableChooser({ facts, ifName, known }: SbrInput): (from: string) => number {
  const taken = new Set([
    ...kernelTables,
    ...facts.rules.map(({ table }) => table),
    ...facts.routes.map(({ table }) => table),
    ...known.rules.map(({ table }) => table),
  ]);
  let next = firstTable;
  return (from) => {
    const earlier = known.rules.find((rule) => rule.from === from)?.table;
    if (earlier !== undefined && isOurs(earlier, { facts, ifName, from })) return earlier;
    while (taken.has(next)) next++;
    return next++;
  };
}

/** Whether a table is for an address of the interface alone. */
function isOurs(
  table: number,
  { facts, ifName, from }: { facts: SbrFacts; ifName: string; from: string },
): boolean {
  return facts.rules.every((rule) => rule.table !== table || rule.from === from) &&
    facts.routes.every((route) =>
      route.table !== table || route.devs.every((dev) => dev === ifName)
    );
}

/**
 * The interface's routes in the main table, of families that an address has, without
 * hints of ours; those on the link first.
 */
function ownRoutes({ facts, ifName, addresses, known }: SbrInput): RestorableRoute[] {
  const families = new Set(addresses.map(({ cidr }) => cidr.family));
  const ours = new Set(
    known.added.filter(({ table }) => table === mainTable).map(({ words }) => words.join(" ")),
  );
  const own = facts.routes.filter((route) =>
    route.table === mainTable && families.has(route.family) && !ours.has(route.words.join(" ")) &&
    route.devs.length > 0 && route.devs.every((dev) => dev === ifName)
  );
  return [
    ...own.filter(({ gateways }) => gateways.length === 0),
    ...own.filter(({ gateways }) => gateways.length > 0),
  ];
}

/** The addresses whose subnet holds the preferred source or a gateway of a route. */
function ownersOf(route: RestorableRoute, { addresses }: SbrInput): Address[] {
  const points = [...route.src === undefined ? [] : [route.src], ...route.gateways]
    .flatMap((text) => parseIp(text) ?? []);
  return addresses.filter(({ cidr }) => points.some((point) => contains(cidr, point)));
}

/** Whether a route prefers a source that is none of the addresses. */
function isForeign(route: RestorableRoute, given: SbrInput): boolean {
  return route.src !== undefined && ownersOf(route, given).length === 0;
}

/** The words of the routes in the table of an address, those on the link first. */
function tableRoutes(
  given: SbrInput,
  { address, own, hasRoutes }: {
    readonly address: Address;
    readonly own: readonly RestorableRoute[];
    /** Whether an earlier ADD has filled the table. */
    readonly hasRoutes: boolean;
  },
): (readonly string[])[] {
  const { family } = address.cidr;
  const configured = staticGateway(given.conf, family);
  const gateway = configured ?? sameFamily(address.gateway, family);
  const copies = own.filter((route) => {
    if (route.family !== family || isForeign(route, given)) return false;
    const owners = ownersOf(route, given);
    return owners.length === 0 || owners.includes(address);
  });
  const rest = copies.filter((route) => !(configured && isPlainDefault(route)));
  const isReached = rest.some(({ gateways }) => gateways.length > 0);
  if (!gateway && !isReached && !hasRoutes && given.conf.gateways?.length !== 0) {
    throw noGateway(address.cidr);
  }
  const needed = gateway && !rest.some(isPlainDefault);
  return [
    ...rest.map(({ words }) => words),
    ...(needed ? [defaultRoute(gateway, given.ifName)] : []),
  ];
}

function sameFamily(ip: Ip | undefined, family: Family): Ip | undefined {
  return ip?.family === family ? ip : undefined;
}

/** Metric that the kernel gives an IPv6 route without one. */
const plainMetric = 1024;

/** A default route that stands where one without a metric would. */
function isPlainDefault({ dst, family, metric }: RestorableRoute): boolean {
  return isDefault(parseCidr(dst)!) && (metric ?? 0) === (family === 6 ? plainMetric : 0);
}

/** The words of a default route, as it is read back. */
function defaultRoute(gateway: Ip, dev: string): string[] {
  const via = ["via", formatIp(gateway), "dev", dev];
  return gateway.family === 4
    ? ["0.0.0.0/0", ...via, "proto", "3", "scope", "0"]
    : ["::/0", ...via, "proto", "3", "metric", `${plainMetric}`, "pref", "medium"];
}

function noGateway(cidr: Cidr): CniError {
  return new CniError(
    codes.invalidNetworkConfig,
    `Cannot route from "${formatCidr(cidr)}": no IPv${cidr.family} gateway is known`,
    'the result of the plugins before names none for the address, the interface has no route through one, and "gateways" has none; "gateways": [] says that none is meant',
  );
}

/** Whether a route leaves the main table after it has been copied. */
function leaves(route: RestorableRoute, given: SbrInput): boolean {
  if (isForeign(route, given) || isLinkLocal(route)) return false;
  if (!given.conf.addSourceHints) return true;
  const subnets = given.addresses.map(({ cidr }) => formatCidr(network(cidr)));
  // A route to a subnet of the interface stays, even through a gateway.
  if (subnets.includes(route.dst)) return false;
  return route.family === 4 ? route.scope !== linkScope : route.gateways.length > 0;
}

/** Link-local routes stay: a user of such an address names the interface, too. */
function isLinkLocal({ dst, family }: RestorableRoute): boolean {
  return family === 6 && contains(parseCidr("fe80::/10")!, parseCidr(dst)!);
}

/** Metric of a hint: the kernel's own IPv6 routes to subnets have 256. */
const hintMetric = 255;

/** Routes to the subnets in the main table that name a source, where there are none that do, or that lead through a gateway. */
function hints({ addresses, ifName }: SbrInput, own: readonly RestorableRoute[]): SbrRoute[] {
  return addresses.filter(({ cidr }) => cidr.prefix < width(cidr.family)).flatMap(({ cidr }) => {
    const dst = formatCidr(network(cidr));
    const isThere = own.some((route) =>
      route.dst === dst && (route.src !== undefined || route.gateways.length > 0)
    );
    return isThere ? [] : [{ words: hint(dst, { cidr, ifName }), table: mainTable }];
  });
}

/** The words of a hint, as it is read back. */
function hint(dst: string, { cidr, ifName }: { cidr: Cidr; ifName: string }): string[] {
  const source = ["src", formatIp(cidr)];
  return cidr.family === 4
    ? [dst, "dev", ifName, "proto", "3", "scope", `${linkScope}`, ...source]
    : [dst, "dev", ifName, "proto", "3", ...source, "metric", `${hintMetric}`, "pref", "medium"];
}

/** Each value once. */
function distinct<T>(values: readonly T[]): T[] {
  return [...new Map(values.map((value) => [JSON.stringify(value), value])).values()];
}
