/**
 * The namespace that a record tells of: found again, and not mistaken for another
 * one that has come to stand at its path.
 *
 * @module
 */
import type { Request } from "../cni/plugin.ts";
import type { NetnsRef } from "../host/command.ts";
import type { NetnsIdentity, NetnsState } from "../ns/netns.ts";
import { integer, object, required, string } from "../cni/decode.ts";
import { inspectNetns, sameNetns } from "../ns/netns.ts";
import { containerNetns, liveNetns } from "./container.ts";

/** A namespace in a record. */
export interface RecordedNetns {
  /** Path at the time of the ADD. */
  readonly netns: string;
  /** Identity of the namespace at that time. */
  readonly identity: NetnsIdentity;
}

/** The fields of a namespace in a record, for its decoder. */
export const recordedNetnsFields = {
  netns: required(string(), "`CNI_NETNS` of the ADD."),
  identity: required(
    object({
      dev: required(integer({ min: 0 }), "Device number of the namespace file."),
      ino: required(integer({ min: 0 }), "Inode number of the namespace file."),
    }),
    "Identity of the namespace at that time.",
  ),
};

/** The namespace at `CNI_NETNS` for a record. Throws code 8 when there is none. */
export function recordNetns(req: Parameters<typeof containerNetns>[0]): RecordedNetns {
  const netns = containerNetns(req).path;
  return { netns, identity: (req.sandbox as NetnsState & { is: "namespace" }).identity };
}

/**
 * The namespace of a record: what a DEL is given, or what stands where it was; absent
 * when it is gone, or another one stands in its place.
 */
export function recordedNetns(
  { netns, identity }: RecordedNetns,
  given?: NetnsState,
): NetnsRef | undefined {
  const states = [...(given ? [given] : []), inspectNetns(netns)];
  const found = states.find((state) =>
    state.is === "namespace" && sameNetns(state.identity, identity)
  );
  return found?.is === "namespace" ? found.netns : undefined;
}

/**
 * The namespace in which a DEL takes something back: the recorded one, or without a record the
 * one at `CNI_NETNS`; absent when it is gone.
 */
export function netnsToRevert(
  req: Pick<Request<unknown>, "sandbox">,
  record: { readonly data: RecordedNetns } | undefined,
): NetnsRef | undefined {
  return record ? recordedNetns(record.data, req.sandbox) : liveNetns(req);
}
