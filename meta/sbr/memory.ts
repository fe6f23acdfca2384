/**
 * What an ADD has done, for DEL, CHECK and the next ADD of the attachment.
 *
 * @module
 */
import type { Step } from "../../host/step.ts";
import { sameNetns } from "../../ns/netns.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Kept } from "../../recipes/record.ts";
import { keepRecord, readRecord, recordPath } from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { Plan } from "./plan.ts";
import { nothing } from "./plan.ts";

/** Folder of the records. */
export const recordKind = "sbr";

/** A plan and the namespace it is for. */
export interface Routed extends RecordedNetns, Plan {}

/** The record of an attachment. */
export async function recordOf(attachment: AttachmentKey): Promise<Kept<Routed> | undefined> {
  return readRecord<Routed>(await recordPath(recordKind, attachment));
}

/** What an earlier ADD has done in this namespace; what a record tells of another one is over. */
export function knownPlan(record: Kept<Routed> | undefined, now: RecordedNetns): Plan {
  return record && sameNetns(record.data.identity, now.identity) ? record.data : nothing;
}

/** Writes the record, before anything is changed, unless it says the same already. */
export async function remember(
  { network, containerId, ifName }: AttachmentKey,
  { data, before }: { readonly data: Routed; readonly before: Kept<Routed> | undefined },
): Promise<Step[]> {
  if (before && JSON.stringify(before.data) === JSON.stringify(data)) return [];
  const path = await recordPath(recordKind, { network, containerId, ifName });
  return keepRecord({ path, network, containerId, ifName, data }, { before });
}
