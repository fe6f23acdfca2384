/**
 * What running an exchange inside a namespace has in common for both families: how the report of its
 * process is understood, and its errors.
 *
 * @module
 */
import type { Output } from "../../../host/spawn.ts";
import type { Failed } from "./exchange.ts";
import type { CutOff, ExchangeReport, PortTaken } from "./ipc.ts";
import type { Program } from "./self_exec.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { exitStateOf, reportLineOf } from "./exchange_process.ts";

/** Options of an exchange besides its job. */
export interface RunExchangeOptions {
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
  /** The program of `exchange_main.ts`; this process's own when absent. */
  readonly program?: Program | undefined;
  /** Folder of the locks of DHCPv4; the one of all our programs when absent. */
  readonly locks?: string | undefined;
}

/** Why there was no exchange, or no result of it. */
export interface ExchangeNotRun {
  readonly kind: "cancelled" | "namespace gone" | "link missing";
}

/** The caller has ended it. */
export const cancelled = { kind: "cancelled" } as const;
/** The namespace is gone. */
export const namespaceGone = { kind: "namespace gone" } as const;
/** The namespace has no such interface. */
export const linkMissing = { kind: "link missing" } as const;

/** How to understand the process of an exchange. */
export interface ReportReader<Outcome, Counts> {
  /** Name of the interface. */
  readonly dev: string;
  /** The client's UDP port. */
  readonly port: number;
  readonly signal?: AbortSignal | undefined;
  readonly decode: (line: string, now: number) => ExchangeReport<Outcome, Counts>;
  /** Looks whether the namespace or the link is gone by now. */
  readonly lookAgain: () => Promise<ExchangeNotRun | undefined>;
  /** Explains a process that has not reported; throws a `CniError`. */
  readonly explainSilence: (output: Output) => Promise<ExchangeNotRun>;
}

/**
 * Reads the result of an exchange from the output of its process, which is absent when the namespace
 * went first. Throws a `CniError` when the port was taken, or there is no report without a reason.
 */
export async function resultOfProcess<Outcome extends { readonly kind: string }, Counts>(
  output: Output | undefined,
  { dev, port, signal, decode, lookAgain, explainSilence }: ReportReader<Outcome, Counts>,
): Promise<Outcome | Failed<Counts> | ExchangeNotRun> {
  if (!output) return namespaceGone;
  const line = reportLineOf(output);
  if (line === undefined) return signal?.aborted ? cancelled : await explainSilence(output);
  const report = decode(line, Date.now());
  if (isPortTaken(report)) {
    const state = `another program in the container has UDP port ${port}`;
    throw exchangeError(codes.portConflict, dev, state);
  }
  if (!isCutOff(report)) return report;
  return await lookAgain() ??
    { ...report, kind: "failed", message: `no more tries: ${report.message}` };
}

function isPortTaken(report: { readonly kind: string }): report is PortTaken {
  return report.kind === "port taken";
}

function isCutOff<Outcome extends { readonly kind: string }, Counts>(
  report: Outcome | CutOff<Counts>,
): report is CutOff<Counts> {
  return report.kind === "cut off";
}

/**
 * Makes the error of a process without a report: it was killed for lack of memory, refused by a
 * program that leads to it, or ended by a defect of ours, which Deno reports.
 */
export function noReportError(output: Output, dev: string): CniError {
  // A shell's exit status above 128 tells of a signal that has ended its program.
  const killed = output.signal !== null || output.code > 128;
  if (killed) return exchangeError(codes.tryAgainLater, dev, "its process was killed");
  const isOurs = output.stderr.trim() === "" || /^error: /m.test(output.stderr);
  return exchangeError(isOurs ? codes.internal : codes.refused, dev, exitStateOf(output));
}

/** Makes an error about an exchange on an interface. */
export function exchangeError(code: number, dev: string, state: string): CniError {
  return new CniError(code, `Cannot speak DHCP on "${dev}": ${state}`);
}
