/**
 * The container's namespace as a verb may use it.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { NetnsRef } from "../host/command.ts";
import { currentNetns, inspectNetns, sameNetns } from "../ns/netns.ts";

/** The namespace at `CNI_NETNS`, for ADD and CHECK. Throws code 8 when there is none. */
export function containerNetns(
  { netns }: { readonly netns: string },
): NetnsRef {
  const state = inspectNetns(netns);
  if (state.is === "namespace") return state.netns;
  const what = state.is === "missing" ? "no such file" : state.what;
  throw new CniError(
    codes.invalidNetns,
    `Cannot use CNI_NETNS "${netns}": ${what}`,
  );
}

/**
 * The namespace at `CNI_NETNS` for DEL: `undefined` when it is empty, gone, not
 * a namespace any more, or the host's own, so that nothing is done inside it.
 */
export function liveNetns(
  { netns }: { readonly netns: string },
): NetnsRef | undefined {
  if (netns === "") return undefined;
  const state = inspectNetns(netns);
  if (state.is !== "namespace") return undefined;
  return sameNetns(state.identity, currentNetns()) ? undefined : state.netns;
}
