/**
 * What a lease means for the container's interface: its part of a CNI result, and the plans for a lease
 * that has changed or ended.
 *
 * @module
 */
import type { Result, Route } from "../../../cni/types.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Cidr } from "../../../host/ip.ts";
import type { Lifetimes } from "../../../host/ip_addr.ts";
import type { Step } from "../../../host/step.ts";
import type { Message4 } from "../codec/message4.ts";
import { formatCidr, network, parseCidr } from "../../../host/ip.ts";
import { addAddress, deleteAddress, replaceAddress } from "../../../host/ip_addr.ts";
import { sysctl } from "../../../host/step.ts";
import { addRoutes, removeRoutes } from "../../../recipes/configure.ts";
import { leaseParameters4 } from "./parameters4.ts";

/**
 * Makes the result of a DHCPv4 lease. The server's MTU is in the routes: a result has no other place
 * for it that plugins apply. Throws like {@linkcode leaseParameters4}.
 */
export function leaseResult4(ack: Message4, { priority }: { readonly priority: number }): Result {
  const { ip, routes, dns, mtu } = leaseParameters4(ack, { priority });
  const withMtu = mtu === undefined ? {} : { mtu };
  return {
    interfaces: [],
    ips: [ip],
    routes: routes.map((route) => ({ ...route, ...withMtu })),
    dns,
  };
}

/** A container's interface. */
export interface NetnsInterface {
  readonly netns: NetnsRef;
  readonly ifName: string;
}

/** The parts of a result that an interface has. */
type ResultParts = Pick<Result, "ips" | "routes">;

/**
 * Plans to replace everything of `before` on an interface by `after`. The old address stays until the
 * new one is there. What exists already, or is gone already, counts as done.
 */
export function planInterfaceChange(
  { netns, ifName }: NetnsInterface,
  { before, after, lifetimes }: {
    readonly before: readonly ResultParts[];
    readonly after: ResultParts;
    /** Lifetimes of the new address; it has no end without them. */
    readonly lifetimes?: Lifetimes | undefined;
  },
): Step[] {
  const [address] = addressesIn([after]);
  const old = addressesIn(before).filter((cidr) => formatCidr(cidr) !== formatCidr(address!));
  const oldRoutes = before.flatMap(({ routes }) => routes).filter((route) =>
    !after.routes.some((other) => sameRoute(route, other))
  );
  const newRoutes = forgiving(addRoutes({ netns, ifName, result: after }));
  return [
    ...(old.some((cidr) => sharesSubnet(cidr, address!)) ? [promote({ netns, ifName })] : []),
    give({ netns, ifName }, { cidr: address!, lifetimes }),
    ...newRoutes,
    ...removeRoutes({ netns, ifName, result: { ips: [], routes: oldRoutes } }),
    ...old.map((cidr) => take({ netns, ifName }, cidr)),
    // The kernel removes routes along with an address.
    ...(old.length > 0 ? newRoutes : []),
  ];
}

/** Plans to remove everything of an ended lease from the interface; the link stays up. */
export function planInterfaceWithdrawal(
  place: NetnsInterface,
  standing: readonly ResultParts[],
): Step[] {
  const routes = standing.flatMap(({ routes }) => routes);
  return [
    ...removeRoutes({ ...place, result: { ips: [], routes } }),
    ...addressesIn(standing).map((cidr) => take(place, cidr)),
  ];
}

function addressesIn(standing: readonly ResultParts[]): Cidr[] {
  const texts = new Set(standing.flatMap(({ ips }) => ips.map(({ address }) => address)));
  return [...texts].map((text) => parseCidr(text)!);
}

function sameRoute(a: Route, b: Route): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sharesSubnet(a: Cidr, b: Cidr): boolean {
  return formatCidr(network(a)) === formatCidr(network(b));
}

/** Keeps the kernel from removing the other addresses of a subnet along with its first one. */
function promote({ netns, ifName }: NetnsInterface): Step {
  return {
    why: `keep the new address of container interface "${ifName}" when the old one goes`,
    do: sysctl(`net/ipv4/conf/${ifName}/promote_secondaries`, 1, { netns, optional: true }),
  };
}

function give(
  { netns, ifName }: NetnsInterface,
  { cidr, lifetimes }: { readonly cidr: Cidr; readonly lifetimes: Lifetimes | undefined },
): Step {
  return {
    why: `add address ${formatCidr(cidr)} to container interface "${ifName}"`,
    do: lifetimes
      ? replaceAddress(ifName, { cidr, lifetimes, netns })
      : addAddress(ifName, { cidr, netns }),
    tolerate: ["exists"],
  };
}

function take({ netns, ifName }: NetnsInterface, cidr: Cidr): Step {
  return {
    why: `remove address ${formatCidr(cidr)} from container interface "${ifName}"`,
    do: deleteAddress(ifName, { cidr, netns }),
    tolerate: ["missing"],
  };
}

function forgiving(steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ ...step, tolerate: ["exists"] }));
}
