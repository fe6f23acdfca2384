/**
 * Looks for mistakes in a network's configuration: everything our plugins would
 * refuse, and keys that nobody reads.
 *
 * @module
 */
import type { Decoder, Fields, Issue } from "../cni/decode.ts";
import type { NetworkConfig, PluginConfig } from "../cni/runtime/config.ts";
import type { Runtime } from "../cni/runtime/runtime.ts";
import type { Plugin } from "../cni/plugin.ts";
import type { JsonObject } from "../cni/types.ts";
import { formatIssue, isObject, lookup } from "../cni/decode.ts";
import { toCniError } from "../cni/error.ts";
import { checkNetworkName, isPluginType } from "../cni/names.ts";
import { loadPlugin } from "../registry.ts";
import { oldest } from "../cni/version.ts";
import { nearest } from "./nearest.ts";

/** Something wrong (nothing works with it) or suspicious. */
export interface Finding {
  readonly severity: "error" | "warning";
  /** `plugins[0].ipam.subnet: …` */
  readonly message: string;
}

const listKeys = [
  "cniVersion",
  "cniVersions",
  "disableCheck",
  "disableGC",
  "loadOnlyInlinedPlugins",
  "name",
  "plugins",
];

/** Keys that any plugin may have. */
const pluginKeys = ["args", "capabilities", "cniVersion", "dns", "ipam", "name", "type"];

/** Keys that the runtime sets and takes out of a configuration. */
const runtimeKeys = ["prevResult", "runtimeConfig"];

/** All that can be found in a network. Changes nothing, executes plugins for their version alone. */
export async function lint(network: NetworkConfig, runtime: Runtime): Promise<Finding[]> {
  const findings = [...nameFindings(network), ...unknownListKeys(network)];
  for (const [index, plugin] of network.plugins.entries()) {
    const at = `plugins[${index}]`;
    findings.push(...await pluginFindings(plugin, { at, network, runtime }));
  }
  return findings;
}

function nameFindings({ name }: NetworkConfig): Finding[] {
  try {
    checkNetworkName(name);
    return [];
  } catch (error) {
    return [{ severity: "error", message: `name: ${toCniError(error).message}` }];
  }
}

function unknownListKeys({ text }: NetworkConfig): Finding[] {
  const raw = JSON.parse(text) as JsonObject;
  return Object.keys(raw).filter((key) => !listKeys.includes(key))
    .map((key) => unknown(key, { at: "", known: listKeys }));
}

function unknown(key: string, { at, known }: { at: string; known: readonly string[] }): Finding {
  const near = nearest(key, known);
  const hint = near ? `; did you mean "${near}"?` : "";
  const path = at === "" ? key : `${at}.${key}`;
  return { severity: "warning", message: `${path}: nothing reads this key${hint}` };
}

interface Place {
  readonly at: string;
  readonly network: NetworkConfig;
  readonly runtime: Runtime;
}

async function pluginFindings(plugin: PluginConfig, place: Place): Promise<Finding[]> {
  const { config, type } = plugin;
  const ipam = lookup(config, "ipam");
  const ipamType = isObject(ipam) ? lookup(ipam, "type") : undefined;
  const own = isPluginType(type) ? await loadPlugin(type) : undefined;
  const ownIpam = typeof ipamType === "string" ? await loadPlugin(ipamType) : undefined;
  const { name, cniVersion } = place.network;
  const request: JsonObject = { ...config, name, cniVersion };
  const issues = [
    ...decodeIssues(own, { request, ipam: ownIpam }),
    ...decodeIssues(ownIpam, { request }),
  ];
  const messages = new Set(issues.map((issue) => `${place.at}.${formatIssue(issue)}`));
  return [
    ...await versionFindings(type, place),
    ...(typeof ipamType === "string" && ipamType !== ""
      ? await versionFindings(ipamType, { ...place, at: `${place.at}.ipam` })
      : []),
    ...[...messages].map((message): Finding => ({ severity: "error", message })),
    ...reservedFindings(config, place.at),
    ...(own ? unknownKeys(config, { at: place.at, fields: fieldsOf(own, ownIpam, ipamType) }) : []),
  ];
}

