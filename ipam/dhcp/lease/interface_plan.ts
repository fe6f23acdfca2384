/**
 * What a lease means to the container's interface: its part of a CNI result, and the plans for a
 * lease that says something else than before, or that has ended.
 *
 * @module
 */
import type { Result, Route } from "../../../cni/types.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Cidr } from "../../../host/ip.ts";
import type { Lifetimes } from "../../../host/ip_addr.ts";
import type { Step } from "../../../host/step.ts";
import type { Message } from "../codec/message4.ts";
import { addAddress, deleteAddress, replaceAddress } from "../../../host/ip_addr.ts";
import { formatCidr, network, parseCidr } from "../../../host/ip.ts";
import { sysctl } from "../../../host/step.ts";
import { addRoutes, removeRoutes } from "../../../recipes/configure.ts";
import { grantedBy } from "./parameters4.ts";

/**
 * The result of a lease of DHCPv4. The server's MTU stands in the routes: a result has no other place for it
 * that plugins apply. Throws as {@linkcode grantedBy}.
 */
export function resultOf(ack: Message, { priority }: { readonly priority: number }): Result {
  const { ip, routes, dns, mtu } = grantedBy(ack, { priority });
  const withMtu = mtu === undefined ? {} : { mtu };
  return {
    interfaces: [],
    ips: [ip],
    routes: routes.map((route) => ({ ...route, ...withMtu })),
    dns,
  };
}

/** An interface, and what is asked for it. */
export interface Place {
  readonly netns: NetnsRef;
  readonly ifName: string;
}

/** A part of a result that stands on an interface. */
type Standing = Pick<Result, "ips" | "routes">;

/**
 * Gives the interface what `after` says in place of all that is `before`. The old address stays
 * until the new one is on; what is there already, or gone already, is a success.
 */
export function planChange(
  { netns, ifName }: Place,
  { before, after, lifetimes }: {
    readonly before: readonly Standing[];
    readonly after: Standing;
    /** Of the new address; without them it has no end. */
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
    // The kernel takes routes along with an address.
    ...(old.length > 0 ? newRoutes : []),
  ];
}

/** Takes everything of a lease that has ended from the interface; the link stays up. */
export function planWithdrawal(place: Place, standing: readonly Standing[]): Step[] {
  const routes = standing.flatMap(({ routes }) => routes);
  return [
    ...removeRoutes({ ...place, result: { ips: [], routes } }),
    ...addressesIn(standing).map((cidr) => take(place, cidr)),
  ];
}

function addressesIn(standing: readonly Standing[]): Cidr[] {
  const texts = new Set(standing.flatMap(({ ips }) => ips.map(({ address }) => address)));
  return [...texts].map((text) => parseCidr(text)!);
}

function sameRoute(a: Route, b: Route): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function sharesSubnet(a: Cidr, b: Cidr): boolean {
  return formatCidr(network(a)) === formatCidr(network(b));
}

/** Without it the kernel takes the other addresses of a subnet along with its first one. */
function promote({ netns, ifName }: Place): Step {
  return {
    why: `keep the new address of container interface "${ifName}" when the old one goes`,
    do: sysctl(`net/ipv4/conf/${ifName}/promote_secondaries`, 1, { netns, optional: true }),
  };
}

function give(
  { netns, ifName }: Place,
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

function take({ netns, ifName }: Place, cidr: Cidr): Step {
  return {
    why: `remove address ${formatCidr(cidr)} from container interface "${ifName}"`,
    do: deleteAddress(ifName, { cidr, netns }),
    tolerate: ["missing"],
  };
}

function forgiving(steps: readonly Step[]): Step[] {
  return steps.map((step) => ({ ...step, tolerate: ["exists"] }));
}
