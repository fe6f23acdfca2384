/**
 * Mappings in whichever back end: added to one, looked for and removed in both.
 *
 * @module
 */
import type { Request } from "../../cni/plugin.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { CniError } from "../../cni/error.ts";
import type { Cidr } from "../../host/ip.ts";
import { restoreTool } from "../../host/iptables.ts";
import type { NftElement, NftListing, TableName } from "../../host/nft.ts";
import { emptyListing, listTables, parseListing } from "../../host/nft.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Host } from "../../ns/machine.ts";
import type { Backend } from "../../recipes/netfilter.ts";
import {
  applyAssuming,
  applyListed,
  identityLength,
  listIptables,
  listNft,
  missingRules,
  networkIdentity,
  ownerOf,
  removeTogether,
  takeBackListed,
} from "../../recipes/netfilter.ts";
import { conflict, withLock } from "./claims.ts";
import type { Conf } from "./conf.ts";
import { conditionsOf, requireOptionsFor } from "./conf.ts";
import type { IptablesPortmap, Saved } from "./iptables.ts";
import {
  chainsOf,
  expectedRules,
  guardRules,
  missingRulesOf,
  planChainRemoval,
  planPortmap,
  planPortmapAgain,
  staleChains,
  wantsLocalnet,
} from "./iptables.ts";
import type { Element, Found, Listed, NftPortmap } from "./nftables.ts";
import {
  compareNft,
  elementsOf,
  hasConditions,
  hostportTable,
  isCoveredByReference,
  isOfContainer,
  planNftPortmap,
  planNftPortmapAgain,
  planNftRemoval,
  referenceTables,
  sameKey,
} from "./nftables.ts";

const families = [4, 6] as const;

/** The back end to try first, and whether the other may take over. */
export interface Choice {
  readonly targets: readonly Cidr[];
  readonly backend: { readonly backend: Backend; readonly only: boolean };
}

/** What came of it: without the guard `route_localnet` must not be set. */
export interface Mapped {
  readonly guarded: boolean;
}

/** Adds the mappings: one process for each family, or one with nftables. */
export async function mapPorts(req: Request<Conf>, choice: Choice): Promise<Mapped> {
  const { targets, backend: { backend, only } } = choice;
  if (backend === "nftables") return await mapByNft(req, targets);
  let guarded = true;
  const left: Cidr[] = [];
  for (const target of targets) {
    const outcome = await mapByIptables(req, target, only);
    if (outcome === "unsupported") left.push(target);
    if (outcome === "unguarded") guarded = false;
  }
  if (left.length > 0) {
    requireOptionsFor("nftables", req.conf);
    await mapByNft(req, left);
  }
  return { guarded };
}

async function iptablesPlan(
  { conf, network, containerId }: Request<Conf>,
  target: Cidr,
): Promise<IptablesPortmap> {
  return {
    network,
    containerId,
    chain: (await chainsOf(network, containerId)).dnat,
    target,
    mappings: conf.runtimeConfig.portMappings,
    snat: conf.snat,
    masqAll: conf.masqAll,
    markBit: conf.markMasqBit ?? 13,
    externalSetMarkChain: conf.externalSetMarkChain,
    conditions: conditionsOf(conf, target.family),
  };
}

type Outcome = "mapped" | "unguarded" | "unsupported";

async function mapByIptables(req: Request<Conf>, target: Cidr, only: boolean): Promise<Outcome> {
  const { host } = req;
  if (!only && !hasTool(restoreTool(target.family))) return "unsupported";
  const plan = await iptablesPlan(req, target);
  let outcome: Outcome = "mapped";
  await applyAssuming(host, {
    assumed: planPortmap(plan),
    otherwise: (failure) =>
      withLock(host, async () => {
        const saved = await lookAround(host, plan);
        if (!saved && only) throw failure;
        if (!saved) outcome = "unsupported";
        else if (wantsLocalnet(plan) && !saved.raw) outcome = warnUnguarded();
        return saved ? await host.apply(planPortmapAgain(plan, saved)) : "";
      }),
  });
  return outcome;
}

/** The tables that a plan writes to; `undefined` when iptables does not work here. */
async function lookAround(host: Host, plan: IptablesPortmap): Promise<Saved | undefined> {
  const { family } = plan.target;
  const nat = await listIptables(host, { family, table: "nat" });
  if (!nat || !wantsLocalnet(plan)) return nat && { nat };
  return { nat, raw: await listIptables(host, { family, table: "raw" }) };
}

