/**
 * Looks at links.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import type { Link } from "../host/ip_link.ts";
import { parseLinks } from "../host/ip_link.ts";
import type { Host } from "../ns/machine.ts";

/** Links that a command shows; none when the link or its namespace is missing. */
export async function queryLinks(host: Host, show: Command): Promise<Link[]> {
  const text = await host.query(show, {
    why: "look at links",
    tolerate: ["missing"],
  });
  return parseLinks(text ?? "");
}
