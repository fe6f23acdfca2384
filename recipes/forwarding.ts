/**
 * Forwarding of packets by the host. Never switched off again: others may rely
 * on it by then.
 *
 * @module
 */
import type { Family } from "../host/ip.ts";
import type { Step } from "../host/step.ts";
import { sysctl } from "../host/step.ts";

const variables: Readonly<Record<Family, string>> = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
};

/** Enables forwarding of each of these families. */
export function enableForwarding(families: Iterable<Family>): Step[] {
  return [...new Set(families)].map((family) => ({
    why: `enable forwarding of IPv${family}`,
    do: sysctl(variables[family], 1),
  }));
}