function warnUnguarded(): "unguarded" {
  console.error(
    'portmap: Cannot map ports of 127.0.0.1: iptables has no table "raw" here, and without a rule in it neighbours could reach what listens there',
  );
  return "unguarded";
}

async function nftPlan(req: Request<Conf>, targets: readonly Cidr[]): Promise<NftPortmap> {
  const { conf } = req;
  return {
    owner: await ownerOf(req),
    targets,
    mappings: conf.runtimeConfig.portMappings,
    snat: conf.snat,
    masqAll: conf.masqAll,
    conditions: { 4: conditionsOf(conf, 4), 6: conditionsOf(conf, 6) },
  };
}

async function mapByNft(req: Request<Conf>, targets: readonly Cidr[]): Promise<Mapped> {
  const { host } = req;
  const plan = await nftPlan(req, targets);
  // Rules behind conditions have handles, which nobody has told: they are looked up.
  if (hasConditions(plan)) {
    takeBackListed(host, {
      why: "map host ports",
      table: hostportTable,
      plan: (own) => planNftRemoval({ own, reference: [] }, { identities: [plan.owner.identity] }),
    });
  }
  await applyAssuming(host, {
    assumed: planNftPortmap(plan),
    otherwise: (failure) =>
      withLock(host, async () => {
        const listing = await listNft(host, hostportTable);
        if (!listing) throw failure;
        return await host.apply(planNftPortmapAgain(plan, settle(req, { plan, listing })));
      }),
  });
  return { guarded: true };
}

/**
 * Who holds what an attachment wants. Its own is replaced; of another attachment
 * of the container the first stays, as the first rule wins in iptables. Throws
 * code 109 for another container's port.
 */
function settle(
  { containerId }: AttachmentKey,
  { plan, listing }: { readonly plan: NftPortmap; readonly listing: NftListing },
): Found {
  const kept: NftElement[] = [];
  const replaced: NftElement[] = [];
  for (const wanted of elementsOf(plan)) {
    const found = listing.elements.find((other) => sameKey(wanted, other));
    if (!found || found.comment?.startsWith(plan.owner.identity)) continue;
    if (wanted.value === undefined) replaced.push(found);
    else if (isOfContainer(found.comment, containerId)) kept.push(found);
    else throw heldBy(wanted, found);
  }
  return { listing, kept, replaced };
}

function heldBy({ key }: Element, { comment = "" }: NftElement): CniError {
  const [, network = "", ifName = "", containerId = ""] =
    / net: (.*), if: (.*), id: (.*)$/.exec(comment) ?? [];
  const [protocol, port] = key.split(" . ").slice(-2);
  const names: Readonly<Record<string, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };
  return conflict(`${port}/${names[protocol!]}`, { network, containerId, ifName });
}

/** Whether an attachment has rules in any back end. */
export async function isMapped(host: Host, other: AttachmentKey): Promise<boolean> {
  const { dnat } = await chainsOf(other.network, other.containerId);
  const { identity } = await ownerOf(other);
  const tables = await Promise.all(
    families.map((family) => listIptables(host, { family, table: "nat" })),
  );
  const { own, reference } = await listAllNft(host);
  const commented = (comment: string) => ({ comment: text }: { comment: string | undefined }) =>
    text?.startsWith(comment);
  return tables.some((saved) => saved?.chains.has(dnat)) ||
    own.elements.some(commented(identity)) || own.rules.some(commented(identity)) ||
    reference.some(({ rules }) => rules.some(commented(other.containerId)));
}

/** Our table and the reference's, as far as they exist. */
async function listAllNft(host: Host): Promise<Listed> {
  const nothing = { own: emptyListing, reference: [] };
  if (!hasTool("nft")) return nothing;
  const text = await host.query(listTables(), {
    why: "list tables of nft",
    tolerate: ["missing", "unsupported"],
  });
  const { tables } = parseListing(text ?? "");
  const exists = ({ family, name }: TableName) =>
    tables.some((table) => table.family === family && table.name === name);
  const own = exists(hostportTable) ? await listNft(host, hostportTable) : undefined;
  const reference = await Promise.all(
    referenceTables.filter(exists).map((table) => listNft(host, table)),
  );
  return {
    own: own ?? emptyListing,
    reference: reference.filter((listing) => listing !== undefined),
  };
}

