/**
 * The state before the ADD: attributes of the interface in a file as the reference
 * writes it, variables in a record of our own. What the first ADD found is kept until
 * DEL, however often ADD comes.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Decoder } from "../../cni/decode.ts";
import type { Step, WriteFile } from "../../host/step.ts";
import type { AttachmentRecord } from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { Attributes } from "./conf.ts";
import type { VariableChange } from "./variables.ts";
import { anyString, isObject, list, object, required, stringThat } from "../../cni/decode.ts";
import { readFileIfExists, readOwnJson } from "../../host/files.ts";
import { sameNetns } from "../../ns/netns.ts";
import { records, temporaryOf } from "../../recipes/record.ts";
import { recordedNetnsFields } from "../../recipes/recorded_netns.ts";
import { isNetKey } from "./variables.ts";

/** A variable that was changed. */
export interface RecordedVariable {
  /** Path below `/proc/sys`. */
  readonly key: string;
  /** Value before the ADD. */
  readonly was: string;
  /** Value that the ADD has set. */
  readonly set: string;
}

/** Where an ADD changes something, and the variables that it changes. */
export interface TuningData extends RecordedNetns {
  /** Path of the file with the attributes. */
  readonly backup: string;
  readonly variables: readonly RecordedVariable[];
}

/** The record of an attachment. */
export type TuningRecord = AttachmentRecord<TuningData>;

const decoder: Decoder<TuningData> = object({
  ...recordedNetnsFields,
  backup: required(
    stringThat("absolute path", (text) => /^\/[^\0\n\r]*$/.test(text)),
    "Path of the file with the attributes.",
  ),
  variables: required(
    list(object({
      key: required(stringThat("path below net", isNetKey), "Path below `/proc/sys`."),
      was: required(anyString(), "Value before the ADD."),
      set: required(anyString(), "Value that the ADD has set."),
    })),
    "The variables that were changed.",
  ),
});

/** The records of all attachments. */
export const tuningRecords = records("tuning", decoder);

/** The file with an interface's attributes: `<dataDir>/<container>_<ifname>.json`. */
export function backupPath(
  dataDir: string,
  { containerId, ifName }: Pick<AttachmentKey, "containerId" | "ifName">,
): string {
  return `${dataDir.replace(/\/+$/, "")}/${containerId}_${ifName}.json`;
}

/** The attributes in a file; none when it is missing or damaged. */
export function readBackup(path: string): Attributes {
  const found = readOwnJson(path);
  if (!isObject(found)) return {};
  const { mac, promisc, mtu, allmulti, txQLen } = found;
  return {
    ...(typeof mac === "string" && { mac }),
    ...(typeof promisc === "boolean" && { promisc }),
    ...(typeof mtu === "number" && { mtu }),
    ...(typeof allmulti === "boolean" && { allmulti }),
    ...(typeof txQLen === "number" && { txQLen }),
  };
}

/** What an ADD is about to change, and where. */
export interface TuningChanges {
  readonly attachment: AttachmentKey;
  readonly now: Omit<TuningData, "variables">;
  /** Current values of the attributes that are about to change. */
  readonly attributes: Attributes;
  readonly changes: readonly VariableChange[];
}

/** Writes file and record, before anything is changed. Nothing when nothing is going to. */
export async function saveTuning(
  { attachment, now, attributes, changes }: TuningChanges,
): Promise<Step[]> {
  if (Object.keys(attributes).length === 0 && changes.length === 0) return [];
  const before = await tuningRecords.find(attachment);
  // A record of another namespace is left over from a container that is gone.
  const known = before && sameNetns(before.data.identity, now.identity) ? before : undefined;
  const data = { ...now, variables: mergeVariables(known?.data.variables ?? [], changes) };
  const old = readBackup(now.backup);
  const kept = before && !known ? {} : old;
  return [
    ...saveBackup(now.backup, { old, kept: { ...attributes, ...kept } }),
    ...await tuningRecords.write(attachment, data),
  ];
}

function mergeVariables(
  known: readonly RecordedVariable[],
  changes: readonly VariableChange[],
): RecordedVariable[] {
  const merged = new Map(known.map((variable) => [variable.key, variable]));
  for (const { key, value, was } of changes) {
    if (was === undefined) continue;
    merged.set(key, { key, was: merged.get(key)?.was ?? was, set: value });
  }
  return [...merged.values()];
}

function saveBackup(
  path: string,
  { old, kept }: { readonly old: Attributes; readonly kept: Attributes },
): Step[] {
  if (Object.keys(kept).length === 0 || textOf(kept) === textOf(old)) return [];
  const isNew = Object.keys(old).length === 0;
  return [
    {
      why: "make the folder of earlier attributes",
      do: { kind: "mkdir", path: path.slice(0, path.lastIndexOf("/")) },
    },
    {
      why: `write earlier attributes to "${path}"`,
      do: writeBackup(path, kept),
      undo: isNew ? { kind: "remove", path } : writeBackup(path, old),
    },
  ];
}

function writeBackup(path: string, attributes: Attributes): WriteFile {
  const text = textOf(attributes);
  return { kind: "write", path, text, mode: 0o600, temporary: temporaryOf(path) };
}

/** The text of a file, in the order and with the indentation of the reference. */
function textOf({ mac, promisc, mtu, allmulti, txQLen }: Attributes): string {
  return JSON.stringify({ mac, promisc, mtu, allmulti, txQLen }, null, 1);
}

/** Removes the files that are there and the record, and what a kill has left of either. */
export async function removeSavedTuning(
  attachment: AttachmentKey,
  paths: readonly string[],
): Promise<Step[]> {
  const files = paths.flatMap((path) => [path, temporaryOf(path)]);
  return [
    ...files.filter((path) => readFileIfExists(path) !== undefined).map((path) => ({
      why: `remove "${path}"`,
      do: { kind: "remove" as const, path },
    })),
    ...await tuningRecords.remove(attachment),
  ];
}
