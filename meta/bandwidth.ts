/**
 * bandwidth: limits what goes to a container and what comes from it, by token
 * buckets on the host's end of its pair, or inside the container where the
 * interface has no such end.
 *
 * Owns: ifb devices `bwp…` and `bwi…` with the alias
 * `cni:<network>/<container>/<ifname>`, the token bucket and the filters on the
 * attachment's link. Runs: `tc`, `ip`, and nothing where nothing is limited.
 *
 * ```json
 * { "type": "bandwidth", "ingressRate": 10000000, "egressRate": 10000000 }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Interface, Result } from "../cni/types.ts";
import type { Step } from "../host/step.ts";
import type { Conf } from "./bandwidth/conf.ts";
import type { IfbNames } from "./bandwidth/names.ts";
import type { ShapedLinkFacts } from "./bandwidth/shaped_link.ts";
import type { Shaping } from "./bandwidth/plan.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { showLinks } from "../host/ip_link.ts";
import { requireChained } from "../recipes/chained.ts";
import { requirePrevResult, throwDifferences } from "../recipes/check.ts";
import { queryLinks } from "../recipes/links.ts";
import { staleLinks } from "../recipes/attachment.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools } from "../recipes/status.ts";
import { burstWarnings } from "./bandwidth/bucket.ts";
import { conf, hasLimits, replacedBursts, requestedLimits } from "./bandwidth/conf.ts";
import { neededModules, requireModules } from "./bandwidth/modules.ts";
import { ifbKind, ifbNames, isOwnIfb, nameToFind, nameToMake } from "./bandwidth/names.ts";
import { findLeftovers, queryShaping, requireShapedLink } from "./bandwidth/shaped_link.ts";
import { compareShaping, planRemoval, planShaping, shapingOf } from "./bandwidth/plan.ts";

/** The bandwidth plugin. */
export const plugin = definePlugin<Conf>({
  type: "bandwidth",
  about: "limits what goes to a container and what comes from it",
  needs: "iproute2; `sch_tbf`, `ifb`, `cls_u32`, `act_mirred`",
  permissions: { run: ["tc", "ip", "sh", "nsenter"], read: true, write: [] },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const prevResult = requireChained(req);
  const limits = requestedLimits(req.conf);
  if (!hasLimits(limits)) return prevResult;
  const names = await ifbNames(req);
  const target = await requireShapedLink(req, { result: prevResult, names });
  const from = nameToMake(target.links, names);
  const shaping = shapingOf(limits, { target, names, from });
  note(req.conf, shaping);
  await req.host.apply(await stepsFor(req, { shaping, target, names }));
  return { ...prevResult, interfaces: [...prevResult.interfaces, ...devicesOf(shaping, req)] };
}

/** Leaves what is as it is planned, and removes anything else first. */
async function stepsFor(
  { host }: Request<Conf>,
  { shaping, target, names }: { shaping: Shaping; target: ShapedLinkFacts; names: IfbNames },
): Promise<Step[]> {
  const ifbs = target.links.filter((link) => isOwnIfb(link, names));
  if (ifbs.length === 0 && target.link.qdisc !== "tbf") return planShaping(shaping);
  if (compareShaping(shaping, await queryShaping(host, target)).length === 0) return [];
  return [...planRemoval({ ...target, ifbs }), ...planShaping(shaping)];
}

/** Warns of bursts that the configuration cannot mean. */
function note(conf: Conf, { directions, link: { mtu } }: Shaping): void {
  const lines = directions.flatMap(({ way, tbf }) =>
    burstWarnings(tbf, { mtu, what: way === "to" ? "ingressBurst" : "egressBurst" })
  );
  for (const line of [...replacedBursts(conf), ...lines]) console.error(`bandwidth: ${line}`);
}

function devicesOf({ directions, names, netns }: Shaping, req: Request<Conf>): Interface[] {
  return directions.filter(({ ifb }) => ifb).map(({ ifb }) => ({
    name: ifb!,
    mac: names.mac,
    ...(netns && { sandbox: req.netns }),
  }));
}

async function check(req: Request<Conf>): Promise<void> {
  const result = requirePrevResult(req);
  const limits = requestedLimits(req.conf);
  if (!hasLimits(limits)) return;
  const names = await ifbNames(req);
  const target = await requireShapedLink(req, { result, names });
  const from = nameToFind(target.links, names);
  const shaping = shapingOf(limits, { target, names, from });
  throwDifferences(req.network, compareShaping(shaping, await queryShaping(req.host, target)));
}

async function del(req: Request<Conf>): Promise<void> {
  const left = await findLeftovers(req, await ifbNames(req));
  await removeAll(left.map((one) => ({
    why: "lift the limits",
    run: async () => void await req.host.apply(planRemoval(one)),
  })));
}

async function gc({ host, network, valid }: GcRequest<Conf>): Promise<void> {
  const links = (await queryLinks(host, showLinks())).filter(({ kind }) => kind === ifbKind);
  await host.apply(planRemoval({ ifbs: await staleLinks(links, network, valid) }));
}

function status({ conf }: Request<Conf>): Promise<void> {
  requireTools(["tc", "ip"]);
  requireModules(neededModules(conf));
  return Promise.resolve();
}

if (import.meta.main) await serve(plugin);