/** Removes an attachment's mappings from every back end, the reference's too. */
export async function unmapPorts(host: Host, other: AttachmentKey): Promise<void> {
  const { dnat, snat } = await chainsOf(other.network, other.containerId);
  const { identity } = await ownerOf(other);
  await withLock(host, () =>
    removeTogether("remove port mappings", [
      ...families.map((family) => () =>
        applyListed(host, {
          list: () => listIptables(host, { family, table: "nat" }),
          plan: (nat) => planChainRemoval(nat, { family, chains: [dnat, snat] }),
        })
      ),
      () =>
        applyListed(host, {
          list: () => listAllNft(host),
          plan: (listed) =>
            planNftRemoval(listed, { identities: [identity], containerId: other.containerId }),
        }),
    ]));
}

/** Removes a network's mappings that belong to none of these attachments. */
export async function collectRules(
  host: Host,
  { network, valid }: {
    readonly network: string;
    readonly valid: readonly AttachmentKey[];
  },
): Promise<void> {
  const keep = await keptBy(network, valid);
  const first = await networkIdentity(network);
  await withLock(host, () =>
    removeTogether("remove stale port mappings", [
      ...families.map((family) => () =>
        applyListed(host, {
          list: () => listIptables(host, { family, table: "nat" }),
          plan: (nat) => {
            const chains = staleChains(nat, { network, keep: keep.chains });
            return planChainRemoval(nat, { family, chains });
          },
        })
      ),
      () =>
        applyListed(host, {
          list: () => listAllNft(host),
          plan: (listed) => {
            const identities = staleIdentities(listed.own, { first, keep: keep.identities });
            return planNftRemoval(listed, { identities });
          },
        }),
    ]));
}

/** Names of everything that valid attachments of a network may have. */
async function keptBy(network: string, valid: readonly AttachmentKey[]) {
  const owned = await Promise.all(valid.map(async (key) => ({
    chains: await chainsOf(network, key.containerId),
    owner: await ownerOf(key),
  })));
  return {
    chains: new Set(owned.flatMap(({ chains }) => [chains.dnat, chains.snat])),
    identities: new Set(owned.map(({ owner }) => owner.identity)),
  };
}

function staleIdentities(
  { elements, rules }: NftListing,
  { first, keep }: { readonly first: string; readonly keep: ReadonlySet<string> },
): string[] {
  const all = [...elements, ...rules].flatMap(({ comment }) =>
    comment?.startsWith(`${first}-`) ? comment.slice(0, identityLength) : []
  );
  return [...new Set(all)].filter((identity) => !keep.has(identity));
}

/** A line for each thing that is missing, in the back end that holds the mappings. */
export async function checkRules(
  req: Request<Conf>,
  { targets, backend }: {
    readonly targets: readonly Cidr[];
    readonly backend: Backend | undefined;
  },
): Promise<string[]> {
  if (backend === "nftables") return await checkNft(req, targets);
  const problems = await checkIptables(req, targets);
  if (backend === "iptables" || problems.length === 0 || !hasTool("nft")) return problems;
  return (await checkNft(req, targets)).length === 0 ? [] : problems;
}

/**
 * A line for each rule that keeps neighbours from 127.0.0.1 and is missing. CHECK
 * does without, because the reference has none.
 */
export async function missingGuard(
  req: Request<Conf>,
  targets: readonly Cidr[],
): Promise<string[]> {
  const target = targets.find((target) => wantsLocalnet({ snat: req.conf.snat, target }));
  const raw = target && await listIptables(req.host, { family: 4, table: "raw" });
  if (!target || !raw) return [];
  return missingRulesOf(guardRules(await iptablesPlan(req, target)), raw)
    .map((rule) => `rule "-A ${rule}" is missing from table "raw" of iptables`);
}

async function checkIptables(req: Request<Conf>, targets: readonly Cidr[]): Promise<string[]> {
  const problems = await Promise.all(targets.map(async (target) => {
    const plan = await iptablesPlan(req, target);
    const { family } = target;
    return await missingRules(req.host, { family, table: "nat", rules: expectedRules(plan) });
  }));
  return problems.flat();
}

async function checkNft(req: Request<Conf>, targets: readonly Cidr[]): Promise<string[]> {
  const plan = await nftPlan(req, targets);
  const { own, reference } = await listAllNft(req.host);
  if (isCoveredByReference(reference, plan, req.containerId)) return [];
  return compareNft(own, plan, req.containerId);
}
