/**
 * What the plugins of one operation share, and what each of them is told.
 *
 * @module
 */
import { CniError, codes, toCniError } from "../error.ts";
import { parseJson } from "../json.ts";
import { checkContainerId, checkIfName, checkNetworkName } from "../names.ts";
import { formatResult, parseResult } from "../result.ts";
import type { AttachmentKey } from "../attachment_key.ts";
import type { Json, JsonObject, Verb } from "../types.ts";
import { atLeast, oldest } from "../version.ts";
import type { NetworkConfig, PluginConfig } from "./config.ts";
import { inject } from "./config.ts";
import { wrap } from "./errors.ts";
import type { PluginCall, Runnable } from "./executor.ts";

/** The parameters of an attachment. Keep them the same from ADD to DEL. */
export interface Attachment {
  /** Identifier of the container. */
  readonly containerId: string;
  /** Path of the namespace; may be empty for DEL. */
  readonly netns: string;
  /** Name of the interface inside the container. */
  readonly ifName: string;
  /** Pairs of `CNI_ARGS`. */
  readonly args?: readonly (readonly [key: string, value: string])[];
  /** Runtime data by capability; a plugin gets those it declares. */
  readonly capabilityArgs?: JsonObject;
}

/** Properties of a chain of plugins; a single plugin is a chain of one. */
export interface Chain {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly PluginConfig[];
  readonly text: string;
  /** Failures name the plugin. */
  readonly describes: boolean;
}

/** The plugins of a list. */
export function chainOf({ name, cniVersion, plugins, text }: NetworkConfig): Chain {
  return { name, cniVersion, plugins, text, describes: true };
}

/** One plugin with its own name and version. */
export function chainOfOne(plugin: PluginConfig): Chain {
  const { name, cniVersion, text } = plugin;
  return { name, cniVersion, plugins: [plugin], text, describes: false };
}

/** The names of an attachment to the network of a chain. */
export function keyOf({ name }: Chain, { containerId, ifName }: Attachment): AttachmentKey {
  return { network: name, containerId, ifName };
}

/** Refuses names that must not reach a path or a command line, in libcni's order. */
export function checkNames({ name }: Chain, { containerId, ifName }: Attachment): void {
  checkContainerId(containerId);
  checkNetworkName(name);
  checkIfName(ifName);
}

/** A version that cannot be read allows nothing. */
export function allows({ cniVersion }: NetworkConfig, minimum: string): boolean {
  try {
    return atLeast(cniVersion, minimum);
  } catch {
    return false;
  }
}

/** Names the plugin of a list in front of its failure. */
export async function described<T>(
  chain: Chain,
  plugin: PluginConfig,
  verb: string,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!chain.describes) throw toCniError(error);
    const name = plugin.name ? ` name=${JSON.stringify(plugin.name)}` : "";
    throw wrap(`plugin type=${JSON.stringify(plugin.type)}${name} failed (${verb}): `, error);
  }
}

/** One plugin's part in an operation on an attachment. */
export interface Turn {
  readonly chain: Chain;
  readonly plugin: PluginConfig;
  readonly attachment: Attachment;
  readonly prevResult: JsonObject | undefined;
}

/** Runs ADD of one plugin; a result before it is converted to the list's version. */
export async function addOne(found: Runnable, turn: Turn): Promise<JsonObject> {
  const { chain: { cniVersion }, prevResult } = turn;
  const converted = prevResult && inVersion(prevResult, cniVersion || oldest);
  const stdout = await found.call(attachmentCall("ADD", { ...turn, prevResult: converted }));
  return readResult(stdout, cniVersion);
}

/** Output of ADD, checked to be a result and with its version filled in. */
function readResult(stdout: string, cniVersion: string): JsonObject {
  let value: Json;
  try {
    value = parseJson(stdout);
  } catch (error) {
    throw new CniError(
      codes.decodingFailure,
      `failed to unmarshal raw result: ${(error as Error).message}`,
    );
  }
  const { version } = parseResult(value, cniVersion);
  return { ...(value as JsonObject | null), cniVersion: version };
}

/** A result for a plugin that is told another version than the one before it answered in. */
function inVersion(result: JsonObject, wanted: string): JsonObject {
  if (result.cniVersion === wanted) return result;
  return formatResult(parseResult(result, wanted).result, wanted);
}

/** A call that is about no attachment. */
export function networkCall(verb: "GC" | "STATUS", config: JsonObject): PluginCall {
  return { verb, containerId: "", netns: "", ifName: "", args: "", config };
}

/** A call for an attachment. */
export function attachmentCall(verb: "ADD" | "CHECK" | "DEL", turn: Turn): PluginCall {
  const { containerId, netns, ifName, args = [] } = turn.attachment;
  const pairs = args.map(([key, value]) => `${key}=${value}`).join(";");
  return { verb, containerId, netns, ifName, args: pairs, config: attachmentConfig(verb, turn) };
}

/**
 * Without a remembered result a `prevResult` that somebody wrote into the
 * configuration goes to CHECK and DEL, as in the reference; ADD begins without.
 */
function attachmentConfig(verb: Verb, { chain, plugin, attachment, prevResult }: Turn): JsonObject {
  const written = verb === "ADD" ? undefined : plugin.config.prevResult;
  const previous = prevResult ?? written;
  const data = runtimeConfig(plugin, attachment.capabilityArgs ?? {});
  return requestConfig(plugin, chain, {
    ...(previous && { prevResult: previous }),
    ...(data && { runtimeConfig: data }),
  });
}

/** The data of the capabilities that a plugin wants; nothing when there are none. */
function runtimeConfig(plugin: PluginConfig, supplied: JsonObject): JsonObject | undefined {
  const wanted = declared(plugin).filter((name) => Object.hasOwn(supplied, name));
  if (wanted.length === 0) return undefined;
  return Object.fromEntries(wanted.map((name) => [name, supplied[name]!]));
}

/** Capabilities that a plugin wants. */
export function declared({ capabilities }: PluginConfig): string[] {
  return Object.keys(capabilities).filter((name) => capabilities[name]);
}

/** Keys that only the runtime sets: from a configuration they do not reach a plugin. */
function isReserved(key: string): boolean {
  return /^(prevresult|runtimeconfig|cni\.dev\/.*)$/i.test(key);
}

/** Configuration of a plugin: its own keys, the network's name and version, and the keys of the runtime. */
export function requestConfig(
  plugin: PluginConfig,
  { name, cniVersion }: Pick<Chain, "name" | "cniVersion">,
  keys: Readonly<Record<string, Json>>,
): JsonObject {
  const own = Object.entries(plugin.config).filter(([key]) => !isReserved(key));
  return inject(Object.fromEntries(own), { name, cniVersion, ...keys });
}
