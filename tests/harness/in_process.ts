/**
 * Runs plugins inside one process, for tests that need thousands of calls. Reads
 * one JSON call a line and answers each with one line of the same `id`, when it has
 * ended; the environment of a call may hold what no real one can, a NUL for example.
 *
 * @module
 */
import { handle } from "../../cni/serve.ts";
import type { Outcome } from "../../cni/serve.ts";
import { loadPlugin } from "../../registry.ts";

/** One call. */
export interface InProcessCall {
  readonly type: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly id?: number;
}

/** What came of it, or what escaped from it. */
export type InProcessReply = { readonly id?: number } & (Outcome | { readonly escaped: string });

async function call({ type, env, stdin }: InProcessCall): Promise<InProcessReply> {
  try {
    const plugin = await loadPlugin(type);
    if (!plugin) throw new Error(`Cannot load "${type}": not ours`);
    return await handle(plugin, {
      env: (name) => env[name],
      stdin: () => stdin,
      load: loadPlugin,
    });
  } catch (error) {
    return { escaped: error instanceof Error ? error.stack ?? error.message : String(error) };
  }
}

async function answer(request: InProcessCall): Promise<void> {
  console.log(JSON.stringify({ ...await call(request), id: request.id }));
}

async function main(): Promise<void> {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) answer(JSON.parse(line));
  }
}

if (import.meta.main) await main();
