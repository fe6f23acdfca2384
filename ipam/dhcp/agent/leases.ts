/**
 * The leases of one agent: acquires them, has them kept, gives them back, and cleans up after
 * acquisitions that were cut short.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { Result } from "../../../cni/types.ts";
import type { Family } from "../../../host/ip.ts";
import type { NetnsIdentity } from "../../../ns/netns.ts";
import type { AcquisitionErrors, ExchangeEnding } from "../lease/family.ts";
import type {
  FamilyTypes,
  LeaseIntent,
  LeaseIntentOf,
  LeaseRecord,
  LeaseRecordOf,
} from "../lease/lease_record.ts";
import type { AgentTools } from "./agent_tools.ts";
import { failureOf } from "../../../host/files.ts";
import { sameNetns } from "../../../ns/netns.ts";
import { rejectOnAbort } from "../lease/all_or_cancel.ts";
import { familyOps, requireAck } from "../lease/family.ts";
import { shortestExchange } from "../lease/lease_machine.ts";
import { mayHaveLeased } from "../lease/release.ts";
import { describeLease, LeaseKeeper } from "./lease_keeper.ts";
import { Orphans } from "./orphans.ts";
import { runBeforeDeadline } from "./queue_deadline.ts";

/** A lease that a plugin asks for. */
export interface LeaseRequest<F extends Family = Family> {
  readonly family: F;
  readonly attachment: AttachmentKey;
  /** File of the lease. */
  readonly path: string;
  /** Path of the namespace, with the prefix. */
  readonly netns: string;
  readonly identity: NetnsIdentity;
  readonly client: FamilyTypes[F]["client"];
  /** Milliseconds that the plugin can wait, from its call on. */
  readonly within: number;
}

/** A lease's part of a result, and whether this call has acquired it. */
export interface LeaseGrant {
  readonly result: Result;
  readonly isNew: boolean;
}

/** A plugin's call: when it began, in milliseconds since 1970, and what ends it. */
interface Call {
  readonly start: number;
  readonly signal: AbortSignal;
}

/** An acquisition under way. */
interface Acquisition {
  readonly cancel: AbortController;
  /** Settles when it is over, however it ends. */
  readonly over: Promise<unknown>;
}

/** Result of an acquisition whose turn has not come in time. */
const neverStarted = {
  kind: "failed",
  message: "no more tries: nothing was sent: other acquisitions have taken all the time",
  counts: { request: 0 },
} as const;

/** All leases of one agent, by the paths of their files. */
export class Leases {
  readonly #tools: AgentTools;
  readonly #keepers = new Map<string, LeaseKeeper>();
  readonly #acquiring = new Map<string, Acquisition>();
  readonly #closed = new AbortController();
  readonly #orphans: Orphans;

  constructor(tools: AgentTools) {
    this.#tools = tools;
    this.#orphans = new Orphans(tools, this.#closed.signal);
  }

  /** Keepers of the leases. */
  get keepers(): readonly LeaseKeeper[] {
    return [...this.#keepers.values()];
  }

  /** Goes on with the leases on the disk: keeps those in use, releases the others. */
  resume(): void {
    this.#adoptAll();
    this.#sweepOrphans();
  }

  /** Looks at every lease, since namespaces and other agents end without notice. */
  sweep(): void {
    for (const keeper of this.keepers) keeper.look();
    this.#adoptAll();
    this.#sweepOrphans();
  }

  #sweepOrphans(): void {
    this.#orphans.sweep((path) => this.#acquiring.has(path));
  }

