/**
 * Reads a `resolv.conf` into the `dns` of a result.
 *
 * @module
 */
import type { Dns } from "../../cni/types.ts";

/** Parses the text of a `resolv.conf`; lines it does not know are passed over. */
export function parseResolvConf(text: string): Dns {
  const dns: Required<Dns> = { nameservers: [], domain: "", search: [], options: [] };
  for (const line of text.split("\n")) {
    const trimmed = line.trim();
    if (/^[#;]/.test(trimmed)) continue;
    const [keyword, ...words] = trimmed.split(/\s+/);
    const first = words[0];
    if (first === undefined) continue;
    if (keyword === "nameserver") dns.nameservers.push(first);
    else if (keyword === "domain") dns.domain = first;
    else if (keyword === "search") dns.search.push(...words);
    else if (keyword === "options") dns.options.push(...words);
  }
  return {
    ...(dns.nameservers.length > 0 && { nameservers: dns.nameservers }),
    ...(dns.domain && { domain: dns.domain }),
    ...(dns.search.length > 0 && { search: dns.search }),
    ...(dns.options.length > 0 && { options: dns.options }),
  };
}
