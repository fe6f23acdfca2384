/**
 * What every subcommand works with: the command line, the world outside, and
 * the runtime that both describe.
 *
 * @module
 */
import type { ExecutorOptions } from "../cni/runtime/executor.ts";
import type { NetworkConfig } from "../cni/runtime/config.ts";
import type { Json } from "../cni/types.ts";
import { splitPath } from "../cni/invoke.ts";
import { defaultCacheDir } from "../cni/runtime/cache.ts";
import { createExecutor } from "../cni/runtime/executor.ts";
import { findNetwork } from "../cni/runtime/find.ts";
import { Runtime } from "../cni/runtime/runtime.ts";
import { loadPlugin } from "../registry.ts";
import type { FlagName, Parsed } from "./options.ts";

/** The world outside: this process, or a test. */
export interface Io {
  env(name: string): string | undefined;
  stdout(text: string): void;
  stderr(text: string): void;
  readonly stdoutIsTerminal: boolean;
  readonly stderrIsTerminal: boolean;
  /** Aborted when the command shall stop. */
  readonly signal: AbortSignal;
}

/** One subcommand. */
export interface Subcommand {
  /** `add NETWORK NETNS`. */
  readonly usage: string;
  /** Description of the subcommand, in some lines. */
  readonly text: string;
  readonly example: string;
  readonly flags: readonly FlagName[];
  /** How many words it takes. */
  readonly words: { readonly min: number; readonly max: number };
  /** Does the work; gives an exit status other than 0 when it has said itself what is wrong. */
  run(cli: Cli): Promise<number | void>;
}

/** Where a runtime keeps network configurations. */
const defaultConfDir = "/etc/cni/net.d";

/** Where a runtime keeps plugins. */
const defaultPath = "/opt/cni/bin";

/** A command line in its surroundings. */
export class Cli {
  constructor(readonly io: Io, readonly parsed: Parsed) {}

  /** A word of the command line; empty when there are fewer. */
  word(index: number): string {
    return this.parsed.words[index] ?? "";
  }

  /** Whether stdout is for a program. */
  get json(): boolean {
    return this.parsed.has("json");
  }

  /** Directory of network configurations. */
  get confDir(): string {
    return this.parsed.value("conf-dir") ?? (this.io.env("NETCONFPATH") || defaultConfDir);
  }

  /** Directory of the cache. */
  get cacheDir(): string {
    return this.parsed.value("cache-dir") ?? defaultCacheDir;
  }

  /** Directories of plugins. */
  get path(): string[] {
    return splitPath(this.parsed.value("cni-path") ?? (this.io.env("CNI_PATH") || defaultPath));
  }

  /** The network of this name. */
  network(name: string): NetworkConfig {
    return findNetwork(name, this.confDir);
  }

  /** The runtime. Our own plugins run in process where none of that name is installed, too. */
  runtime(rest: Partial<ExecutorOptions> & { dryRun?: boolean } = {}): Runtime {
    const { dryRun, ...executor } = rest;
    return new Runtime({
      cacheDir: this.cacheDir,
      dryRun,
      executor: createExecutor({
        path: this.path,
        load: this.parsed.has("exec") ? undefined : loadPlugin,
        inProcessIfMissing: true,
        signal: this.io.signal,
        stderr: (text) => this.io.stderr(text),
        ...executor,
      }),
    });
  }

  /** Prints one JSON value with `--json`, else text for people. */
  print(value: Json, text: () => string): void {
    this.io.stdout(this.json ? `${JSON.stringify(value, undefined, 4)}\n` : text());
  }

  /** Says on a terminal that something silent has worked; `--json` says it always. */
  confirm(value: Json, text: string): void {
    if (this.json) this.print(value, () => "");
    else if (this.io.stdoutIsTerminal) this.io.stdout(`${text}\n`);
  }

  /** Shows on a terminal how far long work is; an empty text takes it away. */
  progress(text: string): void {
    if (this.io.stderrIsTerminal) this.io.stderr(`\r\x1b[K${text}`);
  }
}
