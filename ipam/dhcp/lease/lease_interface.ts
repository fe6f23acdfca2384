/**
 * The container's interface as its lease configures it: applies changes of the lease and removes what
 * it gave, one change after the other.
 *
 * @module
 */
import type { Result } from "../../../cni/types.ts";
import type { Family } from "../../../host/ip.ts";
import type { Step } from "../../../host/step.ts";
import type { Transport } from "./family.ts";
import type { FamilyTypes, LeaseRecordOf } from "./lease_record.ts";
import { familyOps } from "./family.ts";
import { planInterfaceChange, planInterfaceWithdrawal } from "./interface_plan.ts";

/** What changes of an interface need. */
export interface InterfaceTools extends Pick<Transport, "netnsOf"> {
  /** Applies a plan. */
  readonly apply: (steps: readonly Step[]) => Promise<unknown>;
  readonly clock: {
    /** Gives the time in milliseconds since 1970. */
    now(): number;
  };
}

/** The keeper of the lease. */
export interface LeaseOwner<F extends Family> {
  /** Gives the lease as it is now. */
  readonly record: () => LeaseRecordOf<F>;
  /** Whether the interface may be configured. */
  readonly isActive: () => boolean;
  /** Takes the acknowledgements that are still to be replaced. */
  readonly replaced: (left: LeaseRecordOf<F>["replacedAcks"]) => void;
  readonly say: (text: string) => void;
}

/** Most acknowledgements to replace at once: each may be as long as a packet. */
const mostReplaced = 8;

/** Adds an acknowledgement whose addresses and routes may be on the interface, unless it gives nothing new. */
export function withReplacedAck<F extends Family>(
  record: LeaseRecordOf<F>,
  ack: FamilyTypes[F]["ack"],
): LeaseRecordOf<F> {
  const { replacedAcks } = record;
  const [given, ...before] = partsOf(record, [ack, ...replacedAcks]);
  if (before.some((other) => isEqual(other, given!))) return record;
  // The interface has the first for certain; of the others it may have the latest ones.
  const [first, ...more] = [...replacedAcks, ack];
  return { ...record, replacedAcks: [first!, ...more.slice(1 - mostReplaced)] };
}

/** The interface of one lease; its changes are applied one after the other. */
export class LeaseInterface<F extends Family> {
  readonly #tools: InterfaceTools;
  readonly #owner: LeaseOwner<F>;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(tools: InterfaceTools, owner: LeaseOwner<F>) {
    this.#tools = tools;
    this.#owner = owner;
  }

  /** Settles when no change is under way. */
  get done(): Promise<unknown> {
    return this.#changes;
  }

  /** Configures the interface by the lease. The next call tries a failed change again. */
  change(): void {
    this.#then(() => this.#change());
  }

  /** Removes what the interface may have of a lease that has ended, or is another client's. */
  withdraw(): void {
    const record = this.#owner.record();
    const standing = partsOf(record, [...record.replacedAcks, record.lease.ack]);
    this.#then(() => this.#withdraw(standing));
  }

  #then(task: () => Promise<void>): void {
    this.#changes = this.#changes.then(task)
      .catch(({ message }: Error) => this.#owner.say(message));
  }

  async #change(): Promise<void> {
    const owner = this.#owner;
    const record = owner.record();
    const { replacedAcks, lease, ifName } = record;
    const netns = this.#tools.netnsOf(record);
    if (replacedAcks.length === 0 || !netns || !owner.isActive() || lease.refused) return;
    const [after, ...before] = partsOf(record, [lease.ack, ...replacedAcks]);
    const lifetimes = familyOps(record.family).lifetimesAt(lease, this.#tools.clock.now());
    await this.#tools.apply(
      planInterfaceChange({ netns, ifName }, { before, after: after!, lifetimes }),
    );
    owner.replaced(owner.record().replacedAcks.filter((ack) => !replacedAcks.includes(ack)));
    // Changed times alone are not logged.
    if (before.every((one) => isEqual(one, after!))) return;
    owner.say(`the interface has ${after!.ips[0]!.address} now, and what else the lease says`);
  }

  async #withdraw(standing: readonly Result[]): Promise<void> {
    const record = this.#owner.record();
    const netns = this.#tools.netnsOf(record);
    if (!netns) return;
    await this.#tools.apply(planInterfaceWithdrawal({ netns, ifName: record.ifName }, standing));
  }
}

/** Gives the parts of a result of each acknowledgement. */
function partsOf<F extends Family>(
  { family, client }: LeaseRecordOf<F>,
  acks: readonly FamilyTypes[F]["ack"][],
): Result[] {
  return acks.map((ack) => familyOps(family).resultOf(ack, client));
}

function isEqual(a: Result, b: Result): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
