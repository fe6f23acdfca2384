/**
 * The one place that starts a program.
 *
 * @module
 */
import type { Tool } from "./command.ts";
import { checkTool, toolDirs } from "./command.ts";
import { firstLine } from "./reason.ts";

/** Output and status of a finished program. */
export interface Output {
  /** Exit status. */
  readonly code: number;
  /** Name of the signal that ended it, if one did. */
  readonly signal: string | null;
  /** Everything that it wrote to stdout. */
  readonly stdout: string;
  /** Everything that it wrote to stderr. */
  readonly stderr: string;
}

/** How a program is started. */
export interface SpawnOptions {
  /** Text on its stdin; empty when absent. */
  readonly stdin?: string | undefined;
  /** Variables in place of (or, with `inherit`, on top of) this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether it gets this process's own variables, too; not when absent. */
  readonly inherit?: boolean;
  /** Milliseconds after which it is told to end, and soon killed; 20,000 when absent, `Infinity` for never. */
  readonly deadline?: number;
  /** Keeps its stdin open until this is aborted, for a program that ends when stdin does. */
  readonly until?: AbortSignal | undefined;
  /** Let it write to this process's stdout and stderr, as it runs; both are empty in the output. */
  readonly passThrough?: boolean;
}

/** A program that is not on this host. */
export class ToolMissingError extends Error {
  /** Tells this error from others. */
  override readonly name = "ToolMissingError";
  /** `tool` is the name that was looked for. */
  constructor(readonly tool: Tool) {
    super(
      `Cannot find program "${tool}": it is in none of ${toolDirs.join(", ")}`,
    );
  }
}

/** A program that did not end in time and was killed. */
export class DeadlineError extends Error {
  /** Tells this error from others. */
  override readonly name = "DeadlineError";
  /** `deadline` is in milliseconds. */
  constructor(path: string, readonly deadline: number) {
    super(`Cannot wait for "${path}" any longer: no end after ${deadline} ms`);
  }
}

const found = new Map<Tool, string>();

/** Whether the host has this program. Starts nothing. Throws for what {@linkcode checkTool} refuses. */
export function hasTool(tool: Tool): boolean {
  try {
    toolPath(tool);
    return true;
  } catch (error) {
    if (error instanceof ToolMissingError) return false;
    throw error;
  }
}

/** Full path of a program. Throws {@linkcode ToolMissingError}, or for what {@linkcode checkTool} refuses. */
export function toolPath(tool: Tool): string {
  const known = found.get(tool);
  if (known) return known;
  checkTool(tool);
  for (const dir of toolDirs) {
    const path = `${dir}/${tool}`;
    try {
      if (!Deno.statSync(path).isFile) continue;
    } catch {
      continue;
    }
    found.set(tool, path);
    return path;
  }
  throw new ToolMissingError(tool);
}

/** The environment of every tool: fixed words, fixed path. */
export const toolEnv: Readonly<Record<string, string>> = {
  LC_ALL: "C",
  PATH: toolDirs.join(":"),
};

/** Milliseconds that a program told to end (SIGTERM) has for it; then it is killed. */
const grace = 5_000;

/**
 * Starts a program by its full path and waits for its end. Deno grants programs
 * one by one; any other file (a delegate) is started by the shell, which is one.
 */
export async function spawn(
  path: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<Output> {
  const { stdin, until, deadline = 20_000 } = options;
  const granted = mayRun(path);
  const child = new Deno.Command(granted ? path : toolPath("sh"), {
    args: granted ? [...args] : ["-c", 'exec "$0" "$@"', path, ...args],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: options.passThrough ? "inherit" : "piped",
    stderr: options.passThrough ? "inherit" : "piped",
    clearEnv: !options.inherit,
    env: options.env ?? toolEnv,
  }).spawn();
  const output = read(await withinDeadline(child, { stdin, until, path, deadline }), options);
  if (!granted && output.code === 126 && output.stderr.includes(": exec: ")) {
    throw new Error(firstLine(output.stderr));
  }
  return output;
}

/** Runs a tool that ends at once. For facts that are needed where nothing can be awaited. */
export function spawnSync(tool: Tool, args: readonly string[]): Output {
  return read(
    new Deno.Command(toolPath(tool), {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      clearEnv: true,
      env: toolEnv,
    }).outputSync(),
  );
}

function mayRun(command: string): boolean {
  return Deno.permissions.querySync({ name: "run", command }).state === "granted";
}

function read(output: Deno.CommandOutput, { passThrough }: SpawnOptions = {}): Output {
  const decoder = new TextDecoder();
  return {
    code: output.code,
    signal: output.signal,
    stdout: passThrough ? "" : decoder.decode(output.stdout),
    stderr: passThrough ? "" : decoder.decode(output.stderr),
  };
}

/**
 * Ends a program that is late, in two steps. A child of its own that holds its
 * pipes open is not waited for.
 */
async function withinDeadline(
  child: Deno.ChildProcess,
  { path, deadline, ...food }: Food & { path: string; deadline: number },
): Promise<Deno.CommandOutput> {
  let late = false;
  const timers: ReturnType<typeof setTimeout>[] = [];
  const killed = new Promise<never>((_, reject) => {
    if (deadline === Infinity) return;
    timers.push(
      setTimeout(() => late = signal(child, "SIGTERM"), deadline),
      setTimeout(() => {
        signal(child, "SIGKILL");
        reject(new DeadlineError(path, deadline));
      }, deadline + grace),
    );
  });
  try {
    const output = await Promise.race([feed(child, food), killed]);
    if (output.signal && late) throw new DeadlineError(path, deadline);
    return output;
  } finally {
    for (const timer of timers) clearTimeout(timer);
  }
}

/** Sends a signal; a program that has ended already does not mind. */
function signal(child: Deno.ChildProcess, name: Deno.Signal): true {
  try {
    child.kill(name);
  } catch {
    // Ended, and its pipes are held by another.
  }
  return true;
}

type Food = Pick<SpawnOptions, "stdin" | "until">;

/** A program may end without reading everything: a broken pipe is not an error. */
async function feed(
  child: Deno.ChildProcess,
  { stdin, until }: Food,
): Promise<Deno.CommandOutput> {
  const output = child.output();
  if (stdin !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
    if (until) await firstOf(child.status, until);
    await writer.close().catch(() => {});
  }
  return await output;
}

/** Waits until a program has ended or a signal was given. */
async function firstOf(ended: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = () => resolve();
  signal.addEventListener("abort", stop, { once: true });
  await Promise.race([promise, ended]);
  signal.removeEventListener("abort", stop);
}
