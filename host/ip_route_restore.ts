/**
 * Reads routes as `ip route` shows them, and adds the same ones again, in another table or
 * after they are gone.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Family } from "./ip.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";
import { fullPrefix, mainTable } from "./ip_route.ts";

/** A route with every word that adds it again. */
export interface RestorableRoute {
  readonly family: Family;
  /** `default` stands as `0.0.0.0/0` or `::/0`; a host route has its full prefix. */
  readonly dst: string;
  readonly table: number;
  /** Links of all next hops. */
  readonly devs: readonly string[];
  /** Gateways of all next hops. */
  readonly gateways: readonly string[];
  /** Preferred source address. */
  readonly src: string | undefined;
  /** 0 global, 253 link, 254 host. */
  readonly scope: number;
  readonly metric: number | undefined;
  /** As after `ip route add`, without the table. */
  readonly words: readonly string[];
  /** Seconds after which an IPv6 route ends by itself; absent when it does not. */
  readonly expires?: number;
}

/** `ip route append WORDS… table N`: after those of its destination and metric; only an identical route fails. */
export function appendRoute(
  words: readonly string[],
  { table, netns }: NetnsOption & { readonly table: number },
): Command {
  return command("ip", ["route", "append", ...inTable(words, table)], { netns });
}

/** `ip route replace WORDS… table N`: adds a route, or changes the one of that destination and metric. */
export function replaceRoute(
  words: readonly string[],
  { table, netns }: NetnsOption & { readonly table: number },
): Command {
  return command("ip", ["route", "replace", ...inTable(words, table)], { netns });
}

/** `ip route del WORDS… table N` */
export function deleteRoute(
  words: readonly string[],
  { table, netns }: NetnsOption & { readonly table: number },
): Command {
  return command("ip", ["route", "del", ...inTable(words, table)], { netns });
}

/** The words with a table; next hops come last. */
function inTable(words: readonly string[], table: number): string[] {
  const hops = words.indexOf("nexthop");
  return words.toSpliced(hops < 0 ? words.length : hops, 0, "table", String(table));
}

interface RawHop {
  gateway?: string;
  via?: { family: string; host: string };
  dev?: string;
  weight?: number;
  flags?: string[];
}

interface RawRoute extends RawHop {
  dst: string;
  type?: string;
  table?: string;
  protocol?: string;
  scope?: string;
  prefsrc?: string;
  metric?: number;
  pref?: string;
  expires?: number;
  metrics?: Record<string, string | number>[];
  nexthops?: RawHop[];
}

/** Reads the JSON of `ip -N -d -j route show`; a multipath route is one. */
export function parseRestorableRoutes(json: string, family: Family): RestorableRoute[] {
  return parseIpJson<RawRoute>(json).map((raw) => {
    const hops = raw.nexthops ?? [raw];
    return {
      family,
      dst: fullPrefix(raw.dst, family),
      table: Number(raw.table ?? mainTable),
      devs: hops.flatMap(({ dev }) => dev ?? []),
      gateways: hops.flatMap(({ gateway, via }) => gateway ?? via?.host ?? []),
      src: raw.prefsrc,
      scope: Number(raw.scope ?? 0),
      metric: raw.metric,
      words: wordsOf(raw, family),
      ...(raw.expires !== undefined && { expires: raw.expires }),
    };
  });
}

function wordsOf(raw: RawRoute, family: Family): string[] {
  const metrics = (raw.metrics ?? []).flatMap((entry) => Object.entries(entry).flat().map(String));
  return [
    ...((raw.type ?? "1") === "1" ? [] : [raw.type!]),
    fullPrefix(raw.dst, family),
    ...(raw.nexthops ? [] : hopWords(raw)),
    ...option("proto", raw.protocol),
    ...(family === 4 ? option("scope", raw.scope) : []),
    ...option("src", raw.prefsrc),
    ...option("metric", raw.metric),
    ...metrics,
    ...option("pref", raw.pref),
    ...(raw.nexthops ?? []).flatMap((hop) => [
      "nexthop",
      ...hopWords(hop),
      ...option("weight", hop.weight),
    ]),
  ];
}

/** Leaves out states of a next hop (`dead`, `linkdown`), which the kernel sets. */
function hopWords({ gateway, via, dev, flags = [] }: RawHop): string[] {
  return [
    ...option("via", gateway),
    ...(via ? ["via", via.family, via.host] : []),
    ...option("dev", dev),
    ...(flags.includes("onlink") ? ["onlink"] : []),
  ];
}

function option(keyword: string, value: string | number | undefined): string[] {
  return value === undefined ? [] : [keyword, String(value)];
}
