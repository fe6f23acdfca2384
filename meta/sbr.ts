/**
 * sbr: source based routing. Each address of the container's interface gets a
 * routing table of its own, and a rule that sends what leaves from the address
 * there: replies leave by the interface that the request came in by.
 *
 * Owns: rules `from <address>` and the routes of their tables, in the container; a
 * record below `/run/cni/denocni/sbr` with these and with the routes that have left
 * the main table. Locks the namespace's file. Runs: `ip`, `sh`, `nsenter`.
 *
 * ```json
 * { "type": "sbr" }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Result } from "../cni/types.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Host } from "../ns/machine.ts";
import type { Address } from "../recipes/configure.ts";
import type { Conf } from "./sbr/conf.ts";
import type { SbrFacts } from "./sbr/facts.ts";
import type { SbrRecord } from "./sbr/record.ts";
import type { SbrPlan } from "./sbr/plan.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { formatIp, parseIp } from "../host/ip.ts";
import { ownAddresses, requireChained } from "../recipes/chained.ts";
import { requirePrevResult, throwDifferences } from "../recipes/check.ts";
import { containerNetns } from "../recipes/container.ts";
import { withNetnsLock } from "../recipes/netns_lock.ts";
import { netnsToRevert, recordedNetns, recordNetns } from "../recipes/recorded_netns.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { conf } from "./sbr/conf.ts";
import { gatherSbrFacts } from "./sbr/facts.ts";
import { recordedPlan, recordPlan, sbrRecords } from "./sbr/record.ts";
import { emptyPlan, planTables } from "./sbr/plan.ts";
import { comparePlan, planSteps, revertSteps, rulesFrom } from "./sbr/steps.ts";

/** The sbr plugin. */
export const plugin = definePlugin<Conf>({
  type: "sbr",
  about: "routes what a container sends by the address it sends from",
  needs: "iproute2",
  permissions: { run: ["ip", "sh", "nsenter"], read: true, write: ["/run/cni/denocni"] },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { host, ifName } = req;
  const prevResult = requireChained(req);
  const addresses = addressesFor(req, prevResult);
  const netns = containerNetns(req);
  if (addresses.length > 0) {
    await withNetnsLock(host, netns, async () => {
      const facts = await gatherSbrFacts(host, { netns, ifName });
      if (!facts.link) throw noInterface(ifName);
      await route(req, { facts, addresses, netns });
    });
  }
  return prevResult;
}

async function route(
  req: Request<Conf>,
  { facts, addresses, netns }: { facts: SbrFacts; addresses: readonly Address[]; netns: NetnsRef },
): Promise<void> {
  const { conf, ifName, host } = req;
  const now = recordNetns(req);
  const before = await sbrRecords.find(req);
  const known = recordedPlan(before, now);
  const plan = planTables({ facts, ifName, addresses, conf, known });
  await host.apply([
    ...await recordPlan(req, { data: { ...now, ...plan }, before }),
    ...planSteps(plan, { facts, netns }),
  ]);
}

/** The interface's addresses, without those of other interfaces in the result. Throws code 7 when the result has none. */
function addressesFor(req: Request<Conf>, result: Result): Address[] {
  if (result.ips.length > 0) return ownAddresses(req, result, { unmarked: true });
  throw new CniError(
    codes.invalidNetworkConfig,
    `No IP addresses supplied on interface: ${req.ifName}`,
  );
}

function noInterface(ifName: string): CniError {
  return new CniError(
    codes.objectMissing,
    `Cannot find network interface "${ifName}": no such link in the container`,
  );
}

async function check(req: Request<Conf>): Promise<void> {
  const { host, ifName, conf } = req;
  const addresses = addressesFor(req, requirePrevResult(req));
  const netns = containerNetns(req);
  if (addresses.length === 0) return;
  const facts = await gatherSbrFacts(host, { netns, ifName });
  const known = recordedPlan(await sbrRecords.find(req), recordNetns(req));
  throwDifferences(req.network, [
    ...(facts.link ? [] : [`container interface "${ifName}" is missing`]),
    ...(known === emptyPlan
      ? compareUnrecorded(facts, { addresses, table: conf.table })
      : comparePlan(known, facts)),
  ]);
}

/** Compares with what an ADD of the reference makes: each address has a rule, and its table has routes. */
function compareUnrecorded(
  facts: SbrFacts,
  { addresses, table }: { addresses: readonly Address[]; table: number | undefined },
): string[] {
  return addresses.flatMap(({ cidr }) => {
    const rule = rulesFrom(facts, [cidr]).find((rule) =>
      table === undefined || rule.table === table
    );
    const from = formatIp(cidr);
    if (!rule) return [`rule from ${from} is missing`];
    if (table !== undefined || facts.routes.some((route) => route.table === rule.table)) return [];
    return [`table ${rule.table} of the rule from ${from} is empty`];
  });
}

async function del(req: Request<Conf>): Promise<void> {
  const { host, conf: { table } } = req;
  const record = await sbrRecords.find(req);
  await revert(host, { attachment: req, netns: netnsToRevert(req, record), record, table });
}

async function gc({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  await removeAll(
    sbrRecords.stale({ network, valid }).map((record) => ({
      why: `remove rules of container "${record.containerId}"`,
      run: () => {
        const netns = recordedNetns(record.data);
        return revert(host, { attachment: record, netns, record, table: undefined });
      },
    })),
  );
}

/** Changes that a DEL or GC takes back. */
interface Reverting {
  readonly attachment: AttachmentKey;
  /** Absent when it is gone, and everything with it. */
  readonly netns: NetnsRef | undefined;
  readonly record: SbrRecord | undefined;
  /** Without a record: the table whose rules go; any when absent. */
  readonly table: number | undefined;
}

async function revert(host: Host, { attachment, netns, record, table }: Reverting): Promise<void> {
  const { ifName } = attachment;
  if (netns) {
    await withNetnsLock(host, netns, async () => {
      const facts = await gatherSbrFacts(host, { netns, ifName });
      const plan = record?.data ?? unrecorded(facts, table);
      await host.apply(revertSteps(plan, { facts, netns }));
    });
  }
  await host.apply(await sbrRecords.remove(attachment));
}

/** Rules of the reference: those from the addresses of the interface. */
function unrecorded(facts: SbrFacts, table: number | undefined): SbrPlan {
  const addresses = (facts.link?.addresses ?? []).flatMap(({ address }) => parseIp(address) ?? []);
  const rules = rulesFrom(facts, addresses)
    .filter((rule) => table === undefined || rule.table === table);
  return { ...emptyPlan, rules };
}

function status(): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
