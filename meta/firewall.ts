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
import type { BackendChoice } from "../recipes/backend.ts";
import type { Conf, FirewallBackend } from "./firewall/conf.ts";
import type { FirewallDriver, FirewallRemoval, FirewallRequest } from "./firewall/driver.ts";
import type { FirewallData, FirewallRecord } from "./firewall/record.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { distinctCidrs, formatCidr, hostPrefix } from "../host/ip.ts";
import { addByChoice, chooseBackend } from "../recipes/backend.ts";
import { ownAddresses, requireChained } from "../recipes/chained.ts";
import { removeAll } from "../recipes/removal.ts";
import { conf, firewallBackends } from "./firewall/conf.ts";
import { firewallByFirewalld, isFirewalldRunning } from "./firewall/firewalld.ts";
import { ingressOf } from "./firewall/ingress.ts";
import { firewallByIptables } from "./firewall/iptables.ts";
import { firewallByNftables } from "./firewall/nftables.ts";
import { addressesToRemove, firewallRecords, foreignAddresses } from "./firewall/record.ts";

const drivers: Readonly<Record<FirewallBackend, FirewallDriver>> = {
  iptables: firewallByIptables,
  firewalld: firewallByFirewalld,
  nftables: firewallByNftables,
};

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
  const attachment = firewallRequest(req, { result, record });
  if (attachment.addresses.length > 0) await allow(attachment, record);
  return result;
}

/** The part of a result that concerns this plugin. Throws code 7 for a policy without a bridge. */
export function firewallRequest(
  { host, conf, network, containerId, ifName }: Omit<Request<Conf>, "raw">,
  { result, record }: { readonly result: Result; readonly record: FirewallRecord | undefined },
): FirewallRequest {
  const own = ownAddresses({ ifName }, result).map(({ cidr }) => hostPrefix(cidr));
  const addresses = distinctCidrs(own);
  const ingress = addresses.length > 0 ? ingressOf(conf.ingressPolicy, result) : undefined;
  const known = record !== undefined;
  return { host, conf, network, containerId, ifName, addresses, ingress, known };
}

/** Records come before rules, so that DEL knows of them whatever happens in between. */
async function allow(req: FirewallRequest, record: FirewallRecord | undefined): Promise<void> {
  const { host, addresses } = req;
  let used = record?.data.backends ?? [];
  await addByChoice(await chooseDriver(req), {
    addresses,
    add: async (backend, request) => {
      const others = [...used, ...drivers[backend].helpers?.(req) ?? []];
      used = [...new Set(others.filter((other) => other !== backend)), backend];
      await host.apply(await firewallRecords.write(req, recordedData(req, used)));
      return await drivers[backend].add(req, request);
    },
  });
}

function recordedData(
  { addresses, conf }: FirewallRequest,
  backends: readonly FirewallBackend[],
): FirewallData {
  return {
    backends: [...backends],
    addresses: addresses.map(formatCidr),
    zone: conf.firewalldZone,
    places: conf.insertInto,
  };
}

/** The configured back end, the only one that understands an option, or the best that this host has. */
async function chooseDriver(
  { host, conf }: Pick<FirewallRequest, "host" | "conf">,
): Promise<BackendChoice<FirewallBackend>> {
  if (conf.backend) return { backend: conf.backend };
  if (conf.mark !== undefined || conf.insertInto.length > 0) return { backend: "nftables" };
  return await isFirewalldRunning(host) ? { backend: "firewalld" } : chooseBackend(undefined);
}

async function check(req: Request<Conf>): Promise<void> {
  const { throwDifferences, requirePrevResult } = await import("../recipes/check.ts");
  const record = await firewallRecords.find(req);
  const attachment = firewallRequest(req, { result: requirePrevResult(req), record });
  throwDifferences(req.network, await problemsOf(attachment, record));
}

/** A line for each thing that is missing in the back end that ADD has used. */
async function problemsOf(
  req: FirewallRequest,
  record: FirewallRecord | undefined,
): Promise<string[]> {
  const { conf, addresses } = req;
  if (addresses.length === 0) return [];
  const backend = conf.backend ?? record?.data.backends.at(-1) ?? (await chooseDriver(req)).backend;
  // Rules carry no name: without a record they may still be somebody else's.
  const foreign = record ? [] : foreignAddresses(req, addresses);
  return [...foreign, ...await drivers[backend].check(req)];
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

/** An attachment, with the record and the result that it has left. */
interface RecordedAttachment extends AttachmentKey {
  readonly record: FirewallRecord | undefined;
  readonly result: Result | undefined;
}

/** Removes an attachment's rules from every back end that may have some, then its record. */
async function remove(
  { host, conf }: Pick<FirewallRequest, "host" | "conf">,
  attachment: RecordedAttachment,
): Promise<void> {
  const { record } = attachment;
  const removal: FirewallRemoval = {
    ...attachmentOf(attachment),
    addresses: addressesToRemove(attachment, attachment),
    zone: record?.data.zone ?? conf.firewalldZone,
    insertInto: record?.data.places ?? conf.insertInto,
  };
  const backends = record?.data.backends ?? (conf.backend ? [conf.backend] : firewallBackends);
  await removeAll([
    ...backends.map((backend) => ({
      why: "remove firewall rules",
      run: () => drivers[backend].del(host, removal),
    })),
    {
      why: "forget firewall rules",
      run: async () => void await host.apply(await firewallRecords.remove(attachment)),
      onlyIfClean: true,
    },
  ]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  const { host, conf: { backend, insertInto }, network, valid } = req;
  const why = "remove stale firewall rules";
  await removeAll([
    ...firewallRecords.stale(req).map((record) => ({
      why,
      run: () => remove(req, { ...record, record, result: undefined }),
    })),
    ...(backend ? [backend] : firewallBackends).map((backend) => ({
      why,
      run: async () => await drivers[backend].gc?.(host, { network, valid, insertInto }),
    })),
  ]);
}

async function status({ host, conf }: Request<Conf>): Promise<void> {
  const { backend } = await chooseDriver({ host, conf });
  await drivers[backend].status(host, conf);
}

async function repair(req: Request<Conf>): Promise<string[]> {
  const { requirePrevResult } = await import("../recipes/check.ts");
  const record = await firewallRecords.find(req);
  const attachment = firewallRequest(req, { result: requirePrevResult(req), record });
  if (attachment.addresses.length === 0) return [];
  const { backend } = await chooseDriver(attachment);
  // Rules of the back end to which ADD has given way are as good.
  const gaveWay = backend === "iptables" && record?.data.backends.at(-1) === "nftables";
  const problems = await drivers[gaveWay ? "nftables" : backend].check(attachment);
  if (problems.length > 0) await allow(attachment, record);
  return problems;
}

if (import.meta.main) await serve(plugin);
