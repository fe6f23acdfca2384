/**
 * Keeps one lease: carries out what its state machine (`lease.ts`) asks for. Timers, exchanges,
 * the file, and what a changed or ended lease means to the interface. Everything that touches
 * the machine is given to it.
 *
 * @module
 */
import type { Step as PlanStep } from "../../../host/step.ts";
import type { Entry, EntryOf, Family, Words } from "../lease/lease_record.ts";
import type { Ending, Kin, Ways } from "../lease/family.ts";
import type { Action, End, Kept, LeaseEvent, Phase, Step } from "../lease/lease_machine.ts";
import type { Owner } from "../lease/lease_interface.ts";
import type { Store } from "../lease/lease_store.ts";
import type { Turns } from "./fair_queue.ts";
import type { Result } from "../../../cni/types.ts";
import { CniError } from "../../../cni/error.ts";
import { failureOf } from "../../../host/files.ts";
import { formatIp } from "../../../host/ip.ts";
import { kinOf } from "../lease/family.ts";
import { release } from "../lease/release.ts";
import { advance, holdsAt, keep, resume } from "../lease/lease_machine.ts";
import { inTime } from "./queue_deadline.ts";
import { replacing, Standing } from "../lease/lease_interface.ts";

/** Time. All in milliseconds. */
export interface Clock {
  /** Since 1970. */
  now(): number;
  /** Calls once after so long; gives what takes the call back. */
  after(delay: number, run: () => void): () => void;
}

/** What a keeper works with; the agent has one for all. */
export interface Tools extends Ways {
  /** Carries a plan out. */
  readonly apply: (steps: readonly PlanStep[]) => Promise<unknown>;
  readonly store: Pick<Store, "write" | "remove">;
  /** Exchanges that nobody waits for. */
  readonly exchanges: Turns;
  /** Releases. */
  readonly releases: Turns;
  readonly clock: Clock;
  /** 0 ≤ n < 1. */
  readonly random: () => number;
  /** Longest exchange, wait for a first answer, ceiling of pauses, in milliseconds. */
  readonly limits: {
    readonly within: number;
    readonly timeout?: number | undefined;
    readonly resendMax?: number | undefined;
  };
  /** Takes a line for people. */
  readonly say: (line: string) => void;
}

/** Events, states and orders of a family's leases. */
type EventOf<F extends Family> = LeaseEvent<Words[F]["ack"]>;
type StepOf<F extends Family> = Step<Words[F]["ack"], Words[F]["goal"]>;
type ActionOf<F extends Family> = Action<Words[F]["ack"], Words[F]["goal"]>;
type OrderOf<F extends Family> = ActionOf<F> & { readonly kind: "exchange" };

/** How an exchange ends that could not be held. */
interface Unheld {
  readonly kind: "failed" | "link unknown";
}

/** One lease and its life. */
export class Keeper<F extends Family = Family> {
  readonly #tools: Tools;
  readonly #kin: Kin<F>;
  #entry: EntryOf<F>;
  #kept: Kept<Words[F]["ack"], Words[F]["goal"]>;
  #stopTimer: () => void = () => {};
  /** The exchange under way, if there is one. */
  #cancel: AbortController | undefined;
  #exchanging: Promise<unknown> = Promise.resolve();
  readonly #standing: Standing<F>;
  #release: Promise<unknown> = Promise.resolve();
  #suspended = false;
  readonly #ended = Promise.withResolvers<End>();

  private constructor(entry: EntryOf<F>, tools: Tools, { state }: StepOf<F>) {
    this.#tools = tools;
    this.#kin = kinOf(entry.family);
    this.#entry = entry;
    this.#kept = state;
    this.#standing = new Standing(tools, this.#owner());
  }

  /** Begins to keep a lease that was just acquired. Throws when it cannot be written down. */
  static begin<F extends Family>(entry: EntryOf<F>, tools: Tools): Keeper<F> {
    const now = tools.clock.now();
    const step = keep(entry.lease, { now, settings: settingsOf(tools, entry) });
    tools.store.write(entry as Entry);
    const keeper = new Keeper(entry, tools, step);
    keeper.#take({ ...step, actions: step.actions.filter(({ kind }) => kind !== "store") });
    return keeper;
  }

