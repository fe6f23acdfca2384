/**
 * The back end iptables: one process for each family, which assumes what is usual
 * and changes nothing where that is wrong.
 *
 * @module
 */
import type { Family } from "../../host/ip.ts";
import { restoreTool } from "../../host/iptables.ts";
import { lockFile } from "../../host/lock.ts";
import { readProcIfExists } from "../../host/proc.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Host } from "../../ns/machine.ts";
import { requireLock } from "../../recipes/lock.ts";
import {
  applyAssuming,
  applyListed,
  listIptables,
  removeTogether,
} from "../../recipes/netfilter.ts";
import { requireTools } from "../../recipes/status.ts";
import type { Driver, Gone, Job } from "./driver.ts";
import type { IptablesFirewall } from "./iptables.ts";
import {
  compareSaved,
  planConfirmation,
  planFirewall,
  planFirewallAgain,
  planFirewallRemoval,
} from "./iptables.ts";

/** The back end iptables. */
export const iptables: Driver = {
  add: (job) => add(job, false),
  check: (job) => check(job, false),
  del,
  status(_, { backend }) {
    if (backend === "iptables" || !hasTool("nft")) requireTools(["iptables-restore"]);
    return Promise.resolve();
  },
};

/** Policies alone, for a back end that has none of its own. */
export const ingressByIptables: Pick<Driver, "add" | "check"> = {
  add: (job) => add(job, true),
  check: (job) => check(job, true),
};

function plansOf({ addresses, conf, ingress }: Job, ingressOnly: boolean): IptablesFirewall[] {
  const families = [...new Set(addresses.map(({ family }) => family))];
  return families.map((family) => ({
    family,
    addresses: addresses.filter((address) => address.family === family),
    adminChain: conf.iptablesAdminChainName,
    ingress,
    ingressOnly,
  }));
}

async function add(job: Job, ingressOnly: boolean): Promise<boolean> {
  const only = job.conf.backend === "iptables" || !hasTool("nft");
  const plans = plansOf(job, ingressOnly);
  if (!only && plans.some(({ family }) => !hasTool(restoreTool(family)))) return false;
  if (job.ingress?.policy === "isolated") warnOfBridges();
  for (const plan of plans) {
    if (!await addFamily(job, { plan, only })) return false;
  }
  return true;
}

/** False when iptables cannot do it here. */
async function addFamily(
  { host, known }: Job,
  { plan, only }: { readonly plan: IptablesFirewall; readonly only: boolean },
): Promise<boolean> {
  let done = true;
  const again = async () => {
    const saved = await listIptables(host, { family: plan.family, table: "filter" });
    return saved && planFirewallAgain(plan, saved);
  };
  await applyAssuming(host, {
    assumed: known ? planConfirmation(plan) : planFirewall(plan),
    otherwise: (failure) =>
      withLock(host, async () => {
        const steps = await again();
        if (!steps && only) throw failure;
        done = steps !== undefined;
        return await applyAssuming(host, {
          assumed: steps ?? [],
          otherwise: async () => await host.apply(await again() ?? []),
        });
      }),
  });
  return done;
}

/** The lock, and milliseconds to wait for it. */
const lock = { path: "/run/cni/denocni/firewall.lock", deadline: 30_000 };

/**
 * Runs a task while nobody else adds what is missing: of several that look, one
 * adds and the others find it. The folder is there, for a record is in it.
 */
async function withLock<T>(host: Host, task: () => Promise<T>): Promise<T> {
  if (host.dryRun) return await task();
  const { path, deadline } = lock;
  using _file = requireLock(await lockFile(path, { mode: 0o600, deadline }), lock);
  return await task();
}

/** Packets between ports of one bridge come to iptables only where the kernel is told so. */
function warnOfBridges(): void {
  const variable = "/proc/sys/net/bridge/bridge-nf-call-iptables";
  if (readProcIfExists(variable)?.trim() === "1") return;
  console.error(
    `firewall: Cannot isolate containers of one bridge: "${variable}" is not 1, so iptables does not see their packets; set it, or use backend "nftables", or portIsolation of bridge`,
  );
}

async function check(job: Job, ingressOnly: boolean): Promise<string[]> {
  const problems = await Promise.all(
    plansOf(job, ingressOnly).map(async (plan) => {
      const saved = await listIptables(job.host, { family: plan.family, table: "filter" });
      return compareSaved(plan, saved);
    }),
  );
  return problems.flat();
}

async function del(host: Host, { addresses }: Gone): Promise<void> {
  const families = [...new Set(addresses.map(({ family }): Family => family))];
  await removeTogether(
    "remove firewall rules",
    families.map((family) => () =>
      applyListed(host, {
        list: () => listIptables(host, { family, table: "filter" }),
        plan: (saved) =>
          planFirewallRemoval(saved, {
            family,
            addresses: addresses.filter((address) => address.family === family),
          }),
      })
    ),
  );
}
