/**
 * Programs that tests start. The project's own `host/spawn.ts` is not used, so
 * that a defect there cannot hide itself.
 *
 * @module
 */

/** What a finished program left. */
export interface Finished {
  readonly code: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is started. */
export interface StartOptions {
  /** What it reads; absent means `/dev/null`. */
  readonly stdin?: string | Uint8Array | undefined;
  /** The whole environment; absent means this process's own. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  /** Milliseconds after which it is killed; 60,000 when absent. */
  readonly deadline?: number | undefined;
}

function commandOf(
  argv: readonly string[],
  options: StartOptions,
): Deno.CommandOptions {
  return {
    args: argv.slice(1),
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...(options.env && { env: { ...options.env }, clearEnv: true }),
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  };
}

/** Runs a program to its end; a failure of the program is a value, not an error. */
export async function execute(
  argv: readonly string[],
  options: StartOptions = {},
): Promise<Finished> {
  const child = new Deno.Command(argv[0]!, commandOf(argv, options)).spawn();
  const timer = setTimeout(
    () => child.kill("SIGKILL"),
    options.deadline ?? 60_000,
  );
  try {
    const fed = options.stdin === undefined ? undefined : feed(child.stdin, options.stdin);
    const output = await child.output();
    await fed;
    return finished(output);
  } finally {
    clearTimeout(timer);
  }
}

/** Runs a program that must succeed and gives its stdout. */
export async function must(
  argv: readonly string[],
  options: StartOptions = {},
): Promise<string> {
  const { code, signal, stdout, stderr } = await execute(argv, options);
  if (code === 0) return stdout;
  throw new Error(
    `Cannot run "${argv.join(" ")}": ${signal ?? `exit status ${code}`}: ${
      stderr.trim() || stdout.trim()
    }`,
  );
}

/** A program in a process group of its own, to be killed at any moment. */
export class Running {
  readonly #process: Deno.ChildProcess;
  /** What it leaves in the end. */
  readonly finished: Promise<Finished>;

  constructor(argv: readonly string[], options: StartOptions) {
    const words = ["setsid", ...argv];
    this.#process = new Deno.Command(words[0]!, commandOf(words, options)).spawn();
    const fed = options.stdin === undefined ? undefined : feed(this.#process.stdin, options.stdin);
    const output = this.#process.output();
    this.finished = (async () => {
      await fed;
      return finished(await output);
    })();
  }

  /** Sends a signal to the program alone. */
  signal(signal: Deno.Signal): void {
    send(this.#process.pid, signal);
  }

  /** Sends a signal to the program and everything it has started; at its very start it has no group. */
  signalAll(signal: Deno.Signal): void {
    if (!send(-this.#process.pid, signal)) this.signal(signal);
  }

  /**
   * Waits until everything it has started has ended too. The kernel tells only a
   * parent about that, and the parent is gone: so this asks again and again.
   */
  async allGone(): Promise<void> {
    await this.finished;
    while (send(-this.#process.pid, "SIGCONT")) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** Whether there was somebody to send it to. */
function send(pid: number, signal: Deno.Signal): boolean {
  try {
    Deno.kill(pid, signal);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Runs a short program to its end without giving way to anything else. */
export function executeSync(argv: readonly string[]): Finished {
  const command = new Deno.Command(argv[0]!, commandOf(argv, {}));
  return finished(command.outputSync());
}

function finished(output: Deno.CommandOutput): Finished {
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
  stdin: WritableStream<Uint8Array<ArrayBuffer>>,
  data: string | Uint8Array,
): Promise<void> {
  const writer = stdin.getWriter();
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
  await writer.write(bytes).catch(() => {});
  await writer.close().catch(() => {});
}

/** A program that keeps running and speaks in lines; killed when disposed of. */
export class Child implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<string>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #rest = "";

  constructor(argv: readonly string[], options: Omit<StartOptions, "stdin">) {
    this.#process = new Deno.Command(argv[0]!, {
      ...commandOf(argv, options),
      stdin: "piped",
      stderr: "inherit",
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#reader = this.#process.stdout
      .pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Its end. */
  get status(): Promise<Deno.CommandStatus> {
    return this.#process.status;
  }

  /** The next line it says, or `undefined` when it has said everything. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#rest.indexOf("\n");
      if (end >= 0) {
        const line = this.#rest.slice(0, end);
        this.#rest = this.#rest.slice(end + 1);
        return line;
      }
      const { value, done } = await this.#reader.read();
      if (done) return undefined;
      this.#rest += value;
    }
  }

  /** Gives it a line to read. */
  async say(line: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${line}\n`));
  }

  /** Asks it to end by a signal. */
  kill(signal: Deno.Signal = "SIGTERM"): void {
    try {
      this.#process.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Ends it and waits until it has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill("SIGKILL");
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel();
    await this.#process.status;
  }
}
