/**
 * Whether what holds an address can still be there: boots of this host and
 * network namespaces.
 *
 * @module
 */
import { readProc } from "../../host/proc.ts";
import { inspectNetns } from "../../ns/netns.ts";

/** A network namespace, and by which path it was given. */
export interface Netns {
  readonly path: string;
  readonly dev: number;
  readonly ino: number;
}

/** When the host was booted by its clock of now, in milliseconds since 1970. */
export function bootTime(): number {
  return Date.now() - parseFloat(readProc("/proc/uptime")) * 1000;
}

/** The namespace at a path; `undefined` when there is none. */
export function netnsAt(path: string): Netns | undefined {
  const state = path ? inspectNetns(path) : undefined;
  return state?.is === "namespace" ? { path, ...state.identity } : undefined;
}

/** Whether two namespaces are the same one, by whichever paths. */
export function isSame(a: Netns, b: Netns): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/**
 * Whether it is certain that a namespace of this boot is gone: it is not at its
 * path, and no process is in it.
 */
export function isGone(netns: Netns, processes: () => ReadonlySet<number>): boolean {
  const now = netnsAt(netns.path);
  return !(now && isSame(now, netns)) && !processes().has(netns.ino);
}
