/**
 * What a test needs of the machine. A missing need is a visible skip with its
 * reason; `DENOCNI_REQUIRE=tool:nft,peer` (or `all`) turns skips into failures.
 *
 * @module
 */
import { cacheFolder, kernelPackage, platforms } from "../../scripts/guest/kernel.ts";
import { isChosen, isGuest, isInOneProcess, isListing, list } from "./guest.ts";
import { prepareNetlink } from "./netlink.ts";
import { Sandbox } from "./sandbox.ts";
import { executeSync } from "./process.ts";
import { binDir, peerDir } from "./plugin.ts";
import { exists } from "./exists.ts";

/**
 * `link:KIND` a link type of the kernel, `qdisc:KIND` a queueing discipline,
 * `filter:KIND` a traffic filter that can redirect, `tool:NAME` a program, `plugin:TYPE` a plugin in the folder under test, `peer`
 * Debian's plugins, `iptables-nat` and `nft-nat` address translation, `bridge-vlan`
 * VLAN filtering of bridges, `guest` a kernel for guests, `private` the namespaces of `private.sh` (every kernel
 * test needs them).
 */
export type Need =
  | `link:${string}`
  | `qdisc:${string}`
  | `filter:${string}`
  | `tool:${string}`
  | `plugin:${string}`
  | "peer"
  | "iptables-nat"
  | "nft-nat"
  | "bridge-vlan"
  | "guest"
  | "private";

/** Options of a test that needs a kernel. */
export interface KernelTestOptions {
  readonly needs?: readonly Need[];
  /** It is one of a suite that makes thousands of calls: where it can, inside one process. */
  readonly suite?: boolean;
  /** It is not about IPv6 addresses that others may have. */
  readonly quickDad?: boolean;
}

/** Registers a test that gets a sandbox of its own. */
export function kernelTest(
  name: string,
  options: KernelTestOptions,
  body: (
    sandbox: Sandbox,
    test: Deno.TestContext,
  ) => Promise<void> | void,
): void {
  const { needs = [], quickDad = false } = options;
  const inOneProcess = isInOneProcess(options);
  prepareNetlink();
  testWith(name, ["private", ...needs], async (test) => {
    await using sandbox = await Sandbox.create({ inOneProcess, quickDad });
    await body(sandbox, test);
  }, { shares: inOneProcess });
}

/** The part of a row that its tests are registered by. */
export interface TestRow {
  /** `bridge: masquerade by nftables`. */
  readonly name: string;
  readonly type: string;
  readonly needs: readonly Need[];
  /** Makes what the host must have before: a link to stand on. */
  readonly prepare?: (sandbox: Sandbox) => Promise<unknown>;
}

/** The body of a test of a row. */
type RowBody = (sandbox: Sandbox, test: Deno.TestContext) => Promise<void> | void;

/** Registers a test of a row, with the row's needs; the container `a` and what the row needs of the host are there already. */
export function rowTest(row: TestRow, title: string, body: RowBody): void {
  register(row, title, { needs: row.needs }, body);
}

/** Registers a {@linkcode rowTest} that makes so many calls that it makes them inside one process, where it can. */
export function suiteTest(row: TestRow, title: string, body: RowBody): void {
  register(row, title, { needs: row.needs, suite: true }, body);
}

/** Registers a {@linkcode suiteTest} of what is refused before the kernel is asked for anything that a row needs. */
export function refusalTest(row: TestRow, title: string, body: RowBody): void {
  register(row, title, { suite: true }, body);
}

function register(row: TestRow, title: string, options: KernelTestOptions, body: RowBody): void {
  const needs = [`plugin:${row.type}` as const, ...options.needs ?? []];
  kernelTest(
    `${row.name}: ${title}`,
    { ...options, needs, quickDad: true },
    async (sandbox, test) => {
      await sandbox.container("a");
      await row.prepare?.(sandbox);
      await body(sandbox, test);
    },
  );
}

/**
 * Registers a test that is skipped, with its reason, when a need is not met. What it `shares`
 * with others, a process, is no leak.
 */
export function testWith(
  name: string,
  needs: readonly Need[],
  fn: (test: Deno.TestContext) => Promise<void> | void,
  { shares = false }: { readonly shares?: boolean } = {},
): void {
  if (!isChosen(name)) return;
  const missing = unmet(needs);
  if (isListing()) return list(name, missing.map(({ need }) => need));
  const required = missing.find(({ need }) => isRequired(need));
  if (required) {
    return Deno.test(name, () => {
      throw new Error(`Cannot skip a required test: ${required.reason}`);
    });
  }
  if (missing.length === 0) {
    return Deno.test({ name, fn, sanitizeOps: !shares, sanitizeResources: !shares });
  }
  console.log(`SKIP ${name}: ${missing.map(({ reason }) => reason).join("; ")}`);
  Deno.test({ name, ignore: true, fn });
}

function isRequired(need: Need): boolean {
  const required = (Deno.env.get("DENOCNI_REQUIRE") ?? "").split(",");
  return required.includes("all") || required.includes(need);
}

