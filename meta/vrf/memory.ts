/**
 * What an ADD has found and done, for CHECK, DEL and GC.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Kept } from "../../recipes/record.ts";
import { readRecord, recordPath } from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { Carried } from "./plan.ts";

/** Folder of the records. */
export const recordKind = "vrf";

/** What is remembered of an interface in a VRF. */
export interface Joined extends RecordedNetns, Carried {
  /** Name of the VRF. */
  readonly vrf: string;
  readonly table: number;
  /** Number of the interface, which tells it from another one of its name. */
  readonly index: number;
  /** The addresses of the result that it had, of both families, with prefix. */
  readonly held: readonly string[];
}

/** The record of an attachment. */
export async function recordOf(
  { network, containerId, ifName }: AttachmentKey,
): Promise<Kept<Joined> | undefined> {
  return readRecord<Joined>(await recordPath(recordKind, { network, containerId, ifName }));
}
