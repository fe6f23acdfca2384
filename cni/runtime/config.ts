/**
 * Network configurations as values: lists of plugins, read from text as libcni
 * reads them, with its message texts. Comments are accepted, which libcni refuses.
 *
 * @module
 */
import { parse as parseJsonc } from "@std/jsonc/parse";
import { byBytes } from "../../host/files.ts";
import type { Issue } from "../decode.ts";
import { anyObject, formatIssue, isObject, list, object, optional, scalar } from "../decode.ts";
import { CniError, codes, toCniError } from "../error.ts";
import { parseJson } from "../json.ts";
import type { Json, JsonObject } from "../types.ts";
import { compareVersions, latest, parseVersion } from "../version.ts";

/** The configuration of one plugin. */
export interface PluginConfig {
  /** Name of the plugin's file. */
  readonly type: string;
  /** Its own `name`, which in a list only shows in messages; empty when it has none. */
  readonly name: string;
  /** Its own `cniVersion`, which in a list does not count; empty when it has none. */
  readonly cniVersion: string;
  /** Runtime data it declares; `false` means it does not want them. */
  readonly capabilities: Readonly<Record<string, boolean>>;
  /** The whole object as it came. */
  readonly config: JsonObject;
  /** Its JSON text. */
  readonly text: string;
}

/** A network: the plugins that are run in order for an attachment. */
export interface NetworkConfig {
  /** Name of the network; checked at ADD. */
  readonly name: string;
  /** The version all plugins are told; empty means 0.1.0. */
  readonly cniVersion: string;
  /** CHECK succeeds without doing anything. */
  readonly disableCheck: boolean;
  /** GC succeeds without doing anything. */
  readonly disableGC: boolean;
  /** Plugins come from `plugins` alone, not from the folder beside the file. */
  readonly loadOnlyInlinedPlugins: boolean;
  /** In the order of ADD. */
  readonly plugins: readonly PluginConfig[];
  /** JSON text of the list without the folder's plugins; kept beside results. */
  readonly text: string;
}

const pluginPrefix = "error parsing configuration: ";
const listPrefix = "error parsing configuration list: ";

/** Reads the configuration of one plugin. Throws a `CniError`. */
export function parsePlugin(text: string): PluginConfig {
  const { value, json } = parseText(text, pluginPrefix);
  return pluginFrom(value, json);
}

const text = () => scalar("string", (value) => typeof value === "string" ? value : undefined);

const capabilities = scalar("object of booleans", (value) => {
  if (!isObject(value)) return undefined;
  const all = Object.values(value).every((flag) => typeof flag === "boolean");
  return all ? value as Record<string, boolean> : undefined;
});

/** The keys whose types every plugin shares; the rest is the plugin's own. */
const typedKeys = object({
  cniVersion: optional(text(), "Version of the protocol."),
  name: optional(text(), "Name."),
  type: optional(text(), "File name of the plugin."),
  capabilities: optional(capabilities, "Runtime data it wants."),
  ipam: optional(object({ type: optional(text(), "File name of the IPAM plugin.") }), "Addresses."),
  dns: optional(
    object({
      nameservers: optional(list(text()), "Addresses of name servers."),
      domain: optional(text(), "Local domain."),
      search: optional(list(text()), "Search domains."),
      options: optional(list(text()), "Resolver options."),
    }),
    "Name resolution.",
  ),
  prevResult: optional(anyObject(), "Set by the runtime."),
});

function pluginFrom(value: Json, json: string): PluginConfig {
  const issues: Issue[] = [];
  const typed = typedKeys.decode(value ?? {}, "", issues);
  if (!typed || issues.length > 0) {
    throw invalid(`${pluginPrefix}${issues.map(formatIssue).join("; ")}`);
  }
  if (!typed.type) throw invalid(`${pluginPrefix}missing 'type'`);
  return {
    type: typed.type,
    name: typed.name ?? "",
    cniVersion: typed.cniVersion ?? "",
    capabilities: typed.capabilities ?? {},
    config: value as JsonObject,
    text: json,
  };
}

/** Reads a list; plugins of a folder are not looked for. Throws a `CniError`. */
export function parseNetwork(text: string): NetworkConfig {
  const { value, json } = parseText(text, listPrefix);
  if (!isObject(value ?? {})) {
    throw invalid(`${listPrefix}expected object but received ${typeName(value)}`);
  }
  const raw = (value ?? {}) as JsonObject;
  return {
    name: readName(raw),
    cniVersion: readVersion(raw),
    disableCheck: readFlag(raw, "disableCheck"),
    disableGC: readFlag(raw, "disableGC"),
    loadOnlyInlinedPlugins: readFlag(raw, "loadOnlyInlinedPlugins"),
    plugins: readPlugins(raw),
    text: json,
  };
}

