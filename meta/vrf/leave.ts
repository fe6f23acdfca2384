/**
 * Plans how an interface leaves a VRF: restores its addresses and routes, and removes a
 * VRF that nobody uses, in one process.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Link } from "../../host/ip_link.ts";
import { deleteLink, setLink } from "../../host/ip_link.ts";
import { deleteRoute } from "../../host/ip_route_restore.ts";
import type { Reason } from "../../host/reason.ts";
import type { Step } from "../../host/step.ts";
import type { NetnsInterface } from "../../recipes/container.ts";
import type { VrfFacts } from "./facts.ts";
import { findLink } from "./facts.ts";
import type { InterfaceFacts } from "./routes.ts";
import { hasInterfaceRoute, isSameRoute, isWithoutSourceOf, withoutSource } from "./routes.ts";
import type { InterfaceAddress, InterfaceState } from "./state.ts";
import {
  interfaceState,
  removeAddresses,
  removeSharedHops,
  restoreAddress,
  restoreRoute,
} from "./state.ts";

/** How an interface leaves. */
export interface LeavePlan extends NetnsInterface {
  /** Name of the VRF. */
  readonly name: string;
  readonly facts: VrfFacts;
  /** The state before its ADD, and the index of the interface; absent where nobody knows. */
  readonly found: (InterfaceState & { readonly index: number }) | undefined;
  /** Whether the VRF stays although nobody uses it. */
  readonly keepVrf?: boolean;
}

/** Failures to ignore: of things that have ended meanwhile, and that the kernel does not take back by now. */
const ignored: readonly Reason[] = ["missing", "exists", "unsupported", "invalid", "other"];

/**
 * Leaves the VRF, and restores what the interface loses: what it has there, and what it had before
 * its ADD. Removes a VRF that nobody uses. An interface with another master is somebody else's.
 */
export function leaveSteps({ name, facts, found, netns, ifName, keepVrf }: LeavePlan): Step[] {
  const vrf = findLink(facts.links, name);
  const link = findLink(facts.links, ifName);
  const table = vrf?.kind === "vrf" ? vrf.vrfTable : undefined;
  const known = found?.index === link?.index ? found : undefined;
  const stays = keepVrf || table === undefined ||
    facts.links.some(({ master, name: port }) => master === name && port !== ifName);
  const steps = link?.master === name && table !== undefined
    ? [
      ...removeAddresses(facts, { netns, ifName }),
      ...removeSharedHops(table, { facts, netns, ifName }),
      ...freeLink(link, { netns, state: stateInVrf(known, { table, facts, ifName }) }),
    ]
    : link && !link.master && known
    ? [
      ...removeRoutesWithoutSource(known, { facts, netns, ifName }),
      ...freeLink(link, { netns, state: lostState(known, { facts, ifName }) }),
    ]
    : [];
  return [...steps, ...(stays ? [] : [removeVrf(name, netns)])];
}

/** What the interface has in the VRF, and what of the state before is not among it. */
function stateInVrf(
  known: InterfaceState | undefined,
  { table, facts, ifName }: InterfaceFacts & { readonly table: number },
): InterfaceState {
  const live = interfaceState(table, { facts, ifName });
  if (!known) return live;
  // The earlier routes, with their sources, are better.
  const routes = live.routes.filter((route) =>
    !known.routes.some((whole) => isWithoutSourceOf(route, whole))
  );
  return {
    addresses: [...live.addresses, ...without(known.addresses, live.addresses)],
    routes: [
      ...routes,
      ...known.routes.filter((route) => !routes.some((other) => isSameRoute(route, other))),
    ],
  };
}

/** The part of the state before that is gone, because something was killed before it restored it. */
function lostState({ addresses, routes }: InterfaceState, it: InterfaceFacts): InterfaceState {
  return {
    addresses: without(addresses, it.facts.addresses),
    routes: routes.filter((route) => !hasInterfaceRoute(route, it)),
  };
}

function without(
  addresses: readonly InterfaceAddress[],
  others: readonly InterfaceAddress[],
): InterfaceAddress[] {
  const names = new Set(others.map(({ words }) => words[0]));
  return addresses.filter(({ words }) => !names.has(words[0]));
}

/** Removes what has remained of routes: to the kernel, the whole route beside it would be the same. */
function removeRoutesWithoutSource(
  { routes }: InterfaceState,
  { facts, netns, ifName }: NetnsInterface & { readonly facts: VrfFacts },
): Step[] {
  return routes.flatMap((whole) => {
    const rest = withoutSource(whole);
    if (isSameRoute(rest, whole) || !hasInterfaceRoute(rest, { facts, ifName })) return [];
    return [{
      why: `remove route ${rest.words[0]} without its source from table ${rest.table}`,
      do: deleteRoute(rest.words, { table: rest.table, netns }),
      tolerate: ignored,
    }];
  });
}

function freeLink(
  link: Link,
  { netns, state }: { readonly netns: NetnsRef; readonly state: InterfaceState },
): Step[] {
  const target = { netns, ifName: link.name };
  // The kernel takes no route to a link that is down.
  const routes = link.up ? state.routes : [];
  return [
    ...(link.master
      ? [{
        why: `take container interface "${link.name}" out of VRF "${link.master}"`,
        do: setLink(link.name, { nomaster: true, netns }),
        tolerate: ["missing"] as const,
      }]
      : []),
    ...state.addresses.map((address) => ({
      ...restoreAddress(address, target),
      tolerate: ignored,
    })),
    ...routes.map((route) => ({
      ...restoreRoute(route, { netns, where: `table ${route.table}` }),
      tolerate: ignored,
    })),
  ];
}

function removeVrf(name: string, netns: NetnsRef): Step {
  return {
    why: `remove VRF "${name}"`,
    do: deleteLink(name, { netns }),
    tolerate: ["missing"],
  };
}
