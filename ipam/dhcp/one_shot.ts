/**
 * One-shot leases, without an agent: the plugin itself asks servers, and releases leases.
 *
 * @module
 */
import type { GcRequest, Request } from "../../cni/plugin.ts";
import type { Result } from "../../cni/types.ts";
import type { Family } from "../../host/ip.ts";
import type { Host } from "../../ns/machine.ts";
import type { Conf } from "./conf/conf.ts";
import type { Environment } from "./environment.ts";
import type { AcquisitionErrors, Transport } from "./lease/family.ts";
import type {
  LeaseIntent,
  LeaseIntentOf,
  LeaseRecord,
  LeaseRecordOf,
} from "./lease/lease_record.ts";
import { staleOn } from "../../cni/attachment_key.ts";
import { CniError, codes } from "../../cni/error.ts";
import { sameNetns } from "../../ns/netns.ts";
import { recordedNetns, recordNetns } from "../../recipes/recorded_netns.ts";
import { clientSettings } from "./conf/client_settings.ts";
import { dhcpFamilies } from "./conf/conf.ts";
import { releaseFromHost, runExchange4 } from "./exchange/run_exchange4.ts";
import { runExchange6 } from "./exchange/run_exchange6.ts";
import { allOrCancel } from "./lease/all_or_cancel.ts";
import { mergeResults, withFamilyLabel } from "./lease/dual_stack.ts";
import { familyOps, requireAck } from "./lease/family.ts";
import { isValidAt } from "./lease/lease.ts";
import { leasePath } from "./lease/lease_files.ts";
import { LeaseStore, removeLeaseSteps, writeLeaseSteps } from "./lease/lease_store.ts";
import { mayHaveLeased, recoverLease, releaseLease } from "./lease/release.ts";
import { splitNoMoreTries } from "./rpc/agent_client.ts";

/**
 * Gets leases that nobody renews, or the existing ones of the attachment: one of each family that the
 * configuration asks DHCP servers for. A rollback releases them.
 */
export async function acquireOneShot(
  req: Request<Conf>,
  { signal, ...env }: Environment & { readonly signal?: AbortSignal | undefined },
): Promise<Result> {
  const tasks = dhcpFamilies(req.conf).map((wanted) => (signal: AbortSignal) =>
    acquire(req, { ...env, ...wanted, signal }).catch((error) => {
      throw withFamilyLabel(wanted, error);
    })
  );
  return mergeResults(await allOrCancel(tasks, { signal }));
}

/** How to acquire the lease of one family. */
interface FamilyEnvironment<F extends Family> extends Environment {
  readonly family: F;
  readonly signal: AbortSignal;
}

async function acquire<F extends Family>(
  req: Request<Conf>,
  env: FamilyEnvironment<F>,
): Promise<Result> {
  const { signal, family } = env;
  const store = new LeaseStore(env.dir);
  const ops = familyOps(family);
  const transport = transportOf(req.host, env);
  const intent = await intentOf(req, env);
  const { path, client, ifName: dev } = intent;
  const before = store.read(path) as LeaseRecordOf<F> | undefined;
  if (before && isUsable(before, intent.identity)) return ops.resultOf(before.lease.ack, client);
  const goal = ops.acquireGoal(before && ops.addressOf(before.lease.ack));
  const task = { netns: { path: intent.netns }, dev, goal, client, within: req.conf.timeout };
  store.writeIntent(intent as LeaseIntent);
  // However the exchange ends, a server may have given a lease.
  req.host.onRollback(`ask servers for "${dev}"`, () => giveUpLease(req.host, path, env));
  const ended = await ops.runExchange(transport, task, signal);
  if (!mayHaveLeased(ended)) store.removeIntent(path);
  const { ack, age } = requireAck(ended, acquisitionErrors(dev));
  const record: LeaseRecordOf<F> = {
    ...intent,
    replacedAcks: [],
    lease: ops.protocol.leaseOf(ack, { now: Date.now(), age, random: Math.random }),
    generation: (before?.generation ?? 0) + 1,
  };
  req.host.onRollback(`get a lease for "${dev}"`, async () => {
    await releaseLease(record, transport);
    store.removeIntent(path);
  });
  const result = ops.resultOf(ack, client);
  await req.host.apply(writeLeaseSteps(record as LeaseRecord));
  store.removeIntent(path);
  return result;
}

