/**
 * The `cni` command: attaches containers to networks by hand, as cnitool does,
 * and shows what is attached and what would be done. Subcommands are loaded when
 * they are called.
 *
 * @module
 */
import { CniError, codes, toCniError } from "../cni/error.ts";
import type { Io, Subcommand } from "./cli.ts";
import { print } from "../host/print.ts";
import { Cli } from "./cli.ts";
import { nearest } from "./nearest.ts";
import { flagHelp, parseFlags, UsageError } from "./options.ts";

interface Entry {
  readonly about: string;
  readonly load: () => Promise<{ command: Subcommand }>;
}

const commands: Readonly<Record<string, Entry>> = {
  up: {
    about: "make named network namespaces and attach them",
    load: () => import("./up.ts"),
  },
  down: {
    about: "detach named network namespaces and remove them",
    load: () => import("./down.ts"),
  },
  list: {
    about: "show networks and what is attached to them",
    load: () => import("./list.ts"),
  },
  plan: {
    about: "show what add or del would do, without doing it",
    load: () => import("./plan.ts"),
  },
  validate: {
    about: "look for mistakes in network configurations",
    load: () => import("./validate.ts"),
  },
  add: { about: "attach a namespace to a network", load: () => import("./add.ts") },
  check: { about: "check that an attachment is as it was made", load: () => import("./check.ts") },
  del: { about: "detach a namespace from a network", load: () => import("./del.ts") },
  repair: {
    about: "put back rules of attachments that a firewall has flushed",
    load: () => import("./repair.ts"),
  },
  gc: { about: "remove attachments that are not valid any more", load: () => import("./gc.ts") },
  status: { about: "ask whether a network is ready", load: () => import("./status.ts") },
  version: {
    about: "show versions and the plugins of this program",
    load: () => import("./version.ts"),
  },
};

/** Runs the command line in this process and exits. */
export async function main(args: readonly string[]): Promise<never> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      // Who asks twice does not want to wait until everything is taken back.
      if (stop.signal.aborted) Deno.exit(130);
      stop.abort(new CniError(codes.interrupted, `Cannot finish: stopped by ${signal}`));
    });
  }
  Deno.exit(
    await run(args, {
      env: (name) => Deno.env.get(name),
      stdout: (text) => print(Deno.stdout, text),
      stderr: (text) => print(Deno.stderr, text),
      stdoutIsTerminal: Deno.stdout.isTerminal(),
      stderrIsTerminal: Deno.stderr.isTerminal(),
      signal: stop.signal,
    }),
  );
}

/** Runs a command line; gives the exit status. Never throws. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const [name = "help", ...rest] = args;
  try {
    if (name === "help" || name === "--help" || name === "-h") return await help(rest[0], io);
    const command = await load(name);
    const parsed = parseFlags(rest, [...command.flags, "help"]);
    if (parsed.has("help")) return await help(name, io);
    requireWords(parsed.words.length, command);
    return await command.run(new Cli(io, parsed)) ?? 0;
  } catch (error) {
    if (error instanceof UsageError) return usageFailure(error, { name, io });
    return failure(toCniError(error), { json: rest.includes("--json"), io });
  }
}

async function load(name: string): Promise<Subcommand> {
  if (Object.hasOwn(commands, name)) return (await commands[name]!.load()).command;
  const near = nearest(name, Object.keys(commands));
  throw new UsageError(
    `unknown command ${JSON.stringify(name)} for "cni"${near ? `; did you mean "${near}"?` : ""}`,
  );
}

function requireWords(count: number, { words: { min, max } }: Subcommand): void {
  if (count < min) throw new UsageError(`requires at least ${min} arg(s), only received ${count}`);
  if (count > max) throw new UsageError(`accepts at most ${max} arg(s), received ${count}`);
}

async function help(name: string | undefined, io: Io): Promise<number> {
  io.stdout(name === undefined ? overview() : helpOf(await load(name)));
  return 0;
}

function overview(): string {
  const names = Object.keys(commands);
  const width = Math.max(...names.map((name) => name.length));
  const rows = names.map((name) => `  ${name.padEnd(width)}  ${commands[name]!.about}\n`);
  return `cni attaches network namespaces to CNI networks.

Usage: cni COMMAND [FLAGS] [ARGUMENTS]

${rows.join("")}
First steps, with one network in /etc/cni/net.d:

  cni up web                     a namespace "web", attached
  ip netns exec web ping 1.1.1.1
  cni down web

Results of "add" are JSON unless stdout is a terminal, as cnitool prints them.
All else is for people; --json gives one JSON value. "cni help COMMAND" tells more.
`;
}

function helpOf(command: Subcommand): string {
  return `Usage: cni ${command.usage}

${command.text.trim()}

${flagHelp([...command.flags, "help"])}
Example: ${command.example}
`;
}

function usageFailure({ message }: UsageError, { name, io }: { name: string; io: Io }): number {
  const topic = Object.hasOwn(commands, name) ? `cni ${name} --help` : "cni --help";
  io.stderr(`Error: ${message}\nRun '${topic}' for usage.\n`);
  return 1;
}

/** An error for people on stderr, or as the protocol's object on stdout. */
function failure(error: CniError, { json, io }: { json: boolean; io: Io }): number {
  if (json) io.stdout(`${JSON.stringify(error.toJson("1.1.0"), undefined, 4)}\n`);
  else {
    const name = Object.entries(codes).find(([, code]) => code === error.code)?.[0];
    const words = name ? ` (${name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`)})` : "";
    const details = error.details ? `  details: ${error.details.replaceAll("\n", "\n    ")}\n` : "";
    io.stderr(`Error: ${error.msg}\n  code: ${error.code}${words}\n${details}`);
  }
  return 1;
}
