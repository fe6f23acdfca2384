/**
 * Carries plans out, each step in its namespace, and takes them back.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import { ActionError, isTolerated } from "../host/error.ts";
import { readFileIfExists, removeFile, writeFileAtomic } from "../host/files.ts";
import type { Unit } from "../host/fold.ts";
import { fold, skippedSteps } from "../host/fold.ts";
import { lockFile } from "../host/lock.ts";
import type { Reason } from "../host/reason.ts";
import type { Output } from "../host/spawn.ts";
import { DeadlineError, spawn } from "../host/spawn.ts";
import type { Action, Step } from "../host/step.ts";
import { argv } from "./enter.ts";

/** The machine as a verb sees it: queries, plans, rollback. */
export interface Host {
  /** True when nothing may be changed: plans are recorded, not carried out. */
  readonly dryRun: boolean;
  /** Aborted when the caller shall stop: for what waits longer than programs do. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Runs a command that changes nothing and gives its stdout. A failure with a
   * tolerated reason gives `undefined`; any other throws {@linkcode ActionError}.
   */
  query(cmd: Command, options?: QueryOptions): Promise<string | undefined>;
  /**
   * Carries steps out in order and remembers how to take them back. Gives what
   * they printed: a plan may end with a step that shows something. A dry run
   * gives nothing.
   */
  apply(steps: readonly Step[]): Promise<string>;
  /** Adds something of the caller's own to what a rollback does. */
  onRollback(why: string, undo: () => Promise<void>): void;
}

/** How a query is described and what it forgives. */
export interface QueryOptions {
  /** Purpose, as it follows "Cannot"; the command itself when absent. */
  readonly why?: string;
  /** Reasons for which it gives `undefined` in place of throwing. */
  readonly tolerate?: readonly Reason[];
}

interface Undo {
  readonly why: string;
  readonly run: () => Promise<void>;
}

/** The real host: runs programs, writes files, and can take everything back. */
export class Machine implements Host {
  readonly dryRun = false;
  readonly #undos: Undo[] = [];
  #signal: AbortSignal | undefined;

  /** Steps stop being started once `signal` is aborted; a rollback goes on all the same. */
  constructor(options: { signal?: AbortSignal } = {}) {
    this.#signal = options.signal;
  }

  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  async query(
    cmd: Command,
    options: QueryOptions = {},
  ): Promise<string | undefined> {
    const why = options.why ?? `run ${cmd.tool}`;
    const output = await runQuery(cmd);
    if (output.code === 0) return output.stdout;
    const error = ActionError.fromOutput({ why, do: cmd }, output);
    if (options.tolerate?.includes(error.reason)) return undefined;
    throw error;
  }

  async apply(steps: readonly Step[]): Promise<string> {
    let printed = "";
    for (let rest = steps; rest.length > 0;) {
      const unit = fold(rest)[0]!;
      this.#signal?.throwIfAborted();
      const outcome = await this.#attempt(unit);
      rest = rest.slice(this.#settle(unit, outcome));
      printed += outcome.stdout;
    }
    return printed;
  }

  onRollback(why: string, undo: () => Promise<void>): void {
    this.#undos.push({ why, run: undo });
  }

  /** Takes back everything done so far, last first. Gives a line for each failure. */
  async rollback(): Promise<string[]> {
    this.#signal = undefined;
    const failures: string[] = [];
    for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
      try {
        await undo.run();
      } catch (error) {
        failures.push(`Cannot undo "${undo.why}": ${messageOf(error)}`);
      }
    }
    return failures;
  }

  /** A program that was killed may have done any of its steps: all are taken back. */
  async #attempt(unit: Unit): Promise<Attempt> {
    try {
      return await attempt(unit);
    } catch (error) {
      if (error instanceof DeadlineError || error instanceof ActionError) {
        this.#remember(unit.steps);
      }
      throw error;
    }
  }

  /** Remembers what a unit has done; gives how many of its steps are settled. */
  #settle(unit: Unit, { failure }: Attempt): number {
    if (!failure) {
      this.#remember(unit.steps);
      return unit.steps.length;
    }
    const { index, error } = failure;
    if (!unit.atomic) this.#remember(unit.steps.slice(0, index));
    if (isTolerated(unit.steps[index]!, error)) return index + 1;
    throw error;
  }

  #remember(steps: readonly Step[]): void {
    for (const step of steps) {
      const { why, undo } = step;
      if (undo) this.onRollback(why, () => takeBack({ ...step, undo }));
    }
  }
}

