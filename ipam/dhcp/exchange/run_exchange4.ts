/**
 * Runs exchanges with DHCPv4 servers inside namespaces, each in a short-lived process of its own. A
 * shell prepares the route of the packets (`broadcast_route.ts`), runs that process, and restores
 * everything however the process ends.
 *
 * @module
 */
import type { NetnsRef } from "../../../host/command.ts";
import type { Output } from "../../../host/spawn.ts";
import type { Host } from "../../../ns/machine.ts";
import type { NetnsFacts } from "./broadcast_route.ts";
import type { Client4, ExchangeGoal4 } from "./client_message4.ts";
import type { ExchangeOutcome4 } from "./exchange4.ts";
import type { KnownNetns } from "./exchange_process.ts";
import type { ExchangeNotRun, RunExchangeOptions } from "./run_exchange.ts";
import { codes } from "../../../cni/error.ts";
import { command } from "../../../host/command.ts";
import { inspectNetns } from "../../../ns/netns.ts";
import {
  broadcastRouteScript,
  cleanUpScript,
  factsScript,
  parseFacts,
  planBroadcastRoute,
  setUpFailedStatus,
} from "./broadcast_route.ts";
import { zeroCounts4 } from "./counts4.ts";
import { lockExchange } from "./exchange_lock.ts";
import {
  exitStateOf,
  isStillThere,
  reportLineOf,
  runInNetns,
  runOnHost,
} from "./exchange_process.ts";
import { decodeReport4, encodeOrder4 } from "./ipc4.ts";
import {
  cancelled,
  exchangeError,
  linkMissing,
  namespaceGone,
  noReportError,
  resultOfProcess,
} from "./run_exchange.ts";
import { exchangeProgram } from "./self_exec.ts";

/** An exchange to run. Times are milliseconds. */
export interface ExchangeJob4 {
  /** The container's namespace. */
  readonly netns: NetnsRef;
  /** Name of the interface inside. */
  readonly dev: string;
  readonly goal: ExchangeGoal4;
  /** The hardware address is read from the interface. */
  readonly client: Omit<Client4, "chaddr">;
  /** When to give up, from the call. */
  readonly within: number;
  readonly timeout?: number | undefined;
  readonly resendMax?: number | undefined;
}

/** How an exchange has ended. */
export type ExchangeResult4 = ExchangeOutcome4 | ExchangeNotRun;

/** Milliseconds that the shell of an exchange has to restore everything. */
const restoreTime = 500;
/** Milliseconds that a release from the host may take. */
const hostReleaseTime = 5000;
/** UDP port of clients. */
const clientPort = 68;

/**
 * Runs one exchange inside a namespace, one at a time there. It never leaves a route, a rule or a
 * kernel variable behind, and removes what a killed exchange has left. An interface that is down is
 * set up before it asks for an address, and stays up. Throws a `CniError` when the interface is no
 * Ethernet, the port is taken, or the route cannot be prepared.
 */
export async function runExchange4(
  host: Host,
  job: ExchangeJob4,
  options: RunExchangeOptions = {},
): Promise<ExchangeResult4> {
  const start = performance.now();
  const state = inspectNetns(job.netns.path);
  if (state.is !== "namespace") return namespaceGone;
  const { within } = job;
  const { signal, locks: dir } = options;
  const locking = await lockExchange(state.identity, { host, within, signal, dir });
  if (locking === undefined) return cancelled;
  if (typeof locking === "string") return nothingSent(locking);
  using lock = locking;
  const left = Math.max(within - (performance.now() - start), 0);
  const locked = { ...job, within: left, identity: state.identity, lock: lock.path };
  return await runLocked(host, locked, options);
}

/**
 * Sends a release from this process's own namespace, for a container that is gone: best effort, since
 * the server may be out of reach from here.
 */
