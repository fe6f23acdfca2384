/**
 * Boots a guest on this machine's own files, runs one command in it and ends with its status:
 *
 *   deno task guest COMMAND [ARGUMENT]...
 *
 * Nothing on the machine changes: the guest reads its root file system, and keeps what it writes
 * in its memory. Ends with whoever started it.
 *
 * @module
 */
import { shellQuote } from "../../host/command.ts";
import { readFileIfExists } from "../../host/files.ts";
import { Child } from "../../tests/harness/process.ts";
import { runTask } from "../command_line.ts";
import type { GuestKernel } from "./kernel.ts";
import { guestKernel } from "./kernel.ts";

/** How a guest is run. */
export interface GuestOptions {
  /** Folder that the guest can write, under the same path. Its start, streams and console are there, too. */
  readonly share: string;
  /** Variables of the command, besides those in {@linkcode inherited}. */
  readonly env?: Readonly<Record<string, string>>;
  /** The processor it stays on; any when absent. A guest has one alone. */
  readonly processor?: number;
  /** Stands before each line of the command; nothing when absent. */
  readonly prefix?: string;
  /** Seconds after which it is ended, whatever it says; 1,500 when absent. */
  readonly limit?: number;
  /** Seconds without a word after which it is ended; 240 when absent. */
  readonly silence?: number;
}

/** Variables of this process that the command has as well. */
const inherited = /^(HOME|PATH|DENO_DIR|CNI_BIN_DIR|NO_COLOR|CI|DENOCNI_\w+)$/;

/**
 * Runs a command in a guest and gives its exit status. Its stdout and stderr are copied to this
 * process's as they come. Throws when the guest ends without a status, or has to be ended; the
 * message has the end of its console.
 */
export async function runInGuest(
  command: readonly string[],
  options: GuestOptions & { readonly kernel: GuestKernel },
): Promise<number> {
  const { share, kernel } = options;
  for (const name of ["stdout", "stderr", "console"]) {
    await Deno.writeTextFile(`${share}/${name}`, "");
  }
  await Deno.writeTextFile(`${share}/begin`, beginning(command, options));
  let reason: string;
  {
    await using guest = new Child(startWords(kernel, options), {});
    reason = await follow(guest, options);
  }
  const status = readFileIfExists(`${share}/status`);
  if (status !== undefined) return Number(status);
  const tail = (await Deno.readTextFile(`${share}/console`)).trimEnd().split("\n").slice(-50);
  const booted = readFileIfExists(`${share}/booted`) !== undefined;
  throw new Error(
    `${booted ? `Cannot run "${command.join(" ")}" in a guest` : "Cannot boot a guest"}: ` +
      `${reason}\n${booted ? "" : advice(kernel)}The end of its console:\n${tail.join("\n")}`,
  );
}

function advice({ image, platform }: GuestKernel): string {
  const folder = image.slice(0, image.lastIndexOf("/boot/"));
  return `To see whether ${platform.emulator} boots anything: deno task guest true
To fetch its kernel anew: rm -r ${folder}
`;
}

/** The words that start a guest. */
export function startWords(
  { image, initrd, modules, platform }: GuestKernel,
  { share, processor }: GuestOptions,
): string[] {
  const start = new URL("start.sh", import.meta.url).pathname;
  const pin = processor === undefined ? [] : ["taskset", "--cpu-list", String(processor)];
  // Without the last one every namespace would have links of each tunnel module.
  const parameters = `console=${platform.console} quiet panic=-1 mitigations=off nokaslr ` +
    `fb_tunnels=none share="${share}" modules="${modules}"`;
  return [
    ...["unshare", "--mount", "--propagation", "private", start, share],
    ...[...pin, platform.emulator, "-nodefaults", "-display", "none", "-no-reboot"],
    ...["-machine", `${platform.machine},memory-backend=memory`, "-cpu", "max", "-smp", "1"],
    // Help by the processor is not to be relied on: with it, a guest may hang as it starts.
    ...["-accel", "tcg,tb-size=1024", "-m", "2048"],
    ...["-object", "memory-backend-memfd,id=memory,size=2048M,share=on"],
    ...["-kernel", image, "-initrd", initrd, "-append", parameters],
    ...[
      "-chardev",
      `file,id=console,path=${share}/console,append=on`,
      "-serial",
      "chardev:console",
    ],
    ...["-chardev", `socket,id=files,path=${share}/socket`],
    ...["-device", "vhost-user-fs-pci,chardev=files,tag=host"],
  ];
}

