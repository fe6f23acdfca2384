/**
 * What the servers of either family are asked for an attachment.
 *
 * @module
 */
import type { Asking, Conf } from "./conf.ts";
import type { Ask6, Family, Words } from "../lease/lease_record.ts";
import { failureOf, readFileIfExists } from "../../../host/files.ts";
import { askOf } from "./conf.ts";
import { identityOf } from "./duid.ts";
import { option } from "../codec/options6.ts";

/** What servers of a family are asked. Throws a `CniError` of code 7. */
export async function questionOf(
  conf: Conf,
  { family, ...asking }: Asking & { readonly family: Family },
): Promise<Words[Family]["ask"]> {
  return family === 4 ? askOf(conf, asking) : await ask6Of(asking);
}

/** IPv6 has no habits of a reference to keep: what a result can hold is always asked for. */
async function ask6Of({ attachment }: Pick<Asking, "attachment">): Promise<Ask6> {
  return {
    ...await identityOf(attachment, { host: machineId() }),
    requested: [option.nameServers.code, option.searchList.code],
  };
}

/** What tells this machine from others; nothing where that is not known. */
function machineId(): string | undefined {
  let id: string | undefined;
  failureOf(() => id = readFileIfExists("/etc/machine-id")?.trim());
  return id;
}
