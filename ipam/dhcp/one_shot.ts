/**
 * Leases without an agent: the plugin itself asks servers, and gives leases back.
 *
 * @module
 */
import { staleOn } from "../../cni/attachment_key.ts";
import type { GcRequest, Request } from "../../cni/plugin.ts";
import type { Result } from "../../cni/types.ts";
import type { Host } from "../../ns/machine.ts";
import type { Conf } from "./conf/conf.ts";
import type { Entry, EntryOf, Family, Intent, IntentOf } from "./lease/lease_record.ts";
import type { Refusals, Ways } from "./lease/family.ts";
import type { Means } from "./lease/lease_files.ts";
import { CniError, codes } from "../../cni/error.ts";
import { sameNetns } from "../../ns/netns.ts";
import { recordedNetns, recordNetns } from "../../recipes/recorded_netns.ts";
import { questionOf } from "./conf/client_settings.ts";
import { splitCounts } from "./agent_client.ts";
import { familiesOf } from "./conf/conf.ts";
import { acknowledged, kinOf } from "./lease/family.ts";
import { mayHaveBrought, recover, release } from "./lease/release.ts";
import { holdExchange, releaseFromHost } from "./exchange/run_exchange4.ts";
import { holdExchange6 } from "./exchange/run_exchange6.ts";
import { holdsAt } from "./lease/lease_machine.ts";
import { mergeResults, named } from "./lease/dual_stack.ts";
import { leasePath } from "./lease/lease_files.ts";
import { dropSteps, Store, storeSteps } from "./lease/lease_store.ts";
import { together } from "./lease/all_or_cancel.ts";

/**
 * Gets leases that nobody renews, or those that the attachment has: one of each family that is
 * wanted. A rollback gives them back.
 */
export async function acquireAlone(
  req: Request<Conf>,
  { signal, ...means }: Means & { readonly signal?: AbortSignal | undefined },
): Promise<Result> {
  const parts = familiesOf(req.conf).map((wanted) => (signal: AbortSignal) =>
    acquire(req, { ...means, ...wanted, signal }).catch((error) => {
      throw named(wanted, error);
    })
  );
  return mergeResults(await together(parts, { signal }));
}

/** How one of them is got. */
interface Wish<F extends Family> extends Means {
  readonly family: F;
  readonly signal: AbortSignal;
}

async function acquire<F extends Family>(req: Request<Conf>, wish: Wish<F>): Promise<Result> {
  const { signal, family } = wish;
  const store = new Store(wish.dir);
  const kin = kinOf(family);
  const ways = waysOf(req.host, wish);
  const intent = await intentOf(req, wish);
  const { path, ask, ifName: dev } = intent;
  const before = store.read(path) as EntryOf<F> | undefined;
  if (before && isUsable(before, intent.identity)) return kin.resultOf(before.lease.ack, ask);
  const goal = kin.acquire(before && kin.addressOf(before.lease.ack));
  const task = { netns: { path: intent.netns }, dev, goal, ask, within: req.conf.timeout };
  store.intend(intent as Intent);
  // Whatever ends the exchange, a server may have heard of it.
  req.host.onRollback(`ask servers for "${dev}"`, () => giveUp(req.host, path, wish));
  const held = await kin.hold(ways, task, signal);
  if (!mayHaveBrought(held)) store.forget(path);
  const { ack, age } = acknowledged(held, refusals(dev));
  const entry: EntryOf<F> = {
    ...intent,
    replaces: [],
    lease: kin.protocol.leaseOf(ack, { now: Date.now(), age, random: Math.random }),
    generation: (before?.generation ?? 0) + 1,
  };
  req.host.onRollback(`get a lease for "${dev}"`, async () => {
    await release(entry, ways);
    store.forget(path);
  });
  const result = kin.resultOf(ack, ask);
  await req.host.apply(storeSteps(entry as Entry));
  store.forget(path);
  return result;
}

async function intentOf<F extends Family>(
  req: Request<Conf>,
  { dir, family }: Wish<F>,
): Promise<IntentOf<F>> {
  const { conf, network, containerId, ifName, args } = req;
  const attachment = { network, containerId, ifName };
  return {
    ...attachment,
    ...recordNetns(req),
    family,
    path: await leasePath(attachment, { dir, family }),
    ask: await questionOf(conf, { family, attachment, args, broadcast: false }),
  };
}

