/**
 * DHCP servers in namespaces of a test: dnsmasq and udhcpd, and one that answers what
 * no server should. What reaches them is counted by nft.
 *
 * @module
 */
import type { Sandbox } from "./sandbox.ts";
import { Child } from "./process.ts";

/** Where servers of tests stand, and what they give. */
export const subnet = {
  server: "192.168.77.1",
  prefix: 24,
  first: "192.168.77.5",
  last: "192.168.77.9",
} as const;

/** How a container is joined to a server. */
export interface JoinOptions {
  /** The container's namespace and interface; `a` and `eth0` when absent. */
  readonly container?: string;
  readonly dev?: string;
  /** The server's namespace and interface; `server` and `eth0` when absent. */
  readonly server?: string;
  readonly far?: string;
  /** The server's address there, with its prefix length. */
  readonly address?: string;
  /** Leave the container's interface down. */
  readonly down?: boolean;
}

/** Joins a container to a server by a pair of interfaces, and gives the container's namespace. */
export async function joinServer(sandbox: Sandbox, options: JoinOptions = {}): Promise<string> {
  const { container = "a", dev = "eth0", server = "server", far = "eth0", down } = options;
  const { address = `${subnet.server}/${subnet.prefix}` } = options;
  const inside = await sandbox.container(container);
  const outside = await sandbox.container(server);
  await sandbox.ip(inside, [
    "link set lo up",
    `link add ${dev} type veth peer name ${far} netns ${outside}`,
    ...(down ? [] : [`link set ${dev} up`]),
  ]);
  await sandbox.ip(outside, [
    "link set lo up",
    `link set ${far} up`,
    `addr add ${address} brd + dev ${far}`,
  ]);
  return inside;
}

/** What a server is told. */
export interface ServerOptions {
  /** Its namespace and interface; `server` and `eth0` when absent. */
  readonly server?: string;
  readonly dev?: string;
  /** First and last address of its pool. */
  readonly pool?: readonly [first: string, last: string];
  /** File of its leases, which it writes at any time; one in the folder of the test when absent. */
  readonly leases?: string;
  /** Seconds of a lease; 120 when absent. */
  readonly seconds?: number;
  /** Further arguments of dnsmasq, or lines of the configuration of udhcpd. */
  readonly more?: readonly string[];
}

/** A server and its log. */
export class DhcpServer implements AsyncDisposable {
  readonly #child: Child;
  readonly #name: string;

  /** Starts a program inside a namespace; stderr counts as its log, too. */
  constructor(sandbox: Sandbox, netns: string, argv: readonly string[]) {
    this.#name = argv[0]!;
    const words = [`--net=${netns}`, "--", "sh", "-c", 'exec "$@" 2>&1', "sh", ...argv];
    this.#child = sandbox.keep(new Child(["nsenter", ...words], {}));
  }

