/**
 * `macspoofchk`: frames that come out of a container with any other source
 * address than the container's are dropped. Chains, rules and comments are the
 * reference's.
 *
 * @module
 */
import type { AttachmentKey } from "../cni/attachment_key.ts";
import { showLinks } from "../host/ip_link.ts";
import type { NftListing, NftRule, TableName } from "../host/nft.ts";
import {
  comment,
  commentText,
  nftEcho,
  nftTransaction,
  parseNftEcho,
  tableWords,
} from "../host/nft.ts";
import type { Step } from "../host/step.ts";
import type { Host } from "../ns/machine.ts";
import { applyListed, deleteChains, deleteOnRollback, deleteRules, listNft } from "./netfilter.ts";
import { queryLinks } from "./links.ts";

/** The table that all bridges share. */
export const spoofCheckTable: TableName = { family: "bridge", name: "nat" };

const table = tableWords(spoofCheckTable);
const entry = "PREROUTING";
const where = `${table} ${entry}`;
const chainPrefix = "cni-br-iface-";

/** The part of a request that the spoof check needs. */
export interface SpoofCheckRequest {
  readonly host: Host;
  readonly containerId: string;
  readonly ifName: string;
}

/** The spoof check, by verb. */
export interface SpoofCheck {
  /** Lets frames of one hardware address in from a host interface: one process. */
  add(hostVeth: string, mac: string): Promise<void>;
  /** A line for each rule that is missing. */
  check(): Promise<string[]>;
  /** Removes the attachment's rules and chains. */
  del(): Promise<void>;
  /**
   * Removes rules and chains of host interfaces that are gone, but for those of
   * these attachments; call it after the interfaces are gone.
   */
  gc(valid: readonly AttachmentKey[]): Promise<void>;
  /** Adds the rules if any of them is missing; gives a line for each that was. */
  repair(hostVeth: string, mac: string): Promise<string[]>;
}

/** The spoof check of one attachment. */
export function spoofCheck(req: SpoofCheckRequest): SpoofCheck {
  return {
    add: (hostVeth, mac) => add(req, { hostVeth, mac }),
    check: () => check(req),
    del: () => del(req),
    gc: (valid) => gc(req.host, valid),
    repair: async (hostVeth, mac) => {
      const problems = await check(req);
      if (problems.length > 0) await add(req, { hostVeth, mac });
      return problems;
    },
  };
}

/** Names of an attachment's objects. */
interface Names {
  /** `FAMILY TABLE CHAIN` */
  readonly iface: string;
  readonly mac: string;
  readonly comment: string;
}

/** Derives the names of the objects of an attachment. */
export function spoofCheckNames({ containerId, ifName }: Omit<SpoofCheckRequest, "host">): Names {
  const id = `${containerId}-${ifName}`;
  return {
    iface: `${chainPrefix}${id}`,
    mac: `${chainPrefix}${id}-mac`,
    comment: `macspoofchk-${id}`,
  };
}

async function add(
  req: SpoofCheckRequest,
  port: { readonly hostVeth: string; readonly mac: string },
): Promise<void> {
  const names = spoofCheckNames(req);
  const { added, listed } = parseNftEcho(await req.host.apply(planSpoofCheck(names, port)));
  deleteOnRollback(req.host, {
    why: `check the source addresses of "${port.hostVeth}"`,
    chain: where,
    rules: added.filter(({ chain }) => chain === entry),
    chains: [names.iface, names.mac].map((chain) => `${table} ${chain}`),
  });
  const remark = commentText(names.comment);
  await req.host.apply(removal(listed.filter(({ comment }) => comment === remark), []));
}

/** Chains and rules of a port, with a look at the shared chain as it was before. */
export function planSpoofCheck(
  names: Names,
  { hostVeth, mac }: { readonly hostVeth: string; readonly mac: string },
): Step[] {
  const remark = comment(names.comment);
  const lines = [
    `add table ${table}`,
    `add chain ${where} { type filter hook prerouting priority -300; policy accept; }`,
    `add chain ${table} ${names.iface}`,
    `add chain ${table} ${names.mac}`,
    `flush chain ${table} ${names.iface}`,
    `flush chain ${table} ${names.mac}`,
    `add rule ${where} iifname "${hostVeth}" jump ${names.iface} ${remark}`,
    `add rule ${table} ${names.iface} jump ${names.mac} ${remark}`,
    `add rule ${table} ${names.mac} ether saddr ${mac} return ${remark}`,
    `add rule ${table} ${names.mac} drop ${remark}`,
    `list chain ${where}`,
  ];
  return [{ why: `check the source addresses of "${hostVeth}"`, do: nftEcho(lines) }];
}

