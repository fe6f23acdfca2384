/**
 * Holds exchanges with DHCP servers inside namespaces, each in a short-lived process
 * of its own. A shell prepares the way of the packets (`passage.ts`), runs that
 * process, and puts everything back however it ends.
 *
 * @module
 */
import type { NetnsRef } from "../../../host/command.ts";
import type { Output } from "../../../host/spawn.ts";
import type { Host } from "../../../ns/machine.ts";
import type { Place, Unheld } from "./exchange_process.ts";
import type { Client, Goal, Outcome } from "./exchange4.ts";
import type { Facts } from "./broadcast_route.ts";
import type { Program } from "./self_exec.ts";
import type { Report } from "./ipc4.ts";
import { codes } from "../../../cni/error.ts";
import { command } from "../../../host/command.ts";
import { inspectNetns } from "../../../ns/netns.ts";
import {
  cancelled,
  cannot,
  gone,
  isThere,
  lineOf,
  missing,
  runHere,
  runInside,
  silent,
  stateOf,
} from "./exchange_process.ts";
import { awaitTurn } from "./exchange_lock.ts";
import {
  lookScript,
  parseFacts,
  passageOf,
  passageScript,
  sweepScript,
  unprepared,
} from "./broadcast_route.ts";
import { ownProgram } from "./self_exec.ts";
import { noCounts, orderToLine, reportFromLine } from "./ipc4.ts";

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
export type Held = Outcome | Unheld;

/** What else an exchange is told. */
export interface HoldOptions {
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /** The program of `child.ts`; our own when absent. */
  readonly program?: Program | undefined;
  /** Folder of the locks of DHCPv4; the one of all our programs when absent. */
  readonly locks?: string | undefined;
}

/** Milliseconds that the shell of an exchange has to put everything back. */
const settling = 500;
/** Milliseconds that a release from the host may take. */
const farewell = 5000;

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
  const { signal, locks: dir } = options;
  const turn = await awaitTurn(state.identity, { host, within, signal, dir });
  if (turn === undefined) return cancelled;
  if (typeof turn === "string") return untried(turn);
  using held = turn;
  const left = Math.max(within - (performance.now() - start), 0);
  const alone = { ...holding, within: left, identity: state.identity, lock: held.path };
  return await holdAlone(host, alone, options);
}

/**
 * Sends a release from this process's own namespace, for a container that is gone: best
 * effort, for the server may be out of reach from here.
 */
export async function releaseFromHost(
  { goal, client }: Pick<Holding, "goal"> & { readonly client: Client },
  options: HoldOptions = {},
): Promise<Held> {
  const within = farewell;
  const line = orderToLine({ goal, client, within, port: 0 });
  const { program = ownProgram(), signal } = options;
  const output = await runHere({ program, line, within, signal });
  const report = reportOf(output);
  if (report?.kind === "sent") return report;
  return untried(report?.kind === "cut off" ? report.message : stateOf(output));
}

type Alone = Holding & Place & { readonly lock: string };

async function holdAlone(host: Host, holding: Alone, options: HoldOptions): Promise<Held> {
  const { goal, dev, within, timeout, resendMax } = holding;
  const facts = await lookUnlessBusy(host, holding);
  if ("kind" in facts) return facts;
  const { chaddr } = facts.links.get(dev)!;
  if (!chaddr) throw cannot(codes.kernelUnsupported, dev, "its hardware is not Ethernet");
  const passage = passageOf(goal, { dev, facts });
  const client = { ...holding.client, chaddr };
  const { program = ownProgram(), signal } = options;
  const output = await runInside(holding, {
    program,
    script: passageScript(passage, holding.lock),
    line: orderToLine({ goal, client, within, timeout, resendMax, from: passage.from }),
    within,
    signal,
  });
  if (!output) return gone;
  if (output.signal) await tidyUp(host, holding);
  const report = reportOf(output);
  if (!report && signal?.aborted) return cancelled;
  return await interpret(host, { holding, output, report });
}

interface Ended {
  readonly holding: Alone;
  readonly output: Output;
  readonly report: Report | undefined;
}

/** What a report means; one that says too little means another look. */
async function interpret(host: Host, { holding, output, report }: Ended): Promise<Held> {
  const { dev } = holding;
  if (report?.kind === "port taken") {
    throw cannot(codes.portConflict, dev, "another program in the container has UDP port 68");
  }
  if (report && report.kind !== "cut off") return report;
  const now = await lookAt(host, holding);
  if ("kind" in now) return now;
  if (report) return { ...report, kind: "failed", message: `no more tries: ${report.message}` };
  if (output.code === unprepared) throw cannot(codes.ioFailure, dev, stateOf(output));
  throw silent(output, dev);
}

/** The shell itself was killed, and nobody has put anything back. */
async function tidyUp(host: Host, holding: Alone): Promise<void> {
  const facts = await lookAt(host, holding);
  if ("kind" in facts || facts.stale.length === 0) return;
  const { netns, dev } = holding;
  const tidying = command("sh", ["-c", sweepScript(facts)], { netns });
  await host.apply([{ why: `put back the ways of packets to "${dev}"`, do: tidying }]);
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
async function lookAt(host: Host, { netns, dev, ...place }: Alone): Promise<Facts | Held> {
  const text = await host.query(command("sh", ["-c", lookScript(dev)], { netns }), {
    why: `look at "${dev}"`,
    tolerate: ["missing"],
  });
  if (text === undefined || !isThere({ netns, ...place })) return gone;
  const facts = parseFacts(text);
  return facts.links.has(dev) ? facts : missing;
}

function reportOf(output: Output): Report | undefined {
  const line = lineOf(output);
  return line === undefined ? undefined : reportFromLine(line, Date.now());
}

/** Nothing was sent. */
function untried(state: string): Held {
  return { kind: "failed", message: `no more tries: nothing was sent: ${state}`, counts: noCounts };
}
