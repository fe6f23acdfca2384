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
import type { Conf } from "./portmap/conf.ts";
import type { Choice } from "./portmap/rules.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { hasTool } from "../host/spawn.ts";
import { inspectNetns } from "../ns/netns.ts";
import { ownAddresses, requireChained } from "../recipes/chained.ts";
import { report, requirePrevResult } from "../recipes/check.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { claimsOf, releaseClaims, releaseStaleClaims, takeClaims } from "./portmap/claims.ts";
import { conf, mappingsOf, requireOptionsFor } from "./portmap/conf.ts";
import { flushUdp } from "./portmap/flows.ts";
import { checkLocalnet, enableLocalnet } from "./portmap/localnet.ts";
import {
  checkRules,
  collectRules,
  isMapped,
  mapPorts,
  missingGuard,
  unmapPorts,
} from "./portmap/rules.ts";

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
  const backend = chooseBackend(conf);
  await takeClaims(host, { ...attachment(req), ...netnsOf(req) }, {
    claims: await claimsOf(conf, targets.map(({ family }) => family)),
    others: {
      isMapped: (other) => isMapped(host, other),
      evict: (other) => unmapPorts(host, other),
    },
  });
  await forward(req, { targets, backend });
  return prevResult;
}

/** Rules first: what flows afterwards goes by them. */
async function forward(req: Request<Conf>, choice: Choice): Promise<void> {
  const { targets } = choice;
  const { guarded } = await mapPorts(req, choice);
  await flushUdp(req, targets.map(({ family }) => family));
  if (guarded) await enableLocalnet(req, targets);
}

function attachment({ network, containerId, ifName }: Request<Conf>): AttachmentKey {
  return { network, containerId, ifName };
}

function netnsOf({ netns }: Request<Conf>) {
  const state = inspectNetns(netns);
  return { netns, identity: state.is === "namespace" ? state.identity : undefined };
}

/**
 * The container's first address of each family that a mapping is for. Addresses
 * of other interfaces, and of the host's, are passed over.
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

/** The configured back end, or the one that this host has. Throws code 7 for options of the other. */
function chooseBackend(conf: Conf): Choice["backend"] {
  const only = conf.backend !== undefined || !hasTool("nft");
  const fallback = only || hasTool("iptables-restore") ? "iptables" : "nftables";
  const backend = conf.backend ?? fallback;
  requireOptionsFor(backend, conf);
  return { backend, only };
}

async function check(req: Request<Conf>): Promise<void> {
  const targets = targetsOf(req, requirePrevResult(req));
  if (targets.length === 0) return;
  report(req.network, await problemsOf(req, targets));
}

async function problemsOf(req: Request<Conf>, targets: readonly Cidr[]): Promise<string[]> {
  return [
    ...await checkRules(req, { targets, backend: req.conf.backend }),
    ...await checkLocalnet(req, targets),
  ];
}

async function del(req: Request<Conf>): Promise<void> {
  const { conf, host } = req;
  if (conf.runtimeConfig.portMappings.length === 0) return;
  const families: readonly Family[] = [4, 6];
  const claims = await claimsOf(conf, families);
  await removeAll([
    { why: "remove port mappings", run: () => unmapPorts(host, attachment(req)) },
    {
      why: "give up host ports",
      run: async () => void await host.apply(await releaseClaims(claims, attachment(req))),
      onlyIfClean: true,
    },
    { why: "forget flows", run: () => flushUdp(req, families) },
  ]);
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  const { host, network, valid } = req;
  await removeAll([
    { why: "remove stale port mappings", run: () => collectRules(host, { network, valid }) },
    {
      why: "give up stale host ports",
      run: async () => void await host.apply(releaseStaleClaims(network, valid)),
      onlyIfClean: true,
    },
  ]);
}

function status(req: Request<Conf>): Promise<void> {
  const { backend } = req.conf;
  const nft = backend === "nftables" ||
    (backend === undefined && !hasTool("iptables-restore") && hasTool("nft"));
  requireTools([nft ? "nft" : "iptables-restore"]);
  return Promise.resolve();
}

async function repair(req: Request<Conf>): Promise<string[]> {
  const targets = targetsOf(req, requirePrevResult(req));
  if (targets.length === 0) return [];
  const backend = chooseBackend(req.conf);
  const problems = [
    ...await problemsOf(req, targets),
    ...(backend.backend === "iptables" ? await missingGuard(req, targets) : []),
  ];
  if (problems.length === 0) return [];
  await forward(req, { targets, backend });
  return problems;
}

if (import.meta.main) await serve(plugin);
