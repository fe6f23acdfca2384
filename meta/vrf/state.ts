/**
 * What an interface loses when its master changes. The kernel sets it down and up then: its
 * IPv6 addresses are lost, and its routes but for those that come with an address.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { RestorableAddress } from "../../host/ip_addr_restore.ts";
import { removeIpv6Address, replaceIpv6Address } from "../../host/ip_addr_restore.ts";
import { appendRoute, deleteRoute } from "../../host/ip_route_restore.ts";
import type { Step } from "../../host/step.ts";
import type { NetnsInterface } from "../../recipes/container.ts";
import type { VrfFacts } from "./facts.ts";
import type { InterfaceFacts, InterfaceRoute } from "./routes.ts";
import { interfaceRoutes, sharedHops } from "./routes.ts";

/** An IPv6 address of an interface. */
export type InterfaceAddress = Omit<RestorableAddress, "dynamic">;

/** IPv6 addresses and routes of an interface, in the order in which they are restored. */
export interface InterfaceState {
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly InterfaceRoute[];
}

/** The same, and whether an address ends by itself. */
export interface LiveInterfaceState extends InterfaceState {
  readonly addresses: readonly RestorableAddress[];
}

/** The state of an interface whose table this is, the oldest address first, so that their order stays. */
export function interfaceState(
  table: number,
  { facts, ifName }: InterfaceFacts,
): LiveInterfaceState {
  return {
    addresses: facts.addresses.toReversed(),
    routes: interfaceRoutes(table, { facts, ifName }),
  };
}

/** The part of a state that does not end by itself, which alone is recorded. */
export function permanentState({ addresses, routes }: LiveInterfaceState): InterfaceState {
  return {
    addresses: addresses.filter(({ dynamic }) => !dynamic)
      .map(({ words, nodad, tentative }) => ({ words, nodad, tentative })),
    routes: routes.filter(({ words }) => !words.includes("expires")),
  };
}

/**
 * Removes the IPv6 addresses of an interface. Where `keep_addr_on_down` is set the kernel keeps
 * them, and looks for duplicates of them: without them, what follows is always the same. The kernel
 * always removes those of the link alone.
 */
export function removeAddresses(
  { addresses }: VrfFacts,
  { netns, ifName }: NetnsInterface,
): Step[] {
  return addresses.filter(({ words }) => !/^fe[89ab]/.test(words[0]!)).map((address) => ({
    why: `take address ${address.words[0]} from container interface "${ifName}"`,
    do: removeIpv6Address(ifName, { ...address, netns }),
    tolerate: ["missing"],
  }));
}

/** Removes the hops of an interface from IPv6 routes by several links. */
export function removeSharedHops(
  table: number,
  { facts, netns, ifName }: NetnsInterface & { readonly facts: VrfFacts },
): Step[] {
  return sharedHops(table, { facts, ifName }).map((words) => ({
    why: `take container interface "${ifName}" out of route ${words[0]} in table ${table}`,
    do: deleteRoute(words, { table, netns }),
    tolerate: ["missing"],
  }));
}

/** Gives an interface an address again. One that has been in use needs no detection of duplicates. */
export function restoreAddress(
  { words, nodad, tentative }: InterfaceAddress,
  { netns, ifName }: NetnsInterface,
): Step {
  return {
    why: `give container interface "${ifName}" address ${words[0]} again`,
    do: replaceIpv6Address(ifName, { words, nodad: nodad || !tentative, netns }),
  };
}

/** Adds a route beside those of its destination and metric, which the VRF's other ports may have. */
export function restoreRoute(
  { words, table }: InterfaceRoute,
  { netns, where }: { readonly netns: NetnsRef; readonly where: string },
): Step {
  return {
    why: `add route ${words[0]} to ${where}`,
    do: appendRoute(words, { table, netns }),
    tolerate: ["exists"],
  };
}
