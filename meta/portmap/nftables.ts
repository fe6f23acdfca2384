/**
 * Mapping ports by nftables: one process, which assumes that nobody holds the
 * ports and changes nothing where that is wrong.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../../cni/attachment_key.ts";
import type { CniError } from "../../cni/error.ts";
import type { Cidr } from "../../host/ip.ts";
import type { NftElement, NftListing, TableName } from "../../host/nft.ts";
import { emptyListing, listTables, parseListing } from "../../host/nft.ts";
import { hasTool } from "../../host/spawn.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../../recipes/backend.ts";
import { requireBackend } from "../../recipes/backend.ts";
import { applyAssuming, applyListed, listNft, planOnRollback } from "../../recipes/netfilter.ts";
import { isOwnedBy, nftOwner, staleIdentities, validIdentities } from "../../recipes/nft_owner.ts";
import { portConflict, withPortmapLock } from "./claims.ts";
import { conditionsOf } from "./conf.ts";
import type { PortmapAdded, PortmapDriver, PortmapRequest } from "./driver.ts";
import type { NftPortmap, PortmapElement } from "./nftables_elements.ts";
import { hasConditions, isSameElement, portmapElements } from "./nftables_elements.ts";
import type { HeldElements, HostportTables } from "./nftables_rules.ts";
import {
  compareNftPortmap,
  hostportTable,
  isCoveredByReference,
  isOfContainer,
  planNftPortmap,
  planNftPortmapRemoval,
  referenceTables,
  replanNftPortmap,
} from "./nftables_rules.ts";

/** The back end nftables. */
export const portmapByNftables: PortmapDriver = {
  add,
  check,
  // The guard is one of the chains that `check` compares.
  checkGuard: () => Promise.resolve([]),
  isMapped,
  del,
  gc,
  status: () => requireBackend("nftables"),
};

async function planOf(req: PortmapRequest, targets: readonly Cidr[]): Promise<NftPortmap> {
  const { conf } = req;
  return {
    owner: await nftOwner(req),
    targets,
    mappings: conf.runtimeConfig.portMappings,
    snat: conf.snat,
    masqAll: conf.masqAll,
    conditions: { 4: conditionsOf(conf, 4), 6: conditionsOf(conf, 6) },
  };
}

async function add(req: PortmapRequest, { addresses }: AddRequest): Promise<PortmapAdded> {
  const { host } = req;
  const plan = await planOf(req, addresses);
  if (hasConditions(plan)) takeBackConditions(host, plan);
  await applyAssuming(host, {
    assumed: planNftPortmap(plan),
    otherwise: (failure) =>
      withPortmapLock(host, async () => {
        const listing = await listNft(host, hostportTable);
        if (!listing) throw failure;
        return await host.apply(replanNftPortmap(plan, findHeld(req, { plan, listing })));
      }),
  });
  return { left: [], guarded: true };
}

/** Rules behind conditions have handles, which nft has told nobody: a rollback lists them. */
function takeBackConditions(host: Host, { owner }: NftPortmap): void {
  planOnRollback(host, {
    why: "map host ports",
    table: hostportTable,
    plan: (own) => planNftPortmapRemoval({ own, reference: [] }, { identities: [owner.identity] }),
  });
}

/**
 * Finds the elements that an attachment wants and others hold. Of two attachments
 * of one container the first keeps a port, as the first rule wins in iptables.
 * Throws code 109 for another container's port.
 */
function findHeld(
  { containerId }: AttachmentKey,
  { plan, listing }: { readonly plan: NftPortmap; readonly listing: NftListing },
): HeldElements {
  const kept: NftElement[] = [];
  const replaced: NftElement[] = [];
  for (const wanted of portmapElements(plan)) {
    const found = listing.elements.find((other) => isSameElement(wanted, other));
    if (!found || isOwnedBy(found, plan.owner.identity)) continue;
    if (wanted.value === undefined) replaced.push(found);
    else if (isOfContainer(found.comment, containerId)) kept.push(found);
    else throw heldBy(wanted, found);
  }
  return { listing, kept, replaced };
}

function heldBy({ key }: PortmapElement, { comment = "" }: NftElement): CniError {
  const [, network = "", ifName = "", containerId = ""] =
    / net: (.*), if: (.*), id: (.*)$/.exec(comment) ?? [];
  const [protocol, port] = key.split(" . ").slice(-2);
  const names: Readonly<Record<string, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };
  return portConflict(`${port}/${names[protocol!]}`, { network, containerId, ifName });
}

async function check(req: PortmapRequest, addresses: readonly Cidr[]): Promise<string[]> {
  const plan = await planOf(req, addresses);
  const { own, reference } = await listHostportTables(req.host);
  if (isCoveredByReference(reference, plan, req.containerId)) return [];
  return compareNftPortmap(own, plan, req.containerId);
}

/** Our table and the reference's, as far as they exist. */
async function listHostportTables(host: Host): Promise<HostportTables> {
  if (!hasTool("nft")) return { own: emptyListing, reference: [] };
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

async function isMapped(host: Host, attachment: AttachmentKey): Promise<boolean> {
  const { identity } = await nftOwner(attachment);
  const { own, reference } = await listHostportTables(host);
  return [...own.elements, ...own.rules].some((object) => isOwnedBy(object, identity)) ||
    reference.some(({ rules }) =>
      rules.some(({ comment }) => comment?.startsWith(attachment.containerId))
    );
}

async function del(host: Host, attachment: AttachmentKey): Promise<void> {
  const { containerId } = attachment;
  const { identity } = await nftOwner(attachment);
  await applyListed(host, {
    list: () => listHostportTables(host),
    plan: (tables) => planNftPortmapRemoval(tables, { identities: [identity], containerId }),
  });
}

async function gc(host: Host, attachments: ValidAttachments): Promise<void> {
  const valid = await validIdentities(attachments);
  await applyListed(host, {
    list: () => listHostportTables(host),
    plan: (tables) => {
      const { elements, rules } = tables.own;
      const identities = staleIdentities([...elements, ...rules], valid);
      return planNftPortmapRemoval(tables, { identities });
    },
  });
}
