/**
 * The lease agent as a process of a test, and a network for it, to which the host, a server and
 * containers are joined.
 *
 * @module
 */
import type { JsonObject } from "../../cni/types.ts";
import type { PluginCall } from "./plugin.ts";
import type { Sandbox } from "./sandbox.ts";
import { Dnsmasq, subnet } from "./dhcp_server.ts";
import { binDir } from "./plugin.ts";
import { Child } from "./process.ts";

/** How an agent is started. */
export interface AgentOptions {
  /** Further flags. */
  readonly flags?: readonly string[];
  /** Folder with the executable; the plugins under test when absent. */
  readonly dir?: string;
  /** Words that start it, before its own. */
  readonly through?: readonly string[];
  /** It says nothing when it serves, as the reference's. */
  readonly mute?: boolean;
}

/** Path of the agent's socket; not where the state of the test is looked at, which reads files. */
export function socketOf(sandbox: Sandbox): string {
  return `/run/${sandbox.dir.split("/").at(-1)}.sock`;
}

/** A running agent. */
export class LeaseAgentProcess implements AsyncDisposable {
  readonly #child: Child;

  private constructor(
    sandbox: Sandbox,
    { flags = [], dir = binDir(), through = [] }: AgentOptions,
  ) {
    const words = [...through, `${dir}/dhcp`, "daemon", "-socketpath", socketOf(sandbox), ...flags];
    this.#child = sandbox.keep(
      new Child([
        "nsenter",
        `--net=${sandbox.host}`,
        "--",
        ...["sh", "-c", 'exec "$@" 2>&1', "sh", ...words],
      ], { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } }),
    );
  }

  /** Starts it inside the host stand-in; it serves when this returns. */
  static async start(sandbox: Sandbox, options: AgentOptions = {}): Promise<LeaseAgentProcess> {
    const agent = new LeaseAgentProcess(sandbox, options);
    if (!options.mute) await agent.said(/^dhcp: serving /);
    else await sandbox.inside(sandbox.host, ["sh", "-c", untilServed, "sh", socketOf(sandbox)]);
    return agent;
  }

  /** Its process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits for a line that it says. */
  async said(pattern: RegExp): Promise<string> {
    const passed: string[] = [];
    for (;;) {
      const line = await this.#child.line();
      if (line === undefined) break;
      if (pattern.test(line)) return line;
      passed.push(line);
    }
    throw new Error(`Cannot see ${pattern} in what the agent says: ${passed.join("\n")}`);
  }

  /** Sends a signal and waits for its end. */
  async end(signal: Deno.Signal): Promise<Deno.CommandStatus> {
    this.#child.kill(signal);
    return await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

/** The reference's agent says nothing at all. */
const untilServed = 'until [ -S "$1" ]; do sleep 0.01; done';

/**
 * A network: a server's namespace, whose interface `eth0` is a bridge to which the others are
 * joined, and a card `up0` of the host on it. Gives the path of the server's namespace.
 */
export async function joinLan(sandbox: Sandbox): Promise<string> {
  const server = await sandbox.container("server");
  await sandbox.ip(server, [
    "link set lo up",
    // A bridge without one takes that of a port.
    "link add eth0 address 02:00:00:00:77:01 type bridge",
    `addr add ${subnet.server}/${subnet.prefix} brd + dev eth0`,
    "link set eth0 up",
  ]);
  await plug(sandbox, { netns: sandbox.host, dev: "up0", port: "host-up0" });
  await sandbox.ip(sandbox.host, [`addr add 192.168.77.254/${subnet.prefix} brd + dev up0`]);
  return server;
}

/** Another server's namespace at the network; gives its path. */
export async function joinOther(sandbox: Sandbox, address: string): Promise<string> {
  const netns = await sandbox.container("other");
  await plug(sandbox, { netns, dev: "eth0", port: "other-eth0" });
  await sandbox.ip(netns, [`addr add ${address}/${subnet.prefix} brd + dev eth0`]);
  return netns;
}

/** Gives a container an interface at the network, unless it has one; gives its namespace. */
export async function joinContainer(
  sandbox: Sandbox,
  { name = "a", dev = "eth0" } = {},
): Promise<string> {
  const netns = await sandbox.container(name);
  if (await sandbox.hasLink(netns, dev)) return netns;
  await plug(sandbox, { netns, dev, port: `${name}-${dev}` });
  return netns;
}

async function plug(
  sandbox: Sandbox,
  { netns, dev, port }: { netns: string; dev: string; port: string },
): Promise<void> {
  const server = await sandbox.container("server");
  await sandbox.ip(server, [
    `link add ${port} type veth peer name ${dev} netns ${netns}`,
    `link set ${port} master eth0 up`,
  ]);
  await sandbox.ip(netns, ["link set lo up", `link set ${dev} up`]);
}

/** Gives a container an interface at the network, by the path of its namespace. */
export async function furnishContainer(sandbox: Sandbox, netns: string): Promise<void> {
  const [name] = [...sandbox.namespaces].find(([, path]) => path === netns)!;
  await joinContainer(sandbox, { name });
}

/** A call of the plugin, directly. */
export function dhcpCall(
  sandbox: Sandbox,
  verb: PluginCall["verb"],
  { ipam = {}, config = {}, ...rest }: Omit<Partial<PluginCall>, "config"> & {
    readonly ipam?: JsonObject;
    readonly config?: JsonObject;
  } = {},
): PluginCall {
  return {
    type: "dhcp",
    verb,
    config: {
      cniVersion: "1.1.0",
      name: "net1",
      type: "some",
      ipam: { type: "dhcp", daemonSocketPath: socketOf(sandbox), ...ipam },
      ...config,
    },
    ...rest,
  };
}

/** Gives an interface what a result says, as a plugin does with the result of IPAM. */
export async function configure(
  sandbox: Sandbox,
  { netns, dev = "eth0", result }: {
    readonly netns: string;
    readonly dev?: string;
    readonly result: JsonObject;
  },
): Promise<void> {
  const ips = result["ips"] as { address: string }[];
  const routes = result["routes"] as { dst: string; gw: string }[];
  await sandbox.ip(netns, [
    ...ips.map(({ address }) => `addr add ${address} brd + dev ${dev}`),
    ...routes.map(({ dst, gw }) => `route add ${dst} via ${gw} dev ${dev}`),
  ]);
}

/** IPv4 addresses of an interface. */
export async function addressesOn(sandbox: Sandbox, netns: string, dev = "eth0") {
  const links = await sandbox.ipJson<{ addr_info: { local: string }[] }>(
    netns,
    `-4 addr show dev ${dev}`,
  );
  return links.flatMap(({ addr_info }) => addr_info.map(({ local }) => local));
}

/** Times with which tests do not wait long. */
export const hasty = ["-timeout", "1s", "-resendmax", "2s", "--resendtimeout=3s"];

/** A host with a server, an agent and a container. */
export async function lan(
  sandbox: Sandbox,
  { more = [], flags = hasty }: {
    /** Of the server. */
    readonly more?: readonly string[];
    /** Of the agent. */
    readonly flags?: readonly string[];
  } = {},
) {
  const host = await joinLan(sandbox);
  const server = await Dnsmasq.start(sandbox, { more });
  const agent = await LeaseAgentProcess.start(sandbox, { flags });
  const netns = await joinContainer(sandbox);
  return { server, agent, netns, host };
}

/** Names of the files of leases, and of acquisitions that may have brought one. */
export function leaseFiles(): string[] {
  try {
    return [...Deno.readDirSync("/run/cni/denocni/dhcp")].map(({ name }) => name);
  } catch {
    return [];
  }
}

/** Waits for what a server does a moment after it has said so, or got a packet. */
export async function until(done: () => boolean): Promise<void> {
  const end = Date.now() + 5000;
  while (!done()) {
    if (Date.now() > end) throw new Error("Cannot wait any longer: it does not come");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
