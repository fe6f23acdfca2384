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
import type { VrfFacts } from "./vrf/facts.ts";
import type { LeavePlan } from "./vrf/leave.ts";
import type { VrfData, VrfRecord } from "./vrf/record.ts";
import { integer, object, optional, refine, string, withDefault } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { isNewIfName } from "../cni/names.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { mainTable } from "../host/ip_route.ts";
import { ownAddresses } from "../recipes/chained.ts";
import { throwDifferences } from "../recipes/check.ts";
import { containerNetns } from "../recipes/container.ts";
import { withNetnsLock } from "../recipes/netns_lock.ts";
import { removeRecord } from "../recipes/record.ts";
import { netnsToRevert, recordedNetns, recordNetns } from "../recipes/recorded_netns.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { compareMembership, presentAddresses } from "./vrf/compare.ts";
import { gatherRules6, gatherVrfFacts } from "./vrf/facts.ts";
import { freeTable, joinSteps, requireJoinable } from "./vrf/join.ts";
import { leaveSteps } from "./vrf/leave.ts";
import { vrfRecords } from "./vrf/record.ts";
import { interfaceState, permanentState } from "./vrf/state.ts";

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
  const { host, ifName, conf } = req;
  const name = conf.vrfname!;
  const facts = await gatherVrfFacts(host, { netns, ifName });
  const { link, vrf } = requireJoinable(facts, { name, table: conf.table, ifName });
  const table = vrf?.vrfTable ?? (conf.table || await chooseTable(host, { netns, facts }));
  const state = interfaceState(mainTable, { facts, ifName });
  const data: VrfData = {
    ...recordNetns(req),
    ...permanentState(state),
    vrf: name,
    table,
    index: link.index,
    held: presentAddresses(link, ownAddresses(req, prevResult, { unmarked: true })),
  };
  const back = { netns, ifName, name, found: { ...state, index: link.index }, keepVrf: !!vrf };
  host.onRollback(`join VRF "${name}"`, () => leave(host, back));
  await host.apply([
    ...await vrfRecords.write(req, data),
    ...joinSteps({ name, table, vrf, netns, ifName, state, facts }),
  ]);
}

async function chooseTable(
  host: Host,
  { netns, facts }: { netns: NetnsRef; facts: VrfFacts },
): Promise<number> {
  return freeTable({ ...facts, rules: [...facts.rules, ...await gatherRules6(host, netns)] });
}

async function check(req: Request<Conf>): Promise<void> {
  const { host, ifName, network, conf } = req;
  requireEarlier(req);
  const facts = await gatherVrfFacts(host, { netns: containerNetns(req), ifName });
  const found = (await vrfRecords.find(req))?.data;
  throwDifferences(
    network,
    compareMembership({ name: conf.vrfname!, table: conf.table, ifName, found }, facts),
  );
}

async function del(req: Request<Conf>): Promise<void> {
  const { host, ifName, conf } = req;
  const record = await vrfRecords.find(req);
  const netns = netnsToRevert(req, record);
  const name = record?.data.vrf ?? conf.vrfname;
  if (netns && name) await leave(host, { netns, ifName, name, found: record?.data });
  await host.apply(await vrfRecords.remove(req));
}

async function gc({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  await removeAll(
    vrfRecords.stale({ network, valid }).map((record) => ({
      why: `take container "${record.containerId}" out of VRF "${record.data.vrf}"`,
      run: () => leaveRecorded(host, record),
    })),
  );
}

async function leaveRecorded(host: Host, record: VrfRecord): Promise<void> {
  const { ifName, data } = record;
  const netns = recordedNetns(data);
  if (netns) await leave(host, { netns, ifName, name: data.vrf, found: data });
  await host.apply(removeRecord(record));
}

/** Takes the interface out of the VRF, one at a time in a namespace. */
async function leave(host: Host, plan: Omit<LeavePlan, "facts">): Promise<void> {
  await withNetnsLock(host, plan.netns, async () => {
    await host.apply(leaveSteps({ ...plan, facts: await gatherVrfFacts(host, plan) }));
  });
}

function status(): Promise<void> {
  requireTools(["ip", "nsenter"]);
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
