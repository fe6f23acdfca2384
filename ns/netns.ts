/**
 * Network namespaces by path: whether one is there, which one it is, how a
 * named one is made and removed.
 *
 * @module
 */
import type { NetnsRef } from "../host/command.ts";
import type { FileIdentity } from "../host/proc.ts";
import { statProc } from "../host/proc.ts";
import { spawn, toolPath } from "../host/spawn.ts";

/** Where `ip netns` keeps named namespaces. */
export const netnsDir = "/run/netns";

/** What stands at a path that should be a network namespace. */
export type NetnsState =
  | {
    readonly is: "namespace";
    readonly netns: NetnsRef;
    readonly identity: NetnsIdentity;
  }
  | { readonly is: "missing"; readonly path: string }
  | { readonly is: "foreign"; readonly path: string; readonly what: string };

/** Device and inode of a namespace: equal means the same namespace. */
export interface NetnsIdentity {
  readonly dev: number;
  readonly ino: number;
}

/** Looks at a path without opening it. Starts nothing. */
export function inspectNetns(path: string): NetnsState {
  let stat: FileIdentity;
  try {
    stat = statProc(path);
  } catch (error) {
    if (isGone(error)) return { is: "missing", path };
    return {
      is: "foreign",
      path,
      what: error instanceof Error ? error.message : String(error),
    };
  }
  const identity = { dev: stat.dev, ino: stat.ino };
  // Every namespace file lies on the kernel's one nsfs device, this process's own included.
  if (!stat.isFile || identity.dev !== currentNetns().dev) {
    return {
      is: "foreign",
      path,
      what: "not a file of the kernel's namespace file system",
    };
  }
  return { is: "namespace", netns: { path }, identity };
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound ||
    error instanceof Deno.errors.NotADirectory;
}

/** Identity of the namespace this process runs in. */
export function currentNetns(): NetnsIdentity {
  const { dev, ino } = statProc("/proc/self/ns/net");
  return { dev, ino };
}

/** Whether two identities name one namespace. */
export function sameNetns(a: NetnsIdentity, b: NetnsIdentity): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/** Path of a named namespace. */
export function namedNetns(name: string): NetnsRef {
  return { path: `${netnsDir}/${name}` };
}

/** Creates a named namespace: `ip netns add NAME`. */
export async function createNetns(name: string): Promise<NetnsRef> {
  await ipNetns("add", name);
  return namedNetns(name);
}

/** Removes a named namespace: `ip netns del NAME`. */
export async function removeNetns(name: string): Promise<void> {
  await ipNetns("del", name);
}

async function ipNetns(verb: "add" | "del", name: string): Promise<void> {
  const output = await spawn(toolPath("ip"), ["netns", verb, name]);
  if (output.code !== 0) {
    throw new Error(
      `Cannot ${verb} network namespace "${name}": ${output.stderr.trim()}`,
    );
  }
}
