/**
 * Canonical state: everything of kernel and disk that a plugin could leave
 * behind, as sorted lines of text without what changes by itself (indexes,
 * handles, counters, timers). Absence is asserted by comparing two of them.
 *
 * @module
 */
import { must } from "./process.ts";
import type { ResidueId } from "./residue.ts";
import { residueReason } from "./residue.ts";

/** Sorted lines by section; a section is called `host/links` or `files`. */
export type State = ReadonlyMap<string, readonly string[]>;

/** What a comparison forgives. */
export interface SameOptions {
  /** Scaffolding that stays by design; nothing when absent. */
  readonly allow?: readonly ResidueId[];
  /** Sections to look at; all when absent. */
  readonly only?: RegExp;
}

/**
 * Everything of one namespace by as few programs as can be, for in a guest kernel
 * each costs tens of milliseconds. iptables has nothing to show where nft shows no
 * table and the kernel no older one. The tools are found past the wrappers of `fault.ts`.
 */
const script = `export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
at() { printf '\\n@@@ %s\\n' "$1"; }
links=$(ip -d -j address)
at links; echo "$links"
at routes; ip -6 rule; ip -batch - <<END
rule
route show table all
neigh show nud permanent
END
case $links in *'"bridge"'*) at vlans; bridge -j vlan show ;; esac
at qdiscs; tc qdisc show
legacy=
for names in ip ip6; do
  { read -r _ </proc/net/\${names}_tables_names; } 2>/dev/null && legacy=1
done
nft=$(nft -j list ruleset) || nft='"table"'
case $nft$legacy in
*'"table"'* | *1) at iptables; iptables-save; ip6tables-save ;;
esac
[ -z "$legacy" ] || { at iptables-legacy; iptables-legacy-save; ip6tables-legacy-save; }
case $nft in '{'*) at nft; echo "$nft" ;; esac
at sysctls
cd /proc/sys
grep -s '' net/ipv4/ip_forward net/ipv6/conf/all/forwarding \\
  net/ipv4/conf/*/route_localnet net/ipv4/conf/*/proxy_arp net/ipv4/conf/*/rp_filter \\
  net/ipv6/conf/*/accept_ra net/ipv6/conf/*/disable_ipv6
at end
`;

/** The namespaces and the folder of a test. */
export interface TestHost {
  /** Paths by name. */
  readonly namespaces: ReadonlyMap<string, string>;
  readonly dir: string;
}

/** Takes the state of all namespaces of a test, of its folder and of the plugins' common folders. */
export async function snapshot(sandbox: TestHost): Promise<State> {
  const state = new Map<string, readonly string[]>();
  for (const [name, path] of sandbox.namespaces) {
    for (const [section, lines] of await stateOf(name, path)) state.set(section, lines);
  }
  const roots = [sandbox.dir, "/run/cni", "/var/lib/cni"];
  const files = roots.flatMap((root) => [...filesBelow(root)]);
  const own = new RegExp(`^${sandbox.dir}`);
  state.set("files", files.map((line) => line.replace(own, "TEST")).sort());
  return state;
}

/** Takes the state of one namespace, in which a script may run before. */
export async function stateOf(
  name: string,
  path: string,
  before: { script?: string; stdin?: string } = {},
): Promise<State> {
  const inside = (lines: string, stdin?: string) =>
    must(["nsenter", `--net=${path}`, "--", "sh", "-c", lines], { stdin });
  let found = sections(await inside(`${before.script ?? ""}\n${script}`, before.stdin));
  for (let tries = 0; tries < 50 && !isUsable(found); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    found = sections(await inside(script));
  }
  const state = new Map<string, readonly string[]>();
  for (const [section, text] of found) {
    for (const [key, lines] of Object.entries(canonical(section, text))) {
      state.set(`${name}/${key}`, [...lines].sort());
    }
  }
  return state;
}

/**
 * Whether IPv6 addresses have their routes: the kernel makes them a little later, also for one
 * that it does not look for duplicates of (Linux, `net/ipv6/addrconf.c`, `addrconf_dad_work`).
 */