  /** Goes on with a lease from the disk. */
  static resume<F extends Family>(entry: EntryOf<F>, tools: Tools): Keeper<F> {
    const now = tools.clock.now();
    const step = resume(entry.lease, { now, settings: settingsOf(tools, entry) });
    const keeper = new Keeper(entry, tools, step);
    keeper.#take(step);
    keeper.look();
    return keeper;
  }

  /** What it keeps. */
  get entry(): EntryOf<F> {
    return this.#entry;
  }

  /** What is going on. */
  get phase(): Phase {
    return this.#kept.phase;
  }

  /** Whether an exchange is under way. */
  get running(): boolean {
    return this.#kept.running;
  }

  /** Whether the address may be used now. */
  get holds(): boolean {
    return this.phase !== "ended" && holdsAt(this.#entry.lease, this.#tools.clock.now());
  }

  /** Settles when the lease is no longer kept and nothing of it is left to do. */
  get ended(): Promise<End> {
    return this.#ended.promise;
  }

  /** Its part of a result. */
  get result(): Result {
    return this.#kin.resultOf(this.#entry.lease.ack, this.#entry.ask);
  }

  /** Asks servers for something else from now on. */
  update(ask: Words[F]["ask"]): void {
    this.#entry = { ...this.#entry, ask };
    this.#write();
  }

  /** Looks whether there is something to do: whether the namespace is there, what time it is. */
  look(): void {
    const gone = !this.#tools.netnsOf(this.#entry);
    this.#feed({ kind: gone ? "namespace gone" : "look", now: this.#tools.clock.now() });
  }

  /** Gives the lease up and tells the server. */
  async stop(): Promise<void> {
    this.#feed({ kind: "stop", now: this.#tools.clock.now() });
    await this.ended;
  }

  /**
   * Leaves the lease as it is, on the disk too; when this settles, nothing is under way. One that
   * is just given back is given back.
   */
  async suspend(): Promise<void> {
    if (this.phase === "ended") return void await this.ended;
    this.#suspended = true;
    this.#stopTimer();
    this.#cancel?.abort();
    await Promise.allSettled([this.#exchanging, this.#standing.done, this.#release]);
  }

  #owner(): Owner<F> {
    return {
      entry: () => this.#entry,
      isActive: () => !this.#suspended && this.phase !== "ended",
      replaced: (replaces) => {
        this.#entry = { ...this.#entry, replaces };
        this.#write();
      },
      say: (text) => this.#say(text),
    };
  }

  #feed(event: EventOf<F>): void {
    if (!this.#suspended) this.#take(advance(this.#kept, event));
  }

  #take({ state, actions }: StepOf<F>): void {
    this.#kept = state;
    this.#entry = { ...this.#entry, lease: state.lease };
    // Before the lease is written: what it replaces has to be known after a kill, too.
    for (const action of actions) {
      if (action.kind === "change") this.#entry = replacing(this.#entry, action.before.ack);
    }
    for (const action of actions) this.#do(action);
    if (this.#entry.replaces.length > 0 && state.phase !== "ended") this.#standing.change();
  }

  #do(action: ActionOf<F>): void {
    switch (action.kind) {
      case "wait":
        return this.#wait(action.until);
      case "exchange":
        this.#exchanging = this.#exchange(action);
        return;
      case "cancel":
        return this.#cancel?.abort();
      case "store":
        return this.#write();
      case "change":
        return;
      case "withdraw":
        this.#say("a server has refused it; its address is taken from the interface");
        return this.#standing.withdraw();
      case "release":
        this.#release = this.#sayGoodbye();
        return;
      case "end":
        return void this.#end(action.reason);
    }
  }

  #wait(until: number): void {
    const { clock } = this.#tools;
    this.#stopTimer();
    this.#stopTimer = clock.after(Math.max(0, until - clock.now()), () => {
      if (this.#tools.netnsOf(this.#entry)) this.#feed({ kind: "timer", now: clock.now() });
      else this.look();
    });
  }

  async #exchange(order: OrderOf<F>): Promise<void> {
    const cancel = this.#cancel = new AbortController();
    const event = await this.#converse(order, cancel.signal);
    if (cancel.signal.aborted) return;
    this.#cancel = undefined;
    this.#feed(event);
  }

  /** Holds an exchange when it is its turn; the wait for that is part of its time. */
  async #converse(
    { goal, within }: OrderOf<F>,
    signal: AbortSignal,
  ): Promise<EventOf<F>> {
    const { clock, exchanges: turns, limits } = this.#tools;
    const { network: lane } = this.#entry;
    const patience = { turns, clock, start: clock.now(), within, signal, lane };
    const held = await inTime<Ending<Words[F]["ack"]>>(patience, async (left) => {
      const netns = this.#tools.netnsOf(this.#entry);
      if (!netns) return { kind: "namespace gone" };
      const { ifName: dev, ask } = this.#entry;
      const task = { netns, dev, goal, ask, ...limits, within: left };
      return await this.#kin.hold(this.#tools, task, signal);
    }).catch((error) => this.#puzzle(error));
    return eventOf(held, clock.now());
  }

  /** An exchange that could not be held; where no program can be run, not even the link is known. */
  #puzzle(error: unknown): Unheld {
    this.#say(error instanceof Error ? error.message : String(error));
    return { kind: error instanceof CniError ? "failed" : "link unknown" };
  }

  async #sayGoodbye(): Promise<void> {
    const never = new AbortController().signal;
    const wait = { signal: never, lane: this.#entry.network };
    await this.#tools.releases.run(wait, () => release(this.#entry, this.#tools))
      .catch(({ message }: Error) => this.#say(message));
  }

  async #end(reason: End): Promise<void> {
    this.#stopTimer();
    if (reason === "expired") this.#standing.withdraw();
    await Promise.allSettled([this.#release, this.#standing.done]);
    const failure = failureOf(() => this.#tools.store.remove(this.#entry));
    if (failure) this.#say(failure.message);
    if (reason !== "stopped") this.#say(`it is no longer kept: ${this.#why(reason)}`);
    this.#ended.resolve(reason);
  }

  #why(reason: Exclude<End, "stopped">): string {
    if (reason === "expired") {
      return "no server has renewed it; its address is taken from the interface";
    }
    return `${words[reason]}; the server ${this.#kin.remote ? "is" : "cannot be"} told`;
  }

  #write(): void {
    const failure = failureOf(() => this.#tools.store.write(this.#entry as Entry));
    if (failure) this.#say(failure.message);
  }

  #say(text: string): void {
    this.#tools.say(`lease of ${describe(this.#entry)}: ${text}`);
  }
}

const words = {
  "namespace gone": "the namespace is gone",
  "link missing": "the interface is gone",
} as const;

/** `192.168.1.5 for "eth0" of container "c1" on network "net"` */
export function describe<F extends Family>(
  { family, lease, ifName, containerId, network }: EntryOf<F>,
): string {
  const address = formatIp(kinOf(family).addressOf(lease.ack));
  return `${address} for "${ifName}" of container "${containerId}" on network "${network}"`;
}

function settingsOf<F extends Family>({ random, limits }: Tools, { family }: EntryOf<F>) {
  return { protocol: kinOf(family).protocol, random, limit: limits.within };
}

function eventOf<A>(
  held: Ending<A> | Unheld | undefined,
  now: number,
): LeaseEvent<A> {
  switch (held?.kind) {
    case "acked":
      return { kind: "acked", ack: held.ack, age: held.age, now };
    case "refused":
    case "link missing":
    case "link unknown":
    case "namespace gone":
      return { kind: held.kind, now };
    default:
      return { kind: "failed", now };
  }
}
