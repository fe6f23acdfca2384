/**
 * Reads IPv6 addresses as `ip addr` shows them, and adds the same ones again. The kernel
 * removes them from a link that goes down.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";

/** An IPv6 address with every word that adds it again. */
export interface RestorableAddress {
  /** As after `ip addr replace`, without `dev` and `nodad`. */
  readonly words: readonly string[];
  /** Whether it is used without detection of duplicates. */
  readonly nodad: boolean;
  /** Whether duplicates are being looked for, or one was found. */
  readonly tentative: boolean;
  /** Whether it has a lifetime, as one from a router advertisement. */
  readonly dynamic: boolean;
}

/** `ip addr replace WORDS… [nodad] dev X`: gives a link an address, or changes the one that it has. */
export function replaceIpv6Address(
  dev: string,
  { words, nodad, netns }: NetnsOption & Pick<RestorableAddress, "words" | "nodad">,
): Command {
  const detection = nodad ? ["nodad"] : [];
  return command("ip", ["addr", "replace", ...words, ...detection, "dev", dev], { netns });
}

/** `ip addr del A/P dev X` */
export function removeIpv6Address(
  dev: string,
  { words, netns }: NetnsOption & Pick<RestorableAddress, "words">,
): Command {
  const name = words.slice(0, words[1] === "peer" ? 3 : 1);
  return command("ip", ["addr", "del", ...name, "dev", dev], { netns });
}

interface RawAddress {
  family: string;
  local?: string;
  prefixlen: number;
  /** The other end. */
  address?: string;
  metric?: number;
  noprefixroute?: boolean;
  dynamic?: boolean;
  nodad?: boolean;
  tentative?: boolean;
  dadfailed?: boolean;
  temporary?: boolean;
  mngtmpaddr?: boolean;
  valid_life_time?: number;
  preferred_life_time?: number;
}

/**
 * The IPv6 addresses of a link from the JSON of `ip addr show`, the newest first. Temporary ones,
 * which the kernel makes from another, are left out.
 */
export function parseRestorableAddresses(json: string, dev: string): RestorableAddress[] {
  const links = parseIpJson<{ ifname?: string; addr_info?: RawAddress[] }>(json);
  const all = links.find(({ ifname }) => ifname === dev)?.addr_info ?? [];
  return all.filter(({ family, local, temporary }) =>
    family === "inet6" && local !== undefined && !temporary
  ).map((raw) => ({
    words: wordsOf(raw),
    nodad: raw.nodad ?? false,
    tentative: raw.tentative ?? raw.dadfailed ?? false,
    dynamic: raw.dynamic ?? false,
  }));
}

function wordsOf(raw: RawAddress): string[] {
  const { local, address, prefixlen, metric, noprefixroute, mngtmpaddr, dynamic } = raw;
  const { valid_life_time: valid, preferred_life_time: preferred } = raw;
  const lives = dynamic ? ["valid_lft", String(valid), "preferred_lft", String(preferred)] : [];
  return [
    ...(address ? [local!, "peer", `${address}/${prefixlen}`] : [`${local}/${prefixlen}`]),
    ...(metric ? ["metric", String(metric)] : []),
    ...(noprefixroute ? ["noprefixroute"] : []),
    ...(mngtmpaddr ? ["mngtmpaddr"] : []),
    ...lives,
  ];
}
