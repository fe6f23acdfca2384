/**
 * Programs that print a line for each event, as `ip monitor` does.
 *
 * @module
 */
import { toolEnv } from "./spawn.ts";

/**
 * A program that prints a line for each event and ends when its stdin is closed. The constructor
 * starts it.
 */
export class MonitorProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  #news = Promise.withResolvers<void>();
  readonly #over: Promise<void>;

  /** `path` is that of a program which may be run, as {@linkcode toolPath} gives it. */
  constructor(path: string, args: readonly string[]) {
    this.#child = new Deno.Command(path, {
      args: [...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      clearEnv: true,
      env: toolEnv,
    }).spawn();
    this.#over = this.#listen();
  }

  async #listen(): Promise<void> {
    for await (const _ of this.#child.stdout) this.#news.resolve();
  }

  /** Waits for something new since the last time: so many milliseconds at most, or until `signal`. */
  async heard(limit: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = () => resolve();
    const timer = setTimeout(stop, limit);
    signal.addEventListener("abort", stop, { once: true });
    if (!signal.aborted) await Promise.race([this.#news.promise, promise]);
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
    this.#news = Promise.withResolvers<void>();
  }

  /** Closes its stdin and waits for its end. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close().catch(() => {});
    await this.#over;
    await this.#child.status;
  }
}
