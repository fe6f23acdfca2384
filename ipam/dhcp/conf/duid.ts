/**
 * The identity of an attachment's DHCPv6 client: its DUID and the IAID of its IA_NA (RFC 8415 sections
 * 11 and 12).
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import { sha512 } from "../../../recipes/names.ts";
import { concat } from "../codec/bytes.ts";

/** The identity of a client. */
export interface ClientIdentity6 {
  /** Value of option 1; 18 bytes. */
  readonly duid: Uint8Array;
  /** Identifier of its IA_NA; 32 bits. */
  readonly iaid: number;
}

/** What distinguishes attachments of equal names on two hosts. */
export interface IdentityOptions {
  /** The machine ID. When it is absent, equal names must not meet on one link. */
  readonly host?: string | undefined;
}

/** Type of a DUID that is a UUID. */
const duidUuid = Uint8Array.of(0, 4);

/**
 * Derives the identity of an attachment. It is always the same, in every process, and another one for
 * every other attachment.
 *
 * The DUID is a UUID (RFC 6355) of version 8 (RFC 9562 section 5.8), made of a hash. The other types do
 * not fit: a DUID-LLT or DUID-LL would change with the hardware address of the container, which many
 * plugins draw anew, and would be the same for all ipvlan links of a master; a DUID-LLT and a random
 * UUID would have to be stored; a DUID-EN needs an enterprise number, which this project does not have.
 * Each attachment has its own DUID: to the network a container is a host, and with one DUID for all,
 * the 32 bits of the IAID alone would tell a server the containers of all hosts apart. Any IAID would
 * do, since there is one IA_NA; it is made of the same hash for servers and people who look at nothing
 * else.
 */
export async function clientIdentity6(
  { network, containerId, ifName }: AttachmentKey,
  { host = "" }: IdentityOptions = {},
): Promise<ClientIdentity6> {
  const hash = await sha512(`dhcp6\0${network}\0${containerId}\0${ifName}\0${host}`);
  return {
    duid: concat([duidUuid, uuidFrom(hash)]),
    iaid: parseInt(hash.slice(32, 40), 16),
  };
}

/** Makes a UUID of version 8 of hex digits. */
function uuidFrom(hash: string): Uint8Array {
  const bytes = Uint8Array.fromHex(hash.slice(0, 32));
  bytes[6] = bytes[6]! & 0x0f | 0x80;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  return bytes;
}
