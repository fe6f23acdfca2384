/**
 * tuning: sets kernel variables of the container's network and attributes of its
 * interface: hardware address, MTU, promiscuous and all-multicast mode, length of
 * the transmit queue. DEL puts back what ADD has found.
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
import type { Kept } from "../recipes/record.ts";
import type { Attributes, Conf } from "./tuning/conf.ts";
import type { Tuned, TunedPlace, TunedVariable } from "./tuning/memory.ts";
import type { Where } from "./tuning/plan.ts";
import type { Variable } from "./tuning/variables.ts";
import { CniError, codes } from "../cni/error.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { showLink } from "../host/ip_link.ts";
import { report, requirePrevResult } from "../recipes/check.ts";
import { containerNetns, liveNetns } from "../recipes/container.ts";
import { queryLinks } from "../recipes/links.ts";
import { staleRecords } from "../recipes/record.ts";
import { recordedNetns, recordNetns } from "../recipes/recorded_netns.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools, requireUsable } from "../recipes/status.ts";
import { conf, wantedOf } from "./tuning/conf.ts";
import { backupPath, forget, readBackup, recordKind, recordOf, remember } from "./tuning/memory.ts";
import {
  changedVariables,
  compareAttributes,
  compareVariables,
  differing,
  forGood,
  setAttributes,
  setVariables,
  untouched,
} from "./tuning/plan.ts";
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
  const { attributes, sysctl } = wantedOf(req);
  requireAllowed(Object.keys(sysctl));
  const variables = variablesOf(sysctl, req.ifName);
  const prevResult = requirePrevResult(req);
  const where = { netns: containerNetns(req), ifName: req.ifName };
  const now = await lookAtVariables(req.host, where.netns, variables);
  const changes = changedVariables(variables, now);
  const from = asksFor(attributes) ? differing(await requireLink(req.host, where), attributes) : {};
  await req.host.apply([
    ...await remember({ attachment: req, now: place(req), attributes: from, changes }),
    ...setVariables(where, changes),
    ...setAttributes(where, { to: attributes, from }),
  ]);
  return tunedResult(prevResult, { ifName: req.ifName, attributes });
}

function place(req: Request<Conf>): TunedPlace {
  return { ...recordNetns(req), backup: backupPath(req.conf.dataDir, req) };
}

async function lookAtVariables(
  host: Host,
  netns: NetnsRef,
  variables: readonly Pick<Variable, "key">[],
): Promise<ReadonlyMap<string, string>> {
  const keys = variables.map(({ key }) => key);
  if (keys.length === 0) return new Map();
  const text = await host.query(showVariables(keys, netns), { why: "look at kernel variables" });
  return parseVariables(text ?? "", keys);
}

function asksFor(attributes: Attributes): boolean {
  return Object.keys(attributes).length > 0;
}

async function requireLink(host: Host, { netns, ifName }: Where): Promise<Link> {
  const [link] = await queryLinks(host, showLink(ifName, { netns }));
  if (link) return link;
  throw new CniError(codes.objectMissing, `Cannot find container link "${ifName}": no such link`);
}

/** The result as it is now: the container's interface has another hardware address, and another MTU. */
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
  const { attributes, sysctl } = wantedOf(req);
  const variables = variablesOf(sysctl, req.ifName);
  requirePrevResult(req);
  const netns = containerNetns(req);
  const now = await lookAtVariables(req.host, netns, variables);
  const [link] = asksFor(attributes)
    ? await queryLinks(req.host, showLink(req.ifName, { netns }))
    : [];
  report(req.network, [
    ...compareVariables(variables, now),
    ...(link ? compareAttributes(link, attributes) : []),
    ...(asksFor(attributes) && !link ? [`container interface "${req.ifName}" is missing`] : []),
  ]);
}

async function del(req: Request<Conf>): Promise<void> {
  const record = await recordOf(req);
  const own = backupPath(req.conf.dataDir, req);
  const netns = record ? recordedNetns(record.data, req.sandbox) : liveNetns(req);
  await revert(req.host, { attachment: req, netns, record, backups: [own] });
}

async function gc({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  const stale = staleRecords<Tuned>(recordKind, { network, valid });
  await removeAll(stale.map((record) => ({
    why: `restore what container "${record.containerId}" has tuned`,
    run: () => {
      const netns = recordedNetns(record.data);
      return revert(host, { attachment: record, netns, record, backups: [] });
    },
  })));
}

/** What an attachment has left. */
interface Left {
  readonly attachment: AttachmentKey;
  /** Absent when nothing is to be restored any more. */
  readonly netns: NetnsRef | undefined;
  readonly record: Kept<Tuned> | undefined;
  /** Files with attributes, besides the record's own. */
  readonly backups: readonly string[];
}

/** Puts back what is not in other hands meanwhile, then forgets it. */
async function revert(host: Host, { attachment, netns, record, backups }: Left): Promise<void> {
  const { ifName } = attachment;
  const paths = [...new Set([...record ? [record.data.backup] : [], ...backups])];
  const attributes = Object.assign({}, ...paths.toReversed().map(readBackup)) as Attributes;
  const where = netns && { netns, ifName };
  await removeAll([
    {
      why: "restore kernel variables",
      when: where !== undefined,
      run: () => restoreVariables(host, where!, record?.data.variables ?? []),
    },
    {
      why: `restore container interface "${ifName}"`,
      when: where !== undefined,
      run: () => restoreAttributes(host, where!, attributes),
    },
    {
      why: "forget what was before",
      run: async () => void await host.apply(await forget(attachment, paths)),
      onlyIfClean: true,
    },
  ]);
}

async function restoreVariables(
  host: Host,
  where: Where,
  variables: readonly TunedVariable[],
): Promise<void> {
  const now = await lookAtVariables(host, where.netns, variables);
  await host.apply(forGood(setVariables(where, untouched(variables, now))));
}

async function restoreAttributes(
  host: Host,
  where: Where,
  attributes: Attributes,
): Promise<void> {
  if (!asksFor(attributes)) return;
  const [link] = await queryLinks(host, showLink(where.ifName, { netns: where.netns }));
  if (!link) return;
  const from = differing(link, attributes);
  await host.apply(forGood(setAttributes(where, { to: attributes, from })));
}

function status(): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  requireUsable(() => checkAllowlist());
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