/** Issues of the decoder; of a configuration without any, those with its IPAM plugin. */
function decodeIssues(
  plugin: Plugin | undefined,
  { request, ipam }: { readonly request: JsonObject; readonly ipam?: Plugin | undefined },
): Issue[] {
  const issues: Issue[] = [];
  const conf = plugin?.conf.decode(request, "", issues);
  if (issues.length > 0 || !ipam?.ipam) return issues;
  return plugin?.ipamIssues?.(conf, ipam.ipam) ?? [];
}

/** A plugin that is missing, or does not speak the network's version. */
async function versionFindings(type: string, { at, network, runtime }: Place): Promise<Finding[]> {
  const wanted = network.cniVersion || oldest;
  try {
    if ((await runtime.versions(type)).includes(wanted)) return [];
    const message = `${at}.type: plugin "${type}" does not support version "${wanted}"`;
    return [{ severity: "error", message }];
  } catch (error) {
    return [{ severity: "error", message: `${at}.type: ${toCniError(error).msg}` }];
  }
}

function reservedFindings(config: JsonObject, at: string): Finding[] {
  return Object.keys(config)
    .filter((key) => runtimeKeys.includes(key) || key.startsWith("cni.dev/"))
    .map((key) => ({
      severity: "warning",
      message: `${at}.${key}: the runtime sets this key; what is written here does not count`,
    }));
}

/** Keys that an object may have; `undefined` where it may have any. */
type Known = Readonly<Record<string, Decoder<unknown> | undefined>>;

/** The keys of a plugin, of its IPAM plugin, and those of every plugin. */
function fieldsOf(own: Plugin, ipam: Plugin | undefined, ipamType: unknown): Known {
  const common = [...pluginKeys, ...runtimeKeys].map((key) => [key, undefined]);
  return {
    ...Object.fromEntries(common),
    ...decoders(ipam?.conf.fields),
    ...decoders(own.conf.fields),
    runtimeConfig: undefined,
    ipam: ipamKeys(own, ipam, ipamType),
  };
}

/** The keys of the `ipam` section. Another's IPAM plugin may read what it likes. */
function ipamKeys(
  own: Plugin,
  ipam: Plugin | undefined,
  ipamType: unknown,
): Decoder<unknown> | undefined {
  const section = ipam?.conf.fields?.ipam?.decoder.fields;
  if (!section && ipamType !== undefined) return undefined;
  const ofMain = own.conf.fields?.ipam?.decoder.fields;
  return knownKeys({ type: undefined, ...decoders(ofMain), ...decoders(section) });
}

function decoders(fields: Fields | undefined): Known {
  const entries = Object.entries(fields ?? {}).map(([key, { decoder }]) => [key, decoder]);
  return Object.fromEntries(entries);
}

/** A decoder that is only asked for its fields. */
function knownKeys(known: Known): Decoder<unknown> {
  const anything: Decoder<unknown> = { expects: "", decode: () => undefined };
  const entries = Object.entries(known).map(([key, decoder]) => [
    key,
    { decoder: decoder ?? anything, doc: "", required: false },
  ]);
  return { ...anything, fields: Object.fromEntries(entries) };
}

/** Keys that no decoder has, in the object and in what it holds. */
function unknownKeys(
  value: Record<string, unknown>,
  { at, fields }: { at: string; fields: Known },
): Finding[] {
  const known = Object.keys(fields);
  return Object.entries(value).flatMap(([key, inner]) => {
    const name = known.find((other) => other.toLowerCase() === key.toLowerCase());
    if (name === undefined) {
      return key.startsWith("cni.dev/") ? [] : [unknown(key, { at, known })];
    }
    return unknownInside(inner, { at: `${at}.${key}`, decoder: fields[name] });
  });
}

function unknownInside(
  value: unknown,
  { at, decoder }: { at: string; decoder: Decoder<unknown> | undefined },
): Finding[] {
  if (!decoder) return [];
  if (Array.isArray(value) && decoder.element) {
    const { element } = decoder;
    return value.flatMap((item, index) =>
      unknownInside(item, { at: `${at}[${index}]`, decoder: element })
    );
  }
  if (!isObject(value) || !decoder.fields) return [];
  return unknownKeys(value, { at, fields: decoders(decoder.fields) });
}
