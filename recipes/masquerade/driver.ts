/**
 * What a back end does for masquerading.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../../cni/attachment_key.ts";
import type { Cidr } from "../../host/ip.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../backend.ts";

/** An attachment whose traffic is masqueraded, and the host that does it. */
export interface MasqueradeOwner extends AttachmentKey {
  /** The machine. */
  readonly host: Host;
}

/** One back end, by verb. */
export interface MasqueradeDriver {
  /** Adds rules for addresses. Gives those that it leaves to another back end. */
  add(owner: MasqueradeOwner, request: AddRequest): Promise<readonly Cidr[]>;
  /** A line for each rule of these addresses that is missing. */
  check(owner: MasqueradeOwner, addresses: readonly Cidr[]): Promise<string[]>;
  /** Removes the attachment's rules: those of these addresses, or all where addresses are not known. */
  del(owner: MasqueradeOwner, addresses: readonly Cidr[] | undefined): Promise<void>;
  /** Removes the network's rules that belong to none of the valid attachments. */
  gc(host: Host, attachments: ValidAttachments): Promise<void>;
  /** Throws code 50 when the back end cannot be used. */
  status(): void;
}
