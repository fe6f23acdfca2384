/**
 * Masquerade rules in nftables: one rule for each address, in a table that all
 * networks share. Table, chains, rules and comments are the reference's.
 *
 * @module
 */
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Cidr } from "../host/ip.ts";
import { formatCidr, formatIp, network as networkOf, parseIpOrCidr, sameIp } from "../host/ip.ts";
import type { NftListing, NftRule, TableName } from "../host/nft.ts";
import { comment, nftShowing, nftTransaction, parseShown, tableWords } from "../host/nft.ts";
import type { Step } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import type { Owner } from "./netfilter.ts";
import {
  applyListed,
  deleteRules,
  identityLength,
  listNft,
  networkIdentity,
  ownerOf,
  takeBackRules,
} from "./netfilter.ts";

/** The table that all networks share. */
export const masqueradeTable: TableName = { family: "inet", name: "cni_plugins_masquerade" };

const table = tableWords(masqueradeTable);
const checks = "masq_checks";
const where = `${table} ${checks}`;

/** Whose rules they are. */
export interface NftMasqueradeOwner extends AttachmentKey {
  readonly host: Host;
}

/** Adds the rules: one process, and a second where stale rules of the attachment show up. */
export async function addNft(
  req: NftMasqueradeOwner,
  addresses: readonly Cidr[],
): Promise<void> {
  const owner = await ownerOf(req);
  const why = `masquerade ${addresses.map(formatIp).join(", ")}`;
  const shown = parseShown(await req.host.apply(planNftMasquerade(owner, addresses)));
  takeBackRules(req.host, { why, chain: where, rules: shown.added });
  const stale = shown.listed.filter((rule) => rule.comment.startsWith(owner.identity));
  await req.host.apply(removal(stale));
}

/** The table with its chains, rules for these addresses, and a look at the rules before. */
export function planNftMasquerade(owner: Owner, addresses: readonly Cidr[]): Step[] {
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
  return [{ why: `masquerade ${addresses.map(formatIp).join(", ")}`, do: nftShowing(lines) }];
}

function ruleText(address: Cidr): string {
  const family = address.family === 4 ? "ip" : "ip6";
  const subnet = formatCidr(networkOf(address));
  return `${family} saddr ${formatIp(address)} ${family} daddr != ${subnet} masquerade`;
}

/** A line for each rule of these addresses, or of the shared chains, that is missing. */
export async function checkNft(
  req: NftMasqueradeOwner,
  addresses: readonly Cidr[],
): Promise<string[]> {
  const owner = await ownerOf(req);
  const listing = await listNft(req.host, masqueradeTable);
  return compareNftMasquerade(listing, { owner, addresses });
}

/** Compares what is listed with the rules that these addresses need. */
export function compareNftMasquerade(
  listing: NftListing | undefined,
  { owner, addresses }: { readonly owner: Owner; readonly addresses: readonly Cidr[] },
): string[] {
  if (!listing) return [`table "${table}" of nft is missing`];
  const entered = listing.rules.some(({ chain, expr }) =>
    chain === "postrouting" && JSON.stringify(expr).includes(`{"target":"${checks}"}`)
  );
  const own = listing.rules.filter((rule) => isOwned(rule, owner.identity));
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

function isOwned(rule: NftRule, identity: string): boolean {
  return rule.chain === checks && (rule.comment?.startsWith(identity) ?? false);
}

/** Removes the attachment's rules; addresses do not matter. */
export async function delNft(req: NftMasqueradeOwner): Promise<void> {
  const { identity } = await ownerOf(req);
  await applyListed(req.host, {
    list: () => listNft(req.host, masqueradeTable),
    plan: ({ rules }) => removal(rules.filter((rule) => isOwned(rule, identity))),
  });
}

/** Removes the rules of a network's attachments that are none of these. */
export async function gcNft(
  { host, network }: NftMasqueradeOwner,
  valid: readonly AttachmentKey[],
): Promise<void> {
  const first = await networkIdentity(network);
  const keep = new Set((await Promise.all(valid.map(ownerOf))).map(({ identity }) => identity));
  await applyListed(host, {
    list: () => listNft(host, masqueradeTable),
    plan: ({ rules }) =>
      removal(
        rules.filter((rule) =>
          isOwned(rule, first) && !keep.has(rule.comment!.slice(0, identityLength))
        ),
      ),
  });
}

function removal(rules: readonly { readonly handle: number }[]): Step[] {
  if (rules.length === 0) return [];
  return [{ why: "remove masquerade rules", do: nftTransaction(deleteRules(where, rules)) }];
}
