/**
 * Holds exchanges with DHCP servers inside namespaces, each in a short-lived process
 * of its own. A shell prepares the way of the packets (`passage.ts`), runs that
 * process, and puts everything back however it ends.
 *
 * @module
 */
import type { NetnsRef } from "../../host/command.ts";
import type { Output } from "../../host/spawn.ts";
import type { Host } from "../../ns/machine.ts";
import type { NetnsIdentity } from "../../ns/netns.ts";
import type { Client, Goal, Outcome } from "./exchange.ts";
import type { Facts } from "./passage.ts";
import type { Program } from "./self.ts";
import type { Order, Report } from "./wire.ts";
import { CniError, codes } from "../../cni/error.ts";
import { command } from "../../host/command.ts";
import { firstLine } from "../../host/reason.ts";
import { spawn, toolEnv } from "../../host/spawn.ts";
import { argv } from "../../ns/enter.ts";
import { inspectNetns, sameNetns } from "../../ns/netns.ts";
import { awaitTurn } from "./exchange_lock.ts";
import { lookScript, parseFacts, passageOf, passageScript, unprepared } from "./passage.ts";
import { ownProgram } from "./self.ts";
import { noCounts, orderToLine, reportFromLine } from "./wire.ts";

/** What an exchange is held for. Times are milliseconds. */
export interface Holding {
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** Name of the interface inside. */
  readonly dev: string;
  readonly goal: Goal;
  /** The hardware address is read from the interface. */
  readonly client: Omit<Client, "chaddr">;
  /** When to give up; it counts from the call. */
  readonly within: number;
  readonly timeout?: number | undefined;
  readonly resendMax?: number | undefined;
}

/** How it ended. */
export type Held =
  | Outcome
  | { readonly kind: "link missing" }
  | { readonly kind: "namespace gone" }
  | { readonly kind: "cancelled" };

/** What else an exchange is told. */
export interface HoldOptions {
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /** The program of `child.ts`; our own when absent. */
  readonly program?: Program | undefined;
}

const cancelled = { kind: "cancelled" } as const;
const gone = { kind: "namespace gone" } as const;
const missing = { kind: "link missing" } as const;

/** Milliseconds between looks at the namespace's file during an exchange. */
const watchInterval = 2000;
/** Milliseconds that the shell of an exchange has to put everything back. */
const settling = 500;
/** Milliseconds that the process may take beyond its exchange, to start and to end. */
const slack = 10_000;

/**
 * Holds one exchange inside a namespace, one at a time there. Never leaves a route, a
 * rule or a kernel variable behind, and takes away what an exchange left that was
 * killed. An interface that is down is set up before it asks for an address, and stays
 * up. Throws a `CniError` when the interface is no Ethernet, the port is taken, or the
 * way cannot be prepared.
 */
export async function holdExchange(
  host: Host,
  holding: Holding,
  options: HoldOptions = {},
): Promise<Held> {
  const start = performance.now();
  const state = inspectNetns(holding.netns.path);
  if (state.is !== "namespace") return gone;
  const { within } = holding;
  const turn = await awaitTurn(state.identity, { host, within, signal: options.signal });
  if (turn === undefined) return cancelled;
  if (typeof turn === "string") return untried(turn);
  using _turn = turn;
  const left = within - (performance.now() - start);
  return await holdAlone(host, { ...holding, within: left, identity: state.identity }, options);
}

/**
 * Sends a release from this process's own namespace, for a container that is gone: best
 * effort, for the server may be out of reach from here.
 */
export async function releaseFromHost(
  { goal, client }: Pick<Holding, "goal"> & { readonly client: Client },
  options: HoldOptions = {},
): Promise<Held> {
  const order = { goal, client, within: slack, port: 0 };
  const { argv: [path, ...args], env } = options.program ?? ownProgram();
  const output = await start(order, { path: path!, args, env, signal: options.signal });
  const report = readReport(output);
  return report?.kind === "sent" ? report : untried(stateOf(output, report));
}

interface Alone extends Holding {
  readonly identity: NetnsIdentity;
}

