/**
 * Orphans: leases that no agent keeps, and acquisitions that were cut short. Gives back those that
 * nobody uses any more, one at a time for each attachment.
 *
 * @module
 */
import type { Family } from "../../../host/ip.ts";
import type {
  LeaseIntent,
  LeaseIntentOf,
  LeaseRecord,
  LeaseRecordOf,
} from "../lease/lease_record.ts";
import type { AgentTools } from "./agent_tools.ts";
import { failureOf } from "../../../host/files.ts";
import { familyOps } from "../lease/family.ts";
import { recoverLease, releaseLease } from "../lease/release.ts";
import { describeLease } from "./lease_keeper.ts";

/** Orphans as one agent sees them. */
export class Orphans {
  readonly #tools: AgentTools;
  readonly #signal: AbortSignal;
  /** Releases and searches under way, by the path of the lease. */
  readonly #busy = new Map<string, Promise<void>>();

  /** `signal` ends searches. */
  constructor(tools: AgentTools, signal: AbortSignal) {
    this.#tools = tools;
    this.#signal = signal;
  }

  /** The work under way on the lease in a file. */
  busy(path: string): Promise<void> | undefined {
    return this.#busy.get(path);
  }

  /** Settles when no work is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#busy.values());
  }

  /** Cleans up what nobody uses; `isAcquiring` tells of acquisitions under way. */
  sweep(isAcquiring: (path: string) => boolean): void {
    this.#releaseAbandoned();
    this.#cleanUpIntents(isAcquiring);
  }

  /** Cleans up after an acquisition that was cut short, if there was one. */
  cleanUpIntent(path: string): Promise<void> {
    return this.#once(path, async () => {
      const intent = this.#tools.store.readIntent(path);
      if (intent && this.#mayGiveUp(intent)) await this.#recoverAndRelease(intent);
    });
  }

  /** Gives back the lease in a file that nobody keeps, and one that an acquisition may have brought. */
  async giveUp(path: string): Promise<void> {
    await this.cleanUpIntent(path);
    await this.#once(path, async () => {
      const left = this.#tools.store.read(path);
      if (left && this.#mayGiveUp(left)) await this.giveBack(left);
    });
  }

  /** Takes over the lease of an agent that no longer runs; gives a lease of this agent as it is. */
  takeOver(record: LeaseRecord): LeaseRecord | undefined {
    const { store, socket, unlessAgentRuns, say } = this.#tools;
    if (record.agent === socket || record.agent === undefined) {
      return record.agent ? record : undefined;
    }
    let own: LeaseRecord | undefined;
    const failure = failureOf(() =>
      unlessAgentRuns(record.agent!, () => {
        const now = store.read(record.path);
        // Another agent may have taken it over first.
        if (!now || now.agent !== record.agent) return;
        store.write(own = { ...now, agent: socket });
        say(`lease of ${describeLease<Family>(now)}: taken over from "${record.agent}"`);
      })
    );
    if (failure) say(failure.message);
    return failure ? undefined : own;
  }

  /** Releases a lease, best effort, and forgets it. */
  async giveBack<F extends Family>(record: LeaseRecordOf<F>): Promise<void> {
    const { releases, say, store } = this.#tools;
    await releases.run(
      { signal: new AbortController().signal, lane: record.network },
      () => releaseLease(record, this.#tools),
    )
      .catch(({ message }: Error) => say(message));
    store.remove(record as LeaseRecordOf<Family>);
  }

  /** Runs a task, or waits for the work under way on the same lease. */
  #once(path: string, task: () => Promise<void>): Promise<void> {
    const before = this.#busy.get(path);
    if (before) return before;
    const begun = task().finally(() => this.#busy.delete(path));
    // A caller that waits for it tries again if it fails.
    this.#busy.set(path, begun.catch(() => {}));
    return begun;
  }

  readonly #logError = ({ message }: Error): void => this.#tools.say(message);

  /** Whether this agent may give a lease up: its own, one of no agent, or of an agent that does not run. */
  #mayGiveUp({ agent }: LeaseIntent): boolean {
    const { socket, unlessAgentRuns } = this.#tools;
    return agent === undefined || agent === socket || unlessAgentRuns(agent, () => {});
  }

  /** Releases the leases of no agent whose namespace is gone. */
  #releaseAbandoned(): void {
    const { store, netnsOf, say } = this.#tools;
    for (const record of store.all()) {
      if (record.agent !== undefined || this.busy(record.path) || netnsOf(record)) continue;
      const told = familyOps(record.family).canReleaseFromHost ? "is" : "cannot be";
      say(
        `lease of ${describeLease<Family>(record)}: the namespace is gone; the server ${told} told`,
      );
      this.#once(record.path, () => this.giveBack(record)).catch(this.#logError);
    }
  }

  /**
   * Cleans up after acquisitions that were cut short, unless they are under way. One of no agent may
   * be, in a plugin, as long as the namespace is there: DEL and GC clean up after it.
   */
  #cleanUpIntents(isAcquiring: (path: string) => boolean): void {
    const { store, netnsOf } = this.#tools;
    for (const intent of store.allIntents()) {
      if (isAcquiring(intent.path) || !this.#mayGiveUp(intent)) continue;
      if (intent.agent !== undefined) this.cleanUpIntent(intent.path).catch(this.#logError);
      else if (!netnsOf(intent)) store.removeIntent(intent.path);
    }
  }

  /** Recovers and releases the lease of an intent, unless the attachment has got that lease since. */
  async #recoverAndRelease(intent: LeaseIntentOf<Family>): Promise<void> {
    const { releases, clock, store } = this.#tools;
    const signal = this.#signal;
    const found = store.read(intent.path) ? undefined : await releases.run(
      { signal, lane: intent.network },
      () => recoverLease(intent, this.#tools, { now: () => clock.now(), signal }),
    );
    if (signal.aborted) return;
    // A plugin may have got the same lease by itself meanwhile.
    if (found && !store.read(intent.path)) await this.giveBack(found);
    store.removeIntent(intent.path);
  }
}
