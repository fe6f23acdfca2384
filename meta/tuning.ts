/**
 * tuning: sets kernel variables of the container's network and attributes of its
 * interface: hardware address, MTU, promiscuous and all-multicast mode, length of
 * the transmit queue. DEL restores them.
 *
 * Owns: `<dataDir>/<container>_<ifname>.json` with the attributes as they were, and
 * a record below `/run/cni/denocni/tuning` with the variables. Reads
 * `/etc/cni/tuning/allowlist.conf`. Runs: `ip`, `sh`, `nsenter`, and nothing where
 * nothing is asked for.
 *
 * ```json
 * { "type": "tuning", "sysctl": { "net.ipv4.conf.IFNAME.arp_notify": "1" } }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Result } from "../cni/types.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Link } from "../host/ip_link.ts";
import type { Host } from "../ns/machine.ts";
import type { NetnsInterface } from "../recipes/container.ts";
import type { Attributes, Conf } from "./tuning/conf.ts";
import type { RecordedVariable, TuningData, TuningRecord } from "./tuning/record.ts";
import type { Variable } from "./tuning/variables.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { showLink } from "../host/ip_link.ts";
import { requirePrevResult, throwDifferences } from "../recipes/check.ts";
import { containerNetns } from "../recipes/container.ts";
import { queryLinks } from "../recipes/links.ts";
import { netnsToRevert, recordedNetns, recordNetns } from "../recipes/recorded_netns.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools, requireUsable } from "../recipes/status.ts";
import { conf, requestedTuning } from "./tuning/conf.ts";
import {
  asRemoval,
  changedVariables,
  compareAttributes,
  compareVariables,
  differingAttributes,
  restoringChanges,
  setAttributes,
  setVariables,
} from "./tuning/plan.ts";
import {
  backupPath,
  readBackup,
  removeSavedTuning,
  saveTuning,
  tuningRecords,
} from "./tuning/record.ts";
import {
  checkAllowlist,
  parseVariables,
  requireAllowed,
  showVariables,
  variablesOf,
} from "./tuning/variables.ts";

/** The tuning plugin. */
export const plugin = definePlugin<Conf>({
  type: "tuning",
  about: "sets kernel variables and attributes of a container's interface",
  needs: "iproute2",
  permissions: { run: ["ip", "sh", "nsenter"], read: true, write: true },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { attributes, sysctl } = requestedTuning(req);
  requireAllowed(Object.keys(sysctl));
  const variables = variablesOf(sysctl, req.ifName);
  const prevResult = requirePrevResult(req);
  const target = { netns: containerNetns(req), ifName: req.ifName };
  const values = await queryVariables(req.host, target.netns, variables);
  const changes = changedVariables(variables, values);
  const from = hasAny(attributes)
    ? differingAttributes(await requireLink(req.host, target), attributes)
    : {};
  await req.host.apply([
    ...await saveTuning({ attachment: req, now: nowOf(req), attributes: from, changes }),
    ...setVariables(target, changes),
    ...setAttributes(target, { to: attributes, from }),
  ]);
  return tunedResult(prevResult, { ifName: req.ifName, attributes });
}

function nowOf(req: Request<Conf>): Omit<TuningData, "variables"> {
  return { ...recordNetns(req), backup: backupPath(req.conf.dataDir, req) };
}

async function queryVariables(
  host: Host,
  netns: NetnsRef,
  variables: readonly Pick<Variable, "key">[],
): Promise<ReadonlyMap<string, string>> {
  const keys = variables.map(({ key }) => key);
  if (keys.length === 0) return new Map();
  const text = await host.query(showVariables(keys, netns), { why: "look at kernel variables" });
  return parseVariables(text ?? "", keys);
}

function hasAny(attributes: Attributes): boolean {
  return Object.keys(attributes).length > 0;
}

async function requireLink(host: Host, { netns, ifName }: NetnsInterface): Promise<Link> {
  const [link] = await queryLinks(host, showLink(ifName, { netns }));
  if (link) return link;
  throw new CniError(codes.objectMissing, `Cannot find container link "${ifName}": no such link`);
}

/** The result with the hardware address and the MTU that the container's interface has by now. */
export function tunedResult(
  result: Result,
  { ifName, attributes: { mac, mtu } }: { ifName: string; attributes: Attributes },
): Result {
  const interfaces = result.interfaces.map((entry) =>
    entry.name !== ifName || !entry.sandbox ? entry : {
      ...entry,
      ...(mac !== undefined && { mac }),
      ...(mtu !== undefined && entry.mtu && { mtu }),
    }
  );
  return { ...result, interfaces };
}

async function check(req: Request<Conf>): Promise<void> {
  const { attributes, sysctl } = requestedTuning(req);
  const variables = variablesOf(sysctl, req.ifName);
  requirePrevResult(req);
  const netns = containerNetns(req);
  const now = await queryVariables(req.host, netns, variables);
  const [link] = hasAny(attributes)
    ? await queryLinks(req.host, showLink(req.ifName, { netns }))
    : [];
  throwDifferences(req.network, [
    ...compareVariables(variables, now),
    ...(link ? compareAttributes(link, attributes) : []),
    ...(hasAny(attributes) && !link ? [`container interface "${req.ifName}" is missing`] : []),
  ]);
}

async function del(req: Request<Conf>): Promise<void> {
  const record = await tuningRecords.find(req);
  const backups = [backupPath(req.conf.dataDir, req)];
  await revert(req.host, { attachment: req, netns: netnsToRevert(req, record), record, backups });
}

async function gc({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  await removeAll(
    tuningRecords.stale({ network, valid }).map((record) => ({
      why: `restore what container "${record.containerId}" has tuned`,
      run: () => {
        const netns = recordedNetns(record.data);
        return revert(host, { attachment: record, netns, record, backups: [] });
      },
    })),
  );
}

/** Changes that a DEL or GC takes back. */
interface Reverting {
  readonly attachment: AttachmentKey;
  /** Absent when nothing is to be restored any more. */
  readonly netns: NetnsRef | undefined;
  readonly record: TuningRecord | undefined;
  /** Files with attributes, besides the record's own. */
  readonly backups: readonly string[];
}

/** Restores what still is as ADD has set it, then removes the files and the record. */
async function revert(
  host: Host,
  { attachment, netns, record, backups }: Reverting,
): Promise<void> {
  const { ifName } = attachment;
  const paths = [...new Set([...record ? [record.data.backup] : [], ...backups])];
  const attributes = Object.assign({}, ...paths.toReversed().map(readBackup)) as Attributes;
  const target = netns && { netns, ifName };
  await removeAll([
    {
      why: "restore kernel variables",
      when: target !== undefined,
      run: () => restoreVariables(host, target!, record?.data.variables ?? []),
    },
    {
      why: `restore container interface "${ifName}"`,
      when: target !== undefined,
      run: () => restoreAttributes(host, target!, attributes),
    },
    {
      why: "forget what was before",
      run: async () => void await host.apply(await removeSavedTuning(attachment, paths)),
      onlyIfClean: true,
    },
  ]);
}

async function restoreVariables(
  host: Host,
  target: NetnsInterface,
  variables: readonly RecordedVariable[],
): Promise<void> {
  const now = await queryVariables(host, target.netns, variables);
  await host.apply(asRemoval(setVariables(target, restoringChanges(variables, now))));
}

async function restoreAttributes(
  host: Host,
  target: NetnsInterface,
  attributes: Attributes,
): Promise<void> {
  if (!hasAny(attributes)) return;
  const [link] = await queryLinks(host, showLink(target.ifName, { netns: target.netns }));
  if (!link) return;
  const from = differingAttributes(link, attributes);
  await host.apply(asRemoval(setAttributes(target, { to: attributes, from })));
}

function status(): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  requireUsable(() => checkAllowlist());
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
