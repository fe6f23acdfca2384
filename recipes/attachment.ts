/**
 * What belongs to an attachment: the names and addresses its links get, and the
 * mark (`ifalias`) by which they are found again without the container.
 *
 * @module
 */
import type { Link } from "../host/ip_link.ts";
import type { AttachmentKey } from "../cni/attachment_key.ts";
import type { Result } from "../cni/types.ts";
import { bootId, machineId } from "../host/machine_id.ts";
import { currentNetns } from "../ns/netns.ts";
import { sha512 } from "./names.ts";

/** Everything that is named for an attachment; the same attachment always gets the same. */
export interface AttachmentNames {
  /** Host end of its veth pair: `veth` and eight hex digits, as the reference's look. */
  readonly hostVeth: string;
  /** Name of a link inside the container until it has its own: no other link has it, wherever it is made. */
  readonly temporaryName: string;
  /** Hardware address of the host end. */
  readonly hostMac: string;
  /** Hardware address of the container end, unless one is asked for. */
  readonly containerMac: string;
  /** `ifalias` of its links. */
  readonly alias: string;
}

/** Whether a link is an attachment's host end: by its mark, or by its address when the ADD was killed before the mark. */
export function isHostEndOf(link: Link, own: AttachmentNames): boolean {
  return link.alias === undefined ? link.mac === own.hostMac : link.alias === own.alias;
}

/** Whether the record of an ADD, if there is one, names this link by another hardware address. */
export function contradictsResult(
  { mac }: Link,
  { ifName, prevResult }: {
    readonly ifName: string;
    readonly prevResult: Result | undefined;
  },
): boolean {
  const recorded = prevResult?.interfaces.find(({ name, sandbox }) => name === ifName && sandbox);
  return recorded?.mac !== undefined && recorded.mac.toLowerCase() !== mac;
}

/** Derives the names of an attachment. */
export async function attachmentNames(attachment: AttachmentKey): Promise<AttachmentNames> {
  const { network, containerId, ifName } = attachment;
  const hash = await sha512(`${network}\0${containerId}\0${ifName}`);
  return {
    hostVeth: `veth${hash.slice(0, 8)}`,
    temporaryName: `cni${hash.slice(32, 44)}`,
    hostMac: macFrom(hash.slice(8)),
    containerMac: macFrom(hash.slice(20)),
    alias: await aliasOf(attachment),
  };
}

/**
 * Hardware address of a bridge (or of another shared link), from its name, this
 * host and this namespace: every plugin that creates it at the same moment
 * chooses the same one, and two hosts or two namespaces choose different ones.
 */
export async function sharedMac(name: string): Promise<string> {
  const { dev, ino } = currentNetns();
  return macFrom(await sha512(`shared\0${name}\0${hostId()}:${dev}:${ino}`));
}

/** Identity of this host: its machine ID, or where it has none, its boot. */
function hostId(): string {
  return machineId() ?? bootId();
}

/** A locally administered unicast address from hex digits. */
export function macFrom(hex: string): string {
  const octets = hex.match(/../g)!.slice(0, 6);
  const first = parseInt(octets[0]!, 16) & 0xfc | 0x02;
  return [first.toString(16).padStart(2, "0"), ...octets.slice(1)].join(":");
}

/** The kernel keeps at most 255 bytes of alias. */
const aliasLimit = 255;

async function aliasOf(
  { network, containerId, ifName }: AttachmentKey,
): Promise<string> {
  const plain = `${aliasPrefix(network)}${containerId}/${ifName}`;
  if (new TextEncoder().encode(plain).length <= aliasLimit) return plain;
  const hash = await sha512(`${network}\0${containerId}`);
  return `cni:~${(await sha512(network)).slice(0, 16)}/~${hash.slice(0, 32)}/${ifName}`;
}

function aliasPrefix(network: string): string {
  return `cni:${network}/`;
}

/** The host-side links of a network that belong to none of the valid attachments. */
export async function staleLinks(
  links: readonly Link[],
  network: string,
  valid: readonly AttachmentKey[],
): Promise<Link[]> {
  const hashed = `cni:~${(await sha512(network)).slice(0, 16)}/`;
  const keep = new Set(
    await Promise.all(
      valid.map(aliasOf),
    ),
  );
  return links.filter(({ alias = "" }) =>
    (alias.startsWith(aliasPrefix(network)) || alias.startsWith(hashed)) &&
    !keep.has(alias)
  );
}
