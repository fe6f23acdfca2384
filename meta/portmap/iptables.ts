/**
 * Mapping ports by iptables: one process for each family, which assumes what is
 * usual and changes nothing where that is wrong.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../../cni/attachment_key.ts";
import type { Cidr } from "../../host/ip.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../../recipes/backend.ts";
import { applyIptables, requireBackend } from "../../recipes/backend.ts";
import { keptNames } from "../../recipes/names.ts";
import { listIptables, missingRules, removeFromIptables } from "../../recipes/netfilter.ts";
import { withPortmapLock } from "./claims.ts";
import { conditionsOf } from "./conf.ts";
import type { PortmapAdded, PortmapDriver, PortmapRequest } from "./driver.ts";
import type { IptablesPortmap, PortmapTables } from "./iptables_rules.ts";
import {
  absentRules,
  containerChains,
  expectedRules,
  guardRules,
  planPortmap,
  planPortmapRemoval,
  replanPortmap,
  staleChains,
} from "./iptables_rules.ts";
import { wantsLocalnet } from "./localnet.ts";

/** The back end iptables. */
export const portmapByIptables: PortmapDriver = {
  add,
  check,
  checkGuard,
  isMapped,
  del,
  gc,
  status: () => requireBackend("iptables"),
};

async function planOf(
  { conf, network, containerId }: PortmapRequest,
  target: Cidr,
): Promise<IptablesPortmap> {
  return {
    network,
    containerId,
    chain: (await containerChains(network, containerId)).dnat,
    target,
    mappings: conf.runtimeConfig.portMappings,
    snat: conf.snat,
    masqAll: conf.masqAll,
    markBit: conf.markMasqBit ?? 13,
    externalSetMarkChain: conf.externalSetMarkChain,
    conditions: conditionsOf(conf, target.family),
  };
}

async function add(
  req: PortmapRequest,
  { addresses, giveWay }: AddRequest,
): Promise<PortmapAdded> {
  const { host } = req;
  const left: Cidr[] = [];
  let guarded = true;
  for (const target of addresses) {
    const plan = await planOf(req, target);
    const works = await applyIptables(host, {
      family: target.family,
      giveWay,
      assumed: planPortmap(plan),
      otherwise: () =>
        withPortmapLock(host, async () => {
          const saved = await listTables(host, plan);
          if (saved && wantsLocalnet(plan) && !saved.raw) guarded = warnUnguarded();
          return saved && await host.apply(replanPortmap(plan, saved));
        }),
    });
    if (!works) left.push(target);
  }
  return { left, guarded };
}

/** The tables that a plan writes to; `undefined` when iptables does not work here. */
async function listTables(host: Host, plan: IptablesPortmap): Promise<PortmapTables | undefined> {
  const { family } = plan.target;
  const nat = await listIptables(host, { family, table: "nat" });
  if (!nat || !wantsLocalnet(plan)) return nat && { nat };
  return { nat, raw: await listIptables(host, { family, table: "raw" }) };
}

function warnUnguarded(): false {
  console.error(
    'portmap: Cannot map ports of 127.0.0.1: iptables has no table "raw" here, and without a rule in it neighbours could reach what listens there',
  );
  return false;
}

async function check(req: PortmapRequest, addresses: readonly Cidr[]): Promise<string[]> {
  const problems = await Promise.all(addresses.map(async (target) => {
    const rules = expectedRules(await planOf(req, target));
    return await missingRules(req.host, { family: target.family, table: "nat", rules });
  }));
  return problems.flat();
}

async function checkGuard(req: PortmapRequest, addresses: readonly Cidr[]): Promise<string[]> {
  const target = addresses.find((target) => wantsLocalnet({ snat: req.conf.snat, target }));
  const raw = target && await listIptables(req.host, { family: 4, table: "raw" });
  if (!target || !raw) return [];
  return absentRules(guardRules(await planOf(req, target)), raw)
    .map((rule) => `rule "-A ${rule}" is missing from table "raw" of iptables`);
}

async function isMapped(host: Host, { network, containerId }: AttachmentKey): Promise<boolean> {
  const { dnat } = await containerChains(network, containerId);
  const tables = await Promise.all(
    ([4, 6] as const).map((family) => listIptables(host, { family, table: "nat" })),
  );
  return tables.some((saved) => saved?.chains.has(dnat));
}

async function del(host: Host, { network, containerId }: AttachmentKey): Promise<void> {
  const { dnat, snat } = await containerChains(network, containerId);
  await removeFromIptables(host, {
    why: "remove port mappings",
    table: "nat",
    plan: (nat, family) => planPortmapRemoval(nat, { family, chains: [dnat, snat] }),
  });
}

async function gc(host: Host, { network, valid }: ValidAttachments): Promise<void> {
  const keep = await keptNames(
    valid,
    async ({ containerId }) => Object.values(await containerChains(network, containerId)),
  );
  await removeFromIptables(host, {
    why: "remove stale port mappings",
    table: "nat",
    plan: (nat, family) =>
      planPortmapRemoval(nat, { family, chains: staleChains(nat, { network, keep }) }),
  });
}
