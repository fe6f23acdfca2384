/**
 * The back end nftables: one process, which assumes that the attachment has
 * nothing yet and changes nothing where that is wrong.
 *
 * @module
 */
import { CniError, codes } from "../../cni/error.ts";
import type { Cidr } from "../../host/ip.ts";
import { command } from "../../host/command.ts";
import type { TableName } from "../../host/nft.ts";
import { emptyListing, tableWords } from "../../host/nft.ts";
import type { Host } from "../../ns/machine.ts";
import { requireBackend } from "../../recipes/backend.ts";
import { applyAssuming, applyListed, listNft } from "../../recipes/netfilter.ts";
import { nftOwner, validIdentities } from "../../recipes/nft_owner.ts";
import type { ChainName, Conf } from "./conf.ts";
import { tableOf } from "./conf.ts";
import type { FirewallDriver, FirewallGc, FirewallRemoval, FirewallRequest } from "./driver.ts";
import type { NftFirewall, NftListings } from "./nftables_rules.ts";
import {
  bridgeTable,
  compareNftFirewall,
  firewallTable,
  isEntered,
  planJump,
  planNftFirewall,
  planNftFirewallGc,
  planNftFirewallRemoval,
  replanNftFirewall,
} from "./nftables_rules.ts";

/** The back end nftables. */
export const firewallByNftables: FirewallDriver = {
  add: async (req) => await add(await planOf(req), req),
  check: async (req) => await check(await planOf(req), req),
  del,
  gc,
  status,
};

/** Policies alone, for a back end without its own. */
export const ingressByNftables: Pick<FirewallDriver, "add" | "check"> = {
  add: async (req) => await add(await ingressPlanOf(req), req),
  check: async (req) => await check(await ingressPlanOf(req), req),
};

async function planOf(req: FirewallRequest): Promise<NftFirewall> {
  const { addresses, conf: { mark, insertInto }, ingress } = req;
  return { owner: await nftOwner(req), addresses, mark, insertInto, ingress };
}

async function ingressPlanOf(req: FirewallRequest): Promise<NftFirewall> {
  return { ...await planOf(req), insertInto: [], ingressOnly: true };
}

async function add(plan: NftFirewall, { host }: FirewallRequest): Promise<readonly Cidr[]> {
  const { insertInto } = plan;
  const printed = await applyAssuming(host, {
    assumed: planNftFirewall(plan),
    otherwise: async () =>
      await host.apply(replanNftFirewall(plan, await listTables(host, insertInto))),
  });
  for (const chain of insertInto) {
    if (!isEntered(printed, chain)) await host.apply(planJump(chain));
  }
  return [];
}

/** Our tables and those of some chains, as far as they exist. */
async function listTables(host: Host, chains: readonly ChainName[]): Promise<NftListings> {
  const tables = [firewallTable, bridgeTable, ...chains.map(tableOf)];
  const names = [...new Map(tables.map((table) => [tableWords(table), table])).entries()];
  const list = async ([words, table]: [string, TableName]) =>
    [words, await listNft(host, table) ?? emptyListing] as const;
  return new Map(await Promise.all(names.map(list)));
}

async function check(plan: NftFirewall, { host }: FirewallRequest): Promise<string[]> {
  return compareNftFirewall(plan, await listTables(host, plan.insertInto));
}

async function del(host: Host, removal: FirewallRemoval): Promise<void> {
  const { identity } = await nftOwner(removal);
  await applyListed(host, {
    list: () => listTables(host, removal.insertInto),
    plan: (listings) => planNftFirewallRemoval(listings, [identity]),
  });
}

async function gc(host: Host, attachments: FirewallGc): Promise<void> {
  const valid = await validIdentities(attachments);
  await applyListed(host, {
    list: () => listTables(host, attachments.insertInto),
    plan: (listings) => planNftFirewallGc(listings, valid),
  });
}

async function status(host: Host, { insertInto }: Conf): Promise<void> {
  requireBackend("nftables");
  for (const { family, table, chain } of insertInto) {
    const asked = command("nft", ["list", "chain", family, table, chain]);
    const why = `look for chain "${chain}" of table "${family} ${table}"`;
    if (await host.query(asked, { why, tolerate: ["missing"] }) !== undefined) continue;
    throw new CniError(
      codes.notAvailable,
      `Cannot serve ADD: chain "${chain}" of table "${family} ${table}" does not exist`,
    );
  }
}
