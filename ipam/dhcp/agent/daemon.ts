/**
 * `dhcp daemon`: the lease agent as a process. Its command line, its socket, its signals.
 *
 * @module
 */
import type { Caller, Door } from "./socket.ts";
import type { Flags } from "./flags.ts";
import type { AgentTools } from "./leases.ts";
import type { RpcMethod, RpcMethods } from "../rpc/net_rpc.ts";
import { failureOf, removeFile, writeFileAtomic } from "../../../host/files.ts";
import { lockFile } from "../../../host/lock.ts";
import { Machine } from "../../../ns/machine.ts";
import { inspectNetns } from "../../../ns/netns.ts";
import { recordedNetns } from "../../../recipes/recorded_netns.ts";
import { Agent } from "./agent.ts";
import { guarded, hostClock } from "./clock.ts";
import { makeFolder, openDoor, passedSocket } from "./socket.ts";
import { locksDir } from "../exchange/exchange_lock.ts";
import { parseFlags } from "./flags.ts";
import { holdExchange, releaseFromHost } from "../exchange/run_exchange4.ts";
import { holdExchange6 } from "../exchange/run_exchange6.ts";
import { leaseMethods } from "../rpc/dhcp_service.ts";
import { ownMethods } from "../rpc/denocni_service.ts";
import { usual } from "../lease/lease_files.ts";
import { serveRpc } from "../rpc/net_rpc.ts";
import { unlessServed } from "./agent_lock.ts";
import { Store } from "../lease/lease_store.ts";
import { Turns } from "./fair_queue.ts";

/** Exchanges at one time, each a process: those that a plugin waits for, renewals, releases. */
const most = { acquisitions: 16, exchanges: 8, releases: 8 } as const;
/** Milliseconds between looks for namespaces that are gone. */
const sweepInterval = 60_000;
/** Milliseconds after which a connection without a call is closed. */
const idleLimit = 30_000;
/** Connections at one time; further ones are closed at once. */
const mostCallers = 1024;
/** Milliseconds to wait for an agent that is just ending. */
const lockLimit = 2_000;
/** Milliseconds before another try where callers cannot be let in: no descriptor is free. */
const acceptPause = 200;

/** Runs the agent until a signal ends it; then ends the process. */
export async function main(args: readonly string[]): Promise<never> {
  const line = parseFlags(args);
  if (line.kind === "help") return leave(0, line.text);
  if (line.kind === "wrong") return leave(1, line.text);
  outlive();
  const daemon = await Daemon.start(line.flags).catch((error: Error) => leave(1, error.message));
  const { hostPrefix, socketPath } = line.flags;
  say(`serving "${hostPrefix}${socketPath}"; leases from before: ${daemon.agent.size}`);
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, resolve);
  await ended;
  await daemon.stop();
  Deno.exit(0);
}

/** Nothing that nobody has caught ends the agent: it would take every lease with it. */
function outlive(): void {
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    say(String(event.reason?.stack ?? event.reason));
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    say(String(event.error?.stack ?? event.message));
  });
}

function leave(code: number, text: string): never {
  console.error(text);
  Deno.exit(code);
}

function say(line: string): void {
  console.error(`dhcp: ${line}`);
}

/** What the agent works with on this host. */
function toolsOf(flags: Flags): AgentTools {
  const { hostPrefix, socketPath, broadcast, timeout, resendMax, resendTimeout } = flags;
  const locks = `${hostPrefix}${locksDir}`;
  return {
    hold: (holding, signal) => holdExchange(new Machine(), holding, { signal, locks }),
    hold6: (holding, signal) => holdExchange6(new Machine(), holding, { signal }),
    releaseFromHost: (goal, client) => releaseFromHost({ goal, client }),
    apply: (steps) => new Machine().apply(steps),
    netnsOf: recordedNetns,
    inspect: inspectNetns,
    store: new Store(`${hostPrefix}${usual.dir}`, { prefix: hostPrefix }),
    acquisitions: new Turns(most.acquisitions),
    exchanges: new Turns(most.exchanges),
    releases: new Turns(most.releases),
    clock: hostClock(say),
    random: Math.random,
    limits: { within: resendTimeout, timeout, resendMax },
    socket: `${hostPrefix}${socketPath}`,
    unlessServed,
    hostPrefix,
    broadcast,
    say,
  };
}

/** A running agent with its socket. */
export class Daemon {
  readonly agent: Agent;
  readonly #door: Door;
  readonly #callers = new Set<Caller>();
  readonly #timers: number[] = [];
  readonly #pidfile: string | undefined;
  readonly #lock: Deno.FsFile;
  readonly #idleLimit: number;
  #stopped = false;

