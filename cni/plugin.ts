/**
 * What a plugin is: its configuration, its permissions and one function a verb.
 *
 * @module
 */
import type { Tool } from "../host/command.ts";
import type { Host } from "../ns/machine.ts";
import type { NetnsState } from "../ns/netns.ts";
import type { Decoder, Issue } from "./decode.ts";
import type { AttachmentKey } from "./attachment_key.ts";
import type { JsonObject, Result } from "./types.ts";

/** The least a plugin needs; everything else is revoked before it is loaded. */
export interface Permissions {
  /**
   * Programs it starts, by name: they are looked for in the folders of `toolDirs`. A plugin
   * that starts any inside a container lists `nsenter`, too, and one that executes delegates
   * `sh`. `"any"` is every program of this project.
   */
  readonly run: readonly Tool[] | "any";
  /** Paths it reads (`true`: any, for namespace paths and configured files). */
  readonly read: readonly string[] | true;
  /** Paths it writes. */
  readonly write: readonly string[] | true;
  /** Variables it reads besides those of the protocol; none when absent. */
  readonly env?: readonly string[];
  /** Whether it opens sockets itself; not when absent. Local ones count, too. */
  readonly net?: boolean;
}

/** Traits of an IPAM plugin that its caller must know. */
export interface IpamTraits {
  /** ADD may talk over the container's interface, which must be there and up. */
  readonly needsInterface: boolean;
  /** DEL and GC may talk over the container's interface, so they come before its removal. */
  readonly releaseFirst: boolean;
  /** ADD sends broadcasts over the container's interface. */
  readonly needsBroadcast: boolean;
}

/** Everything a verb is told. */
export interface Request<C> {
  /** The plugin's own configuration, decoded and validated. */
  readonly conf: C;
  /** The whole request configuration as it came. */
  readonly raw: JsonObject;
  /** Its text, which alone shows repeated keys; absent where the runtime runs in this process. */
  readonly text: string | undefined;
  /** Network name. */
  readonly network: string;
  /** Version the configuration asks for. */
  readonly cniVersion: string;
  /** `CNI_CONTAINERID`; empty for GC and STATUS. */
  readonly containerId: string;
  /** `CNI_NETNS` as given; empty when there is none. */
  readonly netns: string;
  /** State of the path in `CNI_NETNS`; `missing` when it is empty. */
  readonly sandbox: NetnsState;
  /** `CNI_IFNAME`; empty for GC and STATUS. */
  readonly ifName: string;
  /** `CNI_ARGS` as given. */
  readonly args: string;
  /** The result of the plugins before this one (ADD) or of the ADD (CHECK, DEL). */
  readonly prevResult: Result | undefined;
  /** The machine: queries, plans, rollback. */
  readonly host: Host;
  /** The IPAM plugin named by `ipam.type`, in process when it is ours. */
  readonly ipam: Delegate;
  /** Any other plugin, called as this one was but with a configuration of its own. */
  delegate(type: string, config: JsonObject): Delegate;
}

/** A request of GC. */
export interface GcRequest<C> extends Request<C> {
  /** Attachments that are still valid; everything else of the network goes. */
  readonly valid: readonly AttachmentKey[];
}

/** A plugin that this one calls (specification section 4), above all for addresses. */
export interface Delegate {
  /** Its type; empty when the configuration names none ("layer 2"). */
  readonly type: string;
  /** Its traits as an IPAM plugin. Executes nothing. */
  traits(): Promise<IpamTraits>;
  /** Attaches, or reserves addresses; a later failure of the caller takes it back. */
  add(): Promise<Result>;
  /** Takes back; what is gone already is a success. */
  del(): Promise<void>;
  /** Fails when what ADD made is not there any more. */
  check(): Promise<void>;
  /** Takes back what belongs to no valid attachment. */
  gc(): Promise<void>;
  /** Fails when an ADD could not work. */
  status(): Promise<void>;
}

/** A plugin. Verbs throw a `CniError`, or anything `toCniError` understands. */
export interface Plugin<C = unknown> {
  /** File name under which a runtime executes it. */
  readonly type: string;
  /** One line about it. */
  readonly about: string;
  /** For people, one line: what must be on the host, packages and `kernel modules`. Every plugin of the project has it. */
  readonly needs?: string;
  /** Programs, paths and variables that it may use. */
  readonly permissions: Permissions;
  /**
   * Decodes the request configuration; leniently for DEL and GC: one that no
   * longer validates must not block a removal.
   */
  readonly conf: Decoder<C>;
  /** Its traits as an IPAM plugin; those of an unknown one when absent. */
  readonly ipam?: IpamTraits;
  /** Issues of a valid configuration with an IPAM plugin of these traits; none when absent. */
  ipamIssues?(conf: C, traits: IpamTraits): Issue[];
  /** Versions it accepts, all seven when absent. */
  readonly versions?: readonly string[];
  /** Attaches the container; gives the result for the next plugin or the runtime. */
  add(req: Request<C>): Promise<Result>;
  /** Fails with code 105 when the attachment is not as ADD made it. */
  check(req: Request<C>): Promise<void>;
  /** Removes everything of the attachment; what is gone already is a success. */
  del(req: Request<C>): Promise<void>;
  /** Removes everything of the network that belongs to no valid attachment. */
  gc(req: GcRequest<C>): Promise<void>;
  /** Fails with code 50 or 51 when an ADD could not work. */
  status(req: Request<C>): Promise<void>;
  /**
   * Puts back what others have taken away of an attachment that still stands: rules
   * that a firewall has lost. `prevResult` is what the ADD gave. Gives a line for
   * each thing that was missing; nothing missing, nothing done. No verb of the
   * protocol: the runtime calls it in process (`cni repair`). Absent where a plugin
   * makes nothing that others flush.
   */
  repair?(req: Request<C>): Promise<string[]>;
}

/** Gives a plugin its type. */
export function definePlugin<C>(plugin: Plugin<C>): Plugin<C> {
  return plugin;
}
