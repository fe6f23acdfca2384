/**
 * Whose an object of nftables is. The reference writes it into a comment: 16 hex
 * digits for the network, 16 for interface and container, then all in words.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../cni/attachment_key.ts";
import { keptNames, sha512 } from "./names.ts";

/** The attachment that an object belongs to, as its comment tells it. */
export interface NftOwner {
  /** `6fd94d501e58f0aa-287fc69eff0574a2`: comments of the attachment start with it. */
  readonly identity: string;
  /** The whole comment, before nft's limit cuts it. */
  readonly comment: string;
}

/** Length of {@linkcode NftOwner.identity}. */
export const identityLength = 33;

/** Derives the owner that an attachment's objects carry. */
export async function nftOwner(
  { network, containerId, ifName }: AttachmentKey,
): Promise<NftOwner> {
  const first = await networkIdentity(network);
  const second = (await sha512(`${ifName}:${containerId}`)).slice(0, 16);
  const identity = `${first}-${second}`;
  return {
    identity,
    comment: `${identity}, net: ${network}, if: ${ifName}, id: ${containerId}`,
  };
}

/** Start of the comments of a network's attachments. */
export async function networkIdentity(network: string): Promise<string> {
  return (await sha512(network)).slice(0, 16);
}

/** An object of nftables that can carry a comment. */
export interface CommentedObject {
  readonly comment: string | undefined;
}

/** Whether an object carries an identity. */
export function isOwnedBy({ comment }: CommentedObject, identity: string): boolean {
  return comment?.startsWith(identity) ?? false;
}

/** Identities that a GC keeps, and the part that all of the network's share. */
export interface ValidIdentities {
  /** 16 hex digits. */
  readonly network: string;
  readonly keep: ReadonlySet<string>;
}

/** Derives the identities of a network's valid attachments. */
export async function validIdentities(
  { network, valid }: ValidAttachments,
): Promise<ValidIdentities> {
  const keep = await keptNames(valid, async (key) => (await nftOwner(key)).identity);
  return { network: await networkIdentity(network), keep };
}

/** The identities of a network that objects carry and that are none of the valid ones. */
export function staleIdentities(
  objects: readonly CommentedObject[],
  { network, keep }: ValidIdentities,
): string[] {
  const all = objects.flatMap(({ comment }) =>
    comment?.startsWith(`${network}-`) ? comment.slice(0, identityLength) : []
  );
  return [...new Set(all)].filter((identity) => !keep.has(identity));
}
