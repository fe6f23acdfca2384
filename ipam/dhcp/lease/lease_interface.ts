/**
 * What leases have given an interface: put there, changed and taken away, one thing after the
 * other.
 *
 * @module
 */
import type { Result } from "../../../cni/types.ts";
import type { EntryOf, Family, Words } from "./lease_record.ts";
import type { Tools } from "../agent/lease_keeper.ts";
import { planChange, planWithdrawal } from "./interface_plan.ts";
import { kinOf } from "./family.ts";

/** Who keeps the lease. */
export interface Owner<F extends Family> {
  /** As it is now. */
  readonly entry: () => EntryOf<F>;
  /** Whether the interface may be given something. */
  readonly isActive: () => boolean;
  /** Takes what is still to be replaced. */
  readonly replaced: (left: EntryOf<F>["replaces"]) => void;
  readonly say: (text: string) => void;
}

/** Acknowledgements that one may replace: each may be as long as a packet. */
const mostReplaced = 8;

/** The same with an acknowledgement more that may be on the interface, unless it gives nothing new. */
export function replacing<F extends Family>(
  entry: EntryOf<F>,
  ack: Words[F]["ack"],
): EntryOf<F> {
  const { replaces } = entry;
  const [given, ...before] = partsOf(entry, [ack, ...replaces]);
  if (before.some((other) => isEqual(other, given!))) return entry;
  // The first is what the interface has for certain; of the others the latest may be there.
  const [first, ...more] = [...replaces, ack];
  return { ...entry, replaces: [first!, ...more.slice(1 - mostReplaced)] };
}

/** The interface of one lease. */
export class Standing<F extends Family> {
  readonly #tools: Tools;
  readonly #owner: Owner<F>;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(tools: Tools, owner: Owner<F>) {
    this.#tools = tools;
    this.#owner = owner;
  }

  /** Settles when nothing is under way. */
  get done(): Promise<unknown> {
    return this.#changes;
  }

  /** Gives the interface what the lease says. What fails is tried again when it is called again. */
  change(): void {
    this.#then(() => this.#change());
  }

  /** Takes from the interface what may be there now: its lease has ended, or is another's. */
  withdraw(): void {
    const entry = this.#owner.entry();
    const standing = partsOf(entry, [...entry.replaces, entry.lease.ack]);
    this.#then(() => this.#withdraw(standing));
  }

  #then(task: () => Promise<void>): void {
    this.#changes = this.#changes.then(task)
      .catch(({ message }: Error) => this.#owner.say(message));
  }

  async #change(): Promise<void> {
    const owner = this.#owner;
    const entry = owner.entry();
    const { replaces, lease, ifName } = entry;
    const netns = this.#tools.netnsOf(entry);
    if (replaces.length === 0 || !netns || !owner.isActive() || lease.refused) return;
    const [after, ...before] = partsOf(entry, [lease.ack, ...replaces]);
    const lifetimes = kinOf(entry.family).lifetimesAt(lease, this.#tools.clock.now());
    await this.#tools.apply(planChange({ netns, ifName }, { before, after: after!, lifetimes }));
    owner.replaced(owner.entry().replaces.filter((ack) => !replaces.includes(ack)));
    // Times alone go without saying.
    if (before.every((one) => isEqual(one, after!))) return;
    owner.say(`the interface has ${after!.ips[0]!.address} now, and what else the lease says`);
  }

  async #withdraw(standing: readonly Result[]): Promise<void> {
    const entry = this.#owner.entry();
    const netns = this.#tools.netnsOf(entry);
    if (!netns) return;
    await this.#tools.apply(planWithdrawal({ netns, ifName: entry.ifName }, standing));
  }
}

/** What acknowledgements give an interface. */
function partsOf<F extends Family>(
  { family, ask }: EntryOf<F>,
  acks: readonly Words[F]["ack"][],
): Result[] {
  return acks.map((ack) => kinOf(family).resultOf(ack, ask));
}

function isEqual(a: Result, b: Result): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
