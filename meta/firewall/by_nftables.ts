/**
 * The back end nftables: one process, which assumes that the attachment has
 * nothing yet and changes nothing where that is wrong.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import { command } from "../../host/command.ts";
import type { TableName } from "../../host/nft.ts";
import { emptyListing, tableWords } from "../../host/nft.ts";
import type { Host } from "../../ns/machine.ts";
import { CniError, codes } from "../../cni/error.ts";
import {
  applyAssuming,
  applyListed,
  listNft,
  networkIdentity,
  ownerOf,
} from "../../recipes/netfilter.ts";
import { requireTools } from "../../recipes/status.ts";
import type { Conf, Place } from "./conf.ts";
import { tableOf } from "./conf.ts";
import type { Driver, Gone, Job } from "./driver.ts";
import type { Listings, NftFirewall } from "./nftables.ts";
import {
  bridgeTable,
  compareNft,
  firewallTable,
  isEntered,
  planJump,
  planNft,
  planNftAgain,
  planNftRemoval,
  staleIdentities,
} from "./nftables.ts";

/** The back end nftables. */
export const nftables: Driver = {
  add: (job) => add(job, false),
  check: (job) => check(job, false),
  del,
  status,
};

/** Policies alone, for a back end that has none of its own. */
export const ingressByNft: Pick<Driver, "add" | "check"> = {
  add: (job) => add(job, true),
  check: (job) => check(job, true),
};

async function planOf(job: Job, ingressOnly: boolean): Promise<NftFirewall> {
  const { addresses, conf, ingress } = job;
  return {
    owner: await ownerOf(job),
    addresses,
    mark: conf.mark,
    places: ingressOnly ? [] : conf.insertInto,
    ingress,
    ingressOnly,
  };
}

async function add(job: Job, ingressOnly: boolean): Promise<boolean> {
  const { host } = job;
  const plan = await planOf(job, ingressOnly);
  const again = async () => await host.apply(planNftAgain(plan, await listAll(host, plan.places)));
  const printed = await applyAssuming(host, {
    assumed: planNft(plan),
    otherwise: again,
  });
  for (const place of plan.places) {
    if (!isEntered(printed, place)) await host.apply(planJump(place));
  }
  return true;
}

/** Our tables and those of places, as far as they exist. */
async function listAll(host: Host, places: readonly Place[]): Promise<Listings> {
  const tables = [firewallTable, bridgeTable, ...places.map(tableOf)];
  const names = [...new Map(tables.map((table) => [tableWords(table), table])).entries()];
  const list = async ([words, table]: [string, TableName]) =>
    [words, await listNft(host, table) ?? emptyListing] as const;
  return new Map(await Promise.all(names.map(list)));
}

async function check(job: Job, ingressOnly: boolean): Promise<string[]> {
  const plan = await planOf(job, ingressOnly);
  return compareNft(plan, await listAll(job.host, plan.places));
}

async function del(host: Host, gone: Gone): Promise<void> {
  const { identity } = await ownerOf(gone);
  await applyListed(host, {
    list: () => listAll(host, gone.places),
    plan: (listings) => planNftRemoval(listings, [identity]),
  });
}

/** Removes the elements of a network's attachments that are none of these. */
export async function gcNft(
  host: Host,
  { network, valid, places }: {
    readonly network: string;
    readonly valid: readonly AttachmentKey[];
    readonly places: readonly Place[];
  },
): Promise<void> {
  const first = await networkIdentity(network);
  const keep = new Set((await Promise.all(valid.map(ownerOf))).map(({ identity }) => identity));
  await applyListed(host, {
    list: () => listAll(host, places),
    plan: (listings) => planNftRemoval(listings, staleIdentities(listings, { first, keep })),
  });
}

async function status(host: Host, { insertInto }: Conf): Promise<void> {
  requireTools(["nft"]);
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
