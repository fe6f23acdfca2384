/**
 * What everything was before: attributes of the interface in a file as the reference
 * writes it, variables in a record of our own. What the first ADD found is kept until
 * DEL, however often ADD comes.
 *
 * @module
 */
import { isObject } from "../../cni/decode.ts";
import { readFileIfExists, readOwnJson } from "../../host/files.ts";
import type { Step, WriteFile } from "../../host/step.ts";
import { sameNetns } from "../../ns/netns.ts";
import type { AttachmentKey } from "../../cni/attachment_key.ts";
import type { Kept } from "../../recipes/record.ts";
import {
  forgetRecord,
  keepRecord,
  readRecord,
  recordPath,
  temporaryOf,
} from "../../recipes/record.ts";
import type { RecordedNetns } from "../../recipes/recorded_netns.ts";
import type { Attributes } from "./conf.ts";
import type { Change } from "./variables.ts";

/** Folder of the records. */
export const recordKind = "tuning";

/** Where an ADD changes something. */
export interface TunedPlace extends RecordedNetns {
  /** Path of the file with the attributes. */
  readonly backup: string;
}

/** What an ADD remembers for its DEL. */
export interface Tuned extends TunedPlace {
  readonly variables: readonly TunedVariable[];
}

/** A variable that was changed. */
export interface TunedVariable {
  readonly key: string;
  readonly was: string;
  readonly set: string;
}

/** The file with an interface's attributes: `<dataDir>/<container>_<ifname>.json`. */
export function backupPath(
  dataDir: string,
  { containerId, ifName }: Pick<AttachmentKey, "containerId" | "ifName">,
): string {
  return `${dataDir.replace(/\/+$/, "")}/${containerId}_${ifName}.json`;
}

/** What a file says; nothing when there is none, or one that nobody has written whole. */
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

/** The record of an attachment. */
export async function recordOf(attachment: AttachmentKey): Promise<Kept<Tuned> | undefined> {
  return readRecord<Tuned>(await recordPath(recordKind, attachment));
}

/** What a file or a record must say, and what an earlier ADD has written. */
export interface Remembering {
  readonly attachment: AttachmentKey;
  readonly now: TunedPlace;
  /** Attributes that are about to change, as they are. */
  readonly attributes: Attributes;
  readonly changes: readonly Change[];
}

/** Writes file and record, before anything is changed. Nothing when nothing is going to. */
export async function remember(
  { attachment, now, attributes, changes }: Remembering,
): Promise<Step[]> {
  if (Object.keys(attributes).length === 0 && changes.length === 0) return [];
  const { network, containerId, ifName } = attachment;
  const path = await recordPath(recordKind, attachment);
  const before = readRecord<Tuned>(path);
  // What tells of another namespace is left over from a container that is gone.
  const known = before && sameNetns(before.data.identity, now.identity) ? before : undefined;
  const data = { ...now, variables: mergeVariables(known?.data.variables ?? [], changes) };
  const old = readBackup(now.backup);
  const kept = before && !known ? {} : old;
  return [
    ...keepBackup(now.backup, { old, kept: { ...attributes, ...kept } }),
    ...keepRecord({ path, network, containerId, ifName, data }, { before }),
  ];
}

function mergeVariables(
  known: readonly TunedVariable[],
  changes: readonly Change[],
): TunedVariable[] {
  const merged = new Map(known.map((variable) => [variable.key, variable]));
  for (const { key, value, was } of changes) {
    if (was === undefined) continue;
    merged.set(key, { key, was: merged.get(key)?.was ?? was, set: value });
  }
  return [...merged.values()];
}

function keepBackup(
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

/** In the order and with the indentation of the reference. */
function textOf({ mac, promisc, mtu, allmulti, txQLen }: Attributes): string {
  return JSON.stringify({ mac, promisc, mtu, allmulti, txQLen }, null, 1);
}

/** Removes the files that are there and the record, and what a kill has left of either. */
export async function forget(
  attachment: AttachmentKey,
  paths: readonly string[],
): Promise<Step[]> {
  const files = paths.flatMap((path) => [path, temporaryOf(path)]);
  return [
    ...files.filter((path) => readFileIfExists(path) !== undefined).map((path) => ({
      why: `remove "${path}"`,
      do: { kind: "remove" as const, path },
    })),
    ...await forgetRecord(recordKind, attachment),
  ];
}
