/**
 * The container's namespace as a verb may use it.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";
import type { NetnsRef } from "../host/command.ts";
import { currentNetns, sameNetns } from "../ns/netns.ts";

/** A container's interface, by its namespace and its name. */
export interface NetnsInterface {
  /** The namespace. */
  readonly netns: NetnsRef;
  /** Name of the interface in it. */
  readonly ifName: string;
}

/** The namespace at `CNI_NETNS`, for ADD and CHECK. Throws code 8 when there is none. */
export function containerNetns(
  { netns, sandbox }: Pick<Request<unknown>, "netns" | "sandbox">,
): NetnsRef {
  if (sandbox.is === "namespace") return sandbox.netns;
  const what = sandbox.is === "missing" ? "no such file" : sandbox.what;
  throw new CniError(codes.invalidNetns, `Cannot use CNI_NETNS "${netns}": ${what}`);
}

/**
 * The namespace at `CNI_NETNS` for DEL: `undefined` when it is empty, gone, not
 * a namespace any more, or the host's own, so that nothing is done inside it.
 */
export function liveNetns({ sandbox }: Pick<Request<unknown>, "sandbox">): NetnsRef | undefined {
  if (sandbox.is !== "namespace") return undefined;
  return sameNetns(sandbox.identity, currentNetns()) ? undefined : sandbox.netns;
}
