/**
 * What differs between leases of DHCPv4 and of DHCPv6, for those who get, keep and give back
 * either.
 *
 * @module
 */
import type { Result } from "../../../cni/types.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Lifetimes } from "../../../host/ip_addr.ts";
import type { Family, Intent, Words } from "./lease_record.ts";
import type { Client, Goal } from "../exchange/exchange4.ts";
import type { Held, Holding } from "../exchange/run_exchange4.ts";
import type { Held6, Holding6 } from "../exchange/run_exchange6.ts";
import type { Lease, Protocol } from "./lease_machine.ts";
import { formatIp } from "../../../host/ip.ts";
import { resultOf } from "./interface_plan.ts";
import { dhcp4 } from "./lease_machine.ts";
import { dhcp6, grantedBy, leasedAddress, lifetimesAt } from "./lease6.ts";

/** How packets go, and what they are about. */
export interface Ways {
  /** Holds an exchange of DHCPv4 in a container. */
  readonly hold: (holding: Holding, signal: AbortSignal) => Promise<Held>;
  /** Holds an exchange of DHCPv6 in a container. */
  readonly hold6: (holding: Holding6, signal: AbortSignal) => Promise<Held6>;
  /** Sends a release of DHCPv4 from the host. */
  readonly releaseFromHost: (goal: Goal, client: Client) => Promise<unknown>;
  /** The namespace of a lease, as long as it is the one that the lease was for. */
  readonly netnsOf: (entry: Pick<Intent, "netns" | "identity">) => NetnsRef | undefined;
}

/** An exchange to hold. Times are milliseconds. */
export interface Task<F extends Family> {
  readonly netns: NetnsRef;
  /** Name of the interface inside. */
  readonly dev: string;
  readonly goal: Words[F]["goal"];
  readonly ask: Words[F]["ask"];
  /** When to give up; it counts from the call. */
  readonly within: number;
  /** For the first answer, and between two attempts; DHCPv6 has times of its own. */
  readonly timeout?: number | undefined;
  readonly resendMax?: number | undefined;
}

/** How an exchange has ended. */
export type Ending<A> =
  | { readonly kind: "acked"; readonly ack: A; readonly age: number }
  | { readonly kind: "refused"; readonly message: string }
  | {
    readonly kind: "failed";
    readonly message: string;
    readonly counts: { readonly request: number };
  }
  | {
    readonly kind: "sent" | "confirmed" | "link missing" | "namespace gone" | "cancelled";
  };

/** What is thrown where nothing was acquired. */
export interface Refusals {
  readonly failed: (message: string) => Error;
  readonly refused: (message: string) => Error;
  readonly "link missing": () => Error;
  readonly "namespace gone": () => Error;
  /** It was called off. */
  readonly unwanted: () => Error;
}

/** The acknowledgement of an acquisition; `held` is absent where its turn has not come. */
export function acknowledged<A>(
  held: Ending<A> | undefined,
  refusals: Refusals,
): Ending<A> & { readonly kind: "acked" } {
  switch (held?.kind) {
    case "acked":
      return held;
    case "failed":
    case "refused":
      throw refusals[held.kind](held.message);
    case "link missing":
    case "namespace gone":
      throw refusals[held.kind]();
    default:
      throw refusals.unwanted();
  }
}

/** One family. */
export interface Kin<F extends Family> {
  readonly protocol: Protocol<Words[F]["ack"], Words[F]["goal"]>;
  /** The goal of an acquisition, of this address if the server agrees. */
  acquire(address: Ip | undefined): Words[F]["goal"];
  addressOf(ack: Words[F]["ack"]): Ip;
  /** Its part of a result. Throws a `CniError` of code 104 where it gives none. */
  resultOf(ack: Words[F]["ack"], ask: Words[F]["ask"]): Result;
  /** How long the interface may use the address; absent where the agent alone sees to that. */
  lifetimesAt(lease: Lease<Words[F]["ack"]>, now: number): Lifetimes | undefined;
  hold(ways: Ways, task: Task<F>, signal: AbortSignal): Promise<Ending<Words[F]["ack"]>>;
  /** Whether a lease can be given back without its container. */
  readonly remote: boolean;
  /** Gives a lease back from the host. Rejects where the family has no way to. */
  releaseFromHost(ways: Ways, left: Left<F>): Promise<unknown>;
}

/** A lease whose container is gone. */
export interface Left<F extends Family> {
  readonly goal: Words[F]["goal"];
  readonly ask: Words[F]["ask"];
  readonly ack: Words[F]["ack"];
}

const four: Kin<4> = {
  protocol: dhcp4,
  acquire: (address) => ({ kind: "acquire", address }),
  addressOf: ({ yiaddr }) => yiaddr,
  resultOf,
  lifetimesAt: () => undefined,
  hold: ({ hold }, { ask: client, ...task }, signal) => hold({ ...task, client }, signal),
  remote: true,
  releaseFromHost: ({ releaseFromHost }, { goal, ask, ack: { chaddr } }) =>
    releaseFromHost(goal, { ...ask, chaddr }),
};

const six: Kin<6> = {
  protocol: dhcp6,
  acquire: (address) => ({ kind: "acquire", address }),
  addressOf: leasedAddress,
  resultOf(ack) {
    const { ip, dns } = grantedBy(ack);
    return { interfaces: [], ips: [ip], routes: [], dns };
  },
  lifetimesAt,
  // Without rapid commit no lease comes of a message that nobody has waited for.
  hold: ({ hold6 }, { netns, dev, goal, ask, within }, signal) =>
    hold6(
      { netns, dev, goal, within, client: { ...ask, provided: [], rapidCommit: false } },
      signal,
    ),
  remote: false,
  releaseFromHost: (_, { ack }) =>
    Promise.reject(
      new Error(
        `Cannot give "${formatIp(leasedAddress(ack))}" back: ` +
          "DHCPv6 is spoken on the link of the container, which is gone",
      ),
    ),
};

const kins: { readonly [F in Family]: Kin<F> } = { 4: four, 6: six };

/** What a family has of its own. */
export function kinOf<F extends Family>(family: F): Kin<F> {
  return kins[family];
}
