/**
 * The record of what an ADD has done, for DEL, CHECK and the next ADD of the attachment.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Decoder } from "../../cni/decode.ts";
import type { Step } from "../../host/step.ts";
import type { AttachmentRecord } from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { SbrPlan } from "./plan.ts";
import { cidr, integer, list, object, required } from "../../cni/decode.ts";
import { sameNetns } from "../../ns/netns.ts";
import { commandWords, records } from "../../recipes/record.ts";
import { recordedNetnsFields } from "../../recipes/recorded_netns.ts";
import { emptyPlan } from "./plan.ts";

/** A plan and the namespace it is for. */
export interface SbrData extends RecordedNetns, SbrPlan {}

/** The record of an attachment. */
export type SbrRecord = AttachmentRecord<SbrData>;

const table = required(integer({ min: 0, max: 2 ** 32 - 1 }), "Number of the routing table.");

/** The keys are in the order in which they are written: {@linkcode recordPlan} compares texts. */
const decoder: Decoder<SbrData> = object({
  ...recordedNetnsFields,
  rules: required(
    list(object({ from: required(cidr(), "Source, a full prefix."), table })),
    "Rules by source address.",
  ),
  added: required(
    list(object({ words: required(commandWords, "The route."), table })),
    "Routes of the tables, and hints in the main one.",
  ),
  moved: required(list(commandWords), "Routes that have left the main table."),
});

/** The records of all attachments. */
export const sbrRecords = records("sbr", decoder);

/** What an earlier ADD has done in this namespace. A record of another namespace no longer counts. */
export function recordedPlan(record: SbrRecord | undefined, now: RecordedNetns): SbrPlan {
  return record && sameNetns(record.data.identity, now.identity) ? record.data : emptyPlan;
}

/** Writes the record, before anything is changed, unless it says the same already. */
export async function recordPlan(
  attachment: AttachmentKey,
  { data, before }: { readonly data: SbrData; readonly before: SbrRecord | undefined },
): Promise<Step[]> {
  if (before && JSON.stringify(before.data) === JSON.stringify(data)) return [];
  return await sbrRecords.write(attachment, data);
}
