/**
 * The record of an attachment: rules in iptables and sources in firewalld carry no
 * name, so it is recorded whose they are.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Infer } from "../../cni/decode.ts";
import type { Result } from "../../cni/types.ts";
import type { Cidr } from "../../host/ip.ts";
import type { AttachmentRecord } from "../../recipes/record.ts";
import { isSameAttachment } from "../../cni/attachment_key.ts";
import { list, object, oneOf, required, string } from "../../cni/decode.ts";
import { writtenAt } from "../../host/files.ts";
import { distinctCidrs, formatCidr, hostPrefix, parseIpOrCidr } from "../../host/ip.ts";
import { records } from "../../recipes/record.ts";

const decoder = object({
  backends: required(
    list(oneOf(["iptables", "firewalld", "nftables"])),
    "Back ends with rules; the last one lets the packets pass, one before it did not work here.",
  ),
  addresses: required(list(string()), "Addresses, with prefixes of full length."),
  zone: required(string(), "Zone of firewalld."),
  places: required(
    list(object({
      family: required(oneOf(["inet", "ip", "ip6"]), "Family of the table."),
      table: required(string(), "Name of the table."),
      chain: required(string(), "Name of the chain."),
    })),
    "Chains that got a jump.",
  ),
});

/** The rules that an ADD has made, and in which back ends. */
export type FirewallData = Infer<typeof decoder>;

/** The record of an attachment. */
export type FirewallRecord = AttachmentRecord<FirewallData>;

/**
 * The records of all attachments. One that says the same is written again, too: the record
 * written last has its addresses.
 */
export const firewallRecords = records("firewall", decoder);

/**
 * The addresses that go with an attachment: what its result and its record name,
 * without those that another attachment has got since.
 */
export function addressesToRemove(
  attachment: AttachmentKey,
  { result, record }: {
    readonly result: Result | undefined;
    readonly record: FirewallRecord | undefined;
  },
): Cidr[] {
  const texts = [
    ...(result?.ips ?? []).map(({ address }) => address),
    ...(record?.data.addresses ?? []),
  ];
  if (texts.length === 0) return [];
  const own = record && writtenAt(record.path) || 0;
  const later = othersThan(attachment).filter(({ path }) => (writtenAt(path) ?? 0) > own);
  const claimed = new Set(later.flatMap(({ data }) => data.addresses));
  const known = texts.flatMap((text) => parseIpOrCidr(text) ?? []).map(hostPrefix);
  return distinctCidrs(known).filter((address) => !claimed.has(formatCidr(address)));
}

/** Records of other attachments, whatever their network. */
function othersThan(attachment: AttachmentKey): FirewallRecord[] {
  return firewallRecords.all().filter((record) => !isSameAttachment(record, attachment));
}

/** A line for each address that is another attachment's by its record. */
export function foreignAddresses(
  attachment: AttachmentKey,
  addresses: readonly Cidr[],
): string[] {
  const others = othersThan(attachment);
  return addresses.map(formatCidr).flatMap((address) => {
    const holder = others.find(({ data }) => data.addresses.includes(address));
    return holder
      ? [
        `address ${address} belongs to container "${holder.containerId}" (network "${holder.network}", interface "${holder.ifName}")`,
      ]
      : [];
  });
}
