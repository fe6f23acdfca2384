/**
 * A container for the tests of vrf: an interface with its addresses and routes, in the main table
 * or in that of a VRF.
 *
 * @module
 */
import type { Link } from "../../host/ip_link.ts";
import { mainTable } from "../../host/ip_route.ts";
import { parseRestorableAddresses } from "../../host/ip_addr_restore.ts";
import type { Step } from "../../host/step.ts";
import { describe } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import { parseRestorableRoutes } from "../../host/ip_route_restore.ts";
import type { VrfFacts } from "./facts.ts";
import { interfaceState } from "./state.ts";

const netns = { path: "/run/netns/c1" };
/** What enters the namespace. */
export const inside = "nsenter --net=/run/netns/c1 ip ";
/** The interface. */
export const ifName = "eth0";
/** The interface in its container. */
export const target = { netns, ifName };

/** A VRF with a table. */
export function vrfLink(name: string, vrfTable: number, fields: Partial<Link> = {}): Link {
  return testLink({ name, kind: "vrf", vrfTable, index: vrfTable, ...fields });
}

/** The interface as a link. */
export const eth0 = testLink({
  kind: "veth",
  addresses: [
    { address: "10.0.0.2", prefix: 24, scope: "0", tentative: false, dadFailed: false },
    { address: "fd00::2", prefix: 64, scope: "0", tentative: false, dadFailed: false },
  ],
});
/** The interface as a port of VRF "red". */
export const inRed = { ...eth0, master: "red" };

const forever = { valid_life_time: 4294967295, preferred_life_time: 4294967295 };
const address = { family: "inet6", prefixlen: 64, scope: "0", ...forever };

/** The newest first, as the kernel lists them. */
export const addresses = parseRestorableAddresses(
  JSON.stringify([{
    ifname: ifName,
    addr_info: [
      { ...address, local: "fd00:1::2", nodad: true },
      { ...address, local: "fd00::2" },
      { ...address, local: "fd00:9::2", tentative: true },
    ],
  }]),
  ifName,
);

/** A route as iproute2 prints it. */
export interface RawRoute {
  readonly dst: string;
  readonly [key: string]: unknown;
}

/** A container with these links, and the routes of the interface in a table. */
export function facts(
  { links = [eth0], table = "254", more = [] }: {
    links?: readonly Link[];
    table?: string;
    more?: readonly RawRoute[];
  } = {},
): VrfFacts {
  const plain = { type: "1", dev: ifName, table, protocol: "3", scope: "0", flags: [] };
  const kernel4 = { ...plain, protocol: "2", scope: "253", prefsrc: "10.0.0.2" };
  const routes4 = [
    { ...plain, dst: "default", gateway: "10.0.0.1" },
    { ...kernel4, dst: "10.0.0.0/24" },
    { ...plain, dst: "10.0.0.1", scope: "253" },
    { ...plain, dst: "10.9.0.0/16", gateway: "10.0.0.1", metric: 7, metrics: [{ mtu: 1400 }] },
    { ...kernel4, dst: "10.0.0.2", type: "2", table: table === "254" ? "255" : table },
    { ...plain, dst: "10.8.0.0/16", dev: "eth1" },
    ...more.filter(({ dst }) => !dst.includes(":")).map((route) => ({ ...plain, ...route })),
  ];
  const plain6 = { ...plain, metric: 1024, pref: "medium" };
  const kernel6 = { ...plain6, protocol: "2", metric: 256 };
  const routes6 = [
    { ...kernel6, dst: "fd00::/64" },
    { ...plain6, dst: "default", gateway: "fd00::1" },
    { ...plain6, dst: "fd0a::/64", protocol: "9", expires: 90 },
    { ...kernel6, dst: "fd00::2", type: "2", metric: 0, table: table === "254" ? "255" : table },
    ...more.filter(({ dst }) => dst.includes(":")).map((route) => ({ ...plain6, ...route })),
  ];
  return {
    links,
    addresses,
    rules: [],
    routes: [
      ...parseRestorableRoutes(JSON.stringify(routes4), 4),
      ...parseRestorableRoutes(JSON.stringify(routes6), 6),
    ],
  };
}

/** The commands of steps, without what enters the namespace. */
export function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) => describe(action).replace(inside, ""));
}

/** What the interface has before it joins. */
export const before = interfaceState(mainTable, { facts: facts(), ifName });