export function isUsable(found: readonly (readonly [section: string, text: string])[]): boolean {
  const { links = "", routes = "" } = Object.fromEntries(found);
  const up = (jsonOf(links.trim()) as Link[]).filter(hasName)
    .filter(({ flags }) => flags.includes("UP"));
  return up.flatMap(({ ifname, addr_info = [] }) =>
    addr_info.filter(({ family, tentative }) => family === "inet6" && !tentative)
      .map(({ local }) => `local ${local} dev ${ifname} `)
  ).every((route) => routes.includes(route));
}

function sections(text: string): [string, string][] {
  const parts = text.split(/^@@@ /m).slice(1, -1);
  return parts.map((part) => {
    const end = part.indexOf("\n");
    return [part.slice(0, end), part.slice(end + 1)];
  });
}

/** The lines of what one program said, in canonical form, by section. */
export function canonical(section: string, text: string): Record<string, readonly string[]> {
  const trimmed = text.trim();
  switch (section) {
    case "links": {
      const links = (jsonOf(trimmed) as Link[]).filter(hasName);
      return { links: links.map(linkLine), addresses: links.flatMap(addressLines) };
    }
    case "routes":
      return routing(linesOf(trimmed));
    case "vlans":
      return { vlans: (jsonOf(trimmed) as PortVlans[]).flatMap(vlanLines) };
    case "qdiscs":
      return { qdiscs: linesOf(trimmed).map((line) => line.replace(/ refcnt \d+/, "")) };
    case "iptables":
    case "iptables-legacy":
      return { [section]: iptablesLines(trimmed) };
    case "nft":
      return { nft: nftLines(trimmed) };
    case "sysctls":
      return { sysctls: linesOf(trimmed).map((line) => line.replace(/:(?=[^:]*$)/, "=")) };
    default:
      return { [section]: linesOf(trimmed) };
  }
}

/** Rules start with their priority, permanent neighbours end with that word; the rest are routes. */
function routing(lines: readonly string[]): Record<string, readonly string[]> {
  const kinds = Object.groupBy(
    lines,
    (line) => /^\d+:\t/.test(line) ? "rules" : / PERMANENT$/.test(line) ? "neighbours" : "routes",
  );
  return { ...kinds, routes: (kinds.routes ?? []).filter(isSettled).map(routeLine) };
}

function jsonOf(text: string): unknown {
  return JSON.parse(text || "[]");
}

function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
}

interface Link {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly master?: string;
  readonly address?: string;
  readonly ifalias?: string;
  readonly promiscuity: number;
  readonly txqlen?: number;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: Readonly<Record<string, unknown>>;
    readonly info_slave_data?: Readonly<Record<string, unknown>>;
  };
  readonly addr_info?: readonly Address[];
}

interface Address {
  readonly family: string;
  readonly local: string;
  readonly prefixlen: number;
  readonly scope: string;
  readonly broadcast?: string;
  readonly label?: string;
  readonly tentative?: boolean;
}

/** `ip -j` prints an empty object for each thing it filters out. */
function hasName(link: Link): boolean {
  return link.ifname !== undefined;
}

function linkLine(link: Link): string {
  const { info_kind, info_data = {}, info_slave_data = {} } = link.linkinfo ??
    {};
  const words = [
    link.ifname,
    info_kind ?? "plain",
    link.flags.includes("UP") ? "up" : "down",
    `mtu ${link.mtu}`,
    `mac ${link.address}`,
    link.master && `master ${link.master}`,
    link.ifalias && `alias "${link.ifalias}"`,
    link.promiscuity > 0 && `promiscuity ${link.promiscuity}`,
    link.flags.includes("ALLMULTI") && "allmulti",
    link.txqlen && `qlen ${link.txqlen}`,
    ...["vlan_filtering", "mode", "id", "table"].map((key) => word(key, info_data[key])),
    ...["hairpin", "isolated"].map((key) => word(key, info_slave_data[key])),
  ];
  return words.filter(Boolean).join(" ");
}

function word(key: string, value: unknown): string | undefined {
  return value === undefined || value === false || value === 0 ? undefined : `${key} ${value}`;
}

interface PortVlans {
  readonly ifname: string;
  readonly vlans?: readonly {
    readonly vlan: number;
    readonly vlanEnd?: number;
    readonly flags?: readonly string[];
  }[];
}

function vlanLines({ ifname, vlans = [] }: PortVlans): string[] {
  return vlans.map(({ vlan, vlanEnd = vlan, flags = [] }) =>
    [ifname, vlanEnd === vlan ? vlan : `${vlan}-${vlanEnd}`, ...flags].join(" ")
  );
}

