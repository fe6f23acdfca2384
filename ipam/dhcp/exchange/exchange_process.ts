/**
 * Runs the process of an exchange (`exchange_main.ts`), on the host or inside a namespace. Inside one
 * it runs as long as the namespace is there and the caller wishes.
 *
 * @module
 */
import type { NetnsRef } from "../../../host/command.ts";
import type { Output } from "../../../host/spawn.ts";
import type { NetnsIdentity } from "../../../ns/netns.ts";
import type { Program } from "./self_exec.ts";
import { command } from "../../../host/command.ts";
import { failureOf } from "../../../host/files.ts";
import { firstLine } from "../../../host/reason.ts";
import { spawn, toolEnv } from "../../../host/spawn.ts";
import { argv } from "../../../ns/enter.ts";
import { inspectNetns, sameNetns } from "../../../ns/netns.ts";

/** A namespace, with its identity at the time of the first look. */
export interface KnownNetns {
  readonly netns: NetnsRef;
  readonly identity: NetnsIdentity;
}

/** What a process gets. */
export interface ProcessTask {
  readonly program: Program;
  /** A script that runs the program as its arguments; absent on the host. */
  readonly script?: string;
  /** Its order. */
  readonly line: string;
  /** Milliseconds that its exchange may take. */
  readonly within: number;
  /** Ends the process. */
  readonly signal?: AbortSignal | undefined;
}

/** Milliseconds between looks at the namespace's file during an exchange. */
const watchInterval = 2000;
/** Milliseconds that the process may take beyond its exchange, to start and to end. */
const slack = 10_000;

/** Runs the program in this process's own namespace. */
export async function runOnHost({ program, line, within, signal }: ProcessTask): Promise<Output> {
  const [path, ...args] = program.argv;
  return await run([path!, args], { program, line, within, signal });
}

/** Runs the program by its script in a namespace; gives `undefined` when that went before the end. */
export async function runInNetns(
  place: KnownNetns,
  task: ProcessTask,
): Promise<Output | undefined> {
  using watch = new NetnsWatch(() => isStillThere(place), { signal: task.signal });
  const words = ["-c", task.script!, "dhcp", ...task.program.argv];
  const inside = argv(command("sh", words, { netns: place.netns }));
  const output = await run(inside, { ...task, signal: watch.signal });
  return watch.gone && reportLineOf(output) === undefined ? undefined : output;
}

async function run(
  [path, args]: ReturnType<typeof argv>,
  { program, line, within, signal }: ProcessTask,
): Promise<Output> {
  return await spawn(path, args, {
    stdin: `${line}\n`,
    until: signal ?? new AbortController().signal,
    deadline: within + slack,
    env: { ...toolEnv, ...program.env },
  });
}

/** Whether a namespace is still there, and still the same. */
export function isStillThere({ netns, identity }: KnownNetns): boolean {
  const state = inspectNetns(netns.path);
  return state.is === "namespace" && sameNetns(state.identity, identity);
}

/** How a {@linkcode NetnsWatch} goes on. */
export interface NetnsWatchOptions {
  /** The caller's wish to end. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between looks; 2000 when absent. */
  readonly interval?: number;
}

/** Ends a process when its namespace goes, which the process would keep alive otherwise. */
export class NetnsWatch implements Disposable {
  readonly #ended = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  /** Is aborted by the caller's wish, or at the namespace's end. */
  readonly signal: AbortSignal;
  /** Whether the namespace has gone. */
  gone = false;

  /** `isThere` looks for the namespace. Where it throws, nothing is known, and the next look tells. */
  constructor(
    isThere: () => boolean,
    { signal, interval = watchInterval }: NetnsWatchOptions = {},
  ) {
    this.signal = AbortSignal.any([this.#ended.signal, ...(signal ? [signal] : [])]);
    this.#timer = setInterval(() => {
      let there = true;
      failureOf(() => there = isThere());
      if (!there) this.#end();
    }, interval);
  }

  #end(): void {
    this.gone = true;
    this.#ended.abort();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/** The report of a process; `undefined` when it has not written a whole line. */
export function reportLineOf({ stdout }: Output): string | undefined {
  return stdout.endsWith("\n") ? stdout : undefined;
}

/** Why a process has not reported. */
export function exitStateOf({ stderr, signal, code }: Output): string {
  return firstLine(stderr) || signal || `exit status ${code}`;
}