  /** Waits for a line of the log and gives it. Lines are passed over once. */
  async logged(pattern: RegExp): Promise<string> {
    const passed: string[] = [];
    for (;;) {
      const line = await this.#child.line();
      if (line === undefined) break;
      if (pattern.test(line)) return line;
      passed.push(line);
    }
    throw new Error(`Cannot see ${pattern} in the log of ${this.#name}: ${passed.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

/** dnsmasq. */
export class Dnsmasq extends DhcpServer {
  readonly #leases: string;

  private constructor(sandbox: Sandbox, netns: string, options: ServerOptions) {
    const { dev = "eth0", pool = [subnet.first, subnet.last], seconds = 120, more = [] } = options;
    const { leases = `${sandbox.dir}/${options.server ?? "server"}.leases` } = options;
    super(sandbox, netns, [
      "dnsmasq",
      "--keep-in-foreground",
      "--log-facility=-",
      "--log-dhcp",
      "--conf-file=/dev/null",
      "--port=0",
      "--user=root",
      "--pid-file=",
      `--interface=${dev}`,
      "--bind-interfaces",
      "--no-ping",
      "--dhcp-authoritative",
      "--dhcp-sequential-ip",
      `--dhcp-leasefile=${leases}`,
      `--dhcp-range=${pool.join(",")},${seconds}s`,
      ...more,
    ]);
    this.#leases = leases;
  }

  /** Starts it; it serves when this returns. */
  static async start(sandbox: Sandbox, options: ServerOptions = {}): Promise<Dnsmasq> {
    const netns = await sandbox.container(options.server ?? "server");
    const server = new Dnsmasq(sandbox, netns, options);
    await server.logged(/DHCP, sockets bound/);
    return server;
  }

  /** Addresses that are leased. */
  leased(): string[] {
    const lines = Deno.readTextFileSync(this.#leases).split("\n").filter(Boolean);
    return lines.map((line) => line.split(" ")[2]!);
  }
}

/** udhcpd, which is a part of busybox. */
export async function startUdhcpd(
  sandbox: Sandbox,
  options: ServerOptions = {},
): Promise<DhcpServer> {
  const { dev = "eth0", pool = [subnet.first, subnet.last], seconds = 120, more = [] } = options;
  const netns = await sandbox.container(options.server ?? "server");
  const file = `${sandbox.dir}/udhcpd.conf`;
  Deno.writeTextFileSync(`${file}.leases`, "");
  Deno.writeTextFileSync(
    file,
    [
      `interface ${dev}`,
      `start ${pool[0]}`,
      `end ${pool[1]}`,
      `lease_file ${file}.leases`,
      `pidfile ${file}.pid`,
      `option subnet 255.255.255.0`,
      `option router ${subnet.server}`,
      `option lease ${seconds}`,
      "min_lease 4",
      ...more,
      "",
    ].join("\n"),
  );
  const server = new DhcpServer(sandbox, netns, ["busybox", "udhcpd", "-f", "-a", "100", file]);
  await server.logged(/started/);
  return server;
}

/** What reached port 67 of a namespace, in packets. */
export interface Reached {
  /** From 0.0.0.0 to all. */
  readonly nameless: number;
  /** From the first address of the pool to all. */
  readonly broadcast: number;
  /** From the first address of the pool to one. */
  readonly unicast: number;
  /** From anywhere else. */
  readonly strange: number;
}

/** Begins to count what reaches port 67 of a namespace. */
export async function countReached(
  sandbox: Sandbox,
  netns: string,
): Promise<() => Promise<Reached>> {
  const all = "255.255.255.255";
  const rules = [
    `udp dport 67 ip saddr 0.0.0.0 ip daddr ${all} counter name nameless accept`,
    `udp dport 67 ip saddr ${subnet.first} ip daddr ${all} counter name broadcast accept`,
    `udp dport 67 ip saddr ${subnet.first} counter name unicast accept`,
    `udp dport 67 counter name strange`,
  ];
  const names = ["nameless", "broadcast", "unicast", "strange"];
  await nft(sandbox, netns, [
    "table ip reached {",
    ...names.map((name) => `counter ${name} {\n}`),
    "chain in {",
    "type filter hook prerouting priority -300",
    ...rules,
    "}",
    "}",
  ]);
  return async () => {
    const text = await sandbox.inside(netns, [
      "nft",
      "-j",
      "list",
      "counters",
      "table",
      "ip",
      "reached",
    ]);
    const entries: { counter?: { name: string; packets: number } }[] = JSON.parse(text).nftables;
    const counts = entries.flatMap(({ counter }) =>
      counter ? [[counter.name, counter.packets]] : []
    );
    return Object.fromEntries(counts);
  };
}

/** Drops packets of a chain of a namespace by an expression of nft. */
export async function dropPackets(
  sandbox: Sandbox,
  netns: string,
  { hook, match }: { hook: "input" | "output"; match: string },
): Promise<void> {
  await nft(sandbox, netns, [
    `table ip loss-${hook} {`,
    "chain lossy {",
    `type filter hook ${hook} priority 0`,
    `${match} drop`,
    "}",
    "}",
  ]);
}

async function nft(sandbox: Sandbox, netns: string, lines: readonly string[]): Promise<void> {
  await sandbox.inside(netns, ["nft", "-f", "-"], { stdin: `${lines.join("\n")}\n` });
}

/**
 * A server that sends, for each packet it gets, everything that no client should take,
 * and the right answer after it. Gives how many packets it has sent at each.
 */
export async function startHostile(sandbox: Sandbox): Promise<void> {
  const netns = await sandbox.container("server");
  const child = sandbox.keep(
    new Child([
      "nsenter",
      `--net=${netns}`,
      "--",
      Deno.execPath(),
      "run",
      "--quiet",
      "--no-lock",
      "--no-check",
      "--allow-net",
      "--unstable-net",
      new URL("dhcp_hostile.ts", import.meta.url).pathname,
      subnet.server,
      subnet.first,
    ], {}),
  );
  if (await child.line() !== "ready") throw new Error("Cannot start the hostile server");
}
