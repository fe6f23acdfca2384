/**
 * firewall: lets the container's packets pass the host's firewall, and keeps
 * bridges apart from each other with `ingressPolicy`.
 *
 * Owns: with iptables two rules for each address in the shared chain
 * `CNI-FORWARD`; with firewalld the addresses as sources of a zone; with nftables
 * elements in the tables `inet denocni_firewall` and `bridge denocni_firewall`
 * and in chains that the configuration names; a record of each attachment below
 * `/run/cni/denocni`. Runs: `iptables-restore` or `busctl` or `nft`, and
 * `iptables-save` where something is there already.
 *
 * ```json
 * { "type": "firewall" }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Result } from "../cni/types.ts";
import type { Backend, Conf } from "./firewall/conf.ts";
import type { Driver, Gone, Job } from "./firewall/driver.ts";
import type { FirewallData, FirewallRecord } from "./firewall/record.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { distinctCidrs, formatCidr, hostPrefix } from "../host/ip.ts";
import { hasTool } from "../host/spawn.ts";
import { ownAddresses, requireChained } from "../recipes/chained.ts";
import { report, requirePrevResult } from "../recipes/check.ts";
import { removeAll } from "../recipes/removal.ts";
import { iptables } from "./firewall/by_iptables.ts";
import { conf } from "./firewall/conf.ts";
import { firewalld, isRunning } from "./firewall/by_firewalld.ts";
import { gcNft, nftables } from "./firewall/by_nftables.ts";
import { ingressOf } from "./firewall/ingress.ts";
import { addressesToRemove, firewallRecords, foreignAddresses } from "./firewall/record.ts";

const everyBackend: readonly Backend[] = ["iptables", "firewalld", "nftables"];

const drivers: Readonly<Record<Backend, Driver>> = { iptables, firewalld, nftables };

/** The firewall plugin. */
export const plugin = definePlugin<Conf>({
  type: "firewall",
  about: "lets a container's packets pass the host's firewall",
  needs: "firewalld with busctl, iptables or nftables",
  permissions: {
    run: [
      "iptables-save",
      "iptables-restore",
      "ip6tables-save",
      "ip6tables-restore",
      "busctl",
      "nft",
    ],
    read: true,
    write: ["/run/cni/denocni"],
  },
  conf,
  add,
  check,
  del,
  gc,
  status,
  repair,
});

async function add(req: Request<Conf>): Promise<Result> {
  const result = requireChained(req);
  const record = await firewallRecords.find(req);
  const job = jobOf(req, { result, record });
  if (job.addresses.length > 0) await allow(job, record);
  return result;
}

/** What of a result concerns this plugin. Throws code 7 for a policy that it has no bridge for. */
export function jobOf(
  { host, conf, network, containerId, ifName }: Omit<Request<Conf>, "raw">,
  { result, record }: { readonly result: Result; readonly record: FirewallRecord | undefined },
): Job {
  const own = ownAddresses({ ifName }, result).map(({ cidr }) => hostPrefix(cidr));
  const addresses = distinctCidrs(own);
  const ingress = addresses.length > 0 ? ingressOf(conf.ingressPolicy, result) : undefined;
  const known = record !== undefined;
  return { host, conf, network, containerId, ifName, addresses, ingress, known };
}

/** Records come before rules, so that DEL knows of them whatever happens in between. */
async function allow(job: Job, record: FirewallRecord | undefined): Promise<void> {
  const before = record?.data.backends ?? [];
  const backend = await chooseBackend(job);
  const others = [...before, ...drivers[backend].helpers?.(job) ?? []].filter((other) =>
    other !== backend
  );
  const used = [...new Set(others), backend];
  await job.host.apply(await firewallRecords.write(job, recordedData(job, used)));
  if (await drivers[backend].add(job)) return;
  await job.host.apply(await firewallRecords.write(job, recordedData(job, [...used, "nftables"])));
  await nftables.add(job);
}

