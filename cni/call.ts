/**
 * A call of a plugin's verb, as data.
 *
 * @module
 */
import type { Host } from "../ns/machine.ts";
import type { Plugin } from "./plugin.ts";
import type { JsonObject, Verb } from "./types.ts";

/** A verb that a delegate can be called with. */
export type DelegatedVerb = Exclude<Verb, "VERSION">;

/** Finds a plugin of this project by type; `undefined` when it has none. */
export type Load = (type: string) => Promise<Plugin> | undefined;

/** One call of a verb, from the environment and stdin. Its maker has checked its names. */
export interface Call {
  /** `CNI_CONTAINERID`. */
  readonly containerId: string;
  /** `CNI_NETNS`: path of the namespace file; may be empty for DEL. */
  readonly netns: string;
  /** `CNI_IFNAME`. */
  readonly ifName: string;
  /** `CNI_ARGS`. */
  readonly args: string;
  /** Directories of `CNI_PATH`. */
  readonly path: readonly string[];
  /** The request configuration: an object with a valid `name`. */
  readonly config: JsonObject;
  /** Text of the configuration: an executed delegate gets it byte for byte. */
  readonly text?: string;
  /** `cniVersion` of the configuration; `0.1.0` when it has none. */
  readonly cniVersion: string;
  /** `CNI_NETNS_OVERRIDE`: the plugin's own namespace may be the container's. */
  readonly netnsOverride?: boolean;
}

/** Surroundings of a call: the machine, and the plugins of this project. */
export interface CallContext {
  /** Applies plans, or records them. */
  readonly host: Host;
  /** Loads our own plugins; delegates are always executed when it is absent. */
  readonly load?: Load | undefined;
  /** Run our own plugins in process also where `CNI_PATH` holds no file of that name. */
  readonly inProcessIfMissing?: boolean | undefined;
}