/** Records plans instead of carrying them out; queries are made for real. */
export class DryRun implements Host {
  readonly dryRun = true;
  /** Everything that would have been done, in order. */
  readonly steps: Step[] = [];
  readonly #machine = new Machine();

  query(cmd: Command, options?: QueryOptions): Promise<string | undefined> {
    return this.#machine.query(cmd, options);
  }

  apply(steps: readonly Step[]): Promise<string> {
    this.steps.push(...steps);
    return Promise.resolve("");
  }

  onRollback(): void {}
}

/** Runs a command where it belongs. Throws when it cannot be started or does not end. */
export function run(cmd: Command): Promise<Output> {
  const [path, args] = argv(cmd);
  return spawn(path, args, { stdin: cmd.stdin });
}

/** How often a list of the kernel is read that changes while it is being read. */
const readings = 5;

/** iproute2 says so when a list may be inconsistent: then it is read again, and at last taken as it is. */
async function runQuery(cmd: Command): Promise<Output> {
  for (let reading = 1;; reading++) {
    const output = await run(cmd);
    if (reading === readings || !output.stderr.includes("Dump was interrupted")) return output;
  }
}

interface Attempt {
  readonly stdout: string;
  readonly failure?: { readonly index: number; readonly error: ActionError };
}

/** Throws when the program was killed or could not be started. */
async function attempt(unit: Unit): Promise<Attempt> {
  if (unit.run.kind !== "command") {
    const error = attemptLocal(unit.steps[0]!.why, unit.run);
    return { stdout: "", ...(error && { failure: { index: 0, error } }) };
  }
  const output = await run(unit.run);
  if (output.code === 0) {
    for (const { why } of skippedSteps(unit, output.stderr)) {
      console.error(`Cannot ${why}: the variable cannot be written; going on without`);
    }
    return { stdout: output.stdout };
  }
  const index = unit.failed(output.stderr);
  const step = unit.steps[index]!;
  const error = ActionError.fromOutput(step, output);
  if (output.signal) throw error;
  return { stdout: output.stdout, failure: { index, error } };
}

/** Files need no process. */
function attemptLocal(
  why: string,
  action: Exclude<Unit["run"], Command>,
): ActionError | undefined {
  try {
    if (action.kind === "mkdir") {
      const { path, mode = 0o755 } = action;
      Deno.mkdirSync(path, { recursive: true, mode });
    } else if (action.kind === "write") {
      writeFileAtomic(action.path, action.text, action);
    } else if (
      action.onlyIfText === undefined ||
      readFileIfExists(action.path) === action.onlyIfText
    ) removeFile(action.path);
    return undefined;
  } catch (error) {
    return ActionError.fromSystem(why, action, error);
  }
}

type Undoable = Step & { readonly undo: Action };

/** How long an undo waits for those who are beginning to use the thing, in milliseconds. */
const undoDeadline = 10_000;

async function takeBack(step: Undoable): Promise<void> {
  if (step.undoLock === undefined) return await undo(step);
  const locking = await lockFile(step.undoLock, { mode: 0o600, deadline: undoDeadline });
  if (locking.is === "held") return;
  using _file = locking.file;
  await undo(step);
}

async function undo({ why, undo, keepIf }: Undoable): Promise<void> {
  if (keepIf && await inUse(keepIf)) return;
  const { failure } = await attempt(fold([{ why: `undo: ${why}`, do: undo }])[0]!);
  if (failure && failure.error.reason !== "missing") throw failure.error;
}

async function inUse(query: Command): Promise<boolean> {
  const { stdout } = await run(query);
  return !/^[\s[\]{},]*$/.test(stdout);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
