/**
 * One test's world: a namespace that plays the host, namespaces that play
 * containers, a client outside, and folders for state. Everything is gone when
 * it is disposed of.
 *
 * @module
 */
import { Agent } from "./packets.ts";
import type { StartOptions } from "./process.ts";
import { execute, must } from "./process.ts";
import type { StandingHost } from "./standing.ts";
import { settle, standingHost } from "./standing.ts";

const netnsDir = "/run/netns";
const root = "/run/denocni-test";
let serial = 0;

/** Addresses of the link between the host and the outside. No route leads from there to containers. */
export const outsideNet = {
  host4: "203.0.113.1",
  host6: "2001:db8:ff::1",
  client4: "203.0.113.2",
  client6: "2001:db8:ff::2",
} as const;

/**
 * Duplicate address detection of a link waits up to `router_solicitation_delay` seconds, then a
 * second for the answer to each probe (Linux, `net/ipv6/addrconf.c`).
 */
const quickDad = `cd /proc/sys/net/ipv6/conf/default
echo 0 >router_solicitation_delay
echo 0 >dad_transmits`;

/** What a world is like. */
export interface SandboxOptions {
  /** Plugins are called inside one process, in a host stand-in that tests share. */
  readonly inOneProcess?: boolean;
  /** New IPv6 addresses of containers are tentative for an instant, in place of up to 2 s. */
  readonly quickDad?: boolean;
}

/** One test's world. Make it with {@linkcode Sandbox.create}. */
export class Sandbox implements AsyncDisposable {
  /** Path of the namespace that plays the host; plugins run inside it. */
  readonly host: string;
  /** A folder of this test's own. */
  readonly dir: string;
  readonly #prefix: string;
  readonly #netns = new Map<string, string>();
  readonly #agents = new Map<string, Agent>();
  readonly #cards = new Set<string>();
  readonly #resources: AsyncDisposable[] = [];
  readonly #quickDad: boolean;

  private constructor(
    /** The host stand-in of all tests, where they share one. */
    readonly standing: StandingHost | undefined,
    options: SandboxOptions,
  ) {
    this.#quickDad = options.quickDad ?? false;
    this.#prefix = `d${Deno.pid}-${serial++}`;
    this.dir = `${root}/${this.#prefix}`;
    this.host = standing?.netns ?? `${netnsDir}/${this.#prefix}-host`;
  }

  /** Makes the host stand-in, loopback up and nothing forwarded, or takes the one that tests share. */
  static async create(options: SandboxOptions = {}): Promise<Sandbox> {
    const sandbox = new Sandbox(options.inOneProcess ? await standingHost() : undefined, options);
    Deno.mkdirSync(sandbox.dir, { recursive: true });
    if (sandbox.standing) {
      sandbox.#netns.set("host", sandbox.host);
      return sandbox;
    }
    await sandbox.#addNetns("host");
    await settle(sandbox.host);
    return sandbox;
  }

  /** Where IPAM keeps its reservations. */
  get dataDir(): string {
    return `${this.dir}/networks`;
  }

  /** Where a runtime keeps its cache. */
  get cacheDir(): string {
    return `${this.dir}/cache`;
  }

  /** Every namespace of the test by its short name, the host first. */
  get namespaces(): ReadonlyMap<string, string> {
    return this.#netns;
  }

  /** Path of a container's namespace, made when first asked for. */
  async container(name = "a"): Promise<string> {
    return this.#netns.get(name) ?? await this.#addNetns(name);
  }

