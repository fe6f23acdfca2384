/**
 * What a back end does for the host's firewall.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../../cni/attachment_key.ts";
import type { Cidr } from "../../host/ip.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../../recipes/backend.ts";
import type { ChainName, Conf, FirewallBackend } from "./conf.ts";
import type { Ingress } from "./ingress.ts";

/** An attachment whose packets shall pass. */
export interface FirewallRequest extends AttachmentKey {
  readonly host: Host;
  readonly conf: Conf;
  /** The container's, as prefixes of full length; never empty. */
  readonly addresses: readonly Cidr[];
  readonly ingress: Ingress | undefined;
  /** An ADD before this one has left a record: rules may be there. */
  readonly known: boolean;
}

/** An attachment, and what a back end has to remove with it. */
export interface FirewallRemoval extends AttachmentKey {
  readonly addresses: readonly Cidr[];
  /** Zone of firewalld. */
  readonly zone: string;
  readonly insertInto: readonly ChainName[];
}

/** Attachments that a GC keeps, and the chains in whose tables it looks besides ours. */
export interface FirewallGc extends ValidAttachments {
  readonly insertInto: readonly ChainName[];
}

/** One back end, by verb. */
export interface FirewallDriver {
  /** Lets the packets pass. Gives all addresses when it leaves them to another back end, else none. */
  add(req: FirewallRequest, request: Pick<AddRequest, "giveWay">): Promise<readonly Cidr[]>;
  /** Other back ends that can do a part of that for it; absent: none. */
  helpers?(req: FirewallRequest): readonly FirewallBackend[];
  /** A line for each thing that is missing. */
  check(req: FirewallRequest): Promise<string[]>;
  /** Removes the attachment's rules. */
  del(host: Host, removal: FirewallRemoval): Promise<void>;
  /** Removes the network's rules that belong to none of the valid attachments; absent: only a record tells whose rules are. */
  gc?(host: Host, attachments: FirewallGc): Promise<void>;
  /** Throws code 50 when the back end cannot be used. */
  status(host: Host, conf: Conf): Promise<void>;
}
