/**
 * The files of leases: a lease of an attachment and family is in `<32 hex digits>.json`, or
 * `<32 hex digits>.v6.json` for DHCPv6; an acquisition that is under way, or was cut short, is in a
 * file beside it that ends in `.intent`.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { Family } from "../../../host/ip.ts";
import { listNames } from "../../../host/files.ts";
import { attachmentHash } from "../../../recipes/names.ts";

/** Folder of the leases on this host. */
export const leaseFolder = "/run/cni/denocni/dhcp";

/** A folder of leases. */
interface Folder {
  readonly dir: string;
}

/** Part of a file's name that tells the family, before its ending. */
const familySuffix: Readonly<Record<Family, string>> = { 4: "", 6: ".v6" };

/** Path of the lease of an attachment. The family is 4 when absent. */
export async function leasePath(
  attachment: AttachmentKey,
  { dir, family = 4 }: Folder & { readonly family?: Family | undefined },
): Promise<string> {
  return `${dir}/${await attachmentHash(attachment)}${familySuffix[family]}.json`;
}

/** Path of the intent beside the path of a lease. */
export function intentPath(leasePath: string): string {
  return leasePath.replace(/json$/, "intent");
}

/** Path of the lease beside the path of an intent. */
export function leasePathOf(intentPath: string): string {
  return intentPath.replace(/intent$/, "json");
}

/** Family of a lease, by the path of its file. */
export function familyOfPath(path: string): Family {
  return /\.v6\.[a-z]+$/.test(path) ? 6 : 4;
}

/** Paths of all files that should hold a lease, or an intent. */
export function listLeaseFiles({ dir }: Folder, ending: "json" | "intent" = "json"): string[] {
  return listNames(dir)
    .filter((name) => /^[0-9a-f]{32}(\.v6)?\.[a-z]+$/.test(name) && name.endsWith(`.${ending}`))
    .map((name) => `${dir}/${name}`);
}

/** Whether there is a lease at a path, or an intent beside it. */
export function hasLeaseFiles(path: string, folder: Folder): boolean {
  return listLeaseFiles(folder).includes(path) ||
    listLeaseFiles(folder, "intent").includes(intentPath(path));
}
