/**
 * `ingressPolicy`: which bridges' containers may reach each other.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Result } from "../../cni/types.ts";
import type { ChainRule } from "../../host/iptables.ts";
import { comment } from "../../host/iptables.ts";
import type { IngressPolicy } from "./conf.ts";

/** A bridge whose containers are shielded. */
export interface Ingress {
  readonly policy: Exclude<IngressPolicy, "open">;
  /** Name of the bridge. */
  readonly bridge: string;
  /** Names of the container's ends on it. */
  readonly ports: readonly string[];
}

/** Names that mean themselves alone: `+` and `*` at the end stand for anything. */
const plainName = /^[^\s/"'\\*+!-][^\s/"'\\*+]{0,14}$/;

/**
 * The bridge that a policy is for: the first interface of the result. Throws code
 * 7 when that is none of the host's.
 */
export function ingressOf(
  policy: IngressPolicy,
  { interfaces }: Pick<Result, "interfaces">,
): Ingress | undefined {
  if (policy === "open") return undefined;
  const [first, ...rest] = interfaces;
  const problem = !first
    ? "prevResult has no interface"
    : first.sandbox
    ? `the first interface of prevResult, "${first.name}", is in the container`
    : !plainName.test(first.name)
    ? `the first interface of prevResult is called "${first.name}", which no rule can name`
    : undefined;
  if (!first || problem) {
    throw new CniError(
      codes.invalidNetworkConfig,
      `Cannot use ingressPolicy "${policy}": ${problem}, make sure to chain "firewall" plugin with "bridge"`,
    );
  }
  const ports = rest.filter(({ sandbox }) => !sandbox).map(({ name }) => name);
  return { policy, bridge: first.name, ports };
}

const first = "CNI-ISOLATION-STAGE-1";
const second = "CNI-ISOLATION-STAGE-2";

/** Chain that every forwarded packet passes first. */
export const ingressChain = first;

/** Rules of a policy in iptables, in the order in which the reference writes them. */
export function ingressRules({ policy, bridge }: Ingress): ChainRule[] {
  const remark = (text: string) => comment(`CNI firewall plugin rules (ingressPolicy: ${text})`);
  const own = remark(policy);
  const common = remark("same-bridge|isolated");
  return [
    { chain: "FORWARD", text: `-j ${first} ${common}`, first: true },
    { chain: first, text: `-i ${bridge} ! -o ${bridge} -j ${second} ${own}`, first: true },
    ...(policy === "isolated"
      ? [{ chain: first, text: `-i ${bridge} -o ${bridge} -j DROP ${own}`, first: true }]
      : []),
    { chain: first, text: `-j RETURN ${common}` },
    { chain: second, text: `-o ${bridge} -j DROP ${common}`, first: true },
    { chain: second, text: `-j RETURN ${common}` },
  ];
}
