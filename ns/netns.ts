/**
 * Network namespaces by path: whether one is there, which one it is, how a
 * named one is made and removed.
 *
 * @module
 */
import type { NetnsRef } from "../host/command.ts";
import type { FileIdentity } from "../host/proc.ts";
import { statProcs } from "../host/proc.ts";
import { spawn, toolPath } from "../host/spawn.ts";

/** Where `ip netns` keeps named namespaces. */
export const netnsDir = "/run/netns";

/** State of a path that should be a network namespace. */
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
  /** Device number of the namespace file. */
  readonly dev: number;
  /** Inode number of the namespace file. */
  readonly ino: number;
}

const ownPath = "/proc/self/ns/net";

/** A process never changes its namespace: it is looked at once. */
let own: NetnsIdentity | undefined;

/** Looks at a path without opening it. */
export function inspectNetns(path: string): NetnsState {
  const [found, current] = statProcs(own ? [path] : [path, ownPath]);
  own ??= identityOf(current);
  if (path === "" || found === undefined) return { is: "missing", path };
  if (found instanceof Error) return { is: "foreign", path, what: found.message };
  // Every namespace file lies on the kernel's one nsfs device, this process's own included.
  if (!found.isFile || found.dev !== own.dev) {
    return { is: "foreign", path, what: "not a file of the kernel's namespace file system" };
  }
  // iproute2 takes a word without a slash for the name of a namespace.
  const netns = { path: path.includes("/") ? path : `./${path}` };
  return { is: "namespace", netns, identity: { dev: found.dev, ino: found.ino } };
}

function identityOf(stat: FileIdentity | Error | undefined): NetnsIdentity {
  if (stat === undefined || stat instanceof Error) {
    throw new Error(`Cannot look at "${ownPath}": is /proc mounted?`, { cause: stat });
  }
  return { dev: stat.dev, ino: stat.ino };
}

/** The namespace this process runs in, as a command inside another one can name it. */
export function ownNetns(): NetnsRef {
  return { path: `/proc/${Deno.pid}/ns/net` };
}

/** Identity of the namespace this process runs in. */
export function currentNetns(): NetnsIdentity {
  return own ??= identityOf(statProcs([ownPath])[0]);
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
