/**
 * Every plugin of the project by its type, loaded when it is asked for.
 *
 * @module
 */
import type { Plugin } from "./cni/plugin.ts";

const loaders: Readonly<Record<string, () => Promise<{ plugin: unknown }>>> = {
  "bridge": () => import("./plugins/bridge.ts"),
  "dummy": () => import("./plugins/dummy.ts"),
  "host-device": () => import("./plugins/host-device.ts"),
  "ipvlan": () => import("./plugins/ipvlan.ts"),
  "loopback": () => import("./plugins/loopback.ts"),
  "macvlan": () => import("./plugins/macvlan.ts"),
  "ptp": () => import("./plugins/ptp.ts"),
  "tap": () => import("./plugins/tap.ts"),
  "vlan": () => import("./plugins/vlan.ts"),
  "host-local": () => import("./ipam/host-local.ts"),
  "static": () => import("./ipam/static.ts"),
  "dhcp": () => import("./ipam/dhcp.ts"),
  "flannel": () => import("./meta/flannel.ts"),
  "portmap": () => import("./meta/portmap.ts"),
  "bandwidth": () => import("./meta/bandwidth.ts"),
  "tuning": () => import("./meta/tuning.ts"),
  "sbr": () => import("./meta/sbr.ts"),
  "firewall": () => import("./meta/firewall.ts"),
  "vrf": () => import("./meta/vrf.ts"),
};

/** The types, in the order the documentation lists them. */
export const types: readonly string[] = Object.keys(loaders);

/** Loads a plugin; `undefined` when the type is not ours. */
export function loadPlugin(type: string): Promise<Plugin> | undefined {
  if (!Object.hasOwn(loaders, type)) return undefined;
  return loaders[type]!().then(({ plugin }) => plugin as Plugin);
}
