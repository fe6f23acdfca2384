/**
 * Results and errors of the families of an attachment: results become one, errors name their family.
 *
 * @module
 */
import type { Dns, Result } from "../../../cni/types.ts";
import { CniError } from "../../../cni/error.ts";

/** Merges results, in their order. */
export function mergeResults(results: readonly Result[]): Result {
  return {
    interfaces: [],
    ips: results.flatMap(({ ips }) => ips),
    routes: results.flatMap(({ routes }) => routes),
    dns: mergeDns(results.map(({ dns }) => dns)),
  };
}

/** Merges DNS settings: every server and search domain once, and the first domain. */
function mergeDns(list: readonly Dns[]): Dns {
  const domain = list.find((dns) => dns.domain !== undefined)?.domain;
  const all = (key: "nameservers" | "search" | "options") => {
    const values = [...new Set(list.flatMap((dns) => dns[key] ?? []))];
    return values.length > 0 ? { [key]: values } : {};
  };
  return {
    ...all("nameservers"),
    ...(domain !== undefined && { domain }),
    ...all("search"),
    ...all("options"),
  };
}

/** Names the family in an error, unless the label is empty. */
export function withFamilyLabel({ label }: { readonly label: string }, error: Error): Error {
  if (label === "") return error;
  if (!(error instanceof CniError)) {
    return new Error(`${label}: ${error.message}`, { cause: error });
  }
  const { code, msg, details } = error;
  return new CniError(code, `${label}: ${msg}`, details, { cause: error });
}
