/**
 * Compares an interface in a VRF with its record.
 *
 * @module
 */
import { formatCidr, hostPrefix, parseCidr, parseIp, sameIp } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import type { Address } from "../../recipes/configure.ts";
import type { VrfFacts } from "./facts.ts";
import { findLink, vrfProblem } from "./facts.ts";
import type { InterfaceFacts } from "./routes.ts";
import { hasInterfaceRoute, routeInVrf } from "./routes.ts";
import type { InterfaceState } from "./state.ts";

/** The addresses of a result that the interface has. */
export function presentAddresses(link: Link, addresses: readonly Address[]): string[] {
  return addresses.map(({ cidr }) => cidr)
    .filter((cidr) =>
      link.addresses.some(({ address, prefix }) => {
        const ip = parseIp(address);
        return ip && sameIp(ip, cidr) && prefix === cidr.prefix;
      })
    ).map(formatCidr);
}

/** The interface and the VRF as they are expected. */
export interface ExpectedMembership {
  /** Name of the VRF. */
  readonly name: string;
  /** The configured table; 0 when any will do. */
  readonly table: number;
  readonly ifName: string;
  /** What ADD has recorded; absent where nobody knows. */
  readonly found:
    | (Pick<InterfaceState, "routes"> & { readonly held: readonly string[] })
    | undefined;
}

/** A line for each difference. */
export function compareMembership(
  { name, table, ifName, found }: ExpectedMembership,
  facts: VrfFacts,
): string[] {
  const vrf = findLink(facts.links, name);
  if (!vrf) return [`VRF "${name}" is missing`];
  const problem = vrfProblem(vrf, table);
  if (problem) return [problem];
  const vrfTable = vrf.vrfTable!;
  if (findLink(facts.links, ifName)?.master !== name) {
    return [`failed to find ${ifName} associated to vrf ${name}`];
  }
  return [
    ...(vrf.up ? [] : [`VRF "${name}" is down`]),
    ...(found?.held ?? []).filter((address) =>
      !isLocal(address, { facts, ifName, table: vrfTable })
    )
      .map((address) => `address ${address} of "${ifName}" is missing from table ${vrfTable}`),
    ...(found?.routes ?? []).map((route) => routeInVrf(route, vrfTable))
      .filter((route) => !hasInterfaceRoute(route, { facts, ifName }))
      .map(({ words, table }) => `route ${words.join(" ")} is missing from table ${table}`),
  ];
}

/** Type of the kernel's route for an address of the container. */
const localType = "2";

function isLocal(
  address: string,
  { facts, ifName, table }: InterfaceFacts & { readonly table: number },
): boolean {
  const dst = formatCidr(hostPrefix(parseCidr(address)!));
  return facts.routes.some((route) =>
    route.table === table && route.dst === dst && route.words[0] === localType &&
    route.devs.includes(ifName)
  );
}
