/**
 * Where leases are, and how packets go: what a test chooses otherwise.
 *
 * @module
 */
import type { Attachment } from "../../recipes/own.ts";
import type { holdExchange, releaseFromHost } from "./hold.ts";
import { listNames } from "../../host/files.ts";
import { recordPath } from "../../recipes/record.ts";

/** What a plugin works with. */
export interface Means {
  /** Folder of the leases. */
  readonly dir: string;
  /** Absent: exchanges on this host. */
  readonly hold?: typeof holdExchange;
  readonly releaseFromHost?: typeof releaseFromHost;
}

const kind = "dhcp";

/** Those of this host. */
export const usual: Means = { dir: `/run/cni/denocni/${kind}` };

/** Where the lease of an attachment is kept. */
export async function leasePath(attachment: Attachment, { dir }: Means): Promise<string> {
  const path = await recordPath(kind, attachment);
  return `${dir}${path.slice(path.lastIndexOf("/"))}`;
}

/** Paths of all files that should hold a lease, or the note of an acquisition. */
export function leaseFiles({ dir }: Means, kind: "json" | "intent" = "json"): string[] {
  return listNames(dir)
    .filter((name) => /^[0-9a-f]{32}\.[a-z]+$/.test(name) && name.endsWith(`.${kind}`))
    .map((name) => `${dir}/${name}`);
}

/** Whether an attachment has left anything, by the path of its lease. */
export function hasTraces(path: string, means: Means): boolean {
  const intent = path.replace(/json$/, "intent");
  return leaseFiles(means).includes(path) || leaseFiles(means, "intent").includes(intent);
}