function addressLines({ ifname, addr_info = [] }: Link): string[] {
  return addr_info.filter(({ local }) => !local.startsWith("fe80:")).map((address) =>
    `${ifname} ${address.family} ${address.local}/${address.prefixlen} scope ${address.scope}${
      address.broadcast ? ` brd ${address.broadcast}` : ""
    }`
  );
}

/**
 * Link-local addresses and their routes come by themselves, some time after a
 * link has come up, and go with the link.
 */
function isSettled(line: string): boolean {
  return !/\b(fe80::|ff00::\/8)/.test(line);
}

/** State of the carrier and timers come and go by themselves. */
function routeLine(line: string): string {
  return line.replace(/ (linkdown|dead)\b/g, "").replace(/ expires \d+sec/, "");
}

/** Each line with its table in front; comments and counters are left out. */
function iptablesLines(text: string): string[] {
  let table = "";
  const lines: string[] = [];
  for (const line of linesOf(text)) {
    if (line.startsWith("*")) table = line.slice(1);
    if (/^[*#]|^COMMIT$/.test(line)) continue;
    lines.push(`${table} ${line.replace(/ ?\[\d+:\d+\]/, "")}`);
  }
  return lines;
}

const iptablesTables = /^(filter|nat|mangle|raw|security)$/;

type NftEntry = Record<string, Record<string, unknown>>;

/** One JSON line for each object; the tables that iptables keeps in nftables stand in its own section. */
function nftLines(text: string): string[] {
  const { nftables = [] } = JSON.parse(text || "{}") as {
    nftables?: NftEntry[];
  };
  return nftables.filter((entry) => !entry["metainfo"] && !isIptables(entry))
    .map((entry) => JSON.stringify(entry, withoutHandles));
}

function isIptables(entry: NftEntry): boolean {
  const { family, table, name } = Object.values(entry)[0]!;
  return /^ip6?$/.test(String(family)) &&
    iptablesTables.test(String(entry["table"] ? name : table));
}

function withoutHandles(key: string, value: unknown): unknown {
  return key === "handle" || key === "packets" || key === "bytes" ? undefined : value;
}

/** A line for each file and folder below a folder: path, mode, content. */
function* filesBelow(dir: string): Generator<string> {
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(dir)];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  for (const { name, isDirectory } of entries) {
    const path = `${dir}/${name}`;
    const mode = (Deno.statSync(path).mode! & 0o7777).toString(8);
    if (isDirectory) {
      yield `${path}/ ${mode}`;
      yield* filesBelow(path);
    } else {
      yield `${path} ${mode} ${JSON.stringify(Deno.readTextFileSync(path))}`;
    }
  }
}

/** Lines that are in one state only, `-` before and `+` after, without what is forgiven. */
export function difference(
  before: State,
  after: State,
  { allow = [], only = /^/ }: SameOptions = {},
): string[] {
  const report: string[] = [];
  for (const section of new Set([...before.keys(), ...after.keys()])) {
    if (!only.test(section)) continue;
    const [old, now] = [before.get(section) ?? [], after.get(section) ?? []];
    const changes = [
      ...minus(old, now).map((line) => ({ sign: "-", line })),
      ...minus(now, old).map((line) => ({ sign: "+", line })),
    ].filter(({ sign, line }) => !residueReason(`${sign}${section}: ${line}`, allow));
    if (changes.length === 0) continue;
    report.push(
      section,
      ...changes.map(({ sign, line }) => `  ${sign} ${line}`),
    );
  }
  return report;
}

/** Lines of `a` that are not in `b`, each as often as it is missing. */
function minus(a: readonly string[], b: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const line of b) left.set(line, (left.get(line) ?? 0) + 1);
  return a.filter((line) => {
    const count = left.get(line) ?? 0;
    if (count > 0) left.set(line, count - 1);
    return count === 0;
  });
}

/** Fails, with the lines that differ, unless two states are the same. */
export function assertSame(
  before: State,
  after: State,
  options: SameOptions & { readonly what?: string } = {},
): void {
  const report = difference(before, after, options);
  if (report.length === 0) return;
  throw new Error(
    `Cannot call the state ${options.what ?? "the same"}: - before, + after\n${report.join("\n")}`,
  );
}
