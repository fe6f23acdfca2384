/**
 * Fakes for the tests of keeper and agent: a clock that moves when it is told to, exchanges that
 * end as the test says, plans that are noted.
 *
 * @module
 */
import type { Step } from "../../../host/step.ts";
import type { Goal } from "../exchange/exchange4.ts";
import type { Held, Holding } from "../exchange/run_exchange4.ts";
import type { Clock, Tools } from "./lease_keeper.ts";
import type { Lease } from "../lease/lease_machine.ts";
import type { Message } from "../codec/message4.ts";
import type { Entry, EntryOf, Intent } from "../lease/lease_record.ts";
import type { Held6, Holding6 } from "../exchange/run_exchange6.ts";
import type { Ip } from "../../../host/ip.ts";
import { formatIp } from "../../../host/ip.ts";
import { describe } from "../../../host/step.ts";
import { kinOf } from "../lease/family.ts";
import { leaseOf } from "../lease/lease_machine.ts";
import { decode } from "../codec/message4.ts";
import { clientId, golden, ip, optionsOf } from "../codec/testing_message4.ts";
import { noCounts as counts6 } from "../exchange/ipc6.ts";
import { Turns } from "./fair_queue.ts";

/** A clock that stands still until it is moved. */
export class FakeClock implements Clock {
  #now = 1_700_000_000_000;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(delay: number, run: () => void): () => void {
    const timer = { at: this.#now + delay, run };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** Timers that are running. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on by so many milliseconds; what is due meanwhile is called at its time. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    for (;;) {
      await settle();
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything happen that waits for nothing. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** An exchange that waits for its end. */
export interface Pending<Order = Holding, End = Held> {
  readonly holding: Order;
  readonly signal: AbortSignal;
  readonly end: (held: End) => void;
  readonly fail: (error: Error) => void;
}

const nothing = { malformed: 0, foreign: 0, unusable: 0 };
const counts = { discover: 0, request: 1, offer: 0, ack: 0, nak: 0, ignored: nothing };

/** An answer that acknowledges. */
export function acked(ack: Message = decode(golden.ack)!): Held {
  return { kind: "acked", ack, age: 0, counts };
}

/** No answer. */
export const failed: Held & { readonly kind: "failed" } = {
  kind: "failed",
  message: "no more tries: 3 REQUEST sent",
  counts,
};

/** A refusal. */
export const refused: Held = { kind: "refused", message: "server rejected request", counts };

/** The golden DHCPACK with another address, router, or times in seconds. */
export function ackOf(
  parts: { readonly address?: string; readonly router?: string; readonly seconds?: number },
): Message {
  const ack = decode(golden.ack)!;
  const { address = "192.168.1.5", router = "192.168.1.1", seconds = 300 } = parts;
  const hexOf = (value: number) => value.toString(16).padStart(8, "0");
  const options = optionsOf({
    3: hexOf(Number(ip(router).bits)),
    51: hexOf(seconds),
    58: hexOf(seconds / 2),
    59: hexOf(Math.floor(seconds * 7 / 8)),
  });
  return { ...ack, yiaddr: ip(address), options: new Map([...ack.options, ...options]) };
}

/** Tools that note everything, and exchanges that end as the test says. */
export class FakeTools implements Tools {
  readonly clock = new FakeClock();
  readonly exchanges: Turns;
  readonly releases = new Turns(2);
  readonly random = () => 0;
  readonly limits = { within: 208_000, timeout: 10_000, resendMax: 62_000 };
  /** Exchanges that have not ended. */
  pending: Pending[] = [];
  /** The same of DHCPv6. */
  pending6: Pending<Holding6, Held6>[] = [];
  /** What happened, in order. */
  readonly log: string[] = [];
  /** Leases on the disk by path. */
  readonly disk = new Map<string, Entry>();
  /** Paths of namespaces that are gone. */
  readonly gone = new Set<string>();
  /** Makes writes fail. */
  full = false;
  /** Makes plans fail. */
  broken = false;

  constructor({ exchanges = 4 } = {}) {
    this.exchanges = new Turns(exchanges);
  }

  /** The one exchange that is under way. */
  get only(): Pending {
    if (this.pending.length !== 1) throw new Error(`${this.pending.length} exchanges`);
    return this.pending[0]!;
  }

  /** Lines that were said. */
  get said(): string[] {
    return this.log.filter((line) => line.startsWith("say "));
  }

  hold = (holding: Holding, signal: AbortSignal): Promise<Held> => {
    this.log.push(`hold ${goalText(holding.goal)} within ${holding.within}`);
    const { promise, pending } = begin<Holding, Held>({ holding, signal }, (ended) => {
      this.pending = this.pending.filter((other) => other !== ended);
    });
    this.pending.push(pending);
    if (holding.goal.kind === "release") pending.end({ kind: "sent" });
    return promise;
  };

  hold6 = (holding: Holding6, signal: AbortSignal): Promise<Held6> => {
    this.log.push(`hold6 ${goalText(holding.goal)} within ${holding.within}`);
    const { promise, pending } = begin<Holding6, Held6>({ holding, signal }, (ended) => {
      this.pending6 = this.pending6.filter((other) => other !== ended);
    });
    this.pending6.push(pending);
    if (holding.goal.kind === "release") pending.end({ kind: "sent", counts: counts6 });
    return promise;
  };

  readonly releaseFromHost = (goal: Goal): Promise<void> => {
    this.log.push(`host ${goalText(goal)}`);
    return Promise.resolve();
  };

  readonly apply = (steps: readonly Step[]): Promise<void> => {
    if (this.broken) return Promise.reject(new Error("Cannot apply"));
    for (const { do: action } of steps) {
      this.log.push(describe(action).replace(/^nsenter --net=\S+ /, ""));
    }
    return Promise.resolve();
  };

  readonly netnsOf = ({ netns }: Pick<Intent, "netns">) =>
    this.gone.has(netns) ? undefined : { path: netns };

  readonly store = {
    write: (entry: Entry) => {
      if (this.full) throw new Error("Cannot write: no space");
      this.log.push(`write ${addressIn(entry)}`);
      this.disk.set(entry.path, entry);
    },
    remove: ({ path }: Pick<Entry, "path">) => {
      this.log.push("remove");
      this.disk.delete(path);
    },
  };

  readonly say = (line: string) => void this.log.push(`say ${line}`);

  /** What happened since the last call. */
  news(): string[] {
    return this.log.splice(0);
  }
}

/** An exchange that ends when it is told to, or called off. */
function begin<Order, End extends { readonly kind: string }>(
  { holding, signal }: { readonly holding: Order; readonly signal: AbortSignal },
  over: (pending: Pending<Order, End>) => void,
) {
  const { promise, resolve, reject } = Promise.withResolvers<End>();
  const pending: Pending<Order, End> = {
    holding,
    signal,
    end(held) {
      over(pending);
      resolve(held);
    },
    fail(error) {
      over(pending);
      reject(error);
    },
  };
  signal.addEventListener("abort", () => pending.end({ kind: "cancelled" } as unknown as End));
  return { promise, pending };
}

function addressIn(entry: EntryOf<4 | 6>): string {
  return formatIp(kinOf(entry.family).addressOf(entry.lease.ack));
}

function goalText(
  { kind, address }: Pick<Goal, "kind"> & { readonly address?: Ip | undefined },
): string {
  return address ? `${kind} ${formatIp(address)}` : kind;
}

/** A lease of `eth0` of container `c1`. */
export function entryOf(lease: Lease, parts: Partial<EntryOf<4>> = {}): EntryOf<4> {
  return {
    family: 4,
    network: "net",
    containerId: "c1",
    ifName: "eth0",
    path: "/leases/1.json",
    agent: "/run/cni/dhcp.sock",
    netns: "/run/netns/c1",
    identity: { dev: 4, ino: 1 },
    ask: { clientId, requested: [3, 1], provided: new Map(), broadcast: false, priority: 0 },
    lease,
    replaces: [],
    generation: 1,
    ...parts,
  };
}

/** A lease that the golden DHCPACK gives now. */
export function leaseAt(now: number, ack: Message = decode(golden.ack)!): Lease {
  return leaseOf(ack, { now, age: 0, random: () => 0 });
}