/** The guest's script: runs the command as it would run here, and leaves its streams and status. */
function beginning(command: readonly string[], { share, env = {} }: GuestOptions): string {
  const own = Object.entries(Deno.env.toObject()).filter(([name]) => inherited.test(name));
  const fixed = { TMPDIR: "/dev/shm", DENO_NO_UPDATE_CHECK: "1" };
  const variables = Object.entries({ ...Object.fromEntries(own), ...env, ...fixed });
  return `cd ${shellQuote(share)}
: >booted
(
cd ${shellQuote(Deno.cwd())}
${variables.map(([name, value]) => `export ${name}=${shellQuote(value)}\n`).join("")}exec ${
    command.map(shellQuote).join(" ")
  }
) </dev/null >>stdout 2>>stderr
echo $? >status
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
`;
}

/** Copies what the command says, until the guest has ended or must be ended; says which. */
async function follow(guest: Child, options: GuestOptions): Promise<string> {
  const { share, prefix = "", limit = 1_500, silence = 240 } = options;
  using stdout = new Growth(`${share}/stdout`, { prefix, to: Deno.stdout });
  using stderr = new Growth(`${share}/stderr`, { prefix, to: Deno.stderr });
  const started = Date.now();
  let heard = started;
  for (;;) {
    const over = await endsWithin(guest, 200);
    if ([stdout.copy(), stderr.copy()].includes(true)) heard = Date.now();
    if (over) return "it has ended early";
    if (Date.now() - heard > silence * 1000) return `it has said nothing for ${silence} s`;
    if (Date.now() - started > limit * 1000) return `it has not ended within ${limit} s`;
  }
}

async function endsWithin(guest: Child, milliseconds: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<false>();
  const timer = setTimeout(() => resolve(false), milliseconds);
  const over = await Promise.race([guest.status.then(() => true), promise]);
  clearTimeout(timer);
  return over;
}

/** What a {@linkcode Growth} copies to. */
interface Sink {
  writeSync(data: Uint8Array): number;
}

/** A file that another process appends to, copied line by line. */
export class Growth implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #decoder = new TextDecoder();
  readonly #prefix: string;
  readonly #to: Sink;
  #rest = "";

  constructor(path: string, { prefix, to }: { readonly prefix: string; readonly to: Sink }) {
    this.#file = Deno.openSync(path);
    this.#prefix = prefix;
    this.#to = to;
  }

  /** Copies the lines that are whole by now. Tells whether the file has grown. */
  copy(): boolean {
    const buffer = new Uint8Array(65_536);
    let grown = false;
    for (let count; (count = this.#file.readSync(buffer)); grown = true) {
      const text = this.#decoder.decode(buffer.subarray(0, count), { stream: true });
      const lines = (this.#rest + text).split("\n");
      this.#rest = lines.pop()!;
      this.#write(lines.map((line) => `${this.#prefix}${line}\n`).join(""));
    }
    return grown;
  }

  #write(text: string): void {
    let bytes = new TextEncoder().encode(text);
    while (bytes.length > 0) bytes = bytes.subarray(this.#to.writeSync(bytes));
  }

  /** Copies a last line without an end, and closes the file. */
  [Symbol.dispose](): void {
    if (this.#rest) this.#write(this.#prefix + this.#rest);
    this.#file.close();
  }
}

async function main(): Promise<void> {
  if (Deno.args.length === 0) throw new Error("Cannot start a guest: no command is given");
  const kernel = await guestKernel();
  const share = await Deno.makeTempDir({ prefix: "denocni-guest-" });
  let status: number;
  try {
    status = await runInGuest(Deno.args, { share, kernel });
  } finally {
    await Deno.remove(share, { recursive: true });
  }
  Deno.exit(status);
}

if (import.meta.main) await runTask(main);
