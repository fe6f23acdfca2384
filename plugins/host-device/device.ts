/**
 * Finds the device that a configuration selects, on the host.
 *
 * @module
 */
import type { Host } from "../../ns/machine.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import { isSameAttachment } from "../../cni/attachment_key.ts";
import { CniError, codes } from "../../cni/error.ts";
import type { Command } from "../../host/command.ts";
import type { ConfiguredAddress } from "../../host/ip_addr.ts";
import { parseConfiguredAddresses } from "../../host/ip_addr.ts";
import type { Link } from "../../host/ip_link.ts";
import { parseLinks, showLink, showLinks } from "../../host/ip_link.ts";
import { inspectNetns, sameNetns } from "../../ns/netns.ts";
import { queryLinks } from "../../recipes/links.ts";
import { removeRecord } from "../../recipes/record.ts";
import type { DeviceSelection } from "./conf.ts";
import { linksOf } from "./conf.ts";
import { giveBack } from "./give_back.ts";
import type { DeviceRecord } from "./record.ts";
import { deviceRecords, findRecorded, permanentAddress, recordForLink } from "./record.ts";

/** A device on the host. */
export interface HostDevice {
  readonly link: Link;
  readonly addresses: readonly ConfiguredAddress[];
}

/** The device that is selected, if the host has it. */
async function findDevice(host: Host, selection: DeviceSelection): Promise<HostDevice | undefined> {
  const { key, value, folder } = selection;
  const name = folder === undefined ? value : linksOf(folder)?.[0];
  if (name === undefined) return undefined;
  const text = await query(host, key === "hwaddr" ? showLinks() : showLink(name));
  const links = parseLinks(text);
  const link = key === "hwaddr"
    ? links.find(({ mac }) => mac === value) ??
      links.find((link) => permanentAddress(link) === value)
    : links[0];
  return link && { link, addresses: parseConfiguredAddresses(text, link.name) };
}

async function query(host: Host, show: Command): Promise<string> {
  return await host.query(show, { why: "look at links", tolerate: ["missing"] }) ?? "";
}

/**
 * The device, free to be taken. What an ADD or DEL that was stopped has left of it,
 * or the kernel that brought it back, is put right first. Throws code 103 when the
 * host does not have it, and 11 while it is on its way to another container.
 */
export async function findFreeDevice(
  host: Host,
  { selection, attachment }: {
    readonly selection: DeviceSelection;
    readonly attachment: AttachmentKey;
  },
): Promise<HostDevice> {
  const records = deviceRecords.all();
  const found = await findDevice(host, selection);
  const record = found
    ? recordForLink(found.link, { where: "host", records })
    : records.find((record) => isSelected(record, selection));
  if (found && !record) return found;
  const links = found ? [found.link] : await queryLinks(host, showLinks());
  const link = record && findRecorded(links, record, { where: "host", records });
  if (!link) throw missing(selection, { links, record });
  await free(host, { record, link, attachment });
  const freed = await findDevice(host, selection);
  if (freed) return freed;
  throw missing(selection, { links: await queryLinks(host, showLinks()) });
}

/** Removes a record whose device is on the host, because it was never taken or is back. */
async function free(
  host: Host,
  { record, link, attachment }: {
    readonly record: DeviceRecord;
    readonly link: Link;
    readonly attachment: AttachmentKey;
  },
): Promise<void> {
  if (isAlive(record) && !isSameAttachment(record, attachment)) {
    throw new CniError(
      codes.tryAgainLater,
      `Cannot take host device "${link.name}": it is promised to ${describe(record)}`,
      `if nobody is attaching that container, call DEL for it; the promise is ${record.path}`,
    );
  }
  if (isSettled(link, record)) await host.apply(removeRecord(record));
  else await giveBack(host, record, []);
}

/**
 * Whether a device was not taken after all, or another plugin has given it back and
 * told nobody (early ones leave the alias): what was done to it since counts.
 */
function isSettled({ name, alias }: Link, { ifName, data: { device } }: DeviceRecord): boolean {
  const leftAlias = alias === device.name && ifName !== device.name;
  return name === device.name && (alias === device.alias || leftAlias);
}

/** STATUS: throws code 50 when neither the host nor a container that we gave it to has the device. */
export async function requireDevice(host: Host, selection: DeviceSelection): Promise<void> {
  const records = deviceRecords.all();
  if (records.some((record) => isSelected(record, selection) && isAlive(record))) return;
  if (await findDevice(host, selection)) return;
  const links = await queryLinks(host, showLinks());
  throw missing(selection, { links, code: codes.notAvailable });
}

/** Whether a record tells of the device that is selected. */
function isSelected(
  { data }: DeviceRecord,
  { key, value, folder, pciId }: DeviceSelection,
): boolean {
  const { device } = data;
  if (folder !== undefined) {
    return data.folder === folder || pciId !== undefined && device.hardware === `pci/${pciId}`;
  }
  return key === "device"
    ? device.name === value
    : device.mac === value || permanentAddress(device) === value;
}

function isAlive({ data: { netns, identity } }: DeviceRecord): boolean {
  const state = inspectNetns(netns);
  return state.is === "namespace" && sameNetns(state.identity, identity);
}

function describe({ network, containerId, ifName }: AttachmentKey): string {
  return `container "${containerId}" (network "${network}", interface "${ifName}")`;
}

function missing(
  { key, value, folder }: DeviceSelection,
  { links, record, code = codes.objectMissing }: {
    readonly links: readonly Link[];
    readonly record?: DeviceRecord | undefined;
    readonly code?: number;
  },
): CniError {
  const state = folder !== undefined
    ? stateOf(folder)
    : key === "device"
    ? "no such link on this host"
    : "failed to find physical interface";
  const holder = record && isAlive(record) ? `; ${describe(record)} has it` : "";
  const others = links.filter(({ name, alias = "" }) => name !== "lo" && !alias.startsWith("cni:"))
    .map(({ name, mac }) => key === "hwaddr" ? `"${name}" (${mac})` : `"${name}"`);
  return new CniError(
    code,
    `failed to find host device: ${key} "${value}": ${state}${holder}; there are: ${
      others.join(", ") || "none"
    }`,
  );
}

function stateOf(folder: string): string {
  const names = linksOf(folder);
  if (names === undefined) return `no folder "net" in ${folder}`;
  if (names.length === 0) return `it has no link on this host`;
  return `its link "${names[0]}" is not on this host`;
}