/** Throws code 105 where an attachment lacks a lease, or has one that may not be used there. */
export async function requireLeases(req: Request<Conf>, { dir }: Means): Promise<void> {
  const { sandbox, ifName, network, containerId, conf } = req;
  const identity = sandbox.is === "namespace" ? sandbox.identity : undefined;
  for (const { family, label } of familiesOf(conf)) {
    const path = await leasePath({ network, containerId, ifName }, { dir, family });
    const entry = new Store(dir).read(path);
    if (entry && identity && isUsable(entry, identity)) continue;
    const state = entry ? "it has ended, or is for another namespace" : "there is no record of it";
    throw named(
      { label },
      new CniError(codes.checkFailed, `Cannot use the lease of "${ifName}": ${state}`),
    );
  }
}

/** What is on the disk of an attachment and family: a lease, or an acquisition that was cut short. */
export function readTraces(path: string, { dir }: Means): Intent | undefined {
  const store = new Store(dir);
  return store.read(path) ?? store.intent(path);
}

/** Gives back what an attachment has, or may have, of a family, and forgets it. */
export async function giveUp(host: Host, path: string, means: Means): Promise<void> {
  const store = new Store(means.dir);
  const intent = host.dryRun ? undefined : store.intent(path);
  const entry = store.read(path) ?? (intent && await recoverAlone(host, intent, means));
  if (entry) await releaseAlone(host, entry, means);
  if (intent) store.forget(path);
}

async function recoverAlone(
  host: Host,
  intent: IntentOf<Family>,
  means: Means,
): Promise<EntryOf<Family> | undefined> {
  const never = new AbortController().signal;
  return await recover(intent, waysOf(host, means), { now: Date.now, signal: never });
}

/** What is on the disk of a network and belongs to none of the valid attachments: one a lease. */
export function staleTraces({ network, valid }: GcRequest<unknown>, { dir }: Means): Intent[] {
  const store = new Store(dir);
  const stale = [...store.intents(), ...store.all()].filter(staleOn(network, valid));
  return [...new Map(stale.map((trace) => [trace.path, trace])).values()];
}

/** Whether a lease can be used in a namespace now. */
function isUsable(
  entry: Pick<EntryOf<Family>, "identity" | "lease">,
  identity: Entry["identity"],
): boolean {
  return sameNetns(entry.identity, identity) && holdsAt(entry.lease, Date.now());
}

/** Gives a lease back, best effort, and forgets it. */
async function releaseAlone(
  host: Host,
  entry: EntryOf<Family>,
  means: Means,
): Promise<void> {
  if (!host.dryRun) {
    await release(entry, waysOf(host, means)).catch(({ message }: Error) => {
      console.error(`dhcp: ${message}; the server will take the address back at the lease's end`);
    });
  }
  await host.apply(dropSteps(entry));
}

function waysOf(host: Host, means: Means): Ways {
  const { hold = holdExchange, hold6 = holdExchange6 } = means;
  const { releaseFromHost: send = releaseFromHost } = means;
  return {
    hold: (holding, signal) => hold(host, holding, { signal }),
    hold6: (holding, signal) => hold6(host, holding, { signal }),
    releaseFromHost: (goal, client) => send({ goal, client }),
    netnsOf: (entry) => recordedNetns(entry),
  };
}

/** What ADD says where nothing was acquired. */
function refusals(dev: string): Refusals {
  const cannot = (code: number, state: string, details = "") =>
    new CniError(code, `Cannot get a lease for "${dev}": ${state}`, details);
  return {
    failed: (message) => cannot(codes.tryAgainLater, ...splitCounts(message)),
    refused: (message) => cannot(codes.noAddress, message),
    "link missing": () => cannot(codes.objectMissing, "the container has no such interface"),
    "namespace gone": () => cannot(codes.invalidNetns, "the namespace is gone"),
    unwanted: () => cannot(codes.noAddress, "cancelled"),
  };
}
