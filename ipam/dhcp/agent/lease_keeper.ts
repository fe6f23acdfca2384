/**
 * Keeps one lease: carries out the actions of its state machine (`lease_machine.ts`). It sets timers,
 * runs exchanges, writes the file, and changes the interface when the lease changes or ends. Its caller
 * gives it everything that touches the host.
 *
 * @module
 */
import type { Result } from "../../../cni/types.ts";
import type { Family } from "../../../host/ip.ts";
import type { Step as PlanStep } from "../../../host/step.ts";
import type { ExchangeEnding, FamilyOps, Transport } from "../lease/family.ts";
import type { LeaseOwner } from "../lease/lease_interface.ts";
import type {
  LeaseAction,
  LeaseEnd,
  LeaseEvent,
  LeasePhase,
  LeaseState,
  LeaseStep,
} from "../lease/lease_machine.ts";
import type { FamilyTypes, LeaseRecord, LeaseRecordOf } from "../lease/lease_record.ts";
import type { LeaseStore } from "../lease/lease_store.ts";
import type { Clock } from "./clock.ts";
import type { FairQueue } from "./fair_queue.ts";
import { CniError } from "../../../cni/error.ts";
import { failureOf } from "../../../host/files.ts";
import { formatIp } from "../../../host/ip.ts";
import { familyOps } from "../lease/family.ts";
import { isValidAt } from "../lease/lease.ts";
import { LeaseInterface, withReplacedAck } from "../lease/lease_interface.ts";
import { advanceLease, bindLease, resumeLease } from "../lease/lease_machine.ts";
import { releaseLease } from "../lease/release.ts";
import { runBeforeDeadline } from "./queue_deadline.ts";

/** What keepers work with; the agent has one set for all. */
export interface KeeperTools extends Transport {
  /** Applies a plan. */
  readonly apply: (steps: readonly PlanStep[]) => Promise<unknown>;
  readonly store: Pick<LeaseStore, "write" | "remove">;
  /** Queue of exchanges that no plugin waits for. */
  readonly exchanges: FairQueue;
  /** Queue of releases. */
  readonly releases: FairQueue;
  readonly clock: Clock;
  /** Gives 0 ≤ n < 1. */
  readonly random: () => number;
  /** Longest exchange, wait for a first answer, ceiling of pauses; in milliseconds. */
  readonly limits: {
    readonly within: number;
    readonly timeout?: number | undefined;
    readonly resendMax?: number | undefined;
  };
  /** Takes a line for people. */
  readonly say: (line: string) => void;
}

/** Events, steps and actions of a family's leases. */
type EventOf<F extends Family> = LeaseEvent<FamilyTypes[F]["ack"]>;
type StepOf<F extends Family> = LeaseStep<FamilyTypes[F]["ack"], FamilyTypes[F]["goal"]>;
type ActionOf<F extends Family> = LeaseAction<FamilyTypes[F]["ack"], FamilyTypes[F]["goal"]>;
type ExchangeActionOf<F extends Family> = ActionOf<F> & { readonly kind: "exchange" };

/** How an exchange ends that could not be run. */
interface ExchangeFailure {
  readonly kind: "failed" | "link unknown";
}

/** Keeps one lease from its acquisition to its end. */
export class LeaseKeeper<F extends Family = Family> {
  readonly #tools: KeeperTools;
  readonly #ops: FamilyOps<F>;
  #record: LeaseRecordOf<F>;
  #state: LeaseState<FamilyTypes[F]["ack"], FamilyTypes[F]["goal"]>;
  #stopTimer: () => void = () => {};
  /** The exchange under way, if there is one. */
  #cancel: AbortController | undefined;
  #exchanging: Promise<unknown> = Promise.resolve();
  readonly #interface: LeaseInterface<F>;
  #release: Promise<unknown> = Promise.resolve();
  #suspended = false;
  readonly #ended = Promise.withResolvers<LeaseEnd>();

  private constructor(record: LeaseRecordOf<F>, tools: KeeperTools, { state }: StepOf<F>) {
    this.#tools = tools;
    this.#ops = familyOps(record.family);
    this.#record = record;
    this.#state = state;
    this.#interface = new LeaseInterface(tools, this.#owner());
  }

