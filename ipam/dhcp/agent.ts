/**
 * The lease agent: the leases of all containers by attachment, and what plugins ask of them.
 *
 * @module
 */
import type { AttachmentKey, Result } from "../../cni/types.ts";
import type { NetnsIdentity, NetnsState } from "../../ns/netns.ts";
import type { Attachment } from "../../recipes/own.ts";
import type { Held } from "./hold.ts";
import type { Tools } from "./keeper.ts";
import type { AllocateArgs, LeaseAgent } from "./lease_rpc.ts";
import type { Message } from "./packet.ts";
import type { Ask, Entry, Intent, Store } from "./store.ts";
import type { Turns } from "./turns.ts";
import { decodeOrThrow, isObject, lookup } from "../../cni/decode.ts";
import { parseJson } from "../../cni/json.ts";
import { checkContainerId, checkIfName, checkNetworkName } from "../../cni/names.ts";
import { failureOf } from "../../host/files.ts";
import { formatIp } from "../../host/ip.ts";
import { sameNetns } from "../../ns/netns.ts";
import { resultOf } from "./change.ts";
import { askOf, confDecoder } from "./conf.ts";
import { mayHaveBrought, recover, release } from "./goodbye.ts";
import { describe, Keeper } from "./keeper.ts";
import { leaseOf } from "./lease.ts";

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
  /** Put before the path of every namespace. */
  readonly hostPrefix: string;
  /** Asks servers for broadcast answers. */
  readonly broadcast: boolean;
}

/** A lease as people see it. Times are milliseconds since 1970; none is without an end. */
export interface Listed extends Attachment {
  readonly address: string;
  readonly netns: string;
  readonly phase: string;
  readonly renewAt: number | null;
  readonly rebindAt: number | null;
  readonly expireAt: number | null;
}

/** What a plugin asks for. */
interface Wanted {
  readonly attachment: Attachment;
  /** File of its lease. */
  readonly path: string;
  /** Path of the namespace, with the prefix. */
  readonly netns: string;
  readonly identity: NetnsIdentity;
  readonly ask: Ask;
}

/** An acquisition under way. */
interface Acquiring {
  readonly cancel: AbortController;
  /** Settles when it is over, however it ends. */
  readonly over: Promise<unknown>;
}

/** All leases of one agent. */
export class Agent implements LeaseAgent {
  readonly #tools: AgentTools;
  /** By the file of the lease. */
  readonly #keepers = new Map<string, Keeper>();
  readonly #acquiring = new Map<string, Acquiring>();
  /** Acquisitions of before that are being cleared up. */
  readonly #settling = new Map<string, Promise<void>>();
  readonly #closed = new AbortController();

  constructor(tools: AgentTools) {
    this.#tools = tools;
  }

  /** Leases that are kept. */
  get size(): number {
    return this.#keepers.size;
  }

  /** Goes on with what an agent before has left: keeps what lives, releases what is gone. */
  resume(): void {
    const { store, socket } = this.#tools;
    for (const entry of store.all()) {
      if (entry.agent === socket) this.#adopt(Keeper.resume(entry, this.#tools));
    }
    this.#sweepOrphans();
    this.#settleAll();
  }

