/**
 * portmap: forwards ports of the host to the container, and masquerades the
 * connections that would not find their way back otherwise.
 *
 * Owns: with iptables the chains `CNI-DN-…` of containers and the shared
 * `CNI-HOSTPORT-…`; with nftables the table `inet denocni_hostport`; files below
 * `/run/cni/denocni` that say who holds a port. Sets `route_localnet` of the
 * link to the container. Runs: `iptables-restore` or `nft`, `iptables-save`
 * where something is there already, `ip`, with UDP ports `conntrack`.
 *
 * ```json
 * { "type": "portmap", "capabilities": { "portMappings": true } }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Result } from "../cni/types.ts";
import type { Cidr, Family } from "../host/ip.ts";
import type { Host } from "../ns/machine.ts";
import type { Backend, BackendChoice } from "../recipes/backend.ts";
import type { Conf } from "./portmap/conf.ts";
import type { PortmapDriver } from "./portmap/driver.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { inspectNetns } from "../ns/netns.ts";
import { addByChoice, backends, checkByChoice, chooseBackend } from "../recipes/backend.ts";
import { ownAddresses, requireChained } from "../recipes/chained.ts";
import { removeTogether } from "../recipes/netfilter.ts";
import { removeAll } from "../recipes/removal.ts";
import {
  claimsOf,
  releaseClaims,
  releaseStaleClaims,
  takeClaims,
  withPortmapLock,
} from "./portmap/claims.ts";
import { conf, mappingsOf, requireOptionsFor } from "./portmap/conf.ts";
import { portmapByIptables } from "./portmap/iptables.ts";
import { checkLocalnet, enableLocalnet } from "./portmap/localnet.ts";
import { portmapByNftables } from "./portmap/nftables.ts";

const drivers: Readonly<Record<Backend, PortmapDriver>> = {
  iptables: portmapByIptables,
  nftables: portmapByNftables,
};

/** The portmap plugin. */
export const plugin = definePlugin<Conf>({
  type: "portmap",
  about: "forwards ports of the host to a container",
  needs: "iptables or nftables; for UDP conntrack",
  permissions: {
    run: [
      "iptables-save",
      "iptables-restore",
      "ip6tables-save",
      "ip6tables-restore",
      "nft",
      "ip",
      "conntrack",
      "sh",
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
  const { conf, host } = req;
  const prevResult = requireChained(req);
  const targets = targetsOf(req, prevResult);
  if (targets.length === 0) return prevResult;
  const choice = chooseDriver(conf);
  await takeClaims(host, { ...attachmentOf(req), ...netnsOf(req) }, {
    claims: await claimsOf(conf, targets.map(({ family }) => family)),
    others: {
      isMapped: (other) => isMapped(host, other),
      evict: (other) => unmapPorts(host, other),
    },
  });
  await mapPorts(req, { targets, choice });
  return prevResult;
}

/** The back end to ask first. Throws code 7 for options of the other one. */
function chooseDriver(conf: Conf): BackendChoice {
  const choice = chooseBackend(conf.backend);
  requireOptionsFor(choice.backend, conf);
  return choice;
}

/** Rules come first: what flows afterwards goes by them. */
async function mapPorts(
  req: Request<Conf>,
  { targets, choice }: { readonly targets: readonly Cidr[]; readonly choice: BackendChoice },
): Promise<void> {
  let localnet = true;
  await addByChoice(choice, {
    addresses: targets,
    add: async (backend, request) => {
      requireOptionsFor(backend, req.conf);
      const { left, guarded } = await drivers[backend].add(req, request);
      localnet &&= guarded;
      return left;
    },
  });
  await forgetUdpFlows(req, targets.map(({ family }) => family));
  if (localnet) await enableLocalnet(req, targets);
}

async function forgetUdpFlows(req: Request<Conf>, families: readonly Family[]): Promise<void> {
  const { portMappings } = req.conf.runtimeConfig;
  if (!portMappings.some(({ protocol }) => protocol === "udp")) return;
  const { flushUdpFlows } = await import("./portmap/flows.ts");
  await flushUdpFlows(req, families);
}

/** Whether an attachment has rules in any back end. */
async function isMapped(host: Host, attachment: AttachmentKey): Promise<boolean> {
  const found = backends.map((backend) => drivers[backend].isMapped(host, attachment));
  return (await Promise.all(found)).includes(true);
}

/** Removes an attachment's rules from every back end. */
async function unmapPorts(host: Host, attachment: AttachmentKey): Promise<void> {
  const tasks = backends.map((backend) => () => drivers[backend].del(host, attachment));
  await withPortmapLock(host, () => removeTogether("remove port mappings", tasks));
}

function attachmentOf({ network, containerId, ifName }: Request<Conf>): AttachmentKey {
  return { network, containerId, ifName };
}

function netnsOf({ netns }: Request<Conf>) {
  const state = inspectNetns(netns);
  return { netns, identity: state.is === "namespace" ? state.identity : undefined };
}

/**
 * The container's first address of each family that a mapping is for. It
 * leaves out those of other interfaces and of the host.
 */
export function targetsOf(
  req: Pick<Request<Conf>, "conf" | "ifName">,
  result: Result,
): Cidr[] {
  const own = ownAddresses(req, result).map(({ cidr }) => cidr);
  return ([4, 6] as const).flatMap((family) =>
    mappingsOf(req.conf.runtimeConfig.portMappings, family).length > 0
      ? own.find((cidr) => cidr.family === family) ?? []
      : []
  );
}

async function check(req: Request<Conf>): Promise<void> {
  const { throwDifferences, requirePrevResult } = await import("../recipes/check.ts");
  const targets = targetsOf(req, requirePrevResult(req));
  if (targets.length === 0) return;
  throwDifferences(req.network, await problemsOf(req, targets));
}

async function problemsOf(req: Request<Conf>, targets: readonly Cidr[]): Promise<string[]> {
  return [
    ...await checkByChoice(
      chooseBackend(req.conf.backend),
      (backend) => drivers[backend].check(req, targets),
    ),
    ...await checkLocalnet(req, targets),
  ];
}

async function del(req: Request<Conf>): Promise<void> {
  const { conf, host } = req;
  if (conf.runtimeConfig.portMappings.length === 0) return;
  const families: readonly Family[] = [4, 6];
  const claims = await claimsOf(conf, families);
  await removeAll([
    { why: "remove port mappings", run: () => unmapPorts(host, attachmentOf(req)) },
    {
      why: "give up host ports",
      run: async () => void await host.apply(await releaseClaims(claims, attachmentOf(req))),
      onlyIfClean: true,
    },
    { why: "forget flows", run: () => forgetUdpFlows(req, families) },
  ]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  const { host, network, valid } = req;
  await removeAll([
    { why: "remove stale port mappings", run: () => gcRules(req) },
    {
      why: "give up stale host ports",
      run: async () => void await host.apply(releaseStaleClaims(network, valid)),
      onlyIfClean: true,
    },
  ]);
}

/** Removes stale rules from every back end. */
async function gcRules({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  const tasks = backends.map((backend) => () => drivers[backend].gc(host, { network, valid }));
  await withPortmapLock(host, () => removeTogether("remove stale port mappings", tasks));
}

function status({ conf }: Request<Conf>): Promise<void> {
  drivers[chooseBackend(conf.backend).backend].status();
  return Promise.resolve();
}

async function repair(req: Request<Conf>): Promise<string[]> {
  const { requirePrevResult } = await import("../recipes/check.ts");
  const targets = targetsOf(req, requirePrevResult(req));
  if (targets.length === 0) return [];
  const choice = chooseDriver(req.conf);
  const problems = [
    ...await problemsOf(req, targets),
    ...await drivers[choice.backend].checkGuard(req, targets),
  ];
  if (problems.length > 0) await mapPorts(req, { targets, choice });
  return problems;
}

if (import.meta.main) await serve(plugin);
