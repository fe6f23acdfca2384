/**
 * Canonical state: everything of kernel and disk that a plugin could leave
 * behind, as sorted lines of text without what changes by itself (indexes,
 * handles, counters, timers). Absence is asserted by comparing two of them.
 *
 * @module
 */
import type { KernelLines } from "./kernel_lines.ts";
import { kernelLines } from "./kernel_lines.ts";
import { inNetns } from "./netlink.ts";
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

/** Programs that show what netlink alone does not tell, by the section that they fill. */
const programs = {
  vlans: "bridge -j vlan show",
  qdiscs: "tc qdisc show",
  iptables: "iptables-save; ip6tables-save",
  "iptables-legacy": "iptables-legacy-save; ip6tables-legacy-save",
  nft: "nft -j list ruleset",
} as const;

type Section = keyof typeof programs;

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

/** Takes the state of one namespace. */
export async function stateOf(name: string, path: string): Promise<State> {
  const { kernel, variables, legacy } = await lookWhenUsable(path);
  const shown = await show(path, [
    ...(kernel.hasBridge ? ["vlans"] as const : []),
    ...(kernel.qdiscs ? [] : ["qdiscs"] as const),
    // iptables has nothing to show where nft has no table and the kernel no older one.
    ...(kernel.hasTables || legacy ? ["nft", "iptables"] as const : []),
    ...(legacy ? ["iptables-legacy"] as const : []),
  ]);
  const { links, addresses, routes, rules, neighbours, qdiscs = [] } = kernel;
  const lines = { links, addresses, routes, rules, neighbours, qdiscs, ...shown };
  return new Map(
    Object.entries({ ...lines, sysctls: variables })
      .map(([section, lines]) => [`${name}/${section}`, lines.toSorted()]),
  );
}

/** What a namespace tells without a program. */
interface Look {
  readonly kernel: KernelLines;
  readonly variables: readonly string[];
  /** Whether the kernel has a table of the older iptables. */
  readonly legacy: boolean;
}

/** The kernel makes the routes of IPv6 addresses a little later; nothing waits for them for ever. */
async function lookWhenUsable(path: string): Promise<Look> {
  let found = inNetns(path, look);
  for (let tries = 0; tries < 50 && !found.kernel.usable; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    found = inNetns(path, look);
  }
  return found;
}

/** Looks at the namespace in which this thread is. */
function look(): Look {
  const legacy = ["ip", "ip6"].some((family) =>
    readFile(`/proc/thread-self/net/${family}_tables_names`) !== ""
  );
  return { kernel: kernelLines(), variables: [...variableLines()], legacy };
}

/** Variables that plugins set: of each link, and of the namespace. */
const variables = {
  "net/ipv4/conf": ["route_localnet", "proxy_arp", "rp_filter"],
  "net/ipv6/conf": ["accept_ra", "disable_ipv6"],
} as const;
const commonVariables = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

function* variableLines(): Generator<string> {
  const names = Object.entries(variables).flatMap(([dir, names]) =>
    [...Deno.readDirSync(`/proc/sys/${dir}`)]
      .flatMap(({ name: link }) => names.map((name) => `${dir}/${link}/${name}`))
  );
  for (const name of [...commonVariables, ...names]) {
    const value = readFile(`/proc/sys/${name}`);
    if (value) yield `${name}=${value}`;
  }
}

/** What a small file says; nothing when it is not there, or goes in the meantime. */
function readFile(path: string): string {
  try {
    return Deno.readTextFileSync(path).trim();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** What programs say in a namespace, found past the wrappers of `fault.ts`. */
async function show(
  path: string,
  wanted: readonly Section[],
): Promise<Readonly<Record<string, readonly string[]>>> {
  if (wanted.length === 0) return {};
  const script = wanted.map((section) => `printf '\\n@@@ ${section}\\n'; ${programs[section]}\n`);
  const env = { LC_ALL: "C", PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  const argv = ["nsenter", `--net=${path}`, "--", "sh", "-c", `${script.join("")}:`];
  const parts = sections(await must(argv, { env }));
  return Object.fromEntries(parts.map(([section, text]) => [section, canonical(section, text)]));
}

function sections(text: string): [Section, string][] {
  const parts = text.split(/^@@@ /m).slice(1);
  return parts.map((part) => {
    const end = part.indexOf("\n");
    return [part.slice(0, end) as Section, part.slice(end + 1).trim()];
  });
}

/** The lines of what one program said, in canonical form. */
function canonical(section: Section, text: string): readonly string[] {
  switch (section) {
    case "vlans":
      return (JSON.parse(text || "[]") as PortVlans[]).flatMap(vlanLines);
    case "qdiscs":
      return linesOf(text).map((line) => line.replace(/ refcnt \d+/, ""));
    case "nft":
      // A kernel without nftables, or a host without the program.
      return text ? nftLines(text) : [];
    default:
      return iptablesLines(text);
  }
}

function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter(Boolean);
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
