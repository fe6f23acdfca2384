/**
 * Runs the process of an exchange (`child.ts`) inside a namespace, as long as that is
 * there and the caller wishes.
 *
 * @module
 */
import type { NetnsRef } from "../../../host/command.ts";
import type { Output } from "../../../host/spawn.ts";
import type { NetnsIdentity } from "../../../ns/netns.ts";
import type { Program } from "./self_exec.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { command } from "../../../host/command.ts";
import { failureOf } from "../../../host/files.ts";
import { firstLine } from "../../../host/reason.ts";
import { spawn, toolEnv } from "../../../host/spawn.ts";
import { argv } from "../../../ns/enter.ts";
import { inspectNetns, sameNetns } from "../../../ns/netns.ts";

/** A namespace, and which one it was when somebody looked. */
export interface Place {
  readonly netns: NetnsRef;
  readonly identity: NetnsIdentity;
}

/** What a process is given. */
export interface Task {
  readonly program: Program;
  /** A script that runs the program as its arguments; none where it runs in our own namespace. */
  readonly script?: string;
  /** Its order. */
  readonly line: string;
  /** Milliseconds that its exchange may take. */
  readonly within: number;
  /** Ends it. */
  readonly signal?: AbortSignal | undefined;
}

/** Why nothing came of an exchange. */
export interface Unheld {
  readonly kind: "cancelled" | "namespace gone" | "link missing";
}

/** It was called off. */
export const cancelled = { kind: "cancelled" } as const;
/** The namespace is gone. */
export const gone = { kind: "namespace gone" } as const;
/** The namespace has no such interface. */
export const missing = { kind: "link missing" } as const;

/** Milliseconds between looks at the namespace's file during an exchange. */
const watchInterval = 2000;
/** Milliseconds that the process may take beyond its exchange, to start and to end. */
const slack = 10_000;

/** Runs it in this process's own namespace. */
export async function runHere({ program, line, within, signal }: Task): Promise<Output> {
  const [path, ...args] = program.argv;
  return await run([path!, args], { program, line, within, signal });
}

/** Runs it by its script in a namespace; gives `undefined` when that went before the end. */
export async function runInside(place: Place, task: Task): Promise<Output | undefined> {
  using watch = new Watch(() => isThere(place), { signal: task.signal });
  const words = ["-c", task.script!, "dhcp", ...task.program.argv];
  const inside = argv(command("sh", words, { netns: place.netns }));
  const output = await run(inside, { ...task, signal: watch.signal });
  return watch.gone && lineOf(output) === undefined ? undefined : output;
}

async function run(
  [path, args]: ReturnType<typeof argv>,
  { program, line, within, signal }: Task,
): Promise<Output> {
  return await spawn(path, args, {
    stdin: `${line}\n`,
    until: signal ?? new AbortController().signal,
    deadline: within + slack,
    env: { ...toolEnv, ...program.env },
  });
}

/** Whether the namespace is still the one it was. */
export function isThere({ netns, identity }: Place): boolean {
  const state = inspectNetns(netns.path);
  return state.is === "namespace" && sameNetns(state.identity, identity);
}

/** How a {@linkcode Watch} goes on. */
export interface WatchOptions {
  /** The caller's wish to end. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds between looks; 2000 when absent. */
  readonly interval?: number;
}

/** Ends a process when its namespace goes: else it would keep alive what nobody wants any more. */
export class Watch implements Disposable {
  readonly #ended = new AbortController();
  readonly #timer: number;
  /** The caller's wish, or the namespace's end. */
  readonly signal: AbortSignal;
  gone = false;

  /** `isThere` looks for it. Where it throws, nothing is known, and the next look tells. */
  constructor(isThere: () => boolean, { signal, interval = watchInterval }: WatchOptions = {}) {
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

/** The one line of a process that has something to say. */
export function lineOf({ stdout }: Output): string | undefined {
  return stdout.endsWith("\n") ? stdout : undefined;
}

/** Why a process has nothing to say. */
export function stateOf({ stderr, signal, code }: Output): string {
  return firstLine(stderr) || signal || `exit status ${code}`;
}

/** The error of a process that has nothing to say: killed by whoever needs memory, or a defect of ours. */
export function silent(output: Output, dev: string): CniError {
  // Above 128, a shell tells of a signal that has ended its program.
  const killed = output.signal !== null || output.code > 128;
  if (killed) return cannot(codes.tryAgainLater, dev, "its process was killed");
  return cannot(codes.internal, dev, stateOf(output));
}

/** An error about an interface. */
export function cannot(code: number, dev: string, state: string): CniError {
  return new CniError(code, `Cannot speak DHCP on "${dev}": ${state}`);
}
