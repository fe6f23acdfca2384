/**
 * Network configurations in files and directories, in libcni's order of lookup.
 *
 * @module
 */
import { byBytes } from "../../host/files.ts";
import { CniError, codes, toCniError } from "../error.ts";
import { checkNetworkName } from "../names.ts";
import type { NetworkConfig, PluginConfig } from "./config.ts";
import { networkFromPlugin, parseNetwork, parsePlugin } from "./config.ts";
import { NoConfigsFoundError, NotFoundError, systemReason } from "./errors.ts";

/** Reads a list's file and the plugins in the folder of the list's name beside it. */
export function loadNetwork(path: string): NetworkConfig {
  const network = naming(path, () => parseNetwork(readConfigFile(path)));
  const folder = network.loadOnlyInlinedPlugins ? [] : folderPlugins(path, network.name);
  const plugins = [...network.plugins, ...folder];
  if (plugins.length > 0) return { ...network, plugins };
  throw new CniError(codes.invalidNetworkConfig, "no plugin configs found", `file: ${path}`);
}

/** The reference's words do not tell which file is wrong: the details do. */
function naming<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code, msg } = toCniError(error);
    throw new CniError(code, msg, `file: ${path}`, { cause: error });
  }
}

/** Reads a single plugin's file. */
export function loadPluginFile(path: string): PluginConfig {
  return naming(path, () => parsePlugin(readConfigFile(path)));
}

function folderPlugins(path: string, name: string): PluginConfig[] {
  if (!isNetworkName(name)) return [];
  const folder = `${path.slice(0, path.lastIndexOf("/") + 1)}${name}`;
  try {
    return filesIn(folder, [".conf"]).map(loadPluginFile);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    if (error instanceof CniError) throw error;
    throw new CniError(
      codes.ioFailure,
      `failed to read plugin config files in ${folder}: ${systemReason(error)}`,
    );
  }
}

function isNetworkName(name: string): boolean {
  try {
    checkNetworkName(name);
    return true;
  } catch {
    return false;
  }
}

/**
 * The network of this name in a directory: `.conflist` files first, then single
 * plugins in `.conf` and `.json`, each in the order of their names. A file that
 * cannot be read ends the search, even if it describes another network. Throws
 * {@linkcode NotFoundError} and {@linkcode NoConfigsFoundError}.
 */
export function findNetwork(name: string, dir: string): NetworkConfig {
  const lists = listDir(dir, [".conflist"]);
  for (const path of lists) {
    const network = loadNetwork(path);
    if (network.name === name) return network;
  }
  if (lists.length > 0 && listDir(dir, [".conf", ".json"]).length === 0) {
    throw new NotFoundError(dir, name);
  }
  return networkFromPlugin(findPluginConfig(name, dir));
}

/** The single plugin's configuration of this name in a directory. */
export function findPluginConfig(name: string, dir: string): PluginConfig {
  const files = listDir(dir, [".conf", ".json"]);
  if (files.length === 0) throw new NoConfigsFoundError(dir);
  for (const path of files) {
    const plugin = loadPluginFile(path);
    if (plugin.name === name) return plugin;
  }
  throw new NotFoundError(dir, name);
}

/** A file of a directory as it was understood, or why it was not. */
export interface FoundFile {
  /** Path of the file. */
  readonly path: string;
  /** The network that it describes; absent when it cannot be read. */
  readonly network?: NetworkConfig;
  /** Why it cannot be read. */
  readonly error?: CniError;
}

/** Every configuration file of a directory, in the order of lookup, with its network or its error. */
export function listNetworks(dir: string): FoundFile[] {
  const paths = [...listDir(dir, [".conflist"]), ...listDir(dir, [".conf", ".json"])];
  return paths.map((path) => {
    try {
      return { path, network: loadAny(path) };
    } catch (error) {
      return { path, error: toCniError(error) };
    }
  });
}

/** Reads a file that is a list or a single plugin's, by its extension. */
export function loadAny(path: string): NetworkConfig {
  return extension(path) === ".conflist"
    ? loadNetwork(path)
    : networkFromPlugin(loadPluginFile(path));
}

/** Configuration files of a directory; none when it is missing. */
function listDir(dir: string, extensions: readonly string[]): string[] {
  try {
    return filesIn(dir, extensions);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw new CniError(codes.ioFailure, `open ${dir}: ${systemReason(error)}`);
  }
}

/** Entries that are no directories, by their exact extension, in byte order. */
function filesIn(dir: string, extensions: readonly string[]): string[] {
  const base = dir.endsWith("/") ? dir : `${dir}/`;
  return [...Deno.readDirSync(dir)]
    .filter((entry) => !entry.isDirectory && extensions.includes(extension(entry.name)))
    .map((entry) => entry.name)
    .sort(byBytes)
    .map((name) => base + name);
}

/** From the last dot of the base name on, also when it is the first character. */
function extension(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  return dot < 0 ? "" : name.slice(dot);
}

/** Reads a file's text; a byte order mark stays, and is refused by the parser. */
function readConfigFile(path: string): string {
  try {
    const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    return decoder.decode(Deno.readFileSync(path));
  } catch (error) {
    throw new CniError(
      codes.ioFailure,
      `error reading ${path}: open ${path}: ${systemReason(error)}`,
    );
  }
}
