/**
 * Attachments as the command line and the environment describe them, in the
 * ways of cnitool, so that either finishes what the other began.
 *
 * @module
 */
import { join } from "@std/path/posix/join";
import { inspectNetns, sameNetns } from "../ns/netns.ts";
import { isObject } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { parseJson } from "../cni/json.ts";
import { checkNetworkName } from "../cni/names.ts";
import type { Cache } from "../cni/runtime/cache.ts";
import type { Attachment } from "../cni/runtime/chain.ts";
import type { JsonObject } from "../cni/types.ts";
import type { Cli } from "./cli.ts";

/** An attachment of this namespace, as environment and flags say. */
export async function attachmentFrom(cli: Cli, netns: string): Promise<Attachment> {
  const capabilityArgs = parseCapabilityArgs(cli.io.env("CAP_ARGS") ?? "");
  const args = parsePairs(cli.io.env("CNI_ARGS") ?? "");
  const path = absolutePath(netns);
  return {
    containerId: await containerIdOf(path),
    netns: path,
    ifName: ifNameOf(cli),
    args,
    capabilityArgs,
  };
}

/** The interface name: flag, variable, `eth0`. */
export function ifNameOf(cli: Cli): string {
  return cli.parsed.value("ifname") ?? (cli.io.env("CNI_IFNAME") || "eth0");
}

/**
 * The attachment to check or remove. One that was made under another path of the
 * same namespace is found too, when none is remembered under this path. Runtime data
 * and arguments that the environment does not give are those of the ADD.
 */
export async function existingAttachment(
  cli: Cli,
  { cache, network, netns }: { cache: Cache; network: string; netns: string },
): Promise<Attachment> {
  const wanted = await attachmentFrom(cli, netns);
  const candidates = cache.attachments()
    .filter((known) => known.network === network && known.ifName === wanted.ifName);
  const known = candidates.find(({ containerId }) => containerId === wanted.containerId) ??
    candidates.find((known) => isSameNamespace(known.netns, wanted.netns));
  if (!known) return wanted;
  const { containerId, args, capabilityArgs } = known;
  return {
    ...wanted,
    containerId,
    netns: known.netns || wanted.netns,
    ...(!cli.io.env("CNI_ARGS") && { args }),
    ...(!cli.io.env("CAP_ARGS") && { capabilityArgs }),
  };
}

/** Whether two paths lead to one namespace; one that is gone is known by its path alone. */
export function isSameNamespace(a: string, b: string): boolean {
  if (withoutVar(a) === withoutVar(b)) return true;
  const [one, other] = [inspectNetns(a), inspectNetns(b)];
  return one.is === "namespace" && other.is === "namespace" &&
    sameNetns(one.identity, other.identity);
}

/** `/var/run` is a link to `/run` everywhere. */
function withoutVar(path: string): string {
  return path.replace(/^\/var\/run\//, "/run/");
}

/** cnitool's container ID: a hash of the namespace's path. */
export async function containerIdOf(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-512", new TextEncoder().encode(path));
  const hex = Array.from(
    new Uint8Array(digest, 0, 10),
    (byte) => byte.toString(16).padStart(2, "0"),
  );
  return `cnitool-${hex.join("")}`;
}

/** The path from the root, cleaned without a look at the disk: it may be gone. */
export function absolutePath(path: string): string {
  const clean = path.startsWith("/") ? join(path) : join(Deno.cwd(), path);
  return clean.length > 1 ? clean.replace(/\/$/, "") : clean;
}

/** `KEY=VALUE;KEY=VALUE`, no part empty. */
export function parsePairs(text: string): [key: string, value: string][] {
  if (text === "") return [];
  return text.split(";").map((pair) => {
    const [key, value, ...more] = pair.split("=");
    if (!key || !value || more.length > 0) {
      throw new CniError(
        codes.invalidEnvironment,
        `invalid CNI_ARGS pair ${JSON.stringify(pair)}`,
      );
    }
    return [key, value];
  });
}

/** A JSON object of runtime data by capability. */
export function parseCapabilityArgs(text: string): JsonObject {
  if (text === "") return {};
  try {
    const value = parseJson(text);
    if (isObject(value)) return value as JsonObject;
    throw new Error("expected an object of capabilities");
  } catch (error) {
    throw new CniError(
      codes.invalidEnvironment,
      `Cannot use CAP_ARGS: ${(error as Error).message}`,
    );
  }
}

/** Refuses what is no plain name of a namespace: it becomes a path. */
export function requireName(name: string): void {
  try {
    checkNetworkName(name);
  } catch {
    throw new CniError(
      codes.invalidEnvironment,
      `Cannot use name ${JSON.stringify(name)}: expected letters, digits, "_", "." and "-"`,
    );
  }
}
