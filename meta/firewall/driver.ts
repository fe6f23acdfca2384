/**
 * What a back end can do.
 *
 * @module
 */
import type { Cidr } from "../../host/ip.ts";
import type { Host } from "../../ns/machine.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Backend, Conf, Place } from "./conf.ts";
import type { Ingress } from "./ingress.ts";

/** An attachment whose packets shall pass. */
export interface Job extends AttachmentKey {
  readonly host: Host;
  readonly conf: Conf;
  /** The container's, as prefixes of full length; never empty. */
  readonly addresses: readonly Cidr[];
  readonly ingress: Ingress | undefined;
  /** An ADD before this one has left a record: rules may be there. */
  readonly known: boolean;
}

/** What goes with an attachment. */
export interface Gone extends AttachmentKey {
  readonly addresses: readonly Cidr[];
  readonly zone: string;
  readonly places: readonly Place[];
}

/** One back end, by verb. */
export interface Driver {
  /** Lets the packets pass. False when the back end does not work on this host; nothing is done then. */
  add(job: Job): Promise<boolean>;
  /** Other back ends by which it may do a part of that; none when absent. */
  helpers?(job: Job): readonly Backend[];
  /** A line for each thing that is missing. */
  check(job: Job): Promise<string[]>;
  /** Removes what is the attachment's own. */
  del(host: Host, gone: Gone): Promise<void>;
  /** Throws code 50 when it cannot be used. */
  status(host: Host, conf: Conf): Promise<void>;
}
