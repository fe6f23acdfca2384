/**
 * Plans how an interface joins a VRF: checks that it may, chooses a table, and carries its
 * addresses and routes over, in one process.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Link } from "../../host/ip_link.ts";
import { addLink, setLink } from "../../host/ip_link.ts";
import { localTable, mainTable } from "../../host/ip_route.ts";
import type { Rule } from "../../host/ip_rule.ts";
import type { Step } from "../../host/step.ts";
import type { NetnsInterface } from "../../recipes/container.ts";
import type { VrfFacts } from "./facts.ts";
import { findLink, vrfProblem } from "./facts.ts";
import { routeInVrf } from "./routes.ts";
import type { InterfaceState } from "./state.ts";
import { removeAddresses, removeSharedHops, restoreAddress, restoreRoute } from "./state.ts";

/** An interface that may join, and the VRF if there is one. */
export interface Joinable {
  readonly link: Link;
  readonly vrf: Link | undefined;
}

/** Finds both. Throws code 102 for a link that is no VRF, another table, another master; 103 without interface. */
export function requireJoinable(
  { links }: Pick<VrfFacts, "links">,
  { name, table, ifName }: { name: string; table: number; ifName: string },
): Joinable {
  const vrf = findLink(links, name);
  const link = findLink(links, ifName);
  const problem = vrf && vrfProblem(vrf, table);
  if (problem) throw cannotJoin(name, problem);
  if (!link) throw cannotJoin(name, `could not get link by name ${ifName}`, codes.objectMissing);
  if (!link.master) return { link, vrf };
  throw cannotJoin(name, `interface ${ifName} has already a master set: ${link.master}`);
}

function cannotJoin(name: string, state: string, code: number = codes.alreadyExists): CniError {
  return new CniError(code, `Cannot join VRF "${name}": ${state}`);
}

/** The first table that no VRF has, no route is in and no rule leads to; never one of the kernel's. */
export function freeTable(
  { links, routes, rules }: Pick<VrfFacts, "links" | "routes"> & {
    readonly rules: readonly Rule[];
  },
): number {
  const taken = new Set([
    ...[253, mainTable, localTable],
    ...links.map(({ vrfTable }) => vrfTable),
    ...[...routes, ...rules].map(({ table }) => table),
  ]);
  let table = 1;
  while (taken.has(table)) table++;
  return table;
}

/** How an interface joins. */
export interface JoinPlan extends NetnsInterface {
  /** Name of the VRF. */
  readonly name: string;
  readonly table: number;
  /** The VRF as it is; absent when it is to be made. */
  readonly vrf: Link | undefined;
  /** What the interface has before. */
  readonly state: InterfaceState;
  readonly facts: VrfFacts;
}

/**
 * Makes the VRF unless it is there, joins, and restores what the interface has lost.
 * `leaveSteps()` takes it back.
 */
export function joinSteps(plan: JoinPlan): Step[] {
  const { name, table, vrf, netns, ifName, state, facts } = plan;
  return [
    ...(vrf ? [] : [createVrf(plan)]),
    ...(vrf?.up ? [] : [setVrfUp(plan)]),
    ...removeAddresses(facts, plan),
    ...removeSharedHops(mainTable, plan),
    {
      why: `put container interface "${ifName}" into VRF "${name}"`,
      do: setLink(ifName, { master: name, netns }),
    },
    ...state.addresses.map((address) => restoreAddress(address, { netns, ifName })),
    ...state.routes.map((route) =>
      restoreRoute(routeInVrf(route, table), { netns, where: `VRF "${name}"` })
    ),
  ];
}

function createVrf({ name, table, netns }: JoinPlan): Step {
  return {
    why: `create VRF "${name}" with table ${table}`,
    do: addLink({ name, type: ["vrf", "table", String(table)], netns }),
    meaning: { unsupported: "the kernel has no VRFs (module vrf)" },
  };
}

function setVrfUp({ name, netns, vrf }: JoinPlan): Step {
  return {
    why: `set VRF "${name}" up`,
    do: setLink(name, { up: true, netns }),
    ...(vrf && { undo: setLink(name, { up: false, netns }) }),
  };
}
