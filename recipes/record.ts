/**
 * Records: what an ADD must remember for its DEL because nothing on the host
 * shows it, such as the state of a device before it was given away. One file an
 * attachment; gone after a reboot, as what it tells of is.
 *
 * @module
 */
import type { AttachmentKey, ValidAttachments } from "../cni/attachment_key.ts";
import { isSameAttachment, staleOn } from "../cni/attachment_key.ts";
import type { Decoder, Issue } from "../cni/decode.ts";
import { list, object, refine, required, string, stringThat } from "../cni/decode.ts";
import { isIfName } from "../cni/names.ts";
import { listNames, readOwnJson, writtenAt } from "../host/files.ts";
import type { Step, WriteFile } from "../host/step.ts";
import { attachmentHash } from "./names.ts";

const root = "/run/cni/denocni";

/** A record and where it is. */
export interface AttachmentRecord<T> extends AttachmentKey {
  /** Full path of its file. */
  readonly path: string;
  /** The recorded data. */
  readonly data: T;
}

/** The records of one kind, at most one an attachment. */
export interface Records<T> {
  /** Reads what a record holds. */
  readonly decoder: Decoder<T>;
  /** The record of an attachment; `undefined` when there is none that is whole. */
  find(attachment: AttachmentKey): Promise<AttachmentRecord<T> | undefined>;
  /** Every record that is whole. */
  all(): AttachmentRecord<T>[];
  /** The records of a network that belong to none of the valid attachments. */
  stale(attachments: ValidAttachments): AttachmentRecord<T>[];
  /** Writes an attachment's record; a rollback writes the one before it again, or removes it. */
  write(attachment: AttachmentKey, data: T): Promise<Step[]>;
  /** Removes what there is of an attachment's record: itself, and what a killed ADD left. */
  remove(attachment: AttachmentKey): Promise<Step[]>;
}

/**
 * The records of one kind, in `/run/cni/denocni/<kind>/`. What the decoder finds an issue with
 * counts as no record: this project cannot have written it whole. Keys that the decoder does not
 * know are ignored, so that a newer version may add some.
 */
export function records<T>(kind: string, decoder: Decoder<T>): Records<T> {
  const read = (path: string) => readRecord(path, decoder);
  const all = () => recordFiles(kind).flatMap((path) => read(path) ?? []);
  const find = async (attachment: AttachmentKey) => {
    const record = read(await recordPath(kind, attachment));
    return record && isSameAttachment(record, attachment) ? record : undefined;
  };
  return {
    decoder,
    find,
    all,
    stale: ({ network, valid }) => all().filter(staleOn(network, valid)),
    async write({ network, containerId, ifName }, data) {
      const attachment = { network, containerId, ifName };
      const path = await recordPath(kind, attachment);
      return writeRecord({ ...attachment, path, data }, { before: await find(attachment) });
    },
    async remove(attachment) {
      const path = await recordPath(kind, attachment);
      return removeFiles(filesOf(path).filter((file) => writtenAt(file) !== undefined));
    },
  };
}

/** Path of an attachment's record of one kind: `/run/cni/denocni/<kind>/<32 hex digits>.json`. */
export async function recordPath(kind: string, attachment: AttachmentKey): Promise<string> {
  return `${root}/${kind}/${await attachmentHash(attachment)}.json`;
}

/** Words of a command in a record, at least one. */
export const commandWords: Decoder<readonly string[]> = refine(list(string()), (words, report) => {
  if (words.length === 0) report("", "expected at least one word");
});

function recordFiles(kind: string): string[] {
  return listNames(`${root}/${kind}`)
    .filter((name) => name.endsWith(".json"))
    .map((name) => `${root}/${kind}/${name}`);
}

/** Reads a record; `undefined` when there is none, or one that is not whole. */
export function readRecord<T>(path: string, data: Decoder<T>): AttachmentRecord<T> | undefined {
  const decoder = object({
    network: required(string(), "Name of the network."),
    containerId: required(string(), "`CNI_CONTAINERID` of the ADD."),
    ifName: required(stringThat("name of a link", isIfName), "`CNI_IFNAME` of the ADD."),
    data: required(data, "The recorded data."),
  });
  const issues: Issue[] = [];
  const record = decoder.decode(readOwnJson(path), "", issues);
  return record && issues.length === 0 ? { ...record, path } : undefined;
}

/** Writes a record; a rollback removes it, or writes the one before it again. */
export function writeRecord<T>(
  record: AttachmentRecord<T>,
  { before }: { readonly before?: AttachmentRecord<T> | undefined } = {},
): Step[] {
  const { path } = record;
  return [
    { why: "make the folder of records", do: { kind: "mkdir", path: folderOf(path) } },
    {
      why: `record "${path}"`,
      do: writeFile(record),
      undo: before ? writeFile(before) : { kind: "remove", path },
    },
  ];
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function writeFile<T>(
  { path, network, containerId, ifName, data }: AttachmentRecord<T>,
): WriteFile {
  const text = `${JSON.stringify({ network, containerId, ifName, data })}\n`;
  return { kind: "write", path, text, mode: 0o600, temporary: temporaryOf(path) };
}

/** Temporary file of a killed ADD: the next one writes over it, DEL removes it. */
export function temporaryOf(path: string): string {
  return `${path}.tmp`;
}

/** Removes a record, and what an ADD that was killed has left of it. */
export function removeRecord({ path }: { readonly path: string }): Step[] {
  return removeFiles(filesOf(path));
}

function filesOf(path: string): string[] {
  return [path, temporaryOf(path)];
}

function removeFiles(files: readonly string[]): Step[] {
  return files.map((path) => ({ why: `remove record "${path}"`, do: { kind: "remove", path } }));
}