async function check(req: SpoofCheckRequest): Promise<string[]> {
  return compareSpoofCheck(await listNft(req.host, spoofCheckTable), spoofCheckNames(req));
}

/** Compares what is listed with the rules that a port needs. */
export function compareSpoofCheck(
  listing: NftListing | undefined,
  names: Names,
): string[] {
  const remark = commentText(names.comment);
  const count = (name: string) =>
    listing?.rules.filter(({ chain, comment }) => chain === name && comment === remark).length ?? 0;
  const wanted = [[entry, 1], [names.iface, 1], [names.mac, 2]] as const;
  return wanted
    .filter(([chain, rules]) => count(chain) < rules)
    .map(([chain]) => `rules "${remark}" are missing from chain "${table} ${chain}" of nft`);
}

async function del(req: SpoofCheckRequest): Promise<void> {
  const names = spoofCheckNames(req);
  await applyListed(req.host, {
    list: () => listNft(req.host, spoofCheckTable),
    plan: (listing) => planSpoofCheckRemoval(listing, [names.iface]),
  });
}

/** Removes chains of ports, their second chains, and what enters them. */
export function planSpoofCheckRemoval(
  { chains, rules }: NftListing,
  ifaces: readonly string[],
): Step[] {
  const gone = ifaces.flatMap((iface) => [iface, `${iface}-mac`])
    .filter((chain) => chains.includes(chain));
  const entering = rules.filter((rule) =>
    rule.chain === entry && ifaces.includes(jumpTarget(rule) ?? "")
  );
  return removal(entering, gone);
}

function removal(rules: readonly { readonly handle: number }[], chains: readonly string[]): Step[] {
  if (rules.length === 0 && chains.length === 0) return [];
  const lines = [
    ...deleteRules(where, rules),
    ...deleteChains(chains.map((chain) => `${table} ${chain}`)),
  ];
  return [{ why: "remove the spoof check", do: nftTransaction(lines) }];
}

type Statement = {
  readonly match?: { readonly left: { readonly meta?: { readonly key: string } }; right: unknown };
  readonly jump?: { readonly target: string };
};

function jumpTarget({ expr }: NftRule): string | undefined {
  return (expr as readonly Statement[]).find(({ jump }) => jump)?.jump?.target;
}

/** Host interface whose frames a rule is for. */
function portOf({ expr }: NftRule): unknown {
  return (expr as readonly Statement[])
    .find(({ match }) => match?.left.meta?.key === "iifname")?.match?.right;
}

/** Names do not tell the network: what is stale is told by its host interface, which no longer exists. */
async function gc(host: Host, valid: readonly AttachmentKey[]): Promise<void> {
  const keep = valid.map((key) => spoofCheckNames(key).iface);
  await applyListed(host, {
    list: async () => {
      const listing = await listNft(host, spoofCheckTable);
      // Links are looked at last: a rule comes after its link, and goes after it.
      return listing && { listing, links: await queryLinks(host, showLinks()) };
    },
    plan: ({ listing, links }) => {
      const stale = stalePorts(listing, links.map(({ name }) => name));
      return planSpoofCheckRemoval(listing, stale.filter((iface) => !keep.includes(iface)));
    },
  });
}

/** Chains that are entered from host interfaces that do not exist. */
export function stalePorts({ rules }: NftListing, links: readonly string[]): string[] {
  return rules
    .filter((rule) => rule.chain === entry && rule.comment?.startsWith("macspoofchk-"))
    .filter((rule) => !links.includes(String(portOf(rule))))
    .flatMap((rule) => jumpTarget(rule) ?? [])
    .filter((target) => target.startsWith(chainPrefix));
}
