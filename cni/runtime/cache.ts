/**
 * What the runtime remembers of an attachment: its result, its configuration
 * and its parameters, in the reference's files and format, so that either
 * library finishes what the other began.
 *
 * @module
 */
import { listNames, removeFile, writeFileAtomic } from "../../host/files.ts";
import { isObject } from "../decode.ts";
import { CniError, codes } from "../error.ts";
import { parseJson } from "../json.ts";
import { formatResult, parseResult } from "../result.ts";
import type { AttachmentKey } from "../attachment_key.ts";
import type { Json, JsonObject } from "../types.ts";
import { oldest } from "../version.ts";
import { systemReason, wrap } from "./errors.ts";

/** Where the reference keeps its cache. */
export const defaultCacheDir = "/var/lib/cni";

const kind = "cniCacheV1";

/** An attachment as it was at its ADD. */
export interface CachedAttachment extends AttachmentKey {
  /** Path of the namespace; empty when it is not known. */
  readonly netns: string;
  /** JSON text of the network's list, or of the single plugin's configuration. */
  readonly config: string;
  /** Pairs of `CNI_ARGS`. */
  readonly args: readonly (readonly [key: string, value: string])[];
  /** Runtime data by capability, unfiltered. */
  readonly capabilityArgs: JsonObject;
  /** In the version that the last plugin gave. */
  readonly result?: JsonObject;
}

/** The cache in one directory. Takes no lock: a caller serialises per attachment. */
export class Cache {
  readonly #results: string;

  /** Touches nothing. */
  constructor(dir: string = defaultCacheDir) {
    this.#results = `${dir.replace(/\/+$/, "")}/results`;
  }

  /** Keeps an attachment. The file is whole or absent even after a loss of power. */
  write(attachment: CachedAttachment): void {
    const path = this.#path(attachment);
    try {
      Deno.mkdirSync(this.#results, { recursive: true, mode: 0o700 });
      writeFileAtomic(path, JSON.stringify(toFile(attachment)), { sync: true });
    } catch (error) {
      throw new CniError(codes.ioFailure, `open ${path}: ${systemReason(error)}`);
    }
  }

  /** Forgets an attachment; one that is not known is a success. */
  remove(key: AttachmentKey): void {
    removeFile(this.#path(key));
  }

  /**
   * The result of an attachment, written in a version. `undefined` when there is
   * no file, or none that can be read. Throws a `CniError` when the file holds no
   * result or its result cannot be written in that version.
   */
  result(key: AttachmentKey, cniVersion: string): JsonObject | undefined {
    const text = this.#read(key);
    if (text === undefined) return undefined;
    const { result } = parseResult(resultIn(text), oldest);
    const wanted = cniVersion || oldest;
    try {
      return formatResult(result, wanted);
    } catch (error) {
      throw wrap(
        `failed to convert cached result to config version ${JSON.stringify(wanted)}: `,
        error,
      );
    }
  }

  /** An attachment with all that is known of it; `undefined` when there is no file. */
  attachment(key: AttachmentKey): CachedAttachment | undefined {
    const text = this.#read(key);
    if (text === undefined) return undefined;
    const value = parseOrThrow(
      text,
      `failed to unmarshal cached network "${key.network}" config: `,
    );
    const file = isObject(value) ? value as JsonObject : {};
    if (file.kind === kind) return fromFile(file);
    throw new CniError(
      codes.decodingFailure,
      `read cached network "${key.network}" config has wrong kind: ${file.kind ?? ""}`,
    );
  }

  /** Every attachment, or those of a container, in the order of file names. Files that hold none are passed over. */
  attachments(containerId?: string): CachedAttachment[] {
    return this.#names()
      .filter((name) => containerId === undefined || name.includes(`-${containerId}-`, 1))
      .map((name) => readAttachment(`${this.#results}/${name}`))
      .filter((found) => found !== undefined)
      .filter((found) => containerId === undefined || found.containerId === containerId);
  }

  #names(): string[] {
    try {
      return listNames(this.#results).filter((name) => !name.startsWith(".tmp-"));
    } catch (error) {
      throw new CniError(codes.ioFailure, `open ${this.#results}: ${systemReason(error)}`);
    }
  }

  #read(key: AttachmentKey): string | undefined {
    return readIfPossible(this.#path(key));
  }

  #path({ network, containerId, ifName }: AttachmentKey): string {
    if (!network || !containerId || !ifName) {
      throw new CniError(
        codes.invalidNetworkConfig,
        `cache file path requires network name ("${network}"), container ID ("${containerId}"), and interface name ("${ifName}")`,
      );
    }
    const name = `${network}-${containerId}-${ifName}`;
    if (!/[/\0]/.test(name)) return `${this.#results}/${name}`;
    throw new CniError(
      codes.invalidNetworkConfig,
      `Cannot name cache file ${JSON.stringify(name)}: it contains "/" or NUL`,
    );
  }
}

/** Keys in the reference's order; empty ones are left out. */
function toFile(attachment: CachedAttachment): JsonObject {
  const { containerId, config, ifName, network, netns, args, capabilityArgs, result } = attachment;
  return {
    kind,
    containerId,
    config: toBase64(config),
    ifName,
    networkName: network,
    ...(netns && { netns }),
    ...(args.length > 0 && { cniArgs: args.map(([key, value]): Json => [key, value]) }),
    ...(Object.keys(capabilityArgs).length > 0 && { capabilityArgs }),
    ...(result && { result }),
  };
}

function fromFile(file: JsonObject): CachedAttachment {
  return {
    network: textOf(file.networkName),
    containerId: textOf(file.containerId),
    ifName: textOf(file.ifName),
    netns: textOf(file.netns),
    config: fromBase64(textOf(file.config)),
    args: pairsOf(file.cniArgs),
    capabilityArgs: objectOf(file.capabilityArgs) ?? {},
    ...(objectOf(file.result) && { result: objectOf(file.result)! }),
  };
}

function textOf(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

function objectOf(value: Json | undefined): JsonObject | undefined {
  return isObject(value) ? value as JsonObject : undefined;
}

function pairsOf(value: Json | undefined): [string, string][] {
  if (!Array.isArray(value)) return [];
  return value.filter((pair) => Array.isArray(pair))
    .map(([key, value]) => [textOf(key), textOf(value)]);
}

/** The result in a file, which may be a bare result as libraries before 0.8.0 wrote it. */
function resultIn(text: string): Json {
  const value = parseOrThrow(text, "decoding version from network config: ");
  if (isObject(value) && value.kind === kind) return (value.result ?? {}) as Json;
  return value;
}

function readAttachment(path: string): CachedAttachment | undefined {
  try {
    const file = JSON.parse(Deno.readTextFileSync(path));
    if (!isObject(file) || file.kind !== kind) return undefined;
    const found = fromFile(file as JsonObject);
    return found.ifName && found.network ? found : undefined;
  } catch {
    return undefined;
  }
}

/** A file that is not there, or not readable, says nothing. */
function readIfPossible(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return undefined;
  }
}

function parseOrThrow(text: string, prefix: string): Json {
  try {
    return parseJson(text);
  } catch (error) {
    throw new CniError(codes.decodingFailure, `${prefix}${(error as Error).message}`);
  }
}

function toBase64(text: string): string {
  const bytes = new TextEncoder().encode(text);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

function fromBase64(text: string): string {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new TextDecoder().decode(bytes);
}
