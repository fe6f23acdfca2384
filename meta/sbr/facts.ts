/**
 * What there is in the container: rules and routes of every table, the interface.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import type { Family } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import { showLink } from "../../host/ip_link.ts";
import type { WholeRoute } from "../../host/ip_whole_route.ts";
import { parseWholeRoutes } from "../../host/ip_whole_route.ts";
import type { Rule } from "../../host/ip_rule.ts";
import { parseRules } from "../../host/ip_rule.ts";
import type { Host } from "../../ns/machine.ts";
import { queryLinks } from "../../recipes/links.ts";

/** The interface inside its container. */
export interface Where {
  readonly netns: NetnsRef;
  readonly ifName: string;
}

/** What there is. */
export interface Facts {
  readonly rules: readonly Rule[];
  readonly routes: readonly WholeRoute[];
  /** Absent when there is no such interface. */
  readonly link: Link | undefined;
}

/** Looks at everything: one process a family, and one for the interface. */
export async function gather(host: Host, { netns, ifName }: Where): Promise<Facts> {
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
): Promise<Pick<Facts, "rules" | "routes">> {
  const show = command("ip", [`-${family}`, "-N", "-d", "-j", "-batch", "-"], {
    netns,
    stdin: "rule show\nroute show table all\n",
  });
  const text = await host.query(show, {
    why: "look at rules and routes in the container",
    tolerate: family === 6 ? ["unsupported"] : [],
  });
  const [rules = "", routes = ""] = (text ?? "").split("\n").filter(Boolean);
  return { rules: parseRules(rules, family), routes: parseWholeRoutes(routes, family) };
}