  private constructor(
    { agent, door, lock, pidfile, idle }: {
      readonly agent: Agent;
      readonly door: Door;
      readonly lock: Deno.FsFile;
      readonly pidfile: string | undefined;
      readonly idle: number;
    },
  ) {
    this.agent = agent;
    this.#door = door;
    this.#lock = lock;
    this.#pidfile = pidfile;
    this.#idleLimit = idle;
  }

  /**
   * Takes the socket, goes on with the leases that are on the disk, and lets plugins in. Throws
   * where another agent has the socket; then nothing of this one is left.
   */
  static async start(
    flags: Flags,
    { tools = toolsOf(flags), idle = idleLimit, sweep = sweepInterval }: {
      readonly tools?: AgentTools;
      readonly idle?: number;
      readonly sweep?: number;
    } = {},
  ): Promise<Daemon> {
    using undo = new DisposableStack();
    const lock = undo.adopt(await lockSocket(tools.socket), (lock) => lock.close());
    const door = undo.adopt(await doorOf(tools.socket), (door) => door.close());
    const { pidfile } = flags;
    if (pidfile !== undefined) undo.adopt(writePid(pidfile), removePid);
    const daemon = new Daemon({ agent: new Agent(tools), door, lock, pidfile, idle });
    daemon.agent.resume();
    undo.move();
    daemon.#timers.push(setInterval(guarded(() => daemon.agent.sweep(), tools.say), sweep));
    daemon.#letIn();
    return daemon;
  }

  /** Lets nobody in any more, ends what is under way, and leaves the leases on the disk. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#door.close();
    if (this.#pidfile !== undefined) removePid(this.#pidfile);
    await this.agent.close();
    for (const caller of this.#callers) failureOf(() => caller.close());
    this.#lock.close();
  }

  async #letIn(): Promise<void> {
    while (!this.#stopped) {
      const caller = await this.#door.accept().catch((error: Error) => error);
      if (caller instanceof Error) await this.#pause(caller);
      else if (!caller) return;
      else if (this.#callers.size >= mostCallers) caller.close();
      else this.#serve(caller);
    }
  }

  #pause({ message }: Error): Promise<void> {
    say(`Cannot let a plugin in: ${message}`);
    return new Promise((resolve) => this.#timers.push(setTimeout(resolve, acceptPause)));
  }

  async #serve(caller: Caller): Promise<void> {
    this.#callers.add(caller);
    const idle = new Idle(this.#idleLimit, () => failureOf(() => caller.close()));
    const methods = idle.watched({ ...leaseMethods(this.agent), ...ownMethods(this.agent) });
    // What goes wrong on a connection is its caller's matter.
    await serveRpc(caller, { methods }).catch(() => {});
    idle.end();
    failureOf(() => caller.close());
    this.#callers.delete(caller);
  }
}

/** Ends a connection on which nothing is asked. */
class Idle {
  #running = 0;
  #timer: number | undefined;
  #over = false;

  constructor(readonly limit: number, readonly close: () => void) {
    this.#wait();
  }

  /** The same methods; while one of them runs, the connection is in use. */
  watched(methods: RpcMethods): RpcMethods {
    const watch = (method: RpcMethod): RpcMethod => ({
      reply: method.reply,
      run: (args, signal) => {
        this.#running++;
        clearTimeout(this.#timer);
        return method.run(args, signal).finally(() => this.#leave());
      },
    });
    return Object.fromEntries(
      Object.entries(methods).map(([name, method]) => [name, watch(method)]),
    );
  }

  end(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #leave(): void {
    this.#running--;
    if (this.#running === 0 && !this.#over) this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.close, this.limit);
  }
}

/** Held as long as the agent lives: the kernel gives it back, however that ends. */
async function lockSocket(socket: string): Promise<Deno.FsFile> {
  makeFolder(socket);
  const locking = await lockFile(`${socket}.lock`, { mode: 0o600, deadline: lockLimit });
  if (locking.is === "locked") return locking.file;
  throw new Error(`Cannot start the lease agent: "${socket}" is served by ${locking.by}`);
}

function writePid(path: string): string {
  const failure = failureOf(() => writeFileAtomic(path, String(Deno.pid), { mode: 0o644 }));
  if (!failure) return path;
  throw new Error(`Error writing pidfile ${JSON.stringify(path)}: ${failure.message}`);
}

function removePid(path: string): void {
  failureOf(() => removeFile(path));
}

/** The socket that systemd has passed, or one of our own. */
async function doorOf(path: string): Promise<Door> {
  const read = (name: string) => {
    let value: string | undefined;
    failureOf(() => value = Deno.env.get(name));
    return value;
  };
  const passed = { pid: read("LISTEN_PID"), count: read("LISTEN_FDS") };
  const descriptor = passedSocket(passed, Deno.pid);
  if (descriptor === undefined) return await openDoor(path);
  const { openPassed } = await import("./socket_activation.ts");
  return await openPassed(descriptor, { path });
}
