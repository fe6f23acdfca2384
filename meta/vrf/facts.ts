/**
 * What there is in the container: its links, the interface's addresses, the routes
 * of all tables.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import type { WholeAddress } from "../../host/ip_whole_addr.ts";
import { parseWholeAddresses } from "../../host/ip_whole_addr.ts";
import type { Link } from "../../host/ip_link.ts";
import { parseLinks } from "../../host/ip_link.ts";
import type { WholeRoute } from "../../host/ip_whole_route.ts";
import { parseWholeRoutes } from "../../host/ip_whole_route.ts";
import type { Rule } from "../../host/ip_rule.ts";
import { parseRules } from "../../host/ip_rule.ts";
import type { Host } from "../../ns/machine.ts";

/** The interface inside its container. */
export interface Where {
  readonly netns: NetnsRef;
  readonly ifName: string;
}

/** What there is. */
export interface Facts {
  readonly links: readonly Link[];
  /** The interface's IPv6 addresses; those of IPv4 stay whatever happens. */
  readonly addresses: readonly WholeAddress[];
  readonly routes: readonly WholeRoute[];
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

/** Looks at everything in one process. Finds nothing in a namespace that is gone. */
export async function gather(host: Host, { netns, ifName }: Where): Promise<Facts> {
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
    addresses: parseWholeAddresses(links, ifName),
    routes: [...parseWholeRoutes(routes4, 4), ...parseWholeRoutes(routes6, 6)],
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
