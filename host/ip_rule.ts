/**
 * `ip rule`: builders and the reader of its JSON.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Cidr, Family } from "./ip.ts";
import { formatCidr } from "./ip.ts";
import { parseIpJson } from "./ip_json.ts";
import type { NetnsOption } from "./ip_link.ts";

/** A rule that sends packets from an address to a routing table. */
export interface RuleSpec extends NetnsOption {
  /** Source prefix. */
  readonly from: Cidr;
  /** Routing table. */
  readonly table: number;
}

/** `ip [-6] rule add from A/P table N`: the kernel puts it before all but the first. */
export function addRule(spec: RuleSpec): Command {
  return rule("add", spec);
}

/** `ip [-6] rule del from A/P table N`: one of those that are the same. */
export function deleteRule(spec: RuleSpec): Command {
  return rule("del", spec);
}

function rule(verb: "add" | "del", { from, table, netns }: RuleSpec): Command {
  // iproute2 does not see from the address which family is meant.
  const family = from.family === 6 ? ["-6"] : [];
  const words = ["rule", verb, "from", formatCidr(from), "table", String(table)];
  return command("ip", [...family, ...words], { netns });
}

/** A rule as the kernel has it. */
export interface Rule {
  /** IPv4 or IPv6. */
  readonly family: Family;
  /** Place among the rules: the lowest is asked first. */
  readonly priority: number;
  /** Source `address/prefix`; absent for any. */
  readonly from: string | undefined;
  /** Absent for a rule that leads to no table. */
  readonly table: number | undefined;
  /** Whether the source is all that it looks at. */
  readonly plain: boolean;
}

interface RawRule {
  priority: number;
  src: string;
  srclen?: number;
  table?: string;
  protocol?: string;
}

/** Keys of a rule that selects by its source alone. */
const plainKeys = /^(priority|src|srclen|table|protocol)$/;

/** Reads the JSON of `ip -4 -N -j rule show`. */
export function parseRules(json: string, family: Family): Rule[] {
  const width = family === 4 ? 32 : 128;
  return parseIpJson<RawRule>(json).map((raw) => ({
    family,
    priority: raw.priority,
    from: raw.src === "all" ? undefined : `${raw.src}/${raw.srclen ?? width}`,
    table: raw.table === undefined ? undefined : Number(raw.table),
    plain: Object.keys(raw).every((key) => plainKeys.test(key)),
  }));
}
