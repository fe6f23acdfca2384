/**
 * What a back end does for mapped ports.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../../cni/attachment_key.ts";
import type { Request } from "../../cni/plugin.ts";
import type { Cidr } from "../../host/ip.ts";
import type { Host } from "../../ns/machine.ts";
import type { AddRequest } from "../../recipes/backend.ts";
import type { Conf } from "./conf.ts";

/** An attachment whose ports are mapped. */
export type PortmapRequest = AttachmentKey & Pick<Request<Conf>, "host" | "conf">;

/** What came of an addition. */
export interface PortmapAdded {
  /** Addresses that another back end has to serve. */
  readonly left: readonly Cidr[];
  /** Whether rules keep neighbours from 127.0.0.1; without them `route_localnet` must not be set. */
  readonly guarded: boolean;
}

/** One back end, by verb. */
export interface PortmapDriver {
  /** Maps the ports to addresses: the container's, at most one of each family. */
  add(req: PortmapRequest, request: AddRequest): Promise<PortmapAdded>;
  /** A line for each thing that is missing. */
  check(req: PortmapRequest, addresses: readonly Cidr[]): Promise<string[]>;
  /** A line for each missing rule of the guard, which `check` leaves out: the reference makes none. */
  checkGuard(req: PortmapRequest, addresses: readonly Cidr[]): Promise<string[]>;
  /** Whether an attachment has rules. */
  isMapped(host: Host, attachment: AttachmentKey): Promise<boolean>;
  /** Removes an attachment's rules, the reference's too. */
  del(host: Host, attachment: AttachmentKey): Promise<void>;
  /** Removes the network's rules that belong to none of the valid attachments. */
  gc(host: Host, attachments: ValidAttachments): Promise<void>;
  /** Throws code 50 when the back end cannot be used. */
  status(): void;
}
