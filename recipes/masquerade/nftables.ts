/**
 * Masquerade rules in nftables: one rule for each address, in a table that all
 * networks share. Table, chains, rules and comments are the reference's.
 *
 * @module
 */
import type { ValidAttachments } from "../../cni/attachment_key.ts";
import type { Cidr } from "../../host/ip.ts";
import {
  formatCidr,
  formatIp,
  network as networkOf,
  parseIpOrCidr,
  sameIp,
} from "../../host/ip.ts";
import type { NftListing, NftRule, TableName } from "../../host/nft.ts";
import { comment, nftEcho, nftTransaction, parseNftEcho, tableWords } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../backend.ts";
import { requireBackend } from "../backend.ts";
import { applyListed, deleteOnRollback, deleteRules, listNft } from "../netfilter.ts";
import type { NftOwner } from "../nft_owner.ts";
import { isOwnedBy, nftOwner, staleIdentities, validIdentities } from "../nft_owner.ts";
import type { MasqueradeDriver, MasqueradeOwner } from "./driver.ts";

/** Masquerading by nftables: one process, and a second where stale rules of the attachment show up. */
export const masqueradeByNftables: MasqueradeDriver = {
  add,
  check,
  del,
  gc,
  status: () => requireBackend("nftables"),
};

/** The table that all networks share. */
export const masqueradeTable: TableName = { family: "inet", name: "cni_plugins_masquerade" };

const table = tableWords(masqueradeTable);
const checks = "masq_checks";
const where = `${table} ${checks}`;

async function add(
  req: MasqueradeOwner,
  { addresses }: AddRequest,
): Promise<readonly Cidr[]> {
  const owner = await nftOwner(req);
  const why = `masquerade ${addresses.map(formatIp).join(", ")}`;
  const shown = parseNftEcho(await req.host.apply(planNftMasquerade(owner, addresses)));
  deleteOnRollback(req.host, { why, chain: where, rules: shown.added });
  const stale = shown.listed.filter((rule) => isOwnedBy(rule, owner.identity));
  await req.host.apply(removal(stale));
  return [];
}

/** The table with its chains, rules for these addresses, and a listing of the rules before. */
export function planNftMasquerade(owner: NftOwner, addresses: readonly Cidr[]): Step[] {
  const lines = [
    `add table ${table} { comment "Masquerading for plugins from github.com/containernetworking/plugins"; }`,
    `add chain ${where} { comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"; }`,
    `add chain ${table} postrouting { type nat hook postrouting priority 100; }`,
    `flush chain ${table} postrouting`,
    `add rule ${table} postrouting ip daddr 224.0.0.0/4 return`,
    `add rule ${table} postrouting ip6 daddr ff00::/8 return`,
    `add rule ${table} postrouting goto ${checks}`,
    ...addresses.map((address) =>
      `add rule ${where} ${ruleText(address)} ${comment(owner.comment)}`
    ),
    `list chain ${where}`,
  ];
  return [{ why: `masquerade ${addresses.map(formatIp).join(", ")}`, do: nftEcho(lines) }];
}

function ruleText(address: Cidr): string {
  const family = address.family === 4 ? "ip" : "ip6";
  const subnet = formatCidr(networkOf(address));
  return `${family} saddr ${formatIp(address)} ${family} daddr != ${subnet} masquerade`;
}

async function check(req: MasqueradeOwner, addresses: readonly Cidr[]): Promise<string[]> {
  const owner = await nftOwner(req);
  const listing = await listNft(req.host, masqueradeTable);
  return compareNftMasquerade(listing, { owner, addresses });
}

/** A line for each rule of these addresses, or of the shared chains, that a listing lacks. */
export function compareNftMasquerade(
  listing: NftListing | undefined,
  { owner, addresses }: { readonly owner: NftOwner; readonly addresses: readonly Cidr[] },
): string[] {
  if (!listing) return [`table "${table}" of nft is missing`];
  const entered = listing.rules.some(({ chain, expr }) =>
    chain === "postrouting" && JSON.stringify(expr).includes(`{"target":"${checks}"}`)
  );
  const own = ownRules(listing, [owner.identity]);
  return [
    ...(entered ? [] : [`chain "postrouting" of table "${table}" does not enter "${checks}"`]),
    ...addresses.filter((address) => !own.some((rule) => matches(rule, address))).map((address) =>
      `rule "${ruleText(address)}" is missing from chain "${where}" of nft`
    ),
  ];
}

/** The address operands of a rule's matches, as nft prints them in JSON. */
type Statement = {
  readonly match?: {
    readonly op: string;
    readonly left: { readonly payload?: { readonly field: string } };
    readonly right: string | { readonly prefix?: { readonly addr: string; readonly len: number } };
  };
  readonly masquerade?: unknown;
};

function matches({ expr }: NftRule, address: Cidr): boolean {
  const statements = expr as readonly Statement[];
  const operand = (op: string, field: string) => {
    const match = statements.find(({ match }) =>
      match?.op === op && match.left.payload?.field === field
    )?.match;
    if (!match) return undefined;
    if (typeof match.right === "string") return parseIpOrCidr(match.right);
    const { addr = "", len = 0 } = match.right.prefix ?? {};
    return parseIpOrCidr(`${addr}/${len}`);
  };
  const source = operand("==", "saddr");
  const spared = operand("!=", "daddr");
  return source !== undefined && sameIp(source, address) && spared !== undefined &&
    sameIp(spared, networkOf(address)) && spared.prefix === address.prefix &&
    statements.some((statement) => "masquerade" in statement);
}

function ownRules({ rules }: NftListing, identities: readonly string[]): NftRule[] {
  return rules.filter((rule) =>
    rule.chain === checks && identities.some((identity) => isOwnedBy(rule, identity))
  );
}

/** Removes the attachment's rules; addresses do not matter, because the comment names it. */
async function del(req: MasqueradeOwner): Promise<void> {
  const { identity } = await nftOwner(req);
  await applyListed(req.host, {
    list: () => listNft(req.host, masqueradeTable),
    plan: (listing) => removal(ownRules(listing, [identity])),
  });
}

async function gc(host: Host, attachments: ValidAttachments): Promise<void> {
  const valid = await validIdentities(attachments);
  await applyListed(host, {
    list: () => listNft(host, masqueradeTable),
    plan: (listing) => removal(ownRules(listing, staleIdentities(listing.rules, valid))),
  });
}

function removal(rules: readonly { readonly handle: number }[]): Step[] {
  if (rules.length === 0) return [];
  return [{ why: "remove masquerade rules", do: nftTransaction(deleteRules(where, rules)) }];
}