  /** Begins to keep a lease that was just acquired. Throws when it cannot be written down. */
  static begin<F extends Family>(
    record: LeaseRecordOf<F>,
    tools: KeeperTools,
  ): LeaseKeeper<F> {
    const now = tools.clock.now();
    const step = bindLease(record.lease, { now, settings: settingsOf(tools, record) });
    tools.store.write(record as LeaseRecord);
    const keeper = new LeaseKeeper(record, tools, step);
    keeper.#take({ ...step, actions: step.actions.filter(({ kind }) => kind !== "store") });
    return keeper;
  }

  /** Goes on with a lease from the disk. */
  static resume<F extends Family>(
    record: LeaseRecordOf<F>,
    tools: KeeperTools,
  ): LeaseKeeper<F> {
    const now = tools.clock.now();
    const step = resumeLease(record.lease, { now, settings: settingsOf(tools, record) });
    const keeper = new LeaseKeeper(record, tools, step);
    keeper.#take(step);
    keeper.look();
    return keeper;
  }

  /** The lease with everything about it. */
  get record(): LeaseRecordOf<F> {
    return this.#record;
  }

  /** State of the lease. */
  get phase(): LeasePhase {
    return this.#state.phase;
  }

  /** Whether an exchange is under way. */
  get running(): boolean {
    return this.#state.running;
  }

