/**
 * Gives a lease back to its server: from the container, or from the host where the container's
 * namespace is gone. Nobody answers a release, so it is best effort either way.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Client, Goal } from "./exchange.ts";
import type { Held, Holding } from "./hold.ts";
import type { Entry, Intent } from "./store.ts";
import { leaseOf } from "./lease.ts";
import { option, readOption } from "./options.ts";

/** What a release works with. */
export interface Ways {
  /** Holds an exchange in a container. */
  readonly hold: (holding: Holding, signal: AbortSignal) => Promise<Held>;
  /** Sends a release from the host. */
  readonly releaseFromHost: (goal: Goal, client: Client) => Promise<unknown>;
  /** The namespace of a lease, as long as it is the one that the lease was for. */
  readonly netnsOf: (entry: Intent) => NetnsRef | undefined;
}

/** Milliseconds that a release may take. */
const limit = 5000;
/** Milliseconds that it may take to find out, and to the first answer of a server. */
const search = { within: 5000, timeout: 1000 } as const;

/**
 * The lease that an acquisition may have brought before it was cut short: the same client that asks
 * again gets it again. Gives `undefined` where there is no answer, or no way to ask.
 */
export async function recover(
  intent: Intent,
  ways: Ways,
  { now, signal }: { readonly now: () => number; readonly signal: AbortSignal },
): Promise<Entry | undefined> {
  const { ifName: dev, ask: client } = intent;
  const netns = ways.netnsOf(intent);
  if (!netns) return undefined;
  const holding = { netns, dev, goal: { kind: "acquire" }, client, ...search } as const;
  const held = await ways.hold(holding, signal).catch(() => undefined);
  if (held?.kind !== "acked") return undefined;
  const { ack, age } = held;
  const lease = leaseOf(ack, { now: now(), age, random: () => 0 });
  return { ...intent, lease, replaces: [], generation: 0 };
}

/** Sends the release. Throws when a process cannot be started for it. */
export async function release(entry: Entry, ways: Ways): Promise<void> {
  const { ifName: dev, ask, lease: { ack } } = entry;
  const goal: Goal = {
    kind: "release",
    address: ack.yiaddr,
    server: readOption(ack.options, option.serverId)!,
  };
  const netns = ways.netnsOf(entry);
  const never = new AbortController().signal;
  const holding = netns && { netns, dev, goal, client: ask, within: limit };
  const held = holding && await ways.hold(holding, never).catch(() => undefined);
  if (held?.kind === "sent") return;
  await ways.releaseFromHost(goal, { ...ask, chaddr: ack.chaddr });
}

/** Whether a server may have given a lease that is not known of. */
export function mayHaveBrought(held: Held): boolean {
  return held.kind === "cancelled" || held.kind === "acked" ||
    held.kind === "failed" && held.counts.request > 0;
}