async function holdAlone(host: Host, holding: Alone, options: HoldOptions): Promise<Held> {
  const { goal, dev, netns } = holding;
  const facts = await lookUnlessBusy(host, holding);
  if ("kind" in facts) return facts;
  const { chaddr } = facts.links.get(dev)!;
  if (!chaddr) throw cannot(codes.kernelUnsupported, dev, "its hardware is not Ethernet");
  const passage = passageOf(goal, { dev, facts });
  const { within, timeout, resendMax } = holding;
  const client = { ...holding.client, chaddr };
  const order = { goal, client, within, timeout, resendMax, from: passage.from };
  const program = options.program ?? ownProgram();
  const script = ["-c", passageScript(passage), "dhcp", ...program.argv];
  const [path, args] = argv(command("sh", script, { netns }));
  using watch = new Watch(holding, options.signal);
  const output = await start(order, { path, args, env: program.env, signal: watch.signal });
  const report = readReport(output);
  if (report && report.kind !== "cut off" && report.kind !== "port taken") return report;
  if (watch.gone) return gone;
  if (options.signal?.aborted) return cancelled;
  if (report?.kind === "port taken") {
    throw cannot(codes.portConflict, dev, "another program in the container has UDP port 68");
  }
  const now = await lookAt(host, holding);
  if ("kind" in now) return now;
  if (report) return { ...report, kind: "failed", message: `no more tries: ${report.message}` };
  const code = output.code === unprepared ? codes.ioFailure : codes.internal;
  throw cannot(code, dev, stateOf(output));
}

/** Why there is no outcome. */
function stateOf({ stderr, signal, code }: Output, report?: Report): string {
  if (report) return "message" in report ? report.message : report.kind;
  return firstLine(stderr) || signal || `exit status ${code}`;
}

function cannot(code: number, dev: string, state: string): CniError {
  return new CniError(code, `Cannot speak DHCP on "${dev}": ${state}`);
}

/**
 * What an exchange has left whose process was killed; one that has just lost whoever held it is
 * still putting it back itself.
 */
async function lookUnlessBusy(host: Host, holding: Alone): Promise<Facts | Held> {
  const facts = await lookAt(host, holding);
  if ("kind" in facts || facts.stale.length === 0) return facts;
  await new Promise((resolve) => setTimeout(resolve, settling));
  return await lookAt(host, holding);
}

/** What the namespace is like, if it and the link are there. */
async function lookAt(host: Host, { netns, dev, identity }: Alone): Promise<Facts | Held> {
  const text = await host.query(command("sh", ["-c", lookScript(dev)], { netns }), {
    why: `look at "${dev}"`,
    tolerate: ["missing"],
  });
  if (text === undefined || !isThere(netns, identity)) return gone;
  const facts = parseFacts(text);
  return facts.links.has(dev) ? facts : missing;
}

function isThere({ path }: NetnsRef, identity: NetnsIdentity): boolean {
  const state = inspectNetns(path);
  return state.is === "namespace" && sameNetns(state.identity, identity);
}

/** Tells when an exchange has to end early: our process would keep a namespace that nobody wants any more. */
class Watch implements Disposable {
  readonly #ended = new AbortController();
  readonly #timer: number;
  /** The caller's wish, or the namespace's end. */
  readonly signal: AbortSignal;
  gone = false;

  constructor({ netns, identity }: Alone, signal: AbortSignal | undefined) {
    this.signal = AbortSignal.any([this.#ended.signal, ...(signal ? [signal] : [])]);
    this.#timer = setInterval(() => {
      if (isThere(netns, identity)) return;
      this.gone = true;
      this.#ended.abort();
    }, watchInterval);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

interface Start {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** Runs the process of an exchange to its end, which comes early when the signal does. */
async function start(order: Order, { path, args, env, signal }: Start): Promise<Output> {
  return await spawn(path, args, {
    stdin: `${orderToLine(order)}\n`,
    until: signal ?? new AbortController().signal,
    deadline: order.within + slack,
    env: { ...toolEnv, ...env },
  });
}

function readReport({ stdout }: Output): Report | undefined {
  return stdout.endsWith("\n") ? reportFromLine(stdout, Date.now()) : undefined;
}

/** Nothing was sent. */
function untried(state: string): Held {
  return { kind: "failed", message: `no more tries: nothing was sent: ${state}`, counts: noCounts };
}
