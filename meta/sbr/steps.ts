/**
 * From what shall be to steps: only what is not there already, everything with its
 * undo, all of it in one process inside the container. And the way back.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Ip } from "../../host/ip.ts";
import { formatCidr, parseCidr, sameIp } from "../../host/ip.ts";
import { mainTable } from "../../host/ip_route.ts";
import type { WholeRoute } from "../../host/ip_whole_route.ts";
import { deleteRoute, replaceRoute } from "../../host/ip_whole_route.ts";
import { addRule, deleteRule } from "../../host/ip_rule.ts";
import type { Step } from "../../host/step.ts";
import type { Facts } from "./facts.ts";
import type { OwnRoute, OwnRule, Plan } from "./plan.ts";

/** Rules, then routes that are added, then those that leave the main table: their gateways are on the link until then. */
export function planSteps(plan: Plan, { facts, netns }: { facts: Facts; netns: NetnsRef }): Step[] {
  const rules = plan.rules.filter((rule) => !hasRule(facts, rule)).map(({ from, table }) => {
    const spec = { from: parseCidr(from)!, table, netns };
    return {
      why: `add rule from ${from} to table ${table}`,
      do: addRule(spec),
      undo: deleteRule(spec),
    };
  });
  // What iproute2 is told the family of stands together.
  const byFamily = Map.groupBy(rules, ({ do: { args } }) => args[0]);
  return [
    ...[...byFamily.values()].flat(),
    ...plan.added.filter((route) => !hasRoute(facts, route)).map((route) =>
      addStep(route, { facts, netns })
    ),
    // A gateway is only accepted where the way to it is known: on the way back it comes last.
    ...plan.moved.toReversed().filter((words) => hasRoute(facts, { words, table: mainTable }))
      .map((words) => ({
        why: `remove route ${words[0]} from the main table`,
        do: deleteRoute(words, { table: mainTable, netns }),
        undo: replaceRoute(words, { table: mainTable, netns }),
      })),
  ];
}

/** Whether there is a rule from an address to a table, by the address alone. */
export function hasRule({ rules }: Facts, { from, table }: OwnRule): boolean {
  return rules.some((rule) =>
    rule.plain && rule.table === table && rule.from !== undefined && sameText(rule.from, from)
  );
}

/** Whether a table has a route, word for word. */
export function hasRoute({ routes }: Facts, { words, table }: OwnRoute): boolean {
  return routes.some((route) => route.table === table && isSame(route, words));
}

function isSame(route: WholeRoute, words: readonly string[]): boolean {
  return route.words.length === words.length &&
    route.words.every((word, index) => word === words[index]);
}

function sameText(a: string, b: string): boolean {
  const cidr = parseCidr(a);
  return cidr !== undefined && formatCidr(cidr) === b;
}

/** A route that stands in the place of another one gives it back. */
function addStep(
  { words, table }: OwnRoute,
  { facts, netns }: { facts: Facts; netns: NetnsRef },
): Step {
  const metric = metricOf(words);
  const before = facts.routes.find((route) =>
    route.table === table && route.dst === words[0] && String(route.metric ?? "") === metric
  );
  return {
    why: `add route ${words[0]} to table ${table}`,
    do: replaceRoute(words, { table, netns }),
    undo: before
      ? replaceRoute(before.words, { table, netns })
      : deleteRoute(words, { table, netns }),
  };
}

function metricOf(words: readonly string[]): string {
  const index = words.indexOf("metric");
  return index < 0 ? "" : words[index + 1]!;
}

/**
 * The way back, as far as there is something to take back. Routes go back into the
 * main table where the interface is up; one that the kernel refuses by now (its
 * source is gone) is no matter.
 */
export function revertSteps(
  plan: Plan,
  { facts, netns }: { facts: Facts; netns: NetnsRef },
): Step[] {
  const back = facts.link?.up ? plan.moved : [];
  return [
    ...plan.rules.filter((rule) => hasRule(facts, rule)).map(({ from, table }) => ({
      why: `remove rule from ${from} to table ${table}`,
      do: deleteRule({ from: parseCidr(from)!, table, netns }),
      tolerate: ["missing"] as const,
    })),
    ...back.filter((words) => !hasRoute(facts, { words, table: mainTable })).map((words) => ({
      why: `add route ${words[0]} to the main table again`,
      do: replaceRoute(words, { table: mainTable, netns }),
      tolerate: ["missing", "exists", "unsupported", "other"] as const,
    })),
    ...plan.added.filter((route) => hasRoute(facts, route)).map(({ words, table }) => ({
      why: `remove route ${words[0]} from table ${table}`,
      do: deleteRoute(words, { table, netns }),
      tolerate: ["missing"] as const,
    })),
  ];
}

/** What is not there, a line each. */
export function comparePlan(plan: Plan, facts: Facts): string[] {
  return [
    ...plan.rules.filter((rule) => !hasRule(facts, rule))
      .map(({ from, table }) => `rule from ${from} to table ${table} is missing`),
    ...plan.added.filter((route) => !hasRoute(facts, route))
      .map(({ words, table }) => `route ${words.join(" ")} is missing from table ${table}`),
  ];
}

/** The rules from addresses, by the address alone. */
export function rulesFrom({ rules }: Facts, addresses: readonly Ip[]): OwnRule[] {
  return rules.flatMap(({ from, table, plain }) => {
    const source = from === undefined ? undefined : parseCidr(from);
    const isOne = source && addresses.some((address) => sameIp(address, source));
    return plain && isOne && table !== undefined ? [{ from: formatCidr(source), table }] : [];
  });
}