  /** Whether the address may be used now. */
  get isValid(): boolean {
    return this.phase !== "ended" && isValidAt(this.#record.lease, this.#tools.clock.now());
  }

  /** Settles when the lease is no longer kept and nothing of it is left to do. */
  get ended(): Promise<LeaseEnd> {
    return this.#ended.promise;
  }

  /** The lease's part of a CNI result. */
  get result(): Result {
    return this.#ops.resultOf(this.#record.lease.ack, this.#record.client);
  }

  /** Uses other settings with servers from now on. */
  update(client: FamilyTypes[F]["client"]): void {
    this.#record = { ...this.#record, client };
    this.#write();
  }

  /** Looks whether there is something to do: whether the namespace is there, and what time it is. */
  look(): void {
    const gone = !this.#tools.netnsOf(this.#record);
    this.#feed({ kind: gone ? "namespace gone" : "look", now: this.#tools.clock.now() });
  }

  /** Gives the lease up and tells the server. */
  async stop(): Promise<void> {
    this.#feed({ kind: "stop", now: this.#tools.clock.now() });
    await this.ended;
  }

  /**
   * Leaves the lease as it is, on the disk too. Settles when nothing is under way any more; a release
   * under way is completed.
   */
  async suspend(): Promise<void> {
    if (this.phase === "ended") return void await this.ended;
    this.#suspended = true;
    this.#stopTimer();
    this.#cancel?.abort();
    await Promise.allSettled([this.#exchanging, this.#interface.done, this.#release]);
  }

  #owner(): LeaseOwner<F> {
    return {
      record: () => this.#record,
      isActive: () => !this.#suspended && this.phase !== "ended",
      replaced: (replacedAcks) => {
        this.#record = { ...this.#record, replacedAcks };
        this.#write();
      },
      say: (text) => this.#say(text),
    };
  }

  #feed(event: EventOf<F>): void {
    if (!this.#suspended) this.#take(advanceLease(this.#state, event));
  }

  #take({ state, actions }: StepOf<F>): void {
    this.#state = state;
    this.#record = { ...this.#record, lease: state.lease };
    // This comes before the write: after a kill, too, the replaced acknowledgement has to be known.
    for (const action of actions) {
      if (action.kind === "change") this.#record = withReplacedAck(this.#record, action.before.ack);
    }
    for (const action of actions) this.#do(action);
    if (this.#record.replacedAcks.length > 0 && state.phase !== "ended") this.#interface.change();
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
        return this.#interface.withdraw();
      case "release":
        this.#release = this.#sendRelease();
        return;
      case "end":
        return void this.#end(action.reason);
    }
  }

  #wait(until: number): void {
    const { clock } = this.#tools;
    this.#stopTimer();
    this.#stopTimer = clock.after(Math.max(0, until - clock.now()), () => {
      if (this.#tools.netnsOf(this.#record)) this.#feed({ kind: "timer", now: clock.now() });
      else this.look();
    });
  }

  async #exchange(order: ExchangeActionOf<F>): Promise<void> {
    const cancel = this.#cancel = new AbortController();
    const event = await this.#runExchange(order, cancel.signal);
    if (cancel.signal.aborted) return;
    this.#cancel = undefined;
    this.#feed(event);
  }

  /** Runs an exchange when it is its turn; the wait is part of its time. */
  async #runExchange(
    { goal, within }: ExchangeActionOf<F>,
    signal: AbortSignal,
  ): Promise<EventOf<F>> {
    const { clock, exchanges: queue, limits } = this.#tools;
    const { network: lane } = this.#record;
    const deadline = { queue, clock, start: clock.now(), within, signal, lane };
    const ended = await runBeforeDeadline<ExchangeEnding<FamilyTypes[F]["ack"]>>(
      deadline,
      async (left) => {
        const netns = this.#tools.netnsOf(this.#record);
        if (!netns) return { kind: "namespace gone" };
        const { ifName: dev, client } = this.#record;
        const task = { netns, dev, goal, client, ...limits, within: left };
        return await this.#ops.runExchange(this.#tools, task, signal);
      },
    ).catch((error) => this.#onError(error));
    return eventOf(ended, clock.now());
  }

  /** Logs why an exchange could not be run. If no program can be run, not even the link is known. */
  #onError(error: unknown): ExchangeFailure {
    this.#say(error instanceof Error ? error.message : String(error));
    return { kind: error instanceof CniError ? "failed" : "link unknown" };
  }

  async #sendRelease(): Promise<void> {
    const never = new AbortController().signal;
    const wait = { signal: never, lane: this.#record.network };
    await this.#tools.releases.run(wait, () => releaseLease(this.#record, this.#tools))
      .catch(({ message }: Error) => this.#say(message));
  }

  async #end(reason: LeaseEnd): Promise<void> {
    this.#stopTimer();
    if (reason === "expired") this.#interface.withdraw();
    await Promise.allSettled([this.#release, this.#interface.done]);
    const failure = failureOf(() => this.#tools.store.remove(this.#record));
    if (failure) this.#say(failure.message);
    if (reason !== "stopped") this.#say(`it is no longer kept: ${this.#why(reason)}`);
    this.#ended.resolve(reason);
  }

  #why(reason: Exclude<LeaseEnd, "stopped">): string {
    if (reason === "expired") {
      return "no server has renewed it; its address is taken from the interface";
    }
    return `${words[reason]}; the server ${this.#ops.canReleaseFromHost ? "is" : "cannot be"} told`;
  }

  #write(): void {
    const failure = failureOf(() => this.#tools.store.write(this.#record as LeaseRecord));
    if (failure) this.#say(failure.message);
  }

  #say(text: string): void {
    this.#tools.say(`lease of ${describeLease(this.#record)}: ${text}`);
  }
}

const words = {
  "namespace gone": "the namespace is gone",
  "link missing": "the interface is gone",
} as const;

/** `192.168.1.5 for "eth0" of container "c1" on network "net"` */
export function describeLease<F extends Family>(
  { family, lease, ifName, containerId, network }: LeaseRecordOf<F>,
): string {
  const address = formatIp(familyOps(family).addressOf(lease.ack));
  return `${address} for "${ifName}" of container "${containerId}" on network "${network}"`;
}

function settingsOf<F extends Family>(
  { random, limits }: KeeperTools,
  { family }: LeaseRecordOf<F>,
) {
  return { protocol: familyOps(family).protocol, random, limit: limits.within };
}

function eventOf<A>(
  ended: ExchangeEnding<A> | ExchangeFailure | undefined,
  now: number,
): LeaseEvent<A> {
  switch (ended?.kind) {
    case "acked":
      return { kind: "acked", ack: ended.ack, age: ended.age, now };
    case "refused":
    case "link missing":
    case "link unknown":
    case "namespace gone":
      return { kind: ended.kind, now };
    default:
      return { kind: "failed", now };
  }
}
