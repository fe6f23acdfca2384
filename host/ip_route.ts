/**
 * `ip route`: builders and the reader of its JSON.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Cidr, Family, Ip } from "./ip.ts";
import { formatCidr, formatIp } from "./ip.ts";
import type { In } from "./ip_link.ts";

/** A route to add. */
export interface RouteSpec extends In {
  readonly dst: Cidr;
  readonly dev: string;
  readonly via?: Ip | undefined;
  /** Preferred source address. */
  readonly src?: Ip | undefined;
  /** `global`, `link`, `host` or a number 0–255. */
  readonly scope?: string | number | undefined;
  readonly metric?: number | undefined;
  readonly table?: number | undefined;
  /** Bytes. */
  readonly mtu?: number | undefined;
  /** Bytes. */
  readonly advmss?: number | undefined;
}

/** `ip route add DST [via GW] dev X …`: fails when the route is there. */
export function addRoute(spec: RouteSpec): Command {
  return route("add", spec);
}

/** `ip route prepend DST …`: a second next hop for a prefix is added before the first; an identical route fails. */
export function prependRoute(spec: RouteSpec): Command {
  return route("prepend", spec);
}

/** `ip route del DST dev X` */
export function deleteRoute({ dst, dev, netns }: RouteSpec): Command {
  return command("ip", ["route", "del", formatCidr(dst), "dev", dev], {
    netns,
  });
}

function route(verb: "add" | "prepend", spec: RouteSpec): Command {
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

/** `ip -N -j route show table all`: every route of a namespace, numbers unresolved. */
export function showRoutes(family: Family, { netns }: In = {}): Command {
  return command("ip", [
    `-${family}`,
    "-N",
    "-j",
    "route",
    "show",
    "table",
    "all",
  ], { netns });
}

/** One route as the kernel has it; of a multipath route, one for each next hop. */
export interface KernelRoute {
  /** `default` stands as `0.0.0.0/0` or `::/0`; a host route has its full prefix. */
  readonly dst: string;
  readonly via: string | undefined;
  readonly dev: string | undefined;
  /** Routing table; 254 is main, 255 local. */
  readonly table: number;
  readonly metric: number | undefined;
  readonly type: string;
}

interface RawRoute {
  dst: string;
  type?: string | number;
  gateway?: string;
  dev?: string;
  table?: string | number;
  metric?: number;
  nexthops?: { gateway?: string; dev?: string }[];
}

/** Reads the JSON of {@linkcode showRoutes}. */
export function parseRoutes(json: string, family: Family): KernelRoute[] {
  const raw = json.trim() === "" ? [] : JSON.parse(json) as RawRoute[];
  return raw.flatMap((route) =>
    (route.nexthops ?? [route]).map((hop) => ({
      dst: fullPrefix(route.dst, family),
      via: hop.gateway,
      dev: hop.dev,
      table: Number(route.table ?? 254),
      metric: route.metric,
      type: String(route.type ?? "unicast"),
    }))
  );
}

function fullPrefix(dst: string, family: Family): string {
  if (dst === "default") return family === 4 ? "0.0.0.0/0" : "::/0";
  return dst.includes("/") ? dst : `${dst}/${family === 4 ? 32 : 128}`;
}
