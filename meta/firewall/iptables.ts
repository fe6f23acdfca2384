/**
 * The back end iptables: one process for each family, which assumes what is usual
 * and changes nothing where that is wrong.
 *
 * @module
 */
import type { Cidr } from "../../host/ip.ts";
import { byFamily } from "../../host/ip.ts";
import { restoreTool } from "../../host/iptables.ts";
import { lockFile } from "../../host/lock.ts";
import { readProcIfExists } from "../../host/proc.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Host } from "../../ns/machine.ts";
import { applyIptables, requireBackend } from "../../recipes/backend.ts";
import { requireLock } from "../../recipes/lock.ts";
import { applyAssuming, listIptables, removeFromIptables } from "../../recipes/netfilter.ts";
import type { FirewallDriver, FirewallRemoval, FirewallRequest } from "./driver.ts";
import type { IptablesFirewall } from "./iptables_rules.ts";
import {
  compareFirewall,
  planFirewall,
  planFirewallAssertion,
  planFirewallRemoval,
  replanFirewall,
} from "./iptables_rules.ts";

/** The back end iptables. */
export const firewallByIptables: FirewallDriver = {
  add: (req, { giveWay }) => add(plansOf(req), { req, giveWay }),
  check: (req) => check(plansOf(req), req),
  del,
  status: () => Promise.resolve(requireBackend("iptables")),
};

/** Policies alone, for a back end without its own. */
export const ingressByIptables: Pick<FirewallDriver, "add" | "check"> = {
  add: (req, { giveWay }) => add(ingressPlansOf(req), { req, giveWay }),
  check: (req) => check(ingressPlansOf(req), req),
};

function plansOf({ addresses, conf, ingress }: FirewallRequest): IptablesFirewall[] {
  return byFamily(addresses).map(([family, own]) => ({
    family,
    addresses: own,
    adminChain: conf.iptablesAdminChainName,
    ingress,
  }));
}

function ingressPlansOf(req: FirewallRequest): IptablesFirewall[] {
  return plansOf(req).map((plan) => ({ ...plan, ingressOnly: true }));
}

/** Serves all addresses, or leaves all to the other back end when one family does not work here. */
async function add(
  plans: readonly IptablesFirewall[],
  { req, giveWay }: { readonly req: FirewallRequest; readonly giveWay: boolean },
): Promise<readonly Cidr[]> {
  if (giveWay && plans.some(({ family }) => !hasTool(restoreTool(family)))) return req.addresses;
  if (req.ingress?.policy === "isolated") warnOfBridges();
  for (const plan of plans) {
    if (!await addFamily(req, { plan, giveWay })) return req.addresses;
  }
  return [];
}

function addFamily(
  { host, known }: FirewallRequest,
  { plan, giveWay }: { readonly plan: IptablesFirewall; readonly giveWay: boolean },
): Promise<boolean> {
  const { family } = plan;
  const replan = async () => {
    const saved = await listIptables(host, { family, table: "filter" });
    return saved && replanFirewall(plan, saved);
  };
  return applyIptables(host, {
    family,
    giveWay,
    assumed: known ? planFirewallAssertion(plan) : planFirewall(plan),
    otherwise: () =>
      withLock(host, async () => {
        const steps = await replan();
        return steps && await applyAssuming(host, {
          assumed: steps,
          otherwise: async () => await host.apply(await replan() ?? []),
        });
      }),
  });
}

/** Path of the lock, and milliseconds to wait for it. */
const lock = { path: "/run/cni/denocni/firewall.lock", deadline: 30_000 };

/**
 * Runs a task while nobody else adds what is missing: of several that look, one
 * adds and the others find it. The folder exists, because a record is in it.
 */
async function withLock<T>(host: Host, task: () => Promise<T>): Promise<T> {
  if (host.dryRun) return await task();
  const { path, deadline } = lock;
  using _file = requireLock(await lockFile(path, { mode: 0o600, deadline }), lock);
  return await task();
}

/** iptables sees packets between ports of one bridge only where a kernel variable says so. */
function warnOfBridges(): void {
  const variable = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  if (readProcIfExists(variable)?.trim() === "1") return;
  console.error(
    `firewall: Cannot isolate containers of one bridge: "${variable}" is not 1, so iptables does not see their packets; set it, or use backend "nftables", or portIsolation of bridge`,
  );
}

async function check(
  plans: readonly IptablesFirewall[],
  { host }: FirewallRequest,
): Promise<string[]> {
  const problems = await Promise.all(plans.map(async (plan) => {
    const saved = await listIptables(host, { family: plan.family, table: "filter" });
    return compareFirewall(plan, saved);
  }));
  return problems.flat();
}

async function del(host: Host, { addresses }: FirewallRemoval): Promise<void> {
  const own = new Map(byFamily(addresses));
  await removeFromIptables(host, {
    why: "remove firewall rules",
    table: "filter",
    families: [...own.keys()],
    plan: (saved, family) => planFirewallRemoval(saved, { family, addresses: own.get(family)! }),
  });
}
