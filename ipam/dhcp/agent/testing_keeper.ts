/**
 * Fakes for tests of keepers and the agent: a clock that a test moves, exchanges that end as the test
 * says, plans that are logged.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Step } from "../../../host/step.ts";
import type { Message4 } from "../codec/message4.ts";
import type { ExchangeGoal4 } from "../exchange/client_message4.ts";
import type { ExchangeJob4, ExchangeResult4 } from "../exchange/run_exchange4.ts";
import type { ExchangeJob6, ExchangeResult6 } from "../exchange/run_exchange6.ts";
import type { Lease4 } from "../lease/lease4.ts";
import type { LeaseIntent, LeaseRecord, LeaseRecordOf } from "../lease/lease_record.ts";
import type { Clock } from "./clock.ts";
import type { KeeperTools } from "./lease_keeper.ts";
import { formatIp } from "../../../host/ip.ts";
import { describe } from "../../../host/step.ts";
import { decodeMessage4 } from "../codec/message4.ts";
import { clientId, golden4, ip, optionsOf4 } from "../codec/testing_message4.ts";
import { zeroCounts6 as counts6 } from "../exchange/counts6.ts";
import { familyOps } from "../lease/family.ts";
import { leaseOf4 } from "../lease/lease4.ts";
import { FairQueue } from "./fair_queue.ts";

/** A clock that stands still until a test moves it. */
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

  /** Number of running timers. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on by some milliseconds; calls each due timer at its time. */
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

/** A global of Deno that its types lack; a timer of 0 takes a millisecond, and tests let hours pass. */
declare function setImmediate(run: () => void): void;

/** Lets every pending callback run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** An exchange that waits for its end. */
export interface PendingExchange<Order = ExchangeJob4, End = ExchangeResult4> {
  readonly job: Order;
  readonly signal: AbortSignal;
  readonly end: (held: End) => void;
  readonly fail: (error: Error) => void;
}

const nothing = { malformed: 0, foreign: 0, unusable: 0 };
const counts = { discover: 0, request: 1, offer: 0, ack: 0, nak: 0, ignored: nothing };

/** Makes the result of an exchange that a server has acknowledged. */
export function ackedResult(ack: Message4 = decodeMessage4(golden4.ack)!): ExchangeResult4 {
  return { kind: "acked", ack, age: 0, counts };
}

/** Result of an exchange without an answer. */
export const failedResult: ExchangeResult4 & { readonly kind: "failed" } = {
  kind: "failed",
  message: "no more tries: 3 REQUEST sent",
  counts,
};

/** Result of an exchange that a server has refused. */
export const refusedResult: ExchangeResult4 = {
  kind: "refused",
  message: "server rejected request",
  counts,
};

/** Makes the golden DHCPACK with another address, router, or times in seconds. */
export function ackOf(
  parts: { readonly address?: string; readonly router?: string; readonly seconds?: number },
): Message4 {
  const ack = decodeMessage4(golden4.ack)!;
  const { address = "192.168.1.5", router = "192.168.1.1", seconds = 300 } = parts;
  const hexOf = (value: number) => value.toString(16).padStart(8, "0");
  const options = optionsOf4({
    3: hexOf(Number(ip(router).bits)),
    51: hexOf(seconds),
    58: hexOf(seconds / 2),
    59: hexOf(Math.floor(seconds * 7 / 8)),
  });
  return { ...ack, yiaddr: ip(address), options: new Map([...ack.options, ...options]) };
}

/** Tools of a keeper that log every use; exchanges end as the test says. */
export class FakeKeeperTools implements KeeperTools {
  readonly clock = new FakeClock();
  readonly exchanges: FairQueue;
  readonly releases = new FairQueue(2);
  readonly random = () => 0;
  readonly limits = { within: 208_000, timeout: 10_000, resendMax: 62_000 };
  /** DHCPv4 exchanges that have not ended. */
  pending: PendingExchange[] = [];
  /** DHCPv6 exchanges that have not ended. */
  pending6: PendingExchange<ExchangeJob6, ExchangeResult6>[] = [];
  /** Every use, in order. */
  readonly log: string[] = [];
  /** Leases on the disk by path. */
  readonly disk = new Map<string, LeaseRecord>();
  /** Paths of namespaces that are gone. */
  readonly gone = new Set<string>();
  /** Makes writes fail. */
  full = false;
  /** Makes plans fail. */
  broken = false;

