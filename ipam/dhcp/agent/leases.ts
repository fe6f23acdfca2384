/**
 * The leases of one agent: gets them, has them kept, gives them back, and clears up after
 * acquisitions that were cut short.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { Result } from "../../../cni/types.ts";
import type { NetnsIdentity, NetnsState } from "../../../ns/netns.ts";
import type { Entry, EntryOf, Family, Intent, IntentOf, Words } from "../lease/lease_record.ts";
import type { Ending, Refusals } from "../lease/family.ts";
import type { Tools } from "./lease_keeper.ts";
import type { Store } from "../lease/lease_store.ts";
import type { Turns } from "./fair_queue.ts";
import { failureOf } from "../../../host/files.ts";
import { sameNetns } from "../../../ns/netns.ts";
import { acknowledged, kinOf } from "../lease/family.ts";
import { mayHaveBrought } from "../lease/release.ts";
import { describe, Keeper } from "./lease_keeper.ts";
import { Leftovers } from "./orphans.ts";
import { inTime, leastExchange } from "./queue_deadline.ts";
import { aborted } from "../lease/all_or_cancel.ts";

/** What the agent works with. */
export interface AgentTools extends Tools {
  readonly store: Pick<
    Store,
    "write" | "remove" | "read" | "all" | "pathOf" | "intend" | "forget" | "intent" | "intents"
  >;
  /** What stands at a path. */
  readonly inspect: (path: string) => NetnsState;
  /** Exchanges that a plugin waits for. */
  readonly acquisitions: Turns;
  /** The agent's socket: whose leases are its own. */
  readonly socket: string;
  /** Does something in place of the agent of a socket, unless one runs; tells whether it did. */
  readonly unlessServed: (socket: string, task: () => void) => boolean;
  /** Put before the path of every namespace. */
  readonly hostPrefix: string;
  /** Asks servers for broadcast answers. */
  readonly broadcast: boolean;
}

/** A lease that a plugin asks for. */
export interface Wanted<F extends Family = Family> {
  readonly family: F;
  readonly attachment: AttachmentKey;
  /** File of the lease. */
  readonly path: string;
  /** Path of the namespace, with the prefix. */
  readonly netns: string;
  readonly identity: NetnsIdentity;
  readonly ask: Words[F]["ask"];
  /** Milliseconds that whoever asks can wait, from the call on. */
  readonly within: number;
}

/** A lease's part of a result, and whether it was got just now. */
export interface Got {
  readonly result: Result;
  readonly isNew: boolean;
}

/** When a lease was asked for, in milliseconds since 1970, and what ends that. */
interface Call {
  readonly start: number;
  readonly signal: AbortSignal;
}

/** An acquisition under way. */
interface Acquiring {
  readonly cancel: AbortController;
  /** Settles when it is over, however it ends. */
  readonly over: Promise<unknown>;
}

/** An acquisition whose turn has not come in its time. */
const overdue = {
  kind: "failed",
  message: "no more tries: nothing was sent: other acquisitions have taken all the time",
  counts: { request: 0 },
} as const;

/** All leases of one agent, by their files. */
export class Leases {
  readonly #tools: AgentTools;
  readonly #keepers = new Map<string, Keeper>();
  readonly #acquiring = new Map<string, Acquiring>();
  readonly #closed = new AbortController();
  readonly #leftovers: Leftovers;

  constructor(tools: AgentTools) {
    this.#tools = tools;
    this.#leftovers = new Leftovers(tools, this.#closed.signal);
  }

  /** Those that are kept. */
  get keepers(): readonly Keeper[] {
    return [...this.#keepers.values()];
  }

  /** Goes on with what an agent before has left: keeps what lives, releases what is gone. */
  resume(): void {
    this.#adoptAll();
    this.#sweepLeftovers();
  }

  /** Looks at every lease: namespaces end without a word, and so do other agents. */
  sweep(): void {
    for (const keeper of this.keepers) keeper.look();
    this.#adoptAll();
    this.#sweepLeftovers();
  }

  #sweepLeftovers(): void {
    this.#leftovers.sweep((path) => this.#acquiring.has(path));
  }

