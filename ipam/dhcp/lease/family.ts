/**
 * Operations on leases of DHCPv4 and of DHCPv6, for the code that acquires, keeps and releases either.
 *
 * @module
 */
import type { Result } from "../../../cni/types.ts";
import type { NetnsRef } from "../../../host/command.ts";
import type { Family, Ip } from "../../../host/ip.ts";
import type { Lifetimes } from "../../../host/ip_addr.ts";
import type { Client4, ExchangeGoal4 } from "../exchange/client_message4.ts";
import type { ExchangeJob4, ExchangeResult4 } from "../exchange/run_exchange4.ts";
import type { ExchangeJob6, ExchangeResult6 } from "../exchange/run_exchange6.ts";
import type { Lease, LeaseProtocol } from "./lease.ts";
import type { FamilyTypes, LeaseIntent } from "./lease_record.ts";
import { formatIp } from "../../../host/ip.ts";
import { leaseResult4 } from "./interface_plan.ts";
import { leaseProtocol4 } from "./lease4.ts";
import { leasedAddress6, leaseParameters6, leaseProtocol6, lifetimesAt } from "./lease6.ts";

/** How packets reach servers. */
export interface Transport {
  /** Runs a DHCPv4 exchange in a container. */
  readonly runExchange4: (job: ExchangeJob4, signal: AbortSignal) => Promise<ExchangeResult4>;
  /** Runs a DHCPv6 exchange in a container. */
  readonly runExchange6: (job: ExchangeJob6, signal: AbortSignal) => Promise<ExchangeResult6>;
  /** Sends a DHCPRELEASE from the host. */
  readonly releaseFromHost: (goal: ExchangeGoal4, client: Client4) => Promise<unknown>;
  /** Finds the namespace of a lease; `undefined` when it is gone, or another one is at its path. */
  readonly netnsOf: (record: Pick<LeaseIntent, "netns" | "identity">) => NetnsRef | undefined;
}

/** An exchange to run. Times are milliseconds. */
export interface ExchangeTask<F extends Family> {
  readonly netns: NetnsRef;
  /** Name of the interface inside. */
  readonly dev: string;
  readonly goal: FamilyTypes[F]["goal"];
  readonly client: FamilyTypes[F]["client"];
  /** When to give up, from the call. */
  readonly within: number;
  /** Wait for a first answer, and ceiling of pauses between attempts; DHCPv6 has times of its own. */
  readonly timeout?: number | undefined;
  readonly resendMax?: number | undefined;
}

/** How an exchange of either family has ended. */
export type ExchangeEnding<A> =
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

/** Makes the errors of an acquisition. */
export interface AcquisitionErrors {
  readonly failed: (message: string) => Error;
  readonly refused: (message: string) => Error;
  readonly "link missing": () => Error;
  readonly "namespace gone": () => Error;
  /** The caller has ended it. */
  readonly cancelled: () => Error;
}

/** Gives the acknowledgement of an acquisition, or throws. `ended` is absent when its turn has not come. */
export function requireAck<A>(
  ended: ExchangeEnding<A> | undefined,
  errors: AcquisitionErrors,
): ExchangeEnding<A> & { readonly kind: "acked" } {
  switch (ended?.kind) {
    case "acked":
      return ended;
    case "failed":
    case "refused":
      throw errors[ended.kind](ended.message);
    case "link missing":
    case "namespace gone":
      throw errors[ended.kind]();
    default:
      throw errors.cancelled();
  }
}

/** Operations of one family. */
export interface FamilyOps<F extends Family> {
  readonly protocol: LeaseProtocol<FamilyTypes[F]["ack"], FamilyTypes[F]["goal"]>;
  /** Makes the goal of an acquisition, of this address if the server agrees. */
  acquireGoal(address: Ip | undefined): FamilyTypes[F]["goal"];
  /** Gives the leased address. */
  addressOf(ack: FamilyTypes[F]["ack"]): Ip;
  /** Makes the lease's part of a CNI result. Throws a `CniError` of code 104 when it has none. */
  resultOf(ack: FamilyTypes[F]["ack"], client: FamilyTypes[F]["client"]): Result;
  /** Lifetimes of the address on the interface; absent when the agent alone removes it. */
  lifetimesAt(lease: Lease<FamilyTypes[F]["ack"]>, now: number): Lifetimes | undefined;
  runExchange(
    transport: Transport,
    task: ExchangeTask<F>,
    signal: AbortSignal,
  ): Promise<ExchangeEnding<FamilyTypes[F]["ack"]>>;
  /** Whether the host can release a lease whose container is gone. */
  readonly canReleaseFromHost: boolean;
  /** Releases a lease from the host. Rejects when the family cannot. */
  releaseFromHost(transport: Transport, release: HostRelease<F>): Promise<unknown>;
}

/** A lease to release from the host: its container is gone. */
export interface HostRelease<F extends Family> {
  readonly goal: FamilyTypes[F]["goal"];
  readonly client: FamilyTypes[F]["client"];
  readonly ack: FamilyTypes[F]["ack"];
}

const ops4: FamilyOps<4> = {
  protocol: leaseProtocol4,
  acquireGoal: (address) => ({ kind: "acquire", address }),
  addressOf: ({ yiaddr }) => yiaddr,
  resultOf: leaseResult4,
  lifetimesAt: () => undefined,
  runExchange: ({ runExchange4 }, task, signal) => runExchange4(task, signal),
  canReleaseFromHost: true,
  releaseFromHost: ({ releaseFromHost }, { goal, client, ack: { chaddr } }) =>
    releaseFromHost(goal, { ...client, chaddr }),
};

const ops6: FamilyOps<6> = {
  protocol: leaseProtocol6,
  acquireGoal: (address) => ({ kind: "acquire", address }),
  addressOf: leasedAddress6,
  resultOf(ack) {
    const { ip, dns } = leaseParameters6(ack);
    return { interfaces: [], ips: [ip], routes: [], dns };
  },
  lifetimesAt,
  // Without rapid commit, no lease can come of a SOLICIT whose answer nobody has waited for.
  runExchange: ({ runExchange6 }, { netns, dev, goal, client, within }, signal) =>
    runExchange6(
      { netns, dev, goal, within, client: { ...client, provided: [], rapidCommit: false } },
      signal,
    ),
  canReleaseFromHost: false,
  releaseFromHost: (_, { ack }) =>
    Promise.reject(
      new Error(
        `Cannot give "${formatIp(leasedAddress6(ack))}" back: ` +
          "DHCPv6 is spoken on the link of the container, which is gone",
      ),
    ),
};

const allFamilyOps: { readonly [F in Family]: FamilyOps<F> } = { 4: ops4, 6: ops6 };

/** Gives the operations of a family. */
export function familyOps<F extends Family>(family: F): FamilyOps<F> {
  return allFamilyOps[family];
}
