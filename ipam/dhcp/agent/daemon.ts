/**
 * `dhcp daemon`: the lease agent as a process, with its command line, its socket and its signals.
 *
 * @module
 */
import type { RpcMethod, RpcMethods } from "../rpc/net_rpc.ts";
import type { AgentTools } from "./agent_tools.ts";
import type { DaemonFlags } from "./flags.ts";
import type { Connection, Listener } from "./socket.ts";
import { failureOf, removeFile, writeFileAtomic } from "../../../host/files.ts";
import { lockFile } from "../../../host/lock.ts";
import { Machine } from "../../../ns/machine.ts";
import { inspectNetns } from "../../../ns/netns.ts";
import { recordedNetns } from "../../../recipes/recorded_netns.ts";
import { lockDir } from "../exchange/exchange_lock.ts";
import { releaseFromHost, runExchange4 } from "../exchange/run_exchange4.ts";
import { runExchange6 } from "../exchange/run_exchange6.ts";
import { leaseFolder } from "../lease/lease_files.ts";
import { LeaseStore } from "../lease/lease_store.ts";
import { denocniMethods } from "../rpc/denocni_service.ts";
import { dhcpMethods } from "../rpc/dhcp_service.ts";
import { serveRpc } from "../rpc/net_rpc.ts";
import { Agent } from "./agent.ts";
import { agentLockPath, unlessAgentRuns } from "./agent_lock.ts";
import { hostClock, logErrors } from "./clock.ts";
import { FairQueue } from "./fair_queue.ts";
import { parseFlags } from "./flags.ts";
import { activatedDescriptor, listenOnSocket, makeSocketFolder } from "./socket.ts";

/** Most exchanges at one time, each a process: acquisitions, renewals, releases. */
const queueLimits = { acquisitions: 16, exchanges: 8, releases: 8 } as const;
/** Milliseconds between looks for namespaces that are gone. */
const sweepInterval = 60_000;
/** Milliseconds after which a connection without a call is closed. */
const idleTimeout = 30_000;
/** Most connections at one time; further ones are closed at once. */
const maxConnections = 1024;
/** Milliseconds to wait for an agent that is just ending. */
const lockTimeout = 2_000;
/** Milliseconds before another attempt to accept a connection, when no descriptor is free. */
const acceptPause = 200;

/** Runs the agent until a signal ends it; then ends the process. */
export async function runDaemon(args: readonly string[]): Promise<never> {
  const line = parseFlags(args);
  if (line.kind === "help") return leave(0, line.text);
  if (line.kind === "wrong") return leave(1, line.text);
  logUncaughtErrors();
  const daemon = await Daemon.start(line.flags).catch((error: Error) => leave(1, error.message));
  const { hostPrefix, socketPath } = line.flags;
  say(`serving "${hostPrefix}${socketPath}"; leases from before: ${daemon.agent.size}`);
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) Deno.addSignalListener(signal, resolve);
  await ended;
  await daemon.stop();
  Deno.exit(0);
}