  constructor({ exchanges = 4 } = {}) {
    this.exchanges = new FairQueue(exchanges);
  }

  /** The one DHCPv4 exchange that is under way. */
  get only(): PendingExchange {
    if (this.pending.length !== 1) throw new Error(`${this.pending.length} exchanges`);
    return this.pending[0]!;
  }

  /** Log lines for people. */
  get said(): string[] {
    return this.log.filter((line) => line.startsWith("say "));
  }

  runExchange4 = (holding: ExchangeJob4, signal: AbortSignal): Promise<ExchangeResult4> => {
    this.log.push(`hold ${goalText(holding.goal)} within ${holding.within}`);
    const { promise, pending } = begin<ExchangeJob4, ExchangeResult4>(
      { holding, signal },
      (ended) => {
        this.pending = this.pending.filter((other) => other !== ended);
      },
    );
    this.pending.push(pending);
    if (holding.goal.kind === "release") pending.end({ kind: "sent" });
    return promise;
  };

  runExchange6 = (holding: ExchangeJob6, signal: AbortSignal): Promise<ExchangeResult6> => {
    this.log.push(`hold6 ${goalText(holding.goal)} within ${holding.within}`);
    const { promise, pending } = begin<ExchangeJob6, ExchangeResult6>(
      { holding, signal },
      (ended) => {
        this.pending6 = this.pending6.filter((other) => other !== ended);
      },
    );
    this.pending6.push(pending);
    if (holding.goal.kind === "release") pending.end({ kind: "sent", counts: counts6 });
    return promise;
  };

  readonly releaseFromHost = (goal: ExchangeGoal4): Promise<void> => {
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

  readonly netnsOf = ({ netns }: Pick<LeaseIntent, "netns">) =>
    this.gone.has(netns) ? undefined : { path: netns };

  readonly store = {
    write: (record: LeaseRecord) => {
      if (this.full) throw new Error("Cannot write: no space");
      this.log.push(`write ${addressIn(record)}`);
      this.disk.set(record.path, record);
    },
    remove: ({ path }: Pick<LeaseRecord, "path">) => {
      this.log.push("remove");
      this.disk.delete(path);
    },
  };

  readonly say = (line: string) => void this.log.push(`say ${line}`);

  /** Takes what was logged since the last call. */
  news(): string[] {
    return this.log.splice(0);
  }
}

/** Begins an exchange that ends when the test says so, or its signal is aborted. */
function begin<Order, End extends { readonly kind: string }>(
  { holding, signal }: { readonly holding: Order; readonly signal: AbortSignal },
  over: (pending: PendingExchange<Order, End>) => void,
) {
  const { promise, resolve, reject } = Promise.withResolvers<End>();
  const pending: PendingExchange<Order, End> = {
    job: holding,
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

function addressIn(record: LeaseRecordOf<4 | 6>): string {
  return formatIp(familyOps(record.family).addressOf(record.lease.ack));
}

function goalText(
  { kind, address }: Pick<ExchangeGoal4, "kind"> & { readonly address?: Ip | undefined },
): string {
  return address ? `${kind} ${formatIp(address)}` : kind;
}

/** Makes the record of a lease of `eth0` of container `c1`. */
export function leaseRecordOf(
  lease: Lease4,
  parts: Partial<LeaseRecordOf<4>> = {},
): LeaseRecordOf<4> {
  return {
    family: 4,
    network: "net",
    containerId: "c1",
    ifName: "eth0",
    path: "/leases/1.json",
    agent: "/run/cni/dhcp.sock",
    netns: "/run/netns/c1",
    identity: { dev: 4, ino: 1 },
    client: { clientId, requested: [3, 1], provided: new Map(), broadcast: false, priority: 0 },
    lease,
    replacedAcks: [],
    generation: 1,
    ...parts,
  };
}

/** Makes the lease that the golden DHCPACK gives at a time. */
export function leaseAt(now: number, ack: Message4 = decodeMessage4(golden4.ack)!): Lease4 {
  return leaseOf4(ack, { now, age: 0, random: () => 0 });
}
