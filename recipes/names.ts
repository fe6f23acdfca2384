/**
 * Names derived from an attachment by hashing. WebCrypto hashes asynchronously
 * and planning is synchronous, so names are made while facts are gathered.
 *
 * @module
 */
import type { AttachmentKey } from "../cni/attachment_key.ts";

/** Lower-case hex SHA-512 of a text. */
export async function sha512(text: string): Promise<string> {
  const digest = await crypto.subtle.digest(
    "SHA-512",
    new TextEncoder().encode(text),
  );
  return Array.from(
    new Uint8Array(digest),
    (byte) => byte.toString(16).padStart(2, "0"),
  ).join("");
}

/** 32 hexadecimal digits that stand for an attachment in the name of a file. */
export async function attachmentHash(
  { network, containerId, ifName }: AttachmentKey,
): Promise<string> {
  return (await sha512(`${network}\0${containerId}\0${ifName}`)).slice(0, 32);
}

/**
 * `prefix` followed by the SHA-512 of `text`, cut to `length` characters in all:
 * how the reference names chains and devices.
 */
export async function hashName(
  length: number,
  prefix: string,
  text: string,
): Promise<string> {
  if (prefix.length >= length || length > 128) {
    throw new RangeError("invalid length");
  }
  return (prefix + await sha512(text)).slice(0, length);
}

/** The names that a GC keeps: those which the valid attachments' objects have. */
export async function keptNames(
  valid: readonly AttachmentKey[],
  namesOf: (key: AttachmentKey) => Promise<string | readonly string[]>,
): Promise<ReadonlySet<string>> {
  return new Set((await Promise.all(valid.map(namesOf))).flat());
}