  /** Leaves every lease as it is and does nothing more. */
  async close(): Promise<void> {
    this.#closed.abort();
    const acquiring = [...this.#acquiring.values()];
    for (const { cancel } of acquiring) cancel.abort();
    await Promise.all([...acquiring.map(({ over }) => over), this.#leftovers.idle()]);
    await Promise.all(this.keepers.map((keeper) => keeper.suspend()));
  }

  /** The lease that is wanted: the one that is there, or a new one. */
  async get(wanted: Wanted, signal: AbortSignal): Promise<Got> {
    const start = this.#tools.clock.now();
    for (;;) {
      const busy = this.#acquiring.get(wanted.path)?.over ?? this.#leftovers.busy(wanted.path);
      if (!busy) break;
      await Promise.race([busy, aborted(signal)]);
    }
    this.#refuseIfClosed();
    const kept = this.kept(wanted.path);
    if (!kept?.holds || !sameNetns(kept.entry.identity, wanted.identity)) {
      return { result: await this.#begin(wanted, { start, signal }), isNew: true };
    }
    kept.update(wanted.ask);
    kept.look();
    return { result: kept.result, isNew: false };
  }

  /** Who keeps the lease of a file, if anybody does. */
  kept(path: string): Keeper | undefined {
    return this.#keepers.get(path);
  }

  /** Gives the lease of a file up; there may be none. */
  async giveUp(path: string): Promise<void> {
    this.#refuseIfClosed();
    const acquiring = this.#acquiring.get(path);
    acquiring?.cancel.abort();
    await acquiring?.over;
    await this.#leftovers.settle(path);
    this.#refuseIfClosed();
    const keeper = this.#keepers.get(path);
    await (keeper ? this.#stop(keeper) : this.#leftovers.giveUp(path));
  }

  /** Gives up every lease that is of no use. */
  async giveUpAll(isStale: (attachment: AttachmentKey) => boolean): Promise<void> {
    this.#refuseIfClosed();
    const keepers = this.keepers.filter(({ entry }) => isStale(entry));
    await Promise.all(keepers.map((keeper) => this.#stop(keeper)));
    const left = this.#tools.store.all().filter(isStale);
    await Promise.all(left.map(({ path }) => this.#leftovers.giveUp(path)));
  }

  /** Whoever calls an agent that is ending has to call the next one. */
  #refuseIfClosed(): void {
    if (this.#closed.signal.aborted) {
      throw new Error("Cannot get or give back a lease: the lease agent is ending");
    }
  }

  async #stop(keeper: Keeper): Promise<void> {
    const { entry, phase } = keeper;
    await keeper.stop();
    // Who came later than another has waited for the same.
    if (phase !== "ended") this.#tools.say(`lease of ${describe(entry)}: given back`);
  }

  /** Keeps what is this agent's, and what agents have left that run no more. */
  #adoptAll(): void {
    const isBusy = ({ path }: Entry) =>
      this.#keepers.has(path) || this.#acquiring.has(path) || this.#leftovers.busy(path);
    for (const entry of this.#tools.store.all()) {
      const own = isBusy(entry) ? undefined : this.#leftovers.takenOver(entry);
      if (own) this.#adopt(Keeper.resume<Family>(own, this.#tools));
    }
  }

  #adopt(keeper: Keeper): void {
    const { path } = keeper.entry;
    this.#keepers.set(path, keeper);
    keeper.ended.then(() => {
      if (this.#keepers.get(path) === keeper) this.#keepers.delete(path);
    });
  }

  /** Gives up what there was, if anything, and acquires a lease. */
  #begin(wanted: Wanted, { start, signal }: Call): Promise<Result> {
    const { path } = wanted;
    const cancel = new AbortController();
    const any = AbortSignal.any([signal, cancel.signal]);
    const result = this.#acquire(wanted, { start, signal: any })
      .finally(() => this.#acquiring.delete(path));
    this.#acquiring.set(path, { cancel, over: result.catch(() => {}) });
    return result;
  }

  async #acquire<F extends Family>(
    wanted: Wanted<F>,
    { start, signal }: Call,
  ): Promise<Result> {
    const { path, netns, family, attachment: { ifName: dev, network }, ask } = wanted;
    const { acquisitions: turns, clock, limits, store } = this.#tools;
    const kin = kinOf(family);
    const before = store.read(path) as EntryOf<F> | undefined;
    // The same client may well get the same address again.
    const goal = kin.acquire(before && kin.addressOf(before.lease.ack));
    await this.#keepers.get(path)?.stop();
    const longest = Math.max(Math.min(limits.within, wanted.within), leastExchange);
    const patience = { turns, clock, start, within: longest, signal, lane: network };
    const begun = await inTime<Ending<Words[F]["ack"]>>(patience, (within) => {
      store.intend(this.#intentOf(wanted) as Intent);
      const task = { netns: { path: netns }, dev, goal, ask, ...limits, within };
      return kin.hold(this.#tools, task, signal);
    });
    const held = begun ?? (signal.aborted ? undefined : overdue);
    if (held && !mayHaveBrought(held)) store.forget(path);
    return await this.#keep(wanted, acknowledged(held, refusals(wanted)));
  }

  #intentOf<F extends Family>(
    { attachment, family, path, netns, identity, ask }: Wanted<F>,
  ): IntentOf<F> {
    return { ...attachment, family, path, netns, identity, ask, agent: this.#tools.socket };
  }

  /** A lease that cannot be used or written down goes back at once. */
  async #keep<F extends Family>(
    wanted: Wanted<F>,
    { ack, age }: { readonly ack: Words[F]["ack"]; readonly age: number },
  ): Promise<Result> {
    const { clock, random, store } = this.#tools;
    const { path, ask, family } = wanted;
    const kin = kinOf(family);
    const entry: EntryOf<F> = {
      ...this.#intentOf(wanted),
      replaces: [],
      lease: kin.protocol.leaseOf(ack, { now: clock.now(), age, random }),
      generation: (store.read(path)?.generation ?? 0) + 1,
    };
    const failure = failureOf(() => {
      kin.resultOf(ack, ask);
      this.#adopt(Keeper.begin<Family>(entry, this.#tools));
    });
    if (failure) await this.#leftovers.giveBack(entry);
    store.forget(path);
    if (failure) throw failure;
    this.#tools.say(`lease of ${describe(entry)}: got, ${termOf(entry)}`);
    return kin.resultOf(ack, ask);
  }
}

/** `until 2026-11-21T10:00:00.000Z` */
function termOf({ lease: { expireAt } }: EntryOf<Family>): string {
  return Number.isFinite(expireAt) ? `until ${new Date(expireAt).toISOString()}` : "without an end";
}

/** What a plugin is told where nothing was acquired; in part the reference's words. */
function refusals({ netns, attachment: { ifName } }: Wanted): Refusals {
  const asItIs = (message: string) => new Error(message);
  return {
    failed: asItIs,
    refused: asItIs,
    "link missing": () => new Error(`error looking up "${ifName}": Link not found`),
    "namespace gone": () => new Error(`Cannot use network namespace "${netns}": it is gone`),
    unwanted: () => new Error(`Cannot get a lease for "${ifName}": it is not wanted any more`),
  };
}
