/**
 * From a plan to steps: only what is missing, everything with its undo, all of it in one
 * process inside the container. And the way back.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Ip } from "../../host/ip.ts";
import { formatCidr, parseCidr, sameIp } from "../../host/ip.ts";
import { mainTable } from "../../host/ip_route.ts";
import type { RestorableRoute } from "../../host/ip_route_restore.ts";
import { deleteRoute, replaceRoute } from "../../host/ip_route_restore.ts";
import { addRule, deleteRule } from "../../host/ip_rule.ts";
import type { Step } from "../../host/step.ts";
import type { SbrFacts } from "./facts.ts";
import type { SbrPlan, SbrRoute, SbrRule } from "./plan.ts";

/** Adds rules, then routes, then removes those that leave the main table: gateways are reached by them until then. */
export function planSteps(
  plan: SbrPlan,
  { facts, netns }: { facts: SbrFacts; netns: NetnsRef },
): Step[] {
  const rules = plan.rules.filter((rule) => !hasRule(facts, rule)).map(({ from, table }) => {
    const spec = { from: parseCidr(from)!, table, netns };
    return {
      why: `add rule from ${from} to table ${table}`,
      do: addRule(spec),
      undo: deleteRule(spec),
    };
  });
  // Commands of one family stand together, so that they fold into one batch.
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
export function hasRule({ rules }: SbrFacts, { from, table }: SbrRule): boolean {
  return rules.some((rule) =>
    rule.plain && rule.table === table && rule.from !== undefined && sameText(rule.from, from)
  );
}

/** Whether a table has a route, word for word. */
export function hasRoute({ routes }: SbrFacts, { words, table }: SbrRoute): boolean {
  return routes.some((route) => route.table === table && isSameRoute(route, words));
}

function isSameRoute(route: RestorableRoute, words: readonly string[]): boolean {
  return route.words.length === words.length &&
    route.words.every((word, index) => word === words[index]);
}

function sameText(a: string, b: string): boolean {
  const cidr = parseCidr(a);
  return cidr !== undefined && formatCidr(cidr) === b;
}

/** A route that stands in the place of another one gives it back. */
function addStep(
  { words, table }: SbrRoute,
  { facts, netns }: { facts: SbrFacts; netns: NetnsRef },
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
 * Removes the rules and routes that are there. Routes go back into the main table where the
 * interface is up; a route that the kernel refuses by now is left out: its source is gone.
 */
export function revertSteps(
  plan: SbrPlan,
  { facts, netns }: { facts: SbrFacts; netns: NetnsRef },
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

/** A line for each rule and route that is missing. */
export function comparePlan(plan: SbrPlan, facts: SbrFacts): string[] {
  return [
    ...plan.rules.filter((rule) => !hasRule(facts, rule))
      .map(({ from, table }) => `rule from ${from} to table ${table} is missing`),
    ...plan.added.filter((route) => !hasRoute(facts, route))
      .map(({ words, table }) => `route ${words.join(" ")} is missing from table ${table}`),
  ];
}

/** The rules from addresses, by the address alone. */
export function rulesFrom({ rules }: SbrFacts, addresses: readonly Ip[]): SbrRule[] {
  return rules.flatMap(({ from, table, plain }) => {
    const source = from === undefined ? undefined : parseCidr(from);
    const isOne = source && addresses.some((address) => sameIp(address, source));
    return plain && isOne && table !== undefined ? [{ from: formatCidr(source), table }] : [];
  });
}
