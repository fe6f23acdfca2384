/**
 * Leases without an agent: the plugin itself asks servers, and gives leases back.
 *
 * @module
 */
import type { GcRequest, Request } from "../../cni/plugin.ts";
import type { Result } from "../../cni/types.ts";
import type { Host } from "../../ns/machine.ts";
import type { Conf } from "./conf.ts";
import type { Ways } from "./goodbye.ts";
import type { Held } from "./hold.ts";
import type { Means } from "./place.ts";
import type { Entry, Intent } from "./store.ts";
import { CniError, codes } from "../../cni/error.ts";
import { sameNetns } from "../../ns/netns.ts";
import { recordedNetns, recordNetns } from "../../recipes/recorded_netns.ts";
import { resultOf } from "./change.ts";
import { askOf } from "./conf.ts";
import { mayHaveBrought, recover, release } from "./goodbye.ts";
import { holdExchange, releaseFromHost } from "./hold.ts";
import { holdsAt, leaseOf } from "./lease.ts";
import { dropSteps, Store, storeSteps } from "./store.ts";

/** Gets a lease that nobody renews, or the one that the attachment has. A rollback gives it back. */
export async function acquireAlone(req: Request<Conf>, means: Means): Promise<Result> {
  const store = new Store(means.dir);
  const { hold = holdExchange } = means;
  const { conf, host, network, containerId, ifName, ifName: dev } = req;
  const attachment = { network, containerId, ifName };
  const place = recordNetns(req);
  const path = await store.pathOf(attachment);
  const ask = askOf(conf, { attachment, args: req.args, broadcast: false });
  const before = store.read(path);
  if (before && isUsable(before, place.identity)) return resultOf(before.lease.ack, ask);
  const goal = { kind: "acquire", address: before?.lease.ack.yiaddr } as const;
  const netns = { path: place.netns };
  const holding = { netns, dev, goal, client: ask, within: conf.timeout };
  const intent = { ...attachment, ...place, path, ask };
  store.intend(intent);
  const held = await hold(host, holding);
  if (!mayHaveBrought(held)) store.forget(path);
  const { ack, age } = acknowledged(held, dev);
  const entry: Entry = {
    ...intent,
    replaces: [],
    lease: leaseOf(ack, { now: Date.now(), age, random: Math.random }),
    generation: (before?.generation ?? 0) + 1,
  };
  host.onRollback(`get a lease for "${dev}"`, () => release(entry, waysOf(host, means)));
  const result = resultOf(ack, ask);
  await host.apply(storeSteps(entry));
  store.forget(path);
  return result;
}

/** Throws code 105 where an attachment has no lease, or none that may be used there. */
export function requireLease(
  { sandbox, ifName }: Request<unknown>,
  { path, dir }: { readonly path: string } & Means,
): void {
  const entry = new Store(dir).read(path);
  const identity = sandbox.is === "namespace" ? sandbox.identity : undefined;
  if (entry && identity && isUsable(entry, identity)) return;
  const state = entry ? "it has ended, or is for another namespace" : "there is no record of it";
  throw new CniError(codes.checkFailed, `Cannot use the lease of "${ifName}": ${state}`);
}

/** What is on the disk of an attachment: its lease, or an acquisition that was cut short. */
export function readTraces(path: string, { dir }: Means): Intent | undefined {
  const store = new Store(dir);
  return store.read(path) ?? store.intent(path);
}

/** Gives back what an attachment has, or may have, and forgets it. */
export async function giveUp(host: Host, path: string, means: Means): Promise<void> {
  const store = new Store(means.dir);
  const intent = host.dryRun ? undefined : store.intent(path);
  const entry = store.read(path) ?? (intent && await recoverAlone(host, intent, means));
  if (entry) await releaseAlone(host, entry, means);
  if (intent) store.forget(path);
}

async function recoverAlone(host: Host, intent: Intent, means: Means): Promise<Entry | undefined> {
  const never = new AbortController().signal;
  return await recover(intent, waysOf(host, means), { now: Date.now, signal: never });
}

/** Leases of a network that belong to none of the valid attachments. */
export function staleLeases({ network, valid }: GcRequest<unknown>, { dir }: Means): Entry[] {
  const keep = new Set(valid.map(({ containerID, ifname }) => `${containerID}\0${ifname}`));
  return new Store(dir).all().filter((entry) =>
    entry.network === network && !keep.has(`${entry.containerId}\0${entry.ifName}`)
  );
}

/** Whether a lease can be used in a namespace now. */
function isUsable(entry: Entry, identity: Entry["identity"]): boolean {
  return sameNetns(entry.identity, identity) && holdsAt(entry.lease, Date.now());
}

/** Gives a lease back, best effort, and forgets it. */
export async function releaseAlone(host: Host, entry: Entry, means: Means): Promise<void> {
  if (!host.dryRun) {
    await release(entry, waysOf(host, means)).catch(({ message }: Error) => {
      console.error(`dhcp: ${message}; the server will take the address back at the lease's end`);
    });
  }
  await host.apply(dropSteps(entry));
}

function waysOf(host: Host, means: Means): Ways {
  const { hold = holdExchange, releaseFromHost: send = releaseFromHost } = means;
  return {
    hold: (holding, signal) => hold(host, holding, { signal }),
    releaseFromHost: (goal, client) => send({ goal, client }),
    netnsOf: (entry) => recordedNetns(entry),
  };
}

function acknowledged(held: Held, dev: string): Held & { readonly kind: "acked" } {
  const cannot = (code: number, state: string, details = "") =>
    new CniError(code, `Cannot get a lease for "${dev}": ${state}`, details);
  switch (held.kind) {
    case "acked":
      return held;
    case "failed": {
      const [state, ...counts] = held.message.split(": ");
      throw cannot(codes.tryAgainLater, state!, counts.join(": "));
    }
    case "link missing":
      throw cannot(codes.objectMissing, "the container has no such interface");
    case "namespace gone":
      throw cannot(codes.invalidNetns, "the namespace is gone");
    default:
      throw cannot(codes.noAddress, held.kind === "refused" ? held.message : held.kind);
  }
}
