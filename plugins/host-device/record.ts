/**
 * What an ADD remembers of a device, and how the device is found again by it:
 * renamed, with another alias or hardware address, in the container or on the
 * host, where the kernel brings it back when the container's namespace ends.
 *
 * @module
 */
import type { GivenAddress } from "../../host/ip_addr.ts";
import type { Link } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import type { NetnsIdentity, NetnsState } from "../../ns/netns.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Kept } from "../../recipes/record.ts";
import {
  allRecords,
  forgetRecord,
  keepRecord,
  readRecord,
  recordPath,
  staleRecords,
} from "../../recipes/record.ts";

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
  readonly addresses: readonly GivenAddress[];
}

/** A device that a container has. */
export interface Taken {
  readonly device: Device;
  /** `CNI_NETNS` of the ADD. */
  readonly netns: string;
  /** What stood there. */
  readonly identity: NetnsIdentity;
  /** The name under which it moves. */
  readonly passing: string;
  /** Its index inside, once it is there. */
  readonly index?: number | undefined;
  /** Its folder in sysfs, where it was selected by that. */
  readonly folder?: string | undefined;
}

/** The record of an attachment. */
export type DeviceRecord = Kept<Taken>;

/** A new record, not yet kept. */
export async function makeRecord(
  { network, containerId, ifName, sandbox }: AttachmentKey & { readonly sandbox: NetnsState },
  data: Omit<Taken, "identity">,
): Promise<DeviceRecord> {
  const attachment = { network, containerId, ifName };
  const identity = sandbox.is === "namespace" ? sandbox.identity : { dev: 0, ino: 0 };
  const path = await recordPath(kind, attachment);
  return { ...attachment, path, data: { ...data, identity } };
}

/** Keeps a record. It has no undo of its own: it goes when the device is given back. */
export function keep(record: DeviceRecord): Step[] {
  return keepRecord(record).map(({ undo: _, ...step }) => step);
}

/** The record of an attachment, if there is one. */
export async function readDeviceRecord(
  attachment: AttachmentKey,
): Promise<DeviceRecord | undefined> {
  const record = readRecord<Partial<Taken>>(await recordPath(kind, attachment));
  return record && isWhole(record) ? record : undefined;
}

/** Removes an attachment's record, and what an ADD that was killed has left of one. */
export function forget(attachment: AttachmentKey): Promise<Step[]> {
  return forgetRecord(kind, attachment);
}

/** The records of all devices that containers have. */
export function deviceRecords(): DeviceRecord[] {
  return allRecords<Partial<Taken>>(kind).filter(isWhole);
}

/** The records of a network that belong to none of the valid attachments. */
export function staleDeviceRecords(scope: Parameters<typeof staleRecords>[1]): DeviceRecord[] {
  return staleRecords<Partial<Taken>>(kind, scope).filter(isWhole);
}

function isWhole(record: Kept<Partial<Taken>>): record is DeviceRecord {
  return record.data?.device !== undefined && record.data.identity !== undefined;
}

/** Whether two names are those of one attachment. */
export function isSame(a: AttachmentKey, b: AttachmentKey): boolean {
  return a.network === b.network && a.containerId === b.containerId && a.ifName === b.ifName;
}

/** What is remembered of a link. */
export function deviceOf(link: Link, addresses: readonly GivenAddress[]): Device {
  const { name, kind, mac, permanentMac, hardware, mtu, up, promisc, alias, master } = link;
  return { name, kind, mac, permanentMac, hardware, mtu, up, promisc, alias, master, addresses };
}

/** Where a link is: on the host, in the namespace of the ADD, or in another that has its path now. */
export type Where = "host" | "container" | "elsewhere";

/** The likeness that makes a link the recorded device. An index says nothing in another namespace. */
const enough: Readonly<Record<Where, number>> = { host: 3, container: 2, elsewhere: 3 };

/** The link that is the recorded device, if one is. A link is the device that it resembles most. */
export function findRecorded(
  links: readonly Link[],
  record: DeviceRecord,
  { where, records }: { readonly where: Where; readonly records: readonly DeviceRecord[] },
): Link | undefined {
  const others = records.filter(({ path }) => path !== record.path);
  const all = links.map((link) => ({ link, likeness: likeness(link, record, where) }))
    .filter(({ likeness }) => likeness >= enough[where])
    .filter((it) => !others.some((other) => likeness(it.link, other, where) > it.likeness));
  return all.toSorted((a, b) => b.likeness - a.likeness)[0]?.link;
}

/** The record of the device that a link on the host, or in any container, is. */
export function recordOf(
  link: Link,
  { where, records }: { readonly where: Where; readonly records: readonly DeviceRecord[] },
): DeviceRecord | undefined {
  return records.find((record) => findRecorded([link], record, { where, records }));
}

/** Kind and hardware never change; of the rest the address that the hardware came with tells most. */
function likeness(link: Link, { ifName, data }: DeviceRecord, where: Where): number {
  const { device, index, passing } = data;
  if (link.kind !== device.kind || link.hardware !== device.hardware) return 0;
  const evidence: readonly (readonly [number, boolean])[] = [
    [4, /[^0:]/.test(ownAddress(link)) && ownAddress(link) === ownAddress(device)],
    [3, link.alias === device.name],
    [2, link.hardware !== undefined],
    [2, where === "container" && link.index === index],
    [1, [device.name, ifName, passing].includes(link.name)],
  ];
  return evidence.reduce((sum, [weight, holds]) => holds ? sum + weight : sum, 0);
}

/** The address that the hardware came with; iproute2 tells it only where it is another one. */
export function ownAddress({ permanentMac, mac }: Pick<Link, "permanentMac" | "mac">): string {
  return permanentMac ?? mac;
}
