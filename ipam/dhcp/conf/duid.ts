/**
 * Who an attachment is to DHCPv6 servers: its DUID and the IAID of its one
 * association of addresses (RFC 8415 sections 11 and 12).
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import { sha512 } from "../../../recipes/names.ts";
import { concat } from "../codec/message4.ts";

/** What a client is known by. */
export interface Identity {
  /** Value of option 1; 18 bytes. */
  readonly duid: Uint8Array;
  /** 32 bits. */
  readonly iaid: number;
}

/** What tells attachments of equal names on two hosts apart. */
export interface HostIdentity {
  /** The machine ID; empty when absent, and then equal names must not meet on one link. */
  readonly host?: string | undefined;
}

/** Type of a DUID that is a UUID. */
const duidUuid = Uint8Array.of(0, 4);

/**
 * The identity of an attachment: always the same one, whenever and by which process
 * it is asked for, and another one for every other attachment.
 *
 * The DUID is a UUID (RFC 6355) made of a hash, of version 8 (RFC 9562 section 5.8).
 * Of the other kinds, DUID-LLT and DUID-LL would change with the hardware address of
 * the container, which many plugins draw anew, and would be one for all ipvlan links of
 * a master; DUID-LLT and a random UUID would have to be kept; DUID-EN needs an
 * enterprise number, which this project has none of. Each attachment has its own, since
 * to the network a container is a host, and because one DUID with an IAID for each of
 * them would leave a server nothing but 32 bits to tell the containers of all hosts apart.
 * The IAID has one association to name, so any would do; it is of the same hash for
 * servers and people who look at nothing else.
 */
export async function identityOf(
  { network, containerId, ifName }: AttachmentKey,
  { host = "" }: HostIdentity = {},
): Promise<Identity> {
  const hash = await sha512(`dhcp6\0${network}\0${containerId}\0${ifName}\0${host}`);
  return {
    duid: concat([duidUuid, uuidFrom(hash)]),
    iaid: parseInt(hash.slice(32, 40), 16),
  };
}

/** A UUID of version 8 from hex digits. */
function uuidFrom(hash: string): Uint8Array {
  const bytes = Uint8Array.fromHex(hash.slice(0, 32));
  bytes[6] = bytes[6]! & 0x0f | 0x80;
  bytes[8] = bytes[8]! & 0x3f | 0x80;
  return bytes;
}
