/**
 * Gives a lease back to its server: from the container, or from the host where the container's
 * namespace is gone. Nobody needs an answer to a release, so it is best effort either way.
 *
 * @module
 */
import type { EntryOf, Family, IntentOf } from "./lease_record.ts";
import type { Ending, Ways } from "./family.ts";
import { kinOf } from "./family.ts";

/** Milliseconds that a release may take. */
const limit = 5000;
/** Milliseconds that it may take to find out, and to the first answer of a server. */
const search = { within: 5000, timeout: 1000 } as const;

/**
 * The lease that an acquisition may have brought before it was cut short: the same client that asks
 * again gets it again. Gives `undefined` where there is no answer, or no way to ask.
 */
export async function recover<F extends Family>(
  intent: IntentOf<F>,
  ways: Ways,
  { now, signal }: { readonly now: () => number; readonly signal: AbortSignal },
): Promise<EntryOf<F> | undefined> {
  const { ifName: dev, ask, family } = intent;
  const kin = kinOf(family);
  const netns = ways.netnsOf(intent);
  if (!netns) return undefined;
  const task = { netns, dev, goal: kin.acquire(undefined), ask, ...search };
  const held = await kin.hold(ways, task, signal).catch(() => undefined);
  if (held?.kind !== "acked") return undefined;
  const { ack, age } = held;
  const lease = kin.protocol.leaseOf(ack, { now: now(), age, random: () => 0 });
  return { ...intent, lease, replaces: [], generation: 0 };
}

/** Sends the release. Throws when a process cannot be started for it, or there is no way to send it. */
export async function release<F extends Family>(entry: EntryOf<F>, ways: Ways): Promise<void> {
  const { ifName: dev, ask, lease: { ack }, family } = entry;
  const kin = kinOf(family);
  const goal = kin.protocol.goalOf("release", ack);
  const netns = ways.netnsOf(entry);
  const never = new AbortController().signal;
  const task = netns && { netns, dev, goal, ask, within: limit };
  const held = task && await kin.hold(ways, task, never).catch(() => undefined);
  if (held?.kind === "sent") return;
  await kin.releaseFromHost(ways, { goal, ask, ack });
}

/** Whether a server may have given a lease that is not known of. */
export function mayHaveBrought(held: Ending<unknown>): boolean {
  return held.kind === "cancelled" || held.kind === "acked" ||
    held.kind === "failed" && held.counts.request > 0;
}
