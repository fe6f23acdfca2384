/**
 * `ip route`: builders and the reader of its JSON.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Cidr, Family, Ip } from "./ip.ts";
import { formatCidr, formatIp } from "./ip.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";

/** Number of the main routing table. */
export const mainTable = 254;

/** Number of the table of the host's own addresses and broadcasts. */
export const localTable = 255;

/** A route to add. */
export interface RouteSpec extends NetnsOption {
  /** Destination. */
  readonly dst: Cidr;
  /** The link that packets leave by. */
  readonly dev: string;
  /** Gateway; absent for a destination on the link. */
  readonly via?: Ip | undefined;
  /** Preferred source address. */
  readonly src?: Ip | undefined;
  /** `global`, `link`, `host` or a number 0–255. */
  readonly scope?: string | number | undefined;
  /** Metric; the kernel's default when absent. */
  readonly metric?: number | undefined;
  /** Routing table; the main one when absent. */
  readonly table?: number | undefined;
  /** Bytes. */
  readonly mtu?: number | undefined;
  /** Bytes. */
  readonly advmss?: number | undefined;
}

/**
 * `ip route add DST [via GW] dev X [src IP] [metric N] [table N] [scope S] [mtu N] [advmss N]`:
 * fails when there is a route of that destination and metric.
 */
export function addRoute(spec: RouteSpec): Command {
  return route("add", spec);
}

/**
 * `ip route prepend DST …`, as {@linkcode addRoute}: a second next hop for a prefix is added before
 * the first; only an identical route fails.
 */
export function prependRoute(spec: RouteSpec): Command {
  return route("prepend", spec);
}

/** `ip route del DST …`, as {@linkcode addRoute}: the route that was added so. */
export function removeRoute(spec: RouteSpec): Command {
  return route("del", spec);
}

function route(verb: "add" | "prepend" | "del", spec: RouteSpec): Command {
  const { dst, via, dev, src, scope, metric, table, mtu, advmss } = spec;
  return command("ip", [
    ...["route", verb, formatCidr(dst)],
    ...(via ? ["via", formatIp(via)] : []),
    ...["dev", dev],
    ...(src ? ["src", formatIp(src)] : []),
    ...option("metric", metric),
    ...option("table", table),
    ...option("scope", scope),
    ...option("mtu", mtu),
    ...option("advmss", advmss),
  ], spec);
}

function option(keyword: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [keyword, String(value)];
}

/** `ip -N -j route get IP`: the route that a packet of the host's own takes. */
export function getRoute(ip: Ip): Command {
  return command("ip", ["-N", "-j", "route", "get", formatIp(ip)]);
}

/** `ip -4 -N -j route show table all`: every route of a namespace, numbers unresolved. */
export function showRoutes(family: Family, { netns }: NetnsOption = {}): Command {
  return command("ip", [`-${family}`, "-N", "-j", "route", "show", "table", "all"], { netns });
}

/** `ip -4 -N -j route show default`: the default routes of the main table, the preferred first. */
export function showDefaultRoutes(family: Family, { netns }: NetnsOption = {}): Command {
  return command("ip", [`-${family}`, "-N", "-j", "route", "show", "default"], { netns });
}

/** One route as the kernel has it; of a multipath route, one for each next hop. */
export interface KernelRoute {
  /** `default` stands as `0.0.0.0/0` or `::/0`; a host route has its full prefix. */
  readonly dst: string;
  /** Gateway, canonical text; absent for a destination on the link. */
  readonly via: string | undefined;
  /** The link that packets leave by. */
  readonly dev: string | undefined;
  /** Routing table: {@linkcode mainTable}, {@linkcode localTable} or another. */
  readonly table: number;
  /** Metric; absent for 0. */
  readonly metric: number | undefined;
  /** Whether packets leave by it; false for `local`, `broadcast`, `blackhole` and the like. */
  readonly unicast: boolean;
}

interface RawRoute {
  dst: string;
  /** The kernel's number; absent for 1, unicast. */
  type?: string;
  gateway?: string;
  dev?: string;
  table?: string;
  metric?: number;
  nexthops?: { gateway?: string; dev?: string }[];
}

/** Reads the JSON of {@linkcode showRoutes} and {@linkcode showDefaultRoutes}. */
export function parseRoutes(json: string, family: Family): KernelRoute[] {
  return parseIpJson<RawRoute>(json).flatMap((route) =>
    (route.nexthops ?? [route]).map((hop) => ({
      dst: fullPrefix(route.dst, family),
      via: hop.gateway,
      dev: hop.dev,
      table: Number(route.table ?? mainTable),
      metric: route.metric,
      unicast: (route.type ?? "1") === "1",
    }))
  );
}

/** A destination with its prefix; `default` is that of the family. */
export function fullPrefix(dst: string, family: Family): string {
  if (dst === "default") return family === 4 ? "0.0.0.0/0" : "::/0";
  return dst.includes("/") ? dst : `${dst}/${family === 4 ? 32 : 128}`;
}
