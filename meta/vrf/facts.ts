/**
 * Queries the container: its links, the interface's addresses, the routes of all tables.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import type { RestorableAddress } from "../../host/ip_addr_restore.ts";
import { parseRestorableAddresses } from "../../host/ip_addr_restore.ts";
import type { Link } from "../../host/ip_link.ts";
import { parseLinks } from "../../host/ip_link.ts";
import type { RestorableRoute } from "../../host/ip_route_restore.ts";
import { parseRestorableRoutes } from "../../host/ip_route_restore.ts";
import type { Rule } from "../../host/ip_rule.ts";
import { parseRules } from "../../host/ip_rule.ts";
import type { Host } from "../../ns/machine.ts";
import type { NetnsInterface } from "../../recipes/container.ts";

/** Links, addresses, routes and rules of a container. */
export interface VrfFacts {
  readonly links: readonly Link[];
  /** The interface's IPv6 addresses; those of IPv4 stay whatever happens. */
  readonly addresses: readonly RestorableAddress[];
  readonly routes: readonly RestorableRoute[];
  /** Of IPv4. */
  readonly rules: readonly Rule[];
}

/** A batch has no option for a family; the prefixes have one. */
const shown = [
  "addr show",
  "route show table all root 0.0.0.0/0",
  "route show table all root ::/0",
  "rule show",
];

/** Queries everything in one process. Finds nothing in a namespace that is gone. */
export async function gatherVrfFacts(
  host: Host,
  { netns, ifName }: NetnsInterface,
): Promise<VrfFacts> {
  const show = command("ip", ["-N", "-d", "-j", "-batch", "-"], {
    netns,
    stdin: shown.map((line) => `${line}\n`).join(""),
  });
  const text = await host.query(show, {
    why: "look at links and routes in the container",
    tolerate: ["missing"],
  });
  // One line for each list.
  const [links = "", routes4 = "", routes6 = "", rules = ""] = (text ?? "").split("\n");
  return {
    links: parseLinks(links),
    addresses: parseRestorableAddresses(links, ifName),
    routes: [...parseRestorableRoutes(routes4, 4), ...parseRestorableRoutes(routes6, 6)],
    rules: parseRules(rules, 4),
  };
}

/** The rules of IPv6, which only matter where a table is to be chosen. */
export async function gatherRules6(host: Host, netns: NetnsRef): Promise<Rule[]> {
  const show = command("ip", ["-6", "-N", "-j", "rule", "show"], { netns });
  const text = await host.query(show, {
    why: "look at rules in the container",
    tolerate: ["unsupported"],
  });
  return parseRules(text ?? "", 6);
}

/** A link by its name. */
export function findLink(links: readonly Link[], name: string): Link | undefined {
  return links.find((link) => link.name === name);
}

/** Why a link cannot be the VRF with this table, or with any when it is 0. */
export function vrfProblem({ name, kind, vrfTable }: Link, table: number): string | undefined {
  if (kind !== "vrf") return `Netlink ${name} is not a VRF`;
  if (table === 0 || vrfTable === table) return undefined;
  return `VRF ${name} already exist with different routing table ${vrfTable}`;
}
