/**
 * The namespace that a record tells of: found again, and not mistaken for another
 * one that has come to stand at its path.
 *
 * @module
 */
import type { NetnsRef } from "../host/command.ts";
import type { NetnsIdentity, NetnsState } from "../ns/netns.ts";
import { inspectNetns, sameNetns } from "../ns/netns.ts";
import { containerNetns } from "./container.ts";

/** A namespace in a record. */
export interface RecordedNetns {
  /** Path at the time of the ADD. */
  readonly netns: string;
  /** What stood there. */
  readonly identity: NetnsIdentity;
}

/** What a record says of the namespace at `CNI_NETNS`. Throws code 8 when there is none. */
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