/** A single plugin's configuration as a list of one. */
export function networkFromPlugin(plugin: PluginConfig): NetworkConfig {
  const { name, cniVersion, config } = plugin;
  return parseNetwork(JSON.stringify(sorted({ cniVersion, name, plugins: [config] })));
}

function readName({ name }: JsonObject): string {
  if (name === undefined) throw invalid(`${listPrefix}no name`);
  if (typeof name !== "string") throw invalid(`${listPrefix}invalid name type ${typeName(name)}`);
  return name;
}

/** `cniVersion`, or the newest known version of `cniVersions` and `cniVersion`. */
function readVersion({ cniVersion = "", cniVersions }: JsonObject): string {
  if (typeof cniVersion !== "string") {
    throw invalid(`${listPrefix}invalid cniVersion type ${typeName(cniVersion)}`);
  }
  if (cniVersions === undefined) return cniVersion;
  requireVersion(cniVersion, `invalid cniVersion ${cniVersion}`);
  const candidates = readVersions(cniVersions);
  if (cniVersion) candidates.push(cniVersion);
  return candidates
    .filter((version) => compareVersions(version, latest) <= 0)
    .sort(compareVersions)
    .at(-1) ?? cniVersion;
}

function readVersions(entries: Json): string[] {
  if (!Array.isArray(entries)) {
    throw invalid(`${listPrefix}invalid type for cniVersions: ${typeName(entries)}`);
  }
  return entries.map((entry, index) => {
    if (typeof entry !== "string") {
      throw invalid(
        `${listPrefix}invalid type for cniVersions index ${index}: ${typeName(entry)}`,
      );
    }
    requireVersion(entry, `invalid cniVersions entry ${entry} at index ${index}`);
    return entry;
  });
}

function requireVersion(version: string, problem: string): void {
  try {
    parseVersion(version);
  } catch (error) {
    throw invalid(`${listPrefix}${problem}: ${toCniError(error).msg}`);
  }
}

function readFlag(raw: JsonObject, key: string): boolean {
  const value = raw[key];
  if (value === undefined) return false;
  if (typeof value === "boolean") return value;
  if (typeof value !== "string") {
    throw invalid(`${listPrefix}invalid type ${typeName(value)} for ${key}`);
  }
  const word = value.toLowerCase();
  if (word === "true" || word === "false") return word === "true";
  throw invalid(`${listPrefix}invalid value ${JSON.stringify(word)} for ${key}`);
}

function readPlugins(raw: JsonObject): PluginConfig[] {
  const { plugins } = raw;
  if (plugins === undefined) {
    if (!readFlag(raw, "loadOnlyInlinedPlugins")) return [];
    throw invalid(`${listPrefix}\`loadOnlyInlinedPlugins\` is true, and no 'plugins' key`);
  }
  if (!Array.isArray(plugins)) {
    throw invalid(`${listPrefix}invalid 'plugins' type ${typeName(plugins)}`);
  }
  if (plugins.length === 0) throw invalid(`${listPrefix}no plugins in list`);
  return plugins.map((element, index) => {
    try {
      return pluginFrom(element, JSON.stringify(sorted(element)));
    } catch (error) {
      throw invalid(`failed to parse plugin config ${index}: ${toCniError(error).msg}`);
    }
  });
}

/** The value, and JSON text of it: the text itself unless it has comments. */
function parseText(text: string, prefix: string): { value: Json; json: string } {
  try {
    return { value: parseJson(text), json: text };
  } catch (error) {
    const value = withComments(text);
    if (value !== undefined) return { value, json: JSON.stringify(value) };
    throw new CniError(codes.decodingFailure, `${prefix}${(error as Error).message}`);
  }
}

function withComments(text: string): Json | undefined {
  if (!/\/[/*]/.test(text)) return undefined;
  try {
    return parseJsonc(text) as Json;
  } catch {
    return undefined;
  }
}

/**
 * A configuration with keys set; those it has already are replaced whole. Keys
 * come out in byte order, as the reference writes them. The original stays as it is.
 */
export function inject(config: JsonObject, keys: Readonly<Record<string, Json>>): JsonObject {
  for (const [key, value] of Object.entries(keys)) {
    if (key === "") throw invalid("keys cannot be empty");
    if (value === null || value === undefined) {
      throw invalid(`key '${key}' value must not be nil`);
    }
  }
  return sorted({ ...config, ...keys }) as JsonObject;
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value as JsonObject).sort(([a], [b]) => byBytes(a, b));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

function invalid(message: string): CniError {
  return new CniError(codes.invalidNetworkConfig, message);
}

function typeName(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "list" : typeof value;
}
