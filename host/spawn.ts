/**
 * The one place that starts a program.
 *
 * @module
 */
import type { Tool } from "./command.ts";
import { toolDirs } from "./command.ts";

/** What a finished program left. */
export interface Output {
  readonly code: number;
  /** Name of the signal that ended it, if one did. */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is started. */
export interface SpawnOptions {
  /** What it reads; absent means nothing. */
  readonly stdin?: string | undefined;
  /** Variables in place of (or, with `inherit`, on top of) this process's own. */
  readonly env?: Readonly<Record<string, string>>;
  readonly inherit?: boolean;
  /** Milliseconds after which it is killed; 20,000 when absent. */
  readonly deadline?: number;
}

/** A program that is not on this host. */
export class ToolMissingError extends Error {
  override readonly name = "ToolMissingError";
  constructor(readonly tool: Tool) {
    super(
      `Cannot find program "${tool}": it is in none of ${toolDirs.join(", ")}`,
    );
  }
}

/** A program that did not end in time and was killed. */
export class DeadlineError extends Error {
  override readonly name = "DeadlineError";
  constructor(path: string, readonly deadline: number) {
    super(`Cannot wait for "${path}" any longer: no end after ${deadline} ms`);
  }
}

const found = new Map<Tool, string>();

/** Whether the host has this program. Starts nothing. */
export function hasTool(tool: Tool): boolean {
  try {
    toolPath(tool);
    return true;
  } catch {
    return false;
  }
}

/** Full path of a program. Throws {@linkcode ToolMissingError}. */
export function toolPath(tool: Tool): string {
  const known = found.get(tool);
  if (known) return known;
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

/** Starts a program by its full path and waits for its end. */
export async function spawn(
  path: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<Output> {
  const { stdin, deadline = 20_000 } = options;
  const timeout = AbortSignal.timeout(deadline);
  const cmd = new Deno.Command(path, {
    args: [...args],
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    clearEnv: !options.inherit,
    env: options.env ?? toolEnv,
    signal: timeout,
  });
  const output = stdin === undefined
    ? await cmd.output()
    : await feed(cmd, stdin);
  if (output.signal && timeout.aborted) throw new DeadlineError(path, deadline);
  const decoder = new TextDecoder();
  return {
    code: output.code,
    signal: output.signal,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

/** A program may end without reading everything: a broken pipe is not an error. */
async function feed(
  cmd: Deno.Command,
  stdin: string,
): Promise<Deno.CommandOutput> {
  const child = cmd.spawn();
  const writer = child.stdin.getWriter();
  const output = child.output();
  await writer.write(new TextEncoder().encode(stdin)).catch(() => {});
  await writer.close().catch(() => {});
  return await output;
}
