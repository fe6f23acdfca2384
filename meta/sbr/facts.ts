/**
 * Queries the container: rules and routes of every table, and the interface.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import type { Family } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import { showLink } from "../../host/ip_link.ts";
import type { RestorableRoute } from "../../host/ip_route_restore.ts";
import { parseRestorableRoutes } from "../../host/ip_route_restore.ts";
import type { Rule } from "../../host/ip_rule.ts";
import { parseRules } from "../../host/ip_rule.ts";
import type { Host } from "../../ns/machine.ts";
import type { NetnsInterface } from "../../recipes/container.ts";
import { queryLinks } from "../../recipes/links.ts";

/** Rules and routes of every table, and the interface. */
export interface SbrFacts {
  readonly rules: readonly Rule[];
  readonly routes: readonly RestorableRoute[];
  /** Absent when there is no such interface. */
  readonly link: Link | undefined;
}

/** Queries everything: one process a family, and one for the interface. */
export async function gatherSbrFacts(
  host: Host,
  { netns, ifName }: NetnsInterface,
): Promise<SbrFacts> {
  const families = [
    await showFamily(host, { family: 4, netns }),
    await showFamily(host, { family: 6, netns }),
  ];
  const [link] = await queryLinks(host, showLink(ifName, { netns }));
  return {
    rules: families.flatMap(({ rules }) => rules),
    routes: families.flatMap(({ routes }) => routes),
    link,
  };
}

/** A batch prints one line for each list. A kernel without IPv6 has neither rules nor routes of it. */
async function showFamily(
  host: Host,
  { family, netns }: { readonly family: Family; readonly netns: NetnsRef },
): Promise<Pick<SbrFacts, "rules" | "routes">> {
  const show = command("ip", [`-${family}`, "-N", "-d", "-j", "-batch", "-"], {
    netns,
    stdin: "rule show\nroute show table all\n",
  });
  const text = await host.query(show, {
    why: "look at rules and routes in the container",
    tolerate: family === 6 ? ["unsupported"] : [],
  });
  const [rules = "", routes = ""] = (text ?? "").split("\n").filter(Boolean);
  return { rules: parseRules(rules, family), routes: parseRestorableRoutes(routes, family) };
}
