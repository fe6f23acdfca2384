/**
 * What is measured: chains of plugin calls, as data.
 *
 * @module
 */
import type { JsonObject } from "../cni/types.ts";

/** A chain of plugins that is called for each container. */
export interface Scenario {
  readonly name: string;
  /** Plugins in the order of ADD, each without the keys that every configuration has. */
  readonly plugins: readonly JsonObject[];
  /** Lines of `ip` that make what the host must have before. */
  readonly links?: readonly string[];
  /** Reservations that are there before, for IPAM called on its own. */
  readonly reserved?: number;
}

/** Containers that are attached at once; one more is attached all the time. */
export const crowd = 20;

/** Where reservations are kept; empty in private namespaces. */
export const dataDir = "/var/lib/cni/networks";

const ipam: JsonObject = { type: "host-local", ranges: [[{ subnet: "10.244.0.0/16" }]] };
const bridge: JsonObject = { type: "bridge", bridge: "bench0", isDefaultGateway: true, ipam };

const attachments: readonly Scenario[] = [
  { name: "bridge", plugins: [bridge] },
  { name: "bridge with masquerade", plugins: [{ ...bridge, ipMasq: true }] },
  { name: "ptp", plugins: [{ type: "ptp", ipam }] },
  { name: "macvlan", plugins: [{ type: "macvlan", master: "card0", ipam }], links: card(0) },
  {
    name: "host-device",
    plugins: [{ type: "host-device", ipam }],
    links: Array.from({ length: crowd + 1 }, (_, container) => card(container)).flat(),
  },
  { name: "bridge, then portmap", plugins: [bridge, { type: "portmap", snat: true }] },
  {
    name: "Podman's chain: bridge, portmap, firewall, tuning",
    plugins: [
      { type: "bridge", bridge: "bench0", isGateway: true, ipMasq: true, hairpinMode: true, ipam },
      { type: "portmap" },
      { type: "firewall", backend: "iptables" },
      { type: "tuning" },
    ],
  },
];

/** A link with a cable. */
function card(index: number): string[] {
  const [name, far] = [`card${index}`, `far${index}`];
  return [
    `link add ${name} type veth peer name ${far}`,
    `link set ${name} up`,
    `link set ${far} up`,
  ];
}

function reservations(count: number): Scenario {
  const wide = { type: "host-local", dataDir, ranges: [[{ subnet: "10.0.0.0/15" }]] };
  const name = `host-local, ${count.toLocaleString("en")} reservations`;
  return { name, plugins: [{ type: "host-local", ipam: wide }], reserved: count };
}

/** Everything, or the part that takes a minute. */
export function scenarios(quick: boolean): Scenario[] {
  const counts = quick ? [10, 1_000] : [10, 1_000, 10_000, 65_000];
  return [...attachments, ...counts.map(reservations)];
}

/** The configuration of one plugin of a chain for the container of this number, from 0. */
export function configuration(plugin: JsonObject, container: number): JsonObject {
  return {
    // The newest that Debian's plugins know.
    cniVersion: "1.0.0",
    name: "bench",
    ...plugin,
    ...(plugin["type"] === "host-device" && { device: `card${container}` }),
    ...(plugin["type"] === "portmap" && {
      runtimeConfig: {
        portMappings: [{ hostPort: 20_000 + container, containerPort: 80, protocol: "tcp" }],
      },
    }),
  };
}
