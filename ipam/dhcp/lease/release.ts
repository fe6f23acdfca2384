/**
 * Releases a lease: from the container, or from the host when the container's namespace is gone. Nobody
 * needs an answer to a release, so it is best effort either way.
 *
 * @module
 */
import type { Family } from "../../../host/ip.ts";
import type { ExchangeEnding, Transport } from "./family.ts";
import type { LeaseIntentOf, LeaseRecordOf } from "./lease_record.ts";
import { familyOps } from "./family.ts";

/** Milliseconds that a release may take. */
const limit = 5000;
/** Milliseconds that a search for a lease may take, and that a server has for its first answer. */
const search = { within: 5000, timeout: 1000 } as const;

/**
 * Recovers the lease that an acquisition may have brought before it was cut short: the same client gets
 * it again when it asks again. Gives `undefined` without an answer, or without a namespace to ask from.
 */
export async function recoverLease<F extends Family>(
  intent: LeaseIntentOf<F>,
  transport: Transport,
  { now, signal }: { readonly now: () => number; readonly signal: AbortSignal },
): Promise<LeaseRecordOf<F> | undefined> {
  const { ifName: dev, client, family } = intent;
  const ops = familyOps(family);
  const netns = transport.netnsOf(intent);
  if (!netns) return undefined;
  const task = { netns, dev, goal: ops.acquireGoal(undefined), client, ...search };
  const ended = await ops.runExchange(transport, task, signal).catch(() => undefined);
  if (ended?.kind !== "acked") return undefined;
  const { ack, age } = ended;
  const lease = ops.protocol.leaseOf(ack, { now: now(), age, random: () => 0 });
  return { ...intent, lease, replacedAcks: [], generation: 0 };
}

/** Releases a lease. Throws when no process can be started for it, or the release cannot be sent. */
export async function releaseLease<F extends Family>(
  record: LeaseRecordOf<F>,
  transport: Transport,
): Promise<void> {
  const { ifName: dev, client, lease: { ack }, family } = record;
  const ops = familyOps(family);
  const goal = ops.protocol.goalOf("release", ack);
  const netns = transport.netnsOf(record);
  const never = new AbortController().signal;
  const task = netns && { netns, dev, goal, client, within: limit };
  const ended = task && await ops.runExchange(transport, task, never).catch(() => undefined);
  if (ended?.kind === "sent") return;
  await ops.releaseFromHost(transport, { goal, client, ack });
}

/** Whether a server may have given a lease that nobody knows of. */
export function mayHaveLeased(ended: ExchangeEnding<unknown>): boolean {
  return ended.kind === "cancelled" || ended.kind === "acked" ||
    ended.kind === "failed" && ended.counts.request > 0;
}
