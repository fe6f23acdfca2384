/**
 * vrf: puts the container's interface into a VRF, a link that gives it routing
 * tables of its own; makes the VRF if need be. Addresses and routes go along.
 *
 * Owns: the VRF `vrfname` in the container, until nobody uses it; a record below
 * `/run/cni/denocni/vrf` with what the interface had before. Locks the namespace's
 * file. Runs: `ip`, `nsenter`.
 *
 * ```json
 * { "type": "vrf", "vrfname": "red" }
 * ```
 *
 * @module
 */
import type { Infer } from "../cni/decode.ts";
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Host } from "../ns/machine.ts";
import type { Kept } from "../recipes/record.ts";
import type { Joined } from "./vrf/memory.ts";
import type { Facts } from "./vrf/facts.ts";
import type { Leaving } from "./vrf/plan.ts";
import { integer, object, optional, refine, string, withDefault } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { isNewIfName } from "../cni/names.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { mainTable } from "../host/ip_route.ts";
import { ownAddresses } from "../recipes/chained.ts";
import { report } from "../recipes/check.ts";
import { containerNetns, liveNetns } from "../recipes/container.ts";
import { withNetnsLock } from "../recipes/netns_lock.ts";
import { dropRecord, keepRecord, recordPath, staleRecords } from "../recipes/record.ts";
import { recordedNetns, recordNetns } from "../recipes/recorded_netns.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { gather, gatherRules6 } from "./vrf/facts.ts";
import { recordKind, recordOf } from "./vrf/memory.ts";
import {
  carriedFrom,
  compareMembership,
  freeTable,
  heldAddresses,
  joinSteps,
  lasting,
  leaveSteps,
  requireJoinable,
} from "./vrf/plan.ts";

const fields = object({
  vrfname: optional(string(), "Name of the VRF; it is made when it is not there."),
  table: withDefault(
    integer({ min: 0, max: 2 ** 32 - 1 }),
    0,
    "Routing table of the VRF; 0 takes any that it has, or the first free one.",
  ),
});

const conf = refine(fields, ({ vrfname }, report) => {
  if (!vrfname) report("", "configuration is expected to have a valid vrf name");
  else if (!isNewIfName(vrfname)) {
    report("vrfname", `expected a name that a link can have but received "${vrfname}"`);
  }
});
type Conf = Infer<typeof conf>;

/** The vrf plugin. */
export const plugin = definePlugin<Conf>({
  type: "vrf",
  about: "puts a container's interface into a VRF",
  needs: "iproute2; `vrf`",
  permissions: { run: ["ip", "nsenter"], read: true, write: ["/run/cni/denocni"] },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const prevResult = requireEarlier(req);
  const netns = containerNetns(req);
  await withNetnsLock(req.host, netns, () => join(req, { netns, prevResult }));
  return prevResult;
}

function requireEarlier({ prevResult }: Request<Conf>): Result {
  if (prevResult) return prevResult;
  throw new CniError(codes.invalidNetworkConfig, "missing prevResult from earlier plugin");
}

async function join(
  req: Request<Conf>,
  { netns, prevResult }: { netns: NetnsRef; prevResult: Result },
): Promise<void> {
  const { host, ifName, network, containerId, conf } = req;
  const name = conf.vrfname!;
  const facts = await gather(host, { netns, ifName });
  const { link, vrf } = requireJoinable(facts, { name, table: conf.table, ifName });
  const table = vrf?.vrfTable ?? (conf.table || await chooseTable(host, { netns, facts }));
  const carried = carriedFrom(mainTable, { facts, ifName });
  const data: Joined = {
    ...recordNetns(req),
    ...lasting(carried),
    vrf: name,
    table,
    index: link.index,
    held: heldAddresses(link, ownAddresses(req, prevResult, { unmarked: true })),
  };
  const path = await recordPath(recordKind, req);
  const back = { netns, ifName, name, found: { ...carried, index: link.index }, keepVrf: !!vrf };
  host.onRollback(`join VRF "${name}"`, () => leave(host, back));
  await host.apply([
    ...keepRecord({ path, network, containerId, ifName, data }, { before: await recordOf(req) }),
    ...joinSteps({ name, table, vrf, netns, ifName, carried, facts }),
  ]);
}

async function chooseTable(
  host: Host,
  { netns, facts }: { netns: NetnsRef; facts: Facts },
): Promise<number> {
  return freeTable({ ...facts, rules: [...facts.rules, ...await gatherRules6(host, netns)] });
}

async function check(req: Request<Conf>): Promise<void> {
  const { host, ifName, network, conf } = req;
  requireEarlier(req);
  const facts = await gather(host, { netns: containerNetns(req), ifName });
  const found = (await recordOf(req))?.data;
  report(
    network,
    compareMembership({ name: conf.vrfname!, table: conf.table, ifName, found }, facts),
  );
}

async function del(req: Request<Conf>): Promise<void> {
  const { host, ifName, sandbox, conf } = req;
  const record = await recordOf(req);
  const netns = record ? recordedNetns(record.data, sandbox) : liveNetns(req);
  const name = record?.data.vrf ?? conf.vrfname;
  if (netns && name) await leave(host, { netns, ifName, name, found: record?.data });
  if (record) await host.apply(dropRecord(record));
}

async function gc({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  const stale = staleRecords<Joined>(recordKind, { network, valid });
  await removeAll(stale.map((record) => ({
    why: `take container "${record.containerId}" out of VRF "${record.data.vrf}"`,
    run: () => leaveRecorded(host, record),
  })));
}

async function leaveRecorded(host: Host, record: Kept<Joined>): Promise<void> {
  const { ifName, data } = record;
  const netns = recordedNetns(data);
  if (netns) await leave(host, { netns, ifName, name: data.vrf, found: data });
  await host.apply(dropRecord(record));
}

/** Takes the interface out of the VRF, one at a time in a namespace. */
async function leave(host: Host, plan: Omit<Leaving, "facts">): Promise<void> {
  await withNetnsLock(host, plan.netns, async () => {
    await host.apply(leaveSteps({ ...plan, facts: await gather(host, plan) }));
  });
}

function status(): Promise<void> {
  requireTools(["ip", "nsenter"]);
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
