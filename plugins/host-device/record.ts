/**
 * The record of a device that a container has, and how the device is found again by
 * it: renamed, with another alias or hardware address, in the container or on the
 * host, where the kernel brings it back when the container's namespace ends.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Decoder } from "../../cni/decode.ts";
import type { ConfiguredAddress } from "../../host/ip_addr.ts";
import type { Link } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import type { NetnsState } from "../../ns/netns.ts";
import type { AttachmentRecord } from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import {
  anyString,
  boolean,
  integer,
  list,
  map,
  object,
  optional,
  required,
  stringThat,
} from "../../cni/decode.ts";
import { isIfName } from "../../cni/names.ts";
import { parseIp } from "../../host/ip.ts";
import { recordPath, records, writeRecord } from "../../recipes/record.ts";
import { recordedNetnsFields } from "../../recipes/recorded_netns.ts";

const kind = "devices";

/** A device as it was on the host. */
export interface Device extends
  Pick<
    Link,
    | "name"
    | "kind"
    | "mac"
    | "permanentMac"
    | "hardware"
    | "mtu"
    | "up"
    | "promisc"
    | "alias"
    | "master"
  > {
  readonly addresses: readonly ConfiguredAddress[];
}

/** A device that a container has, and the namespace that it went to. */
export interface DeviceData extends RecordedNetns {
  readonly device: Device;
  /** The temporary name under which it moves. */
  readonly passing: string;
  /** Its index inside, once it is there. */
  readonly index?: number | undefined;
  /** Its folder in sysfs, where it was selected by that. */
  readonly folder?: string | undefined;
}

/** The record of an attachment. */
export type DeviceRecord = AttachmentRecord<DeviceData>;

const linkName = stringThat("name of a link", isIfName);

/** As iproute2 writes it. */
const address = stringThat("IP address", (text) => parseIp(text) !== undefined);

const givenAddress: Decoder<ConfiguredAddress> = map(
  object({
    address: required(address, "The address."),
    prefix: required(integer({ min: 0, max: 128 }), "Its prefix length."),
    peer: optional(address, "The other end."),
    broadcast: optional(address, "Broadcast address."),
    label: optional(anyString(), "Label, where it is not the link's name."),
    scope: required(anyString(), "Scope."),
    metric: optional(integer({ min: 0 }), "Metric of its prefix route."),
    nodad: optional(boolean(), "Used without duplicate address detection."),
    noprefixroute: optional(boolean(), "Without a route to its prefix."),
  }),
  (fields) => Object.fromEntries(present(fields)) as unknown as ConfiguredAddress,
);

function present(fields: object): [string, unknown][] {
  return Object.entries(fields).filter(([, value]) => value !== undefined);
}

const decoder: Decoder<DeviceData> = object({
  ...recordedNetnsFields,
  device: required(
    object({
      name: required(linkName, "Name on the host."),
      kind: optional(anyString(), "Kind of a virtual link."),
      mac: required(anyString(), "Hardware address."),
      permanentMac: optional(anyString(), "Address that the hardware came with."),
      hardware: optional(anyString(), "Bus and name of the hardware."),
      mtu: required(integer({ min: 0 }), "MTU in bytes."),
      up: required(boolean(), "Whether it was up."),
      promisc: required(boolean(), "Whether somebody had set it promiscuous."),
      alias: optional(anyString(), "Its alias."),
      master: optional(linkName, "The bridge or VRF that it was a port of."),
      addresses: required(list(givenAddress), "Addresses that somebody had given it."),
    }),
    "The device as it was on the host.",
  ),
  passing: required(linkName, "The temporary name under which it moves."),
  index: optional(integer({ min: 1 }), "Its index in the container."),
  folder: optional(anyString(), "Its folder in sysfs."),
});

/** The records of all devices that containers have. */
export const deviceRecords = records(kind, decoder);

/** A new record, not yet written. */
export async function newDeviceRecord(
  { network, containerId, ifName, sandbox }: AttachmentKey & { readonly sandbox: NetnsState },
  data: Omit<DeviceData, "identity">,
): Promise<DeviceRecord> {
  const attachment = { network, containerId, ifName };
  const identity = sandbox.is === "namespace" ? sandbox.identity : { dev: 0, ino: 0 };
  const path = await recordPath(kind, attachment);
  return { ...attachment, path, data: { ...data, identity } };
}

/** Writes a record. It has no undo of its own: it goes when the device is given back. */
export function writeDeviceRecord(record: DeviceRecord): Step[] {
  return writeRecord(record).map(({ undo: _, ...step }) => step);
}

/** A link as a device to be recorded. */
export function deviceFromLink(link: Link, addresses: readonly ConfiguredAddress[]): Device {
  const { name, kind, mac, permanentMac, hardware, mtu, up, promisc, alias, master } = link;
  return { name, kind, mac, permanentMac, hardware, mtu, up, promisc, alias, master, addresses };
}

/** Where a link is: on the host, in the namespace of the ADD, or in another that has its path now. */
export type LinkLocation = "host" | "container" | "elsewhere";

/** The likeness that makes a link the recorded device. An index says nothing in another namespace. */
const enough: Readonly<Record<LinkLocation, number>> = { host: 3, container: 2, elsewhere: 3 };

/** The link that is the recorded device, if one is. A link is the device that it resembles most. */
export function findRecorded(
  links: readonly Link[],
  record: DeviceRecord,
  { where, records }: { readonly where: LinkLocation; readonly records: readonly DeviceRecord[] },
): Link | undefined {
  const others = records.filter(({ path }) => path !== record.path);
  const all = links.map((link) => ({ link, likeness: likeness(link, record, where) }))
    .filter(({ likeness }) => likeness >= enough[where])
    .filter((it) => !others.some((other) => likeness(it.link, other, where) > it.likeness));
  return all.toSorted((a, b) => b.likeness - a.likeness)[0]?.link;
}

/** The record of the device that a link on the host, or in any container, is. */
export function recordForLink(
  link: Link,
  { where, records }: { readonly where: LinkLocation; readonly records: readonly DeviceRecord[] },
): DeviceRecord | undefined {
  return records.find((record) => findRecorded([link], record, { where, records }));
}

/** Kind and hardware never change; of the rest the address that the hardware came with tells most. */
function likeness(link: Link, { ifName, data }: DeviceRecord, where: LinkLocation): number {
  const { device, index, passing } = data;
  if (link.kind !== device.kind || link.hardware !== device.hardware) return 0;
  const evidence: readonly (readonly [number, boolean])[] = [
    [
      4,
      /[^0:]/.test(permanentAddress(link)) && permanentAddress(link) === permanentAddress(device),
    ],
    [3, link.alias === device.name],
    [2, link.hardware !== undefined],
    [2, where === "container" && link.index === index],
    [1, [device.name, ifName, passing].includes(link.name)],
  ];
  return evidence.reduce((sum, [weight, holds]) => holds ? sum + weight : sum, 0);
}

/** The address that the hardware came with; iproute2 shows it only where the link has another one. */
export function permanentAddress(
  { permanentMac, mac }: Pick<Link, "permanentMac" | "mac">,
): string {
  return permanentMac ?? mac;
}