  /** Looks at every lease: namespaces end without a word. */
  sweep(): void {
    for (const keeper of this.#keepers.values()) keeper.look();
    this.#sweepOrphans();
    this.#settleAll();
  }

  /** Leaves every lease as it is and does nothing more. */
  async close(): Promise<void> {
    this.#closed.abort();
    const acquiring = [...this.#acquiring.values()];
    for (const { cancel } of acquiring) cancel.abort();
    await Promise.all([...acquiring.map(({ over }) => over), ...this.#settling.values()]);
    await Promise.all([...this.#keepers.values()].map((keeper) => keeper.suspend()));
  }

  /** The lease of an attachment: the one that it has, or a new one. */
  async allocate(args: AllocateArgs, signal: AbortSignal): Promise<Result> {
    const wanted = await this.#wanted(args);
    for (;;) {
      const busy = this.#acquiring.get(wanted.path)?.over ?? this.#settling.get(wanted.path);
      if (!busy) break;
      await Promise.race([busy, aborted(signal)]);
    }
    const kept = this.#keepers.get(wanted.path);
    if (kept?.holds && sameNetns(kept.entry.identity, wanted.identity)) {
      kept.update(wanted.ask);
      kept.look();
      return kept.result;
    }
    return await this.#begin(wanted, signal);
  }

  /** Gives the lease of an attachment up; there may be none. */
  async release(args: AllocateArgs): Promise<void> {
    const { path } = await this.#named(args);
    const acquiring = this.#acquiring.get(path);
    acquiring?.cancel.abort();
    await acquiring?.over;
    await this.#settle(path);
    const keeper = this.#keepers.get(path);
    if (keeper) return await this.#stop(keeper);
    const left = this.#tools.store.read(path);
    if (left && this.#isOurs(left)) await this.#drop(left);
  }

  /** The lease of an attachment. Throws when there is none, or none that may be used there. */
  async check(args: AllocateArgs): Promise<Result> {
    const wanted = await this.#wanted(args);
    const keeper = this.#keepers.get(wanted.path);
    const { ifName, containerId } = wanted.attachment;
    const what = `lease of "${ifName}" of container "${containerId}"`;
    if (!keeper) throw new Error(`Cannot find a ${what}: the lease agent keeps none`);
    if (!keeper.holds) throw new Error(`Cannot use the ${what}: it has ended`);
    if (!sameNetns(keeper.entry.identity, wanted.identity)) {
      throw new Error(`Cannot use the ${what}: it is for another namespace`);
    }
    return keeper.result;
  }

  /** Gives up every lease of a network that belongs to none of these attachments. */
  async gc(network: string, valid: readonly AttachmentKey[]): Promise<void> {
    const keep = new Set(valid.map(({ containerID, ifname }) => `${containerID}\0${ifname}`));
    const isStale = ({ network: other, containerId, ifName }: Attachment) =>
      other === network && !keep.has(`${containerId}\0${ifName}`);
    const keepers = [...this.#keepers.values()].filter(({ entry }) => isStale(entry));
    await Promise.all(keepers.map((keeper) => this.#stop(keeper)));
    const left = this.#tools.store.all().filter((entry) => isStale(entry) && this.#isOurs(entry));
    await Promise.all(left.map((entry) => this.#drop(entry)));
  }

  /** Every lease that is kept. */
  list(): Listed[] {
    const time = (value: number) => Number.isFinite(value) ? value : null;
    return [...this.#keepers.values()].map(({ entry, phase }) => ({
      network: entry.network,
      containerId: entry.containerId,
      ifName: entry.ifName,
      address: formatIp(entry.lease.ack.yiaddr),
      netns: entry.netns,
      phase,
      renewAt: time(entry.lease.renewAt),
      rebindAt: time(entry.lease.rebindAt),
      expireAt: time(entry.lease.expireAt),
    }));
  }

  async #stop(keeper: Keeper): Promise<void> {
    const { entry, phase } = keeper;
    await keeper.stop();
    // Who came later than another has waited for the same.
    if (phase !== "ended") this.#tools.say(`lease of ${describe(entry)}: given back`);
  }

  /** A lease of no agent is everybody's to give up. */
  #isOurs({ agent }: Intent): boolean {
    return agent === undefined || agent === this.#tools.socket;
  }

  #adopt(keeper: Keeper): void {
    const { path } = keeper.entry;
    this.#keepers.set(path, keeper);
    keeper.ended.then(() => {
      if (this.#keepers.get(path) === keeper) this.#keepers.delete(path);
    });
  }

  /** Releases leases of no agent whose namespace is gone. */
  #sweepOrphans(): void {
    const { store, netnsOf, say } = this.#tools;
    for (const entry of store.all()) {
      if (entry.agent !== undefined || netnsOf(entry)) continue;
      say(`lease of ${describe(entry)}: the namespace is gone; the server is told`);
      this.#drop(entry);
    }
  }

  /** Releases a lease that nobody keeps, best effort, and forgets it. */
  async #drop(entry: Entry): Promise<void> {
    const { releases, say, store } = this.#tools;
    await releases.run(new AbortController().signal, () => release(entry, this.#tools))
      .catch(({ message }: Error) => say(message));
    store.remove(entry);
  }

  /** Gives up what the attachment had, if anything, and acquires a lease. */
  #begin(wanted: Wanted, signal: AbortSignal): Promise<Result> {
    const { path } = wanted;
    const cancel = new AbortController();
    const result = this.#acquire(wanted, AbortSignal.any([signal, cancel.signal]))
      .finally(() => this.#acquiring.delete(path));
    this.#acquiring.set(path, { cancel, over: result.catch(() => {}) });
    return result;
  }

  async #acquire(wanted: Wanted, signal: AbortSignal): Promise<Result> {
    const { path, netns, attachment: { ifName: dev }, ask: client } = wanted;
    const { acquisitions, clock, hold, limits, store } = this.#tools;
    // The same client may well get the same address again.
    const address = store.read(path)?.lease.ack.yiaddr;
    await this.#keepers.get(path)?.stop();
    const start = clock.now();
    const held = await acquisitions.run<Held>(signal, () => {
      store.intend(this.#intentOf(wanted));
      const within = Math.max(limits.within - Math.max(clock.now() - start, 0), leastExchange);
      const goal = { kind: "acquire", address } as const;
      return hold({ netns: { path: netns }, dev, goal, client, ...limits, within }, signal);
    });
    if (held && !mayHaveBrought(held)) store.forget(path);
    return await this.#keep(wanted, acknowledged(held, wanted));
  }

  #intentOf({ attachment, path, netns, identity, ask }: Wanted): Intent {
    return { ...attachment, path, netns, identity, ask, agent: this.#tools.socket };
  }

  /** A lease that cannot be used or written down goes back at once. */
  async #keep(
    wanted: Wanted,
    { ack, age }: { readonly ack: Message; readonly age: number },
  ): Promise<Result> {
    const { clock, random, store } = this.#tools;
    const { path, ask } = wanted;
    const entry: Entry = {
      ...this.#intentOf(wanted),
      replaces: [],
      lease: leaseOf(ack, { now: clock.now(), age, random }),
      generation: (store.read(path)?.generation ?? 0) + 1,
    };
    const failure = failureOf(() => {
      resultOf(ack, ask);
      this.#adopt(Keeper.begin(entry, this.#tools));
    });
    if (failure) await this.#drop(entry);
    store.forget(path);
    if (failure) throw failure;
    this.#tools.say(`lease of ${describe(entry)}: got, ${termOf(entry)}`);
    return resultOf(ack, ask);
  }

  /** Clears up after acquisitions that were cut short, unless they are under way. */
  #settleAll(): void {
    for (const intent of this.#tools.store.intents()) {
      if (this.#isOurs(intent) && !this.#acquiring.has(intent.path)) this.#settle(intent.path);
    }
  }

  /** Clears up after an acquisition that was cut short, if there was one. */
  #settle(path: string): Promise<void> {
    const settling = this.#settling.get(path);
    if (settling) return settling;
    const intent = this.#tools.store.intent(path);
    if (!intent || !this.#isOurs(intent)) return Promise.resolve();
    const begun = this.#clearUp(intent).finally(() => this.#settling.delete(path));
    this.#settling.set(path, begun);
    return begun;
  }

  /** An attachment that has got a lease since has got the one in question. */
  async #clearUp(intent: Intent): Promise<void> {
    const { releases, clock, store } = this.#tools;
    const { signal } = this.#closed;
    const found = store.read(intent.path) ? undefined : await releases.run(
      signal,
      () => recover(intent, this.#tools, { now: () => clock.now(), signal }),
    );
    if (signal.aborted) return;
    if (found) await this.#drop(found);
    store.forget(intent.path);
  }

  async #wanted(args: AllocateArgs): Promise<Wanted> {
    const { inspect, hostPrefix, broadcast } = this.#tools;
    const { attachment, path, config } = await this.#named(args);
    const conf = decodeOrThrow(confDecoder, config, "network configuration");
    const netns = `${hostPrefix}${args.netns}`;
    const state = inspect(netns);
    if (state.is !== "namespace") {
      const what = state.is === "missing" ? "no such file" : state.what;
      throw new Error(`Cannot use network namespace "${netns}": ${what}`);
    }
    const ask = askOf(conf, { attachment, args: args.args, broadcast });
    return { attachment, path, netns, identity: state.identity, ask };
  }

  async #named({ containerID, ifname, stdin }: AllocateArgs) {
    const config = parseJson(new TextDecoder().decode(stdin));
    if (!isObject(config)) throw new Error("Cannot use network configuration: it is no object");
    const attachment = {
      network: String(lookup(config, "name") ?? ""),
      containerId: containerID,
      ifName: ifname,
    };
    checkNetworkName(attachment.network);
    checkContainerId(containerID);
    checkIfName(ifname);
    return { attachment, config, path: await this.#tools.store.pathOf(attachment) };
  }
}

/** The shortest exchange that is worth its process, in milliseconds. */
const leastExchange = 1000;

/** `until 2026-11-21T10:00:00.000Z` */
function termOf({ lease: { expireAt } }: Entry): string {
  return Number.isFinite(expireAt) ? `until ${new Date(expireAt).toISOString()}` : "without an end";
}

/** Throws what a plugin is told where nothing was acquired. */
function acknowledged(
  held: Held | undefined,
  { netns, attachment: { ifName } }: Wanted,
): Held & { readonly kind: "acked" } {
  switch (held?.kind) {
    case "acked":
      return held;
    case "failed":
    case "refused":
      throw new Error(held.message);
    case "link missing":
      throw new Error(`error looking up "${ifName}": Link not found`);
    case "namespace gone":
      throw new Error(`Cannot use network namespace "${netns}": it is gone`);
    default:
      throw new Error(`Cannot get a lease for "${ifName}": it is not wanted any more`);
  }
}

/** Rejects when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