/** The needs that are not met, and why. */
export function unmet(needs: readonly Need[]): readonly { need: Need; reason: string }[] {
  // Outside of private namespaces nothing may be probed.
  const outside = probe("private");
  if (outside && needs.includes("private")) return [{ need: "private", reason: outside }];
  return needs.map((need) => ({ need, reason: probe(need) })).filter(({ reason }) => reason);
}

const probed = new Map<Need, string>();

/** Empty when the need is met. */
function probe(need: Need): string {
  const known = probed.get(need);
  if (known !== undefined) return known;
  const reason = look(need);
  probed.set(need, reason);
  return reason;
}

function look(need: Need): string {
  const [kind, name = ""] = need.split(":");
  switch (kind) {
    case "private":
      return lookPrivate();
    case "tool":
      return runs(`command -v ${name}`) ? "" : `no program "${name}"`;
    case "link":
      return mayProbe(name) && scratch(linkProbe(name)) ? "" : `no links of type "${name}"`;
    case "qdisc":
      return scratch(qdiscProbe(name)) ? "" : `no queueing discipline "${name}"`;
    case "filter":
      return scratch(filterProbe(name)) ? "" : `no traffic filter "${name}"`;
    case "plugin":
      return exists(`${binDir()}/${name}`) ? "" : `no plugin "${name}"`;
    case "peer":
      return exists(`${peerDir}/bridge`) ? "" : `no other plugins in ${peerDir}`;
    case "iptables-nat":
      return scratch("iptables -w -t nat -A POSTROUTING -j MASQUERADE")
        ? ""
        : "iptables cannot translate addresses";
    case "nft-nat":
      return scratch(
          "nft 'add table inet t; add chain inet t c { type nat hook postrouting priority 100; }'",
        )
        ? ""
        : "nft cannot translate addresses";
    case "bridge-vlan":
      return scratch("ip link add b0 type bridge vlan_filtering 1")
        ? ""
        : "no VLAN filtering of bridges";
    case "guest":
      return hasGuestKernel() ? "" : "no kernel for guests (`deno task guest true` fetches one)";
    default:
      throw new Error(`Cannot probe "${need}": not a need of tests`);
  }
}

/** Modules that make links by themselves, in other namespaces too, when they are loaded. */
const linkMakers: Readonly<Record<string, string>> = {
  bond: "bonding",
  gre: "ip_gre",
  gretap: "ip_gre",
};

/** Whether a link type can be tried without making links on somebody's machine. */
function mayProbe(kind: string): boolean {
  const module = linkMakers[kind];
  return module === undefined || isGuest() || exists(`/sys/module/${module}`);
}

function linkProbe(kind: string): string {
  const words: Record<string, string> = {
    vlan: "link p0 name x0 type vlan id 7",
    macvlan: "link p0 name x0 type macvlan",
    ipvlan: "link p0 name x0 type ipvlan",
    veth: "x0 type veth peer name x1",
    vrf: "x0 type vrf table 10",
    gre: "x0 type gre local 192.0.2.1 remote 192.0.2.2",
    gretap: "x0 type gretap local 192.0.2.1 remote 192.0.2.2",
  };
  const add = `ip link add ${words[kind] ?? `x0 type ${kind}`}`;
  if (kind === "tap") return "ip tuntap add dev x0 mode tap";
  return `ip link add p0 type veth peer name p1 && ${add}`;
}

/** A link to try something on. */
const someLink = "ip link add x0 type veth peer name x1";

function qdiscProbe(kind: string): string {
  const words: Record<string, string> = {
    ingress: "ingress",
    clsact: "clsact",
    tbf: "root tbf rate 1mbit burst 10k latency 10ms",
  };
  return `${someLink} && tc qdisc add dev x0 ${words[kind] ?? `root ${kind}`}`;
}

function filterProbe(kind: string): string {
  const words: Record<string, string> = { u32: "u32 match u32 0 0" };
  const action = "action mirred egress redirect dev x1";
  return `${someLink} && tc qdisc add dev x0 ingress &&
tc filter add dev x0 ingress protocol all ${words[kind] ?? kind} ${action}`;
}

function hasGuestKernel(): boolean {
  const { debian, emulator } = platforms[Deno.build.arch];
  const ask = `command -v ${emulator} && apt-cache depends linux-image-cloud-${debian}`;
  const name = kernelPackage(executeSync(["sh", "-c", ask]).stdout);
  return name !== undefined && exists(`${cacheFolder()}/${name}`);
}

function lookPrivate(): string {
  try {
    const marker = Deno.readTextFileSync("/run/denocni-private").trim();
    const { ino } = Deno.statSync("/proc/self/ns/net");
    if (Deno.env.get("DENOCNI_PRIVATE") === "1" && marker === String(ino)) {
      return "";
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return "not inside private namespaces (see tests/harness/private.sh)";
}

/** Runs a line in a network namespace that is gone afterwards. */
function scratch(line: string): boolean {
  return executeSync(["unshare", "--net", "sh", "-c", line]).code === 0;
}

function runs(line: string): boolean {
  return executeSync(["sh", "-c", line]).code === 0;
}
