/**
 * A host stand-in that the tests of a file share, with a process inside that runs
 * plugins: for guest kernels, where a Deno process takes a second to start, and for
 * suites of thousands of calls. After each test it is as it was, or another takes its
 * place.
 *
 * @module
 */
import type { Outcome } from "../../cni/serve.ts";
import { prepareTools } from "./fault.ts";
import type { InProcessCall, InProcessReply } from "./in_process.ts";
import { Child, must } from "./process.ts";
import type { State } from "./state.ts";
import { difference, stateOf } from "./state.ts";

/** Nothing forwarded, as in a new host stand-in. */
const notForwarding = `echo 0 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
`;

/** Takes away what tests leave in a host stand-in by design. */
const clean = `ip -force -batch - 2>/dev/null
nft flush ruleset
for ip in ip ip6; do
  { while read -r table; do
    \${ip}tables-legacy -t $table -F
    \${ip}tables-legacy -t $table -X
  done </proc/net/\${ip}_tables_names; } 2>/dev/null
done
echo 0 >/proc/sys/net/ipv4/conf/all/route_localnet
${notForwarding}`;

let standing: StandingHost | undefined;
let serial = 0;

/** The host stand-in for the next test that shares one. */
export async function standingHost(): Promise<StandingHost> {
  return standing ??= await StandingHost.create();
}

/** Makes a new namespace a host stand-in: loopback up, nothing forwarded. */
export async function settle(netns: string): Promise<void> {
  // A new namespace takes IPv4 forwarding over from the machine's first one.
  await must([
    "nsenter",
    `--net=${netns}`,
    "--",
    "sh",
    "-ec",
    `ip link set lo up\n${notForwarding}`,
  ]);
}

/** A shared host stand-in. */
export class StandingHost {
  /** Path of its namespace. */
  readonly netns: string;
  readonly #worker: Child;
  readonly #pristine: State;
  readonly #waiting = new Map<number, (reply: InProcessReply) => void>();
  #listening = false;
  #ended = false;
  #serial = 0;

  private constructor(netns: string, pristine: State) {
    this.netns = netns;
    this.#pristine = pristine;
    this.#worker = new Child([
      "nsenter",
      `--net=${netns}`,
      "--",
      Deno.execPath(),
      "run",
      "--allow-all",
      "--quiet",
      "--no-check",
      new URL("in_process.ts", import.meta.url).pathname,
    ], { cwd: "/" });
  }

  static async create(): Promise<StandingHost> {
    // Namespaces of test files that have ended may still have their names.
    const name = `d${Deno.pid}-${Date.now()}-${serial++}`;
    await must(["ip", "netns", "add", name]);
    const netns = `/run/netns/${name}`;
    await settle(netns);
    await prepareTools();
    return new StandingHost(netns, await stateOf("host", netns));
  }

  /** Calls a plugin; the process is killed when it does not answer in time. */
  async call(call: InProcessCall, deadline = 60_000): Promise<Outcome> {
    const id = this.#serial++;
    const { promise, resolve } = Promise.withResolvers<InProcessReply>();
    this.#waiting.set(id, resolve);
    await this.#worker.say(JSON.stringify({ ...call, id })).catch(() => this.#end());
    if (!this.#listening) this.#listen();
    const timer = setTimeout(() => this.#worker.kill("SIGKILL"), deadline);
    const reply = await promise;
    clearTimeout(timer);
    if ("escaped" in reply) throw new Error(`Cannot call "${call.type}": ${reply.escaped}`);
    return reply;
  }

  /** Listens as long as somebody waits. */
  async #listen(): Promise<void> {
    this.#listening = true;
    while (this.#waiting.size > 0) {
      const line = await this.#worker.line();
      if (line === undefined) return this.#end();
      const reply: InProcessReply = JSON.parse(line);
      this.#waiting.get(reply.id!)?.(reply);
      this.#waiting.delete(reply.id!);
    }
    this.#listening = false;
  }

  #end(): void {
    this.#ended = true;
    for (const resolve of this.#waiting.values()) resolve({ escaped: "the process has ended" });
    this.#waiting.clear();
  }

  /** Takes away what a test has left; where something stays, the next test gets another host. */
  async restore(): Promise<void> {
    const left = this.#ended ? ["a process that has ended"] : await this.#clean();
    if (left.length === 0) return;
    console.log(`A new host stand-in for the next test: the last one keeps\n${left.join("\n")}`);
    standing = undefined;
    await this.#worker[Symbol.asyncDispose]();
    await must(["ip", "netns", "del", this.netns.slice("/run/netns/".length)]);
  }

  /** Gives what it cannot take away. */
  async #clean(): Promise<string[]> {
    if ((await this.#left()).length === 0) return [];
    const links = [...linksOf(this.#worker.pid)];
    const lines = [...links.map((name) => `link del dev ${name}\n`), "link set dev lo up\n"];
    const argv = ["nsenter", `--net=${this.netns}`, "--", "sh", "-c", clean];
    await must(argv, { stdin: lines.join("") });
    return await this.#left();
  }

  async #left(): Promise<string[]> {
    return difference(this.#pristine, await stateOf("host", this.netns));
  }
}

/** Links of the namespace of a process, but for those that the kernel makes by itself. */
function* linksOf(pid: number): Generator<string> {
  const text = Deno.readTextFileSync(`/proc/${pid}/net/dev`);
  for (const [, name] of text.matchAll(/^ *([^:|]+):/gm)) {
    if (name !== "lo") yield name!;
  }
}