function recordedData({ addresses, conf }: Job, backends: readonly Backend[]): FirewallData {
  return {
    backends: [...backends],
    addresses: addresses.map(formatCidr),
    zone: conf.firewalldZone,
    places: conf.insertInto,
  };
}

/** The configured back end, or the first that this host has. */
async function chooseBackend({ host, conf }: Pick<Job, "host" | "conf">): Promise<Backend> {
  if (conf.backend) return conf.backend;
  if (conf.mark !== undefined || conf.insertInto.length > 0) return "nftables";
  if (await isRunning(host)) return "firewalld";
  return hasTool("iptables-restore") || !hasTool("nft") ? "iptables" : "nftables";
}

async function check(req: Request<Conf>): Promise<void> {
  const result = requirePrevResult(req);
  const record = await firewallRecords.find(req);
  report(req.network, await missing(jobOf(req, { result, record }), record));
}

/** A line for each thing that is missing, in the back end that ADD has used. */
async function missing(job: Job, record: FirewallRecord | undefined): Promise<string[]> {
  if (job.addresses.length === 0) return [];
  const backend = job.conf.backend ?? record?.data.backends.at(-1) ?? await chooseBackend(job);
  // Rules carry no name: without a record they may still be somebody else's.
  const foreign = record ? [] : foreignAddresses(job, job.addresses);
  return [...foreign, ...await drivers[backend].check(job)];
}

async function del(req: Request<Conf>): Promise<void> {
  await remove(req, {
    ...attachmentOf(req),
    record: await firewallRecords.find(req),
    result: req.prevResult,
  });
}

function attachmentOf({ network, containerId, ifName }: AttachmentKey): AttachmentKey {
  return { network, containerId, ifName };
}

/** An attachment and all that is known of it. */
interface Known extends AttachmentKey {
  readonly record: FirewallRecord | undefined;
  readonly result: Result | undefined;
}

/** Removes what is an attachment's from every back end that may have it, then its record. */
async function remove({ host, conf }: Pick<Job, "host" | "conf">, known: Known): Promise<void> {
  const { record } = known;
  const gone: Gone = {
    ...attachmentOf(known),
    addresses: addressesToRemove(known, known),
    zone: record?.data.zone ?? conf.firewalldZone,
    places: record?.data.places ?? conf.insertInto,
  };
  const backends = record?.data.backends ?? (conf.backend ? [conf.backend] : everyBackend);
  await removeAll([
    ...backends.map((backend) => ({
      why: "remove firewall rules",
      run: () => drivers[backend].del(host, gone),
    })),
    {
      why: "forget firewall rules",
      run: async () => void await host.apply(await firewallRecords.remove(known)),
      onlyIfClean: true,
    },
  ]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  const { host, conf, network, valid } = req;
  await removeAll([
    ...firewallRecords.stale(req).map((record) => ({
      why: "remove stale firewall rules",
      run: () => remove(req, { ...record, record, result: undefined }),
    })),
    {
      why: "remove stale firewall rules",
      when: conf.backend === undefined || conf.backend === "nftables",
      run: () => gcNft(host, { network, valid, places: conf.insertInto }),
    },
  ]);
}

async function status({ host, conf }: Request<Conf>): Promise<void> {
  const backend = await chooseBackend({ host, conf });
  await drivers[backend].status(host, conf);
}

async function repair(req: Request<Conf>): Promise<string[]> {
  const record = await firewallRecords.find(req);
  const job = jobOf(req, { result: requirePrevResult(req), record });
  if (job.addresses.length === 0) return [];
  const chosen = await chooseBackend(job);
  // What ADD has given way to is as good.
  const gaveWay = chosen === "iptables" && record?.data.backends.at(-1) === "nftables";
  const problems = await drivers[gaveWay ? "nftables" : chosen].check(job);
  if (problems.length > 0) await allow(job, record);
  return problems;
}

if (import.meta.main) await serve(plugin);
