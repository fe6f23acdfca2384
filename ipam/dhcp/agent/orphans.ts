/**
 * What nobody keeps: leases of no agent, and acquisitions that were cut short. Gives back what
 * belongs to nobody any more, one thing at a time for each attachment.
 *
 * @module
 */
import type { Entry, EntryOf, Family, Intent, IntentOf } from "../lease/lease_record.ts";
import type { AgentTools } from "./leases.ts";
import { failureOf } from "../../../host/files.ts";
import { kinOf } from "../lease/family.ts";
import { recover, release } from "../lease/release.ts";
import { describe } from "./lease_keeper.ts";

/** Leftovers as one agent sees them. */
export class Leftovers {
  readonly #tools: AgentTools;
  readonly #signal: AbortSignal;
  /** What is being given back or searched for, by the path of the lease. */
  readonly #busy = new Map<string, Promise<void>>();

  /** `signal` ends searches. */
  constructor(tools: AgentTools, signal: AbortSignal) {
    this.#tools = tools;
    this.#signal = signal;
  }

  /** What is under way about the lease of a file. */
  busy(path: string): Promise<void> | undefined {
    return this.#busy.get(path);
  }

  /** Settles when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all(this.#busy.values());
  }

  /** Clears up what is of no use; `isWanted` tells of acquisitions that are under way. */
  sweep(isWanted: (path: string) => boolean): void {
    this.#sweepOrphans();
    this.#settleAll(isWanted);
  }

  /** Clears up after an acquisition that was cut short, if there was one. */
  settle(path: string): Promise<void> {
    return this.#once(path, async () => {
      const intent = this.#tools.store.intent(path);
      if (intent && this.#isOurs(intent)) await this.#clearUp(intent);
    });
  }

  /** Gives the lease of a file back that nobody keeps, and what an acquisition may have brought. */
  async giveUp(path: string): Promise<void> {
    await this.settle(path);
    await this.#once(path, async () => {
      const left = this.#tools.store.read(path);
      if (left && this.#isOurs(left)) await this.giveBack(left);
    });
  }

  /** A lease as this agent keeps it: its own, or that of an agent which does not run any more. */
  takenOver(entry: Entry): Entry | undefined {
    const { store, socket, unlessServed, say } = this.#tools;
    if (entry.agent === socket || entry.agent === undefined) return entry.agent ? entry : undefined;
    let own: Entry | undefined;
    const failure = failureOf(() =>
      unlessServed(entry.agent!, () => {
        const now = store.read(entry.path);
        // Another agent may have been quicker.
        if (!now || now.agent !== entry.agent) return;
        store.write(own = { ...now, agent: socket });
        say(`lease of ${describe<Family>(now)}: taken over from "${entry.agent}"`);
      })
    );
    if (failure) say(failure.message);
    return failure ? undefined : own;
  }

  /** Releases a lease, best effort, and forgets it. */
  async giveBack<F extends Family>(entry: EntryOf<F>): Promise<void> {
    const { releases, say, store } = this.#tools;
    await releases.run(
      { signal: new AbortController().signal, lane: entry.network },
      () => release(entry, this.#tools),
    )
      .catch(({ message }: Error) => say(message));
    store.remove(entry as EntryOf<Family>);
  }

  /** Does it, unless something is under way about the same lease; that is waited for. */
  #once(path: string, task: () => Promise<void>): Promise<void> {
    const before = this.#busy.get(path);
    if (before) return before;
    const begun = task().finally(() => this.#busy.delete(path));
    // Who waits for it does it anew if it fails.
    this.#busy.set(path, begun.catch(() => {}));
    return begun;
  }

  readonly #tell = ({ message }: Error): void => this.#tools.say(message);

  /** A lease of no agent is everybody's to give up, and so is one of an agent that does not run. */
  #isOurs({ agent }: Intent): boolean {
    const { socket, unlessServed } = this.#tools;
    return agent === undefined || agent === socket || unlessServed(agent, () => {});
  }

  /** Releases leases of no agent whose namespace is gone. */
  #sweepOrphans(): void {
    const { store, netnsOf, say } = this.#tools;
    for (const entry of store.all()) {
      if (entry.agent !== undefined || this.busy(entry.path) || netnsOf(entry)) continue;
      const told = kinOf(entry.family).remote ? "is" : "cannot be";
      say(`lease of ${describe<Family>(entry)}: the namespace is gone; the server ${told} told`);
      this.#once(entry.path, () => this.giveBack(entry)).catch(this.#tell);
    }
  }

  /**
   * Clears up after acquisitions that were cut short, unless they are under way: one of no agent
   * may be, in a plugin, as long as the namespace is there. DEL and GC clear it up.
   */
  #settleAll(isWanted: (path: string) => boolean): void {
    const { store, netnsOf } = this.#tools;
    for (const intent of store.intents()) {
      if (isWanted(intent.path) || !this.#isOurs(intent)) continue;
      if (intent.agent !== undefined) this.settle(intent.path).catch(this.#tell);
      else if (!netnsOf(intent)) store.forget(intent.path);
    }
  }

  /** An attachment that has got a lease since has got the one in question. */
  async #clearUp(intent: IntentOf<Family>): Promise<void> {
    const { releases, clock, store } = this.#tools;
    const signal = this.#signal;
    const found = store.read(intent.path) ? undefined : await releases.run(
      { signal, lane: intent.network },
      () => recover(intent, this.#tools, { now: () => clock.now(), signal }),
    );
    if (signal.aborted) return;
    // A plugin may have got the same lease meanwhile, by itself.
    if (found && !store.read(intent.path)) await this.giveBack(found);
    store.forget(intent.path);
  }
}