  /** Removes a namespace that has been made. */
  async removeNetns(name: string): Promise<void> {
    const path = this.#netns.get(name)!;
    await this.#agents.get(path)?.[Symbol.asyncDispose]();
    this.#agents.delete(path);
    this.#netns.delete(name);
    if (path === this.standing?.netns) return;
    if (this.#cards.size > 0) await this.#returnCards(path);
    await must(["ip", "netns", "del", path.slice(netnsDir.length + 1)]);
  }

  /**
   * Removes a namespace as {@linkcode removeNetns} does, and gives what awaits its end: the
   * kernel takes the links of one without processes apart a little later than its name.
   */
  async loseNetns(name: string): Promise<() => Promise<void>> {
    const witness = await this.container("witness");
    const lost = await this.container(name);
    await this.ip(witness, [`link add w0 type veth peer name w1 netns ${lost}`]);
    await this.removeNetns(name);
    const there = "ip link show dev w0 >/dev/null 2>&1";
    return async () => {
      await this.inside(witness, ["sh", "-ec", `while ${there}; do sleep 0.01; done`]);
    };
  }

  /**
   * A link of the host that stands for a network card, with its cable in `NAME-far`:
   * as the kernel does with real ones, {@linkcode removeNetns} brings it back to the
   * host under the name it has then, or where that is taken, as `dev` and its index.
   */
  async card(name: string, address: string): Promise<void> {
    this.#cards.add(address);
    if (await this.hasLink(this.host, name)) return;
    await this.ip(this.host, [
      `link add ${name} address ${address} type veth peer name ${name}-far`,
    ]);
  }

  async #returnCards(netns: string): Promise<void> {
    const links = await this.ipJson<CardLink>(netns, "link show");
    for (const { ifname, ifindex, address } of links) {
      if (!this.#cards.has(address)) continue;
      const name = await this.hasLink(this.host, ifname) ? `dev${ifindex}` : ifname;
      await this.ip(netns, [`link set dev ${ifname} netns ${this.host} name ${name}`]);
    }
  }

  /**
   * A client beyond the host, joined to it by a link `out0` with the addresses
   * of {@linkcode outsideNet}. Gives the path of its namespace.
   */
  async outside(): Promise<string> {
    const known = this.#netns.get("outside");
    if (known) return known;
    const path = await this.#addNetns("outside");
    const { host4, host6, client4, client6 } = outsideNet;
    await this.ip(this.host, [
      `link add out0 type veth peer name eth0 netns ${path}`,
      `addr add ${host4}/24 dev out0`,
      `addr add ${host6}/64 dev out0 nodad`,
      `link set out0 up`,
    ]);
    await this.ip(path, [
      `link set lo up`,
      `addr add ${client4}/24 dev eth0`,
      `addr add ${client6}/64 dev eth0 nodad`,
      `link set eth0 up`,
    ]);
    await this.#usable(this.host, host6);
    await this.#usable(path, client6);
    return path;
  }

  /** Waits until the kernel has made the route of an address of its own: it does so a little later. */
  async #usable(netns: string, address: string): Promise<void> {
    const found = `ip -6 route show table local | grep -q '^local ${address} '`;
    await this.inside(netns, ["sh", "-ec", `until ${found}; do sleep 0.01; done`]);
  }

  /** Runs a program that must succeed inside a namespace and gives its stdout. */
  inside(
    netns: string,
    argv: readonly string[],
    options: StartOptions = {},
  ): Promise<string> {
    return must(["nsenter", `--net=${netns}`, "--", ...argv], options);
  }

  /** Runs lines of `ip` inside a namespace. */
  async ip(netns: string, lines: readonly string[]): Promise<void> {
    const stdin = lines.map((line) => `${line}\n`).join("");
    await this.inside(netns, ["ip", "-batch", "-"], { stdin });
  }

  /** What `ip -j` says inside a namespace, without the empty objects it may contain. */
  async ipJson<T>(netns: string, words: string): Promise<T[]> {
    const argv = ["ip", "-d", "-j", ...words.split(" ")];
    const text = await this.inside(netns, argv);
    const all: T[] = JSON.parse(text.trim() || "[]");
    return all.filter((entry) => Object.keys(entry as object).length > 0);
  }

  /** Whether a namespace has a link of this name. */
  async hasLink(netns: string, name: string): Promise<boolean> {
    const argv = ["nsenter", `--net=${netns}`, "ip", "link", "show", "dev", name];
    return (await execute(argv)).code === 0;
  }

  /** The program that opens sockets inside a namespace, started when first asked for. */
  agent(netns: string): Agent {
    const known = this.#agents.get(netns);
    if (known) return known;
    const agent = new Agent(netns);
    this.#agents.set(netns, agent);
    return agent;
  }

  /** Keeps something until the end of the test. */
  keep<T extends AsyncDisposable>(resource: T): T {
    this.#resources.push(resource);
    return resource;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resource of this.#resources.toReversed()) await resource[Symbol.asyncDispose]();
    for (const agent of this.#agents.values()) {
      await agent[Symbol.asyncDispose]();
    }
    this.#agents.clear();
    this.#cards.clear();
    for (const name of [...this.#netns.keys()]) await this.removeNetns(name);
    Deno.removeSync(this.dir, { recursive: true });
    for (const dir of ["/var/lib/cni", "/run/cni"]) emptyDir(dir);
    await this.standing?.restore();
  }

  async #addNetns(name: string): Promise<string> {
    await must(["ip", "netns", "add", `${this.#prefix}-${name}`]);
    const path = `${netnsDir}/${this.#prefix}-${name}`;
    this.#netns.set(name, path);
    if (this.#quickDad) await this.inside(path, ["sh", "-ec", quickDad]);
    return path;
  }
}

interface CardLink {
  readonly ifname: string;
  readonly ifindex: number;
  readonly address: string;
}

function emptyDir(dir: string): void {
  try {
    for (const { name } of [...Deno.readDirSync(dir)]) {
      Deno.removeSync(`${dir}/${name}`, { recursive: true });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
