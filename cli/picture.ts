/**
 * A result as a picture in text: the host's interfaces on the left, the
 * container's on the right.
 *
 * @module
 */
import { parseResult } from "../cni/result.ts";
import type { Dns, Interface, IpConfig, JsonObject, Result, Route } from "../cni/types.ts";

/** Draws a result of any version. `sandbox` is the namespace's path. */
export function picture(json: JsonObject, sandbox: string): string {
  const { result } = parseResult(json, "");
  const host = result.interfaces.filter((link) => !link.sandbox).map(({ name }) => name);
  const left = host.length > 0 ? `${host.join(" ── ")} ──` : "";
  const width = Math.max(left.length, "host".length);
  const rows = containerRows(result);
  const lines = rows.map(({ text, isLink }, index) => {
    const joined = index === 0 && isLink && left !== "";
    const border = joined ? "┼──" : "│  ";
    return `  ${(index === 0 ? left : "").padEnd(width)}${joined ? "─" : " "}${border} ${text}`;
  });
  const head = `  ${"host".padEnd(width)} │   ${sandbox || "container"}`;
  return `${[head, ...lines].map((line) => line.trimEnd()).join("\n")}\n`;
}

interface Row {
  readonly text: string;
  readonly isLink?: boolean;
}

/** The container's side, line by line. */
function containerRows(result: Result): Row[] {
  const links = result.interfaces.map((link, index) => ({ link, index }))
    .filter(({ link }) => link.sandbox);
  const inside = new Set(links.map(({ index }) => index));
  const rows = links.flatMap(({ link, index }) => [
    { text: describeLink(link), isLink: true },
    ...result.ips.filter((ip) => ip.interface === index).map(addressRow),
  ]);
  const loose = result.ips.filter((ip) => ip.interface === undefined || !inside.has(ip.interface));
  return [
    ...rows,
    ...loose.map(addressRow),
    ...result.routes.map((route) => ({ text: describeRoute(route) })),
    ...dnsRows(result.dns),
  ];
}

function describeLink({ name, mac, mtu }: Interface): string {
  return [name, mac, mtu && `mtu ${mtu}`].filter(Boolean).join("  ");
}

function addressRow({ address, gateway }: IpConfig): Row {
  return { text: gateway ? `${address}  gateway ${gateway}` : address };
}

function describeRoute({ dst, gw, mtu, priority, table }: Route): string {
  const to = /\/0$/.test(dst) ? `default (${dst})` : dst;
  return [
    `route ${to}`,
    gw && `via ${gw}`,
    mtu && `mtu ${mtu}`,
    priority && `metric ${priority}`,
    table && `table ${table}`,
  ].filter(Boolean).join(" ");
}

function dnsRows({ nameservers = [], domain, search = [] }: Dns): Row[] {
  const parts = [
    nameservers.length > 0 && `servers ${nameservers.join(", ")}`,
    domain && `domain ${domain}`,
    search.length > 0 && `search ${search.join(", ")}`,
  ].filter(Boolean);
  return parts.length > 0 ? [{ text: `dns ${parts.join("  ")}` }] : [];
}
