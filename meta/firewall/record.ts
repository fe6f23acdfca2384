/**
 * What is remembered of an attachment: rules in iptables and sources in firewalld
 * carry no name, so whose they are is written down.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Result } from "../../cni/types.ts";
import type { Cidr } from "../../host/ip.ts";
import { distinctCidrs, formatCidr, hostPrefix, parseIpOrCidr } from "../../host/ip.ts";
import { writtenAt } from "../../host/files.ts";
import type { Step } from "../../host/step.ts";
import type { Kept } from "../../recipes/record.ts";
import {
  allRecords,
  forgetRecord,
  keepRecord,
  readRecord,
  recordPath,
  staleRecords,
} from "../../recipes/record.ts";
import type { Backend, Place } from "./conf.ts";

const kind = "firewall";

/** What ADD has told to whom. */
export interface Told {
  /** The last one lets the packets pass; one before it did not work here. */
  readonly backends: readonly Backend[];
  /** With prefixes of full length. */
  readonly addresses: readonly string[];
  /** Zone of firewalld. */
  readonly zone: string;
  /** Chains that got a jump. */
  readonly places: readonly Place[];
}

/** A record and where it is. */
export type FirewallRecord = Kept<Told>;

/** The record of an attachment. */
export async function recordOf(attachment: AttachmentKey): Promise<FirewallRecord | undefined> {
  return readRecord<Told>(await recordPath(kind, attachment));
}

/** Steps that write a record. One that says the same is written, too: the last one has its addresses. */
export async function remember(attachment: AttachmentKey, data: Told): Promise<Step[]> {
  const { network, containerId, ifName } = attachment;
  const path = await recordPath(kind, attachment);
  const before = readRecord<Told>(path);
  return keepRecord({ path, network, containerId, ifName, data }, { before });
}

/** Steps that forget an attachment. */
export function forget(attachment: AttachmentKey): Promise<Step[]> {
  return forgetRecord(kind, attachment);
}

/** The records of a network's attachments that are none of these. */
export function staleIn(network: string, valid: readonly AttachmentKey[]): FirewallRecord[] {
  return staleRecords<Told>(kind, { network, valid });
}

/**
 * The addresses that go with an attachment: what its result and its record name,
 * without those that another attachment has got since.
 */
export async function addressesToRemove(
  attachment: AttachmentKey,
  { result, record }: {
    readonly result: Result | undefined;
    readonly record: FirewallRecord | undefined;
  },
): Promise<Cidr[]> {
  const texts = [
    ...(result?.ips ?? []).map(({ address }) => address),
    ...(record?.data.addresses ?? []),
  ];
  if (texts.length === 0) return [];
  const own = record && writtenAt(record.path) || 0;
  const later = (await others(attachment)).filter(({ path }) => (writtenAt(path) ?? 0) > own);
  const claimed = new Set(later.flatMap(({ data }) => data.addresses));
  const known = texts.flatMap((text) => parseIpOrCidr(text) ?? []).map(hostPrefix);
  return distinctCidrs(known).filter((address) => !claimed.has(formatCidr(address)));
}

/** Records of other attachments, whatever their network. */
async function others(attachment: AttachmentKey): Promise<FirewallRecord[]> {
  const path = await recordPath(kind, attachment);
  return allRecords<Told>(kind).filter((other) => other.path !== path);
}

/** A line for each address that is another attachment's by its record. */
export async function foreignAddresses(
  attachment: AttachmentKey,
  addresses: readonly Cidr[],
): Promise<string[]> {
  const records = await others(attachment);
  return addresses.map(formatCidr).flatMap((address) => {
    const holder = records.find(({ data }) => data.addresses.includes(address));
    return holder
      ? [
        `address ${address} belongs to container "${holder.containerId}" (network "${holder.network}", interface "${holder.ifName}")`,
      ]
      : [];
  });
}