/** Logs errors that nobody catches, which would end the agent and with it the care of every lease. */
function logUncaughtErrors(): void {
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

/** Makes what the agent works with on this host. */
function toolsOf(flags: DaemonFlags): AgentTools {
  const { hostPrefix, socketPath, broadcast, timeout, resendMax, resendTimeout } = flags;
  const locks = `${hostPrefix}${lockDir}`;
  return {
    runExchange4: (holding, signal) => runExchange4(new Machine(), holding, { signal, locks }),
    runExchange6: (holding, signal) => runExchange6(new Machine(), holding, { signal }),
    releaseFromHost: (goal, client) => releaseFromHost({ goal, client }),
    apply: (steps) => new Machine().apply(steps),
    netnsOf: recordedNetns,
    inspect: inspectNetns,
    store: new LeaseStore(`${hostPrefix}${leaseFolder}`, { prefix: hostPrefix }),
    acquisitions: new FairQueue(queueLimits.acquisitions),
    exchanges: new FairQueue(queueLimits.exchanges),
    releases: new FairQueue(queueLimits.releases),
    clock: hostClock(say),
    random: Math.random,
    limits: { within: resendTimeout, timeout, resendMax },
    socket: `${hostPrefix}${socketPath}`,
    unlessAgentRuns: unlessAgentRuns,
    hostPrefix,
    broadcast,
    say,
  };
}

/** A running agent with its socket. */
export class Daemon {
  readonly agent: Agent;
  readonly #listener: Listener;
  readonly #connections = new Set<Connection>();
  readonly #timers: ReturnType<typeof setTimeout>[] = [];
  readonly #pidfile: string | undefined;
  readonly #lock: Deno.FsFile;
  readonly #idleLimit: number;
  #stopped = false;

  private constructor(
    { agent, listener, lock, pidfile, idle }: {
      readonly agent: Agent;
      readonly listener: Listener;
      readonly lock: Deno.FsFile;
      readonly pidfile: string | undefined;
      readonly idle: number;
    },
  ) {
    this.agent = agent;
    this.#listener = listener;
    this.#lock = lock;
    this.#pidfile = pidfile;
    this.#idleLimit = idle;
  }

  /**
   * Takes the socket, goes on with the leases on the disk, and accepts plugins. Throws when another
   * agent has the socket; then it leaves nothing behind.
   */
  static async start(
    flags: DaemonFlags,
    { tools = toolsOf(flags), idle = idleTimeout, sweep = sweepInterval }: {
      readonly tools?: AgentTools;
      readonly idle?: number;
      readonly sweep?: number;
    } = {},
  ): Promise<Daemon> {
    using undo = new DisposableStack();
    const lock = undo.adopt(await lockSocket(tools.socket), (lock) => lock.close());
    const listener = undo.adopt(await openListener(tools.socket), (listener) => listener.close());
    const { pidfile } = flags;
    if (pidfile !== undefined) undo.adopt(writePid(pidfile), removePid);
    const daemon = new Daemon({ agent: new Agent(tools), listener, lock, pidfile, idle });
    daemon.agent.resume();
    undo.move();
    daemon.#timers.push(setInterval(logErrors(() => daemon.agent.sweep(), tools.say), sweep));
    daemon.#acceptConnections();
    return daemon;
  }

  /** Accepts no more plugins, ends what is under way, and leaves the leases on the disk. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    this.#listener.close();
    if (this.#pidfile !== undefined) removePid(this.#pidfile);
    await this.agent.close();
    for (const connection of this.#connections) failureOf(() => connection.close());
    this.#lock.close();
  }

  async #acceptConnections(): Promise<void> {
    while (!this.#stopped) {
      const connection = await this.#listener.accept().catch((error: Error) => error);
      if (connection instanceof Error) await this.#pause(connection);
      else if (!connection) return;
      else if (this.#connections.size >= maxConnections) connection.close();
      else this.#serve(connection);
    }
  }

  #pause({ message }: Error): Promise<void> {
    say(`Cannot let a plugin in: ${message}`);
    return new Promise((resolve) => this.#timers.push(setTimeout(resolve, acceptPause)));
  }

  async #serve(connection: Connection): Promise<void> {
    this.#connections.add(connection);
    const idle = new IdleTimeout(this.#idleLimit, () => failureOf(() => connection.close()));
    const methods = idle.watched({ ...dhcpMethods(this.agent), ...denocniMethods(this.agent) });
    // A failure of a connection concerns its plugin alone.
    await serveRpc(connection, { methods }).catch(() => {});
    idle.end();
    failureOf(() => connection.close());
    this.#connections.delete(connection);
  }
}

/** Closes a connection without calls after some time. */
class IdleTimeout {
  #running = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #over = false;

  constructor(readonly limit: number, readonly close: () => void) {
    this.#wait();
  }

  /** Wraps methods: while one of them runs, the connection is in use. */
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

/** Locks the socket as long as the agent runs; the kernel releases the lock, however that ends. */
async function lockSocket(socket: string): Promise<Deno.FsFile> {
  makeSocketFolder(socket);
  const locking = await lockFile(agentLockPath(socket), { mode: 0o600, deadline: lockTimeout });
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

/** Opens the socket that systemd has passed, or one of our own. */
async function openListener(path: string): Promise<Listener> {
  const read = (name: string) => {
    let value: string | undefined;
    failureOf(() => value = Deno.env.get(name));
    return value;
  };
  const passed = { pid: read("LISTEN_PID"), count: read("LISTEN_FDS") };
  const descriptor = activatedDescriptor(passed, Deno.pid);
  if (descriptor === undefined) return await listenOnSocket(path);
  const { listenOnActivated: openPassed } = await import("./socket_activation.ts");
  return await openPassed(descriptor, { path });
}
