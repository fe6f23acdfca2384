/**
 * Where leases are, and how packets go: what a test chooses otherwise.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { Family } from "./lease_record.ts";
import type { holdExchange, releaseFromHost } from "../exchange/run_exchange4.ts";
import type { holdExchange6 } from "../exchange/run_exchange6.ts";
import { listNames } from "../../../host/files.ts";
import { attachmentHash } from "../../../recipes/names.ts";

/** What a plugin works with. */
export interface Means {
  /** Folder of the leases. */
  readonly dir: string;
  /** Absent: exchanges on this host. */
  readonly hold?: typeof holdExchange;
  readonly hold6?: typeof holdExchange6;
  readonly releaseFromHost?: typeof releaseFromHost;
}

/** Those of this host. */
export const usual: Means = { dir: "/run/cni/denocni/dhcp" };

/** What the names of files end with, before the ending that says what is in them. */
const suffix: Readonly<Record<Family, string>> = { 4: "", 6: ".v6" };

/** Where the lease of an attachment is kept. */
export async function leasePath(
  attachment: AttachmentKey,
  { dir, family = 4 }: Pick<Means, "dir"> & { readonly family?: Family | undefined },
): Promise<string> {
  return `${dir}/${await attachmentHash(attachment)}${suffix[family]}.json`;
}

/** The family of a lease, by the path of its file. */
export function familyOf(path: string): Family {
  return /\.v6\.[a-z]+$/.test(path) ? 6 : 4;
}

/** Paths of all files that should hold a lease, or the note of an acquisition. */
export function leaseFiles({ dir }: Pick<Means, "dir">, kind: Kind = "json"): string[] {
  return listNames(dir)
    .filter((name) => /^[0-9a-f]{32}(\.v6)?\.[a-z]+$/.test(name) && name.endsWith(`.${kind}`))
    .map((name) => `${dir}/${name}`);
}

/** A lease, or an acquisition. */
type Kind = "json" | "intent";

/** Whether an attachment has left anything, by the path of its lease. */
export function hasTraces(path: string, means: Pick<Means, "dir">): boolean {
  const intent = path.replace(/json$/, "intent");
  return leaseFiles(means).includes(path) || leaseFiles(means, "intent").includes(intent);
}
