/**
 * Names the ifb devices of an attachment, and tells whose a device is.
 *
 * @module
 */
import type { Link } from "../../host/ip_link.ts";
import { hashName, sha512 } from "../../recipes/names.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import { attachmentNames, macFrom } from "../../recipes/attachment.ts";

/** Names, hardware address and alias of an attachment's ifb devices. */
export interface IfbNames {
  /** The reference's name of the device for what comes from the container; it does not depend on the interface. */
  readonly reference: string;
  /** Name of the device for what comes from the container where the reference's name is taken. */
  readonly from: string;
  /** Name of the device for what goes to the container. */
  readonly to: string;
  /** Hardware address of all of them. */
  readonly mac: string;
  /** `ifalias` of all links of the attachment. */
  readonly alias: string;
}

/** Kind of the devices. */
export const ifbKind = "ifb";

const longestName = 15;

/** Derives the names of an attachment's ifb devices. */
export async function ifbNames(attachment: AttachmentKey): Promise<IfbNames> {
  const { network, containerId, ifName } = attachment;
  const key = `${network}\0${containerId}\0${ifName}`;
  const [reference, from, to] = await Promise.all([
    hashName(longestName, "bwp", network + containerId),
    hashName(longestName, "bwp", key),
    hashName(longestName, "bwi", key),
  ]);
  const { alias } = await attachmentNames(attachment);
  return { reference, from, to, mac: macFrom(await sha512(`ifb\0${key}`)), alias };
}

/** Whether an attachment of ours has made a link: by its mark, or by its address when the ADD was killed before the mark. */
export function isOwnIfb({ kind, alias, mac }: Link, names: IfbNames): boolean {
  if (kind !== ifbKind) return false;
  return alias === undefined ? mac === names.mac : alias === names.alias;
}

/** Whether the reference has made a link, for this attachment or for another one of the container. */
export function isReferenceIfb({ kind, name, alias }: Link, names: IfbNames): boolean {
  return kind === ifbKind && name === names.reference && alias === undefined;
}

/** Name of the device for what comes from the container, where an ADD may make one. */
export function nameToMake(links: readonly Link[], names: IfbNames): string {
  const taken = links.find(({ name }) => name === names.reference);
  return !taken || isOwnIfb(taken, names) ? names.reference : names.from;
}

/** Its name where an ADD, of ours or of the reference's, should have made one. */
export function nameToFind(links: readonly Link[], names: IfbNames): string {
  const made = links.find((link) => link.name === names.from && isOwnIfb(link, names)) ??
    links.find((link) => isReferenceIfb(link, names));
  return made?.name ?? nameToMake(links, names);
}