export async function releaseFromHost(
  { goal, client }: Pick<ExchangeJob4, "goal"> & { readonly client: Client4 },
  options: RunExchangeOptions = {},
): Promise<ExchangeResult4> {
  const within = hostReleaseTime;
  const line = encodeOrder4({ goal, client, within, port: 0 });
  const { program = exchangeProgram(), signal } = options;
  const output = await runOnHost({ program, line, within, signal });
  const said = reportLineOf(output);
  const report = said === undefined ? undefined : decodeReport4(said, Date.now());
  if (report?.kind === "sent") return report;
  return nothingSent(report?.kind === "cut off" ? report.message : exitStateOf(output));
}

/** A job with the namespace's identity and the path of its lock. */
type LockedJob = ExchangeJob4 & KnownNetns & { readonly lock: string };

async function runLocked(
  host: Host,
  job: LockedJob,
  options: RunExchangeOptions,
): Promise<ExchangeResult4> {
  const { goal, dev, within, timeout, resendMax } = job;
  const facts = await factsOnceRestored(host, job);
  if ("kind" in facts) return facts;
  const { chaddr } = facts.links.get(dev)!;
  if (!chaddr) throw exchangeError(codes.kernelUnsupported, dev, "its hardware is not Ethernet");
  const route = planBroadcastRoute(goal, { dev, facts });
  const client = { ...job.client, chaddr };
  const { program = exchangeProgram(), signal } = options;
  const output = await runInNetns(job, {
    program,
    script: broadcastRouteScript(route, job.lock),
    line: encodeOrder4({ goal, client, within, timeout, resendMax, from: route.from }),
    within,
    signal,
  });
  if (output?.signal) await cleanUp(host, job);
  const lookAgain = () => missingPart(host, job);
  const explainSilence = async (output: Output) => await lookAgain() ?? fail(output, dev);
  const reader = { dev, port: clientPort, signal, decode: decodeReport4, lookAgain };
  return await resultOfProcess(output, { ...reader, explainSilence });
}

/** Throws the error of a process that has not reported. */
function fail(output: Output, dev: string): never {
  if (output.code === setUpFailedStatus) {
    throw exchangeError(codes.ioFailure, dev, exitStateOf(output));
  }
  throw noReportError(output, dev);
}

/** Restores what a shell has changed that was killed. */
async function cleanUp(host: Host, job: LockedJob): Promise<void> {
  const facts = await gatherFacts(host, job);
  if ("kind" in facts || facts.stale.length === 0) return;
  const { netns, dev } = job;
  const cleaning = command("sh", ["-c", cleanUpScript(facts)], { netns });
  await host.apply([{ why: `put back the ways of packets to "${dev}"`, do: cleaning }]);
}

/**
 * Gathers facts. An exchange that has just lost its caller is still restoring what it has changed, so
 * leftovers get a moment to go.
 */
async function factsOnceRestored(host: Host, job: LockedJob): Promise<NetnsFacts | ExchangeNotRun> {
  const facts = await gatherFacts(host, job);
  if ("kind" in facts || facts.stale.length === 0) return facts;
  await new Promise((resolve) => setTimeout(resolve, restoreTime));
  return await gatherFacts(host, job);
}

/** Tells whether the namespace or the link is missing by now. */
async function missingPart(host: Host, job: LockedJob): Promise<ExchangeNotRun | undefined> {
  const facts = await gatherFacts(host, job);
  return "kind" in facts ? facts : undefined;
}

/** Gathers facts about the namespace, if it and the link are there. */
async function gatherFacts(
  host: Host,
  { netns, dev, identity }: LockedJob,
): Promise<NetnsFacts | ExchangeNotRun> {
  const text = await host.query(command("sh", ["-c", factsScript(dev)], { netns }), {
    why: `look at "${dev}"`,
    tolerate: ["missing"],
  });
  if (text === undefined || !isStillThere({ netns, identity })) return namespaceGone;
  const facts = parseFacts(text);
  return facts.links.has(dev) ? facts : linkMissing;
}

function nothingSent(state: string): ExchangeResult4 {
  return {
    kind: "failed",
    message: `no more tries: nothing was sent: ${state}`,
    counts: zeroCounts4,
  };
}
