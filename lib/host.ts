/**
 * The host: commands as data, the builders of each tool's commands and the readers of
 * what it prints, plans of steps, and the machine that carries them out.
 *
 * A builder's documentation shows the shell line it equals. Nothing is run before
 * {@linkcode Machine} is asked to.
 *
 * @example Plan, and look at the plan
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import type { Step } from "@denocni/denocni/host";
 * import { addBridge, command, deleteLink, describe, processes, setLink } from "@denocni/denocni/host";
 *
 * const steps: Step[] = [
 *   {
 *     why: 'create bridge "br0"',
 *     do: addBridge({ name: "br0", address: "02:00:00:00:00:01" }),
 *     undo: deleteLink("br0"),
 *   },
 *   { why: 'set "br0" up', do: setLink("br0", { up: true }) },
 *   // Programs that this project does not know are started one by one.
 *   { why: 'turn offloads of "br0" off', do: command("ethtool", ["-K", "br0", "tx", "off"]) },
 * ];
 * assertEquals(steps.map((step) => describe(step.do)).slice(1), [
 *   "ip link set dev br0 up",
 *   "ethtool -K br0 tx off",
 * ]);
 * assertEquals(processes(steps), 2);
 * ```
 *
 * @module
 */
export * from "../host/bridge_vlan.ts";
export * from "../host/command.ts";
export * from "../host/conntrack.ts";
export * from "../host/error.ts";
export * from "../host/fold.ts";
export * from "../host/ip.ts";
export * from "../host/ip_addr.ts";
export * from "../host/ip_link.ts";
export * from "../host/ip_route.ts";
export * from "../host/ip_rule.ts";
export * from "../host/ip_tuntap.ts";
export * from "../host/reason.ts";
export * from "../host/spawn.ts";
export * from "../host/step.ts";
export * from "../host/tc.ts";
export * from "../ns/machine.ts";
export * from "../ns/netns.ts";
// What these two are called fits their files and not a common list.
export * as iptables from "../host/iptables.ts";
export * as nft from "../host/nft.ts";