async function intentOf<F extends Family>(
  req: Request<Conf>,
  { dir, family }: FamilyEnvironment<F>,
): Promise<LeaseIntentOf<F>> {
  const { conf, network, containerId, ifName, args } = req;
  const attachment = { network, containerId, ifName };
  return {
    ...attachment,
    ...recordNetns(req),
    family,
    path: await leasePath(attachment, { dir, family }),
    client: await clientSettings(conf, { family, attachment, args, broadcast: false }),
  };
}

/** Throws code 105 when an attachment lacks a lease, or has one that may not be used there. */
export async function requireLeases(req: Request<Conf>, { dir }: Environment): Promise<void> {
  const { sandbox, ifName, network, containerId, conf } = req;
  const identity = sandbox.is === "namespace" ? sandbox.identity : undefined;
  for (const { family, label } of dhcpFamilies(conf)) {
    const path = await leasePath({ network, containerId, ifName }, { dir, family });
    const record = new LeaseStore(dir).read(path);
    if (record && identity && isUsable(record, identity)) continue;
    const state = record ? "it has ended, or is for another namespace" : "there is no record of it";
    throw withFamilyLabel(
      { label },
      new CniError(codes.checkFailed, `Cannot use the lease of "${ifName}": ${state}`),
    );
  }
}

/** Reads what is on the disk at the path of a lease: the lease, or an acquisition that was cut short. */
export function readLeaseOrIntent(path: string, { dir }: Environment): LeaseIntent | undefined {
  const store = new LeaseStore(dir);
  return store.read(path) ?? store.readIntent(path);
}

/** Releases the lease at a path, or one that an acquisition may have brought, and removes its files. */
export async function giveUpLease(host: Host, path: string, env: Environment): Promise<void> {
  const store = new LeaseStore(env.dir);
  const intent = host.dryRun ? undefined : store.readIntent(path);
  const record = store.read(path) ?? (intent && await recoverOneShot(host, intent, env));
  if (record) await releaseOneShot(host, record, env);
  if (intent) store.removeIntent(path);
}

async function recoverOneShot(
  host: Host,
  intent: LeaseIntentOf<Family>,
  env: Environment,
): Promise<LeaseRecordOf<Family> | undefined> {
  const never = new AbortController().signal;
  return await recoverLease(intent, transportOf(host, env), { now: Date.now, signal: never });
}

/** Reads the leases and intents of a network that belong to none of the valid attachments, one a path. */
export function staleLeases(
  { network, valid }: GcRequest<unknown>,
  { dir }: Environment,
): LeaseIntent[] {
  const store = new LeaseStore(dir);
  const stale = [...store.allIntents(), ...store.all()].filter(staleOn(network, valid));
  return [...new Map(stale.map((trace) => [trace.path, trace])).values()];
}

/** Whether a lease may be used in a namespace now. */
function isUsable(
  record: Pick<LeaseRecordOf<Family>, "identity" | "lease">,
  identity: LeaseRecord["identity"],
): boolean {
  return sameNetns(record.identity, identity) && isValidAt(record.lease, Date.now());
}

/** Releases a lease, best effort, and removes its file. */
async function releaseOneShot(
  host: Host,
  record: LeaseRecordOf<Family>,
  env: Environment,
): Promise<void> {
  if (!host.dryRun) {
    await releaseLease(record, transportOf(host, env)).catch(({ message }: Error) => {
      console.error(`dhcp: ${message}; the server will take the address back at the lease's end`);
    });
  }
  await host.apply(removeLeaseSteps(record));
}

function transportOf(host: Host, env: Environment): Transport {
  const run4 = env.runExchange4 ?? runExchange4;
  const run6 = env.runExchange6 ?? runExchange6;
  const release = env.releaseFromHost ?? releaseFromHost;
  return {
    runExchange4: (job, signal) => run4(host, job, { signal }),
    runExchange6: (job, signal) => run6(host, job, { signal }),
    releaseFromHost: (goal, client) => release({ goal, client }),
    netnsOf: (record) => recordedNetns(record),
  };
}

/** Errors of an ADD without a lease. */
function acquisitionErrors(dev: string): AcquisitionErrors {
  const cannot = (code: number, state: string, details = "") =>
    new CniError(code, `Cannot get a lease for "${dev}": ${state}`, details);
  return {
    failed: (message) => cannot(codes.tryAgainLater, ...splitNoMoreTries(message)),
    refused: (message) => cannot(codes.noAddress, message),
    "link missing": () => cannot(codes.objectMissing, "the container has no such interface"),
    "namespace gone": () => cannot(codes.invalidNetns, "the namespace is gone"),
    cancelled: () => cannot(codes.noAddress, "cancelled"),
  };
}
