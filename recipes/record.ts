/**
 * Records: what an ADD must remember for its DEL because nothing on the host
 * shows it: how a device was before it was given away, what a variable held. One
 * file an attachment; gone after a reboot, as what it tells of is.
 *
 * @module
 */
import type { AttachmentKey, ContainerInterface } from "../cni/attachment_key.ts";
import { staleOn } from "../cni/attachment_key.ts";
import { listNames, readOwnJson, writtenAt } from "../host/files.ts";
import type { Step, WriteFile } from "../host/step.ts";
import { attachmentHash } from "./names.ts";

const root = "/run/cni/denocni";

/** A record and where it is. */
export interface Kept<T> extends AttachmentKey {
  /** Full path of its file. */
  readonly path: string;
  /** What was remembered. */
  readonly data: T;
}

/** Path of an attachment's record of one kind: `/run/cni/denocni/<kind>/<32 hex digits>.json`. */
export async function recordPath(kind: string, attachment: AttachmentKey): Promise<string> {
  return `${root}/${kind}/${await attachmentHash(attachment)}.json`;
}

/** Writes a record; a rollback removes it, or writes the one before it again. */
export function keepRecord<T>(
  record: Kept<T>,
  { before }: { readonly before?: Kept<T> | undefined } = {},
): Step[] {
  const { path } = record;
  return [
    { why: "make the folder of records", do: { kind: "mkdir", path: folderOf(path) } },
    {
      why: `record "${path}"`,
      do: writeRecord(record),
      undo: before ? writeRecord(before) : { kind: "remove", path },
    },
  ];
}

function writeRecord<T>({ path, network, containerId, ifName, data }: Kept<T>): WriteFile {
  const text = `${JSON.stringify({ network, containerId, ifName, data })}\n`;
  return { kind: "write", path, text, mode: 0o600, temporary: temporaryOf(path) };
}

/** What an ADD that was killed leaves of a file: the next one writes over it, DEL removes it. */
export function temporaryOf(path: string): string {
  return `${path}.tmp`;
}

/** Removes what there is of an attachment's record: itself, and what an ADD that was killed left. */
export async function forgetRecord(kind: string, attachment: AttachmentKey): Promise<Step[]> {
  const path = await recordPath(kind, attachment);
  return dropFiles([path, temporaryOf(path)].filter((file) => writtenAt(file) !== undefined));
}

/** Removes a record. */
export function dropRecord({ path }: Pick<Kept<unknown>, "path">): Step[] {
  return dropFiles([path, temporaryOf(path)]);
}

function dropFiles(files: readonly string[]): Step[] {
  return files.map((path) => ({ why: `remove record "${path}"`, do: { kind: "remove", path } }));
}

/** Reads a record; `undefined` when there is none, or one that this project cannot have written whole. */
export function readRecord<T>(path: string): Kept<T> | undefined {
  const record = readOwnJson(path) as Omit<Kept<T>, "path"> | undefined;
  return record?.network === undefined ? undefined : { ...record, path };
}

/** Every record of a kind. */
export function allRecords<T>(kind: string): Kept<T>[] {
  return listNames(`${root}/${kind}`)
    .filter((name) => name.endsWith(".json"))
    .map((name) => readRecord<T>(`${root}/${kind}/${name}`))
    .filter((record) => record !== undefined);
}

/** The records of a network that belong to none of the valid attachments. */
export function staleRecords<T>(
  kind: string,
  { network, valid }: {
    readonly network: string;
    readonly valid: readonly ContainerInterface[];
  },
): Kept<T>[] {
  return allRecords<T>(kind).filter(staleOn(network, valid));
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