  /** Leaves every lease as it is and does nothing more. */
  async close(): Promise<void> {
    this.#closed.abort();
    const acquiring = [...this.#acquiring.values()];
    for (const { cancel } of acquiring) cancel.abort();
    await Promise.all([...acquiring.map(({ over }) => over), this.#orphans.idle()]);
    await Promise.all(this.keepers.map((keeper) => keeper.suspend()));
  }

  /** Gets the lease for a request: the existing one, or a new one. */
  async get(request: LeaseRequest, signal: AbortSignal): Promise<LeaseGrant> {
    const start = this.#tools.clock.now();
    for (;;) {
      const busy = this.#acquiring.get(request.path)?.over ?? this.#orphans.busy(request.path);
      if (!busy) break;
      await Promise.race([busy, rejectOnAbort(signal)]);
    }
    this.#refuseIfClosed();
    const keeper = this.keeperOf(request.path);
    if (!keeper?.isValid || !sameNetns(keeper.record.identity, request.identity)) {
      return { result: await this.#begin(request, { start, signal }), isNew: true };
    }
    keeper.update(request.client);
    keeper.look();
    return { result: keeper.result, isNew: false };
  }

  /** Keeper of the lease in a file, if it is kept. */
  keeperOf(path: string): LeaseKeeper | undefined {
    return this.#keepers.get(path);
  }

  /** Gives up the lease in a file; there may be none. */
  async giveUp(path: string): Promise<void> {
    this.#refuseIfClosed();
    const acquiring = this.#acquiring.get(path);
    acquiring?.cancel.abort();
    await acquiring?.over;
    await this.#orphans.cleanUpIntent(path);
    this.#refuseIfClosed();
    const keeper = this.#keepers.get(path);
    await (keeper ? this.#stop(keeper) : this.#orphans.giveUp(path));
  }

  /** Gives up every stale lease. */
  async giveUpAll(isStale: (attachment: AttachmentKey) => boolean): Promise<void> {
    this.#refuseIfClosed();
    const keepers = this.keepers.filter(({ record }) => isStale(record));
    await Promise.all(keepers.map((keeper) => this.#stop(keeper)));
    const left = this.#tools.store.all().filter(isStale);
    await Promise.all(left.map(({ path }) => this.#orphans.giveUp(path)));
  }

  /** Throws when the agent is ending: the plugin has to call the next agent. */
  #refuseIfClosed(): void {
    if (this.#closed.signal.aborted) {
      throw new Error("Cannot get or give back a lease: the lease agent is ending");
    }
  }

  async #stop(keeper: LeaseKeeper): Promise<void> {
    const { record, phase } = keeper;
    await keeper.stop();
    // A later caller has waited for the same release.
    if (phase !== "ended") this.#tools.say(`lease of ${describeLease(record)}: given back`);
  }

  /** Keeps this agent's leases, and takes over those of agents that no longer run. */
  #adoptAll(): void {
    const isBusy = ({ path }: LeaseRecord) =>
      this.#keepers.has(path) || this.#acquiring.has(path) || this.#orphans.busy(path);
    for (const record of this.#tools.store.all()) {
      const own = isBusy(record) ? undefined : this.#orphans.takeOver(record);
      if (own) this.#adopt(LeaseKeeper.resume<Family>(own, this.#tools));
    }
  }

  #adopt(keeper: LeaseKeeper): void {
    const { path } = keeper.record;
    this.#keepers.set(path, keeper);
    keeper.ended.then(() => {
      if (this.#keepers.get(path) === keeper) this.#keepers.delete(path);
    });
  }

  /** Gives up the present lease, if there is one, and acquires a new one. */
  #begin(request: LeaseRequest, { start, signal }: Call): Promise<Result> {
    const { path } = request;
    const cancel = new AbortController();
    const any = AbortSignal.any([signal, cancel.signal]);
    const result = this.#acquire(request, { start, signal: any })
      .finally(() => this.#acquiring.delete(path));
    this.#acquiring.set(path, { cancel, over: result.catch(() => {}) });
    return result;
  }

  async #acquire<F extends Family>(
    request: LeaseRequest<F>,
    { start, signal }: Call,
  ): Promise<Result> {
    const { path, netns, family, attachment: { ifName: dev, network }, client } = request;
    const { acquisitions: queue, clock, limits, store } = this.#tools;
    const ops = familyOps(family);
    const before = store.read(path) as LeaseRecordOf<F> | undefined;
    // The same client may well get the same address again.
    const goal = ops.acquireGoal(before && ops.addressOf(before.lease.ack));
    await this.#keepers.get(path)?.stop();
    const longest = Math.max(Math.min(limits.within, request.within), shortestExchange);
    const deadline = { queue, clock, start, within: longest, signal, lane: network };
    const result = await runBeforeDeadline<ExchangeEnding<FamilyTypes[F]["ack"]>>(
      deadline,
      (within) => {
        store.writeIntent(this.#intentOf(request) as LeaseIntent);
        const task = { netns: { path: netns }, dev, goal, client, ...limits, within };
        return ops.runExchange(this.#tools, task, signal);
      },
    );
    const ended = result ?? (signal.aborted ? undefined : neverStarted);
    if (ended && !mayHaveLeased(ended)) store.removeIntent(path);
    return await this.#keep(request, requireAck(ended, acquisitionErrors(request)));
  }

  #intentOf<F extends Family>(
    { attachment, family, path, netns, identity, client }: LeaseRequest<F>,
  ): LeaseIntentOf<F> {
    return { ...attachment, family, path, netns, identity, client, agent: this.#tools.socket };
  }

  /** Begins to keep a new lease. One that cannot be used or written down goes back at once. */
  async #keep<F extends Family>(
    request: LeaseRequest<F>,
    { ack, age }: { readonly ack: FamilyTypes[F]["ack"]; readonly age: number },
  ): Promise<Result> {
    const { clock, random, store } = this.#tools;
    const { path, client, family } = request;
    const ops = familyOps(family);
    const record: LeaseRecordOf<F> = {
      ...this.#intentOf(request),
      replacedAcks: [],
      lease: ops.protocol.leaseOf(ack, { now: clock.now(), age, random }),
      generation: (store.read(path)?.generation ?? 0) + 1,
    };
    const failure = failureOf(() => {
      ops.resultOf(ack, client);
      this.#adopt(LeaseKeeper.begin<Family>(record, this.#tools));
    });
    if (failure) await this.#orphans.giveBack(record);
    store.removeIntent(path);
    if (failure) throw failure;
    this.#tools.say(`lease of ${describeLease(record)}: got, ${termOf(record)}`);
    return ops.resultOf(ack, client);
  }
}

/** `until 2026-11-21T10:00:00.000Z` */
function termOf({ lease: { expireAt } }: LeaseRecordOf<Family>): string {
  return Number.isFinite(expireAt) ? `until ${new Date(expireAt).toISOString()}` : "without an end";
}

/** Errors of an acquisition; some texts are the reference's. */
function acquisitionErrors({ netns, attachment: { ifName } }: LeaseRequest): AcquisitionErrors {
  const asItIs = (message: string) => new Error(message);
  return {
    failed: asItIs,
    refused: asItIs,
    "link missing": () => new Error(`error looking up "${ifName}": Link not found`),
    "namespace gone": () => new Error(`Cannot use network namespace "${netns}": it is gone`),
    cancelled: () => new Error(`Cannot get a lease for "${ifName}": it is not wanted any more`),
  };
}
