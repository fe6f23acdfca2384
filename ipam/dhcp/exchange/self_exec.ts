/**
 * How our own program is started again, to hold an exchange.
 *
 * @module
 */

import { failureOf } from "../../../host/files.ts";

/** A program to start: its words, and variables on top of those of every program. */
export interface Program {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What runs this process. */
export interface Running {
  /** Path of the executable. */
  readonly execPath: string;
  /** Whether the executable holds the program, too. */
  readonly standalone: boolean;
  /** URL of the module that was run. */
  readonly mainModule: string;
  /** Reads a variable. */
  readonly env: (name: string) => string | undefined;
  /** Whether there is no such file; what may not be looked at is there. */
  readonly isMissing: (path: string) => boolean;
}

/** The subcommand that {@linkcode ownProgram} names. */
const exchangeWords = ["dhcp", "exchange"] as const;

const quiet = ["--quiet", "--no-check", "--no-lock", "--no-prompt"];
/** An exchange needs the network and nothing else. */
const allowed = ["--allow-net", "--unstable-net"];

/**
 * The program of an exchange, by what runs this process: an executable of ours, a
 * launcher's bundle, or our sources. An agent goes on when its files are replaced: it
 * starts those that are there then. Throws where a program of somebody else runs us:
 * then it has to say what to start.
 */
export function programOf(running: Running): Program {
  const { standalone, mainModule, env } = running;
  const execPath = running.execPath.replace(/ \(deleted\)$/, "");
  if (standalone) {
    return { argv: [executable({ ...running, execPath }), ...exchangeWords], env: {} };
  }
  const run = [execPath, "run", ...quiet, ...allowed];
  if (/\/main\.ts$/.test(mainModule)) {
    return { argv: [...run, mainModule, ...exchangeWords], env: userEnv(env) };
  }
  if (/\.js$/.test(mainModule)) return bundled(run, running);
  throw new Error(`Cannot start "${mainModule}" again: it is not a program of denocni`);
}

/** The executable of another plugin may open no sockets: better the one beside it. */
function executable({ execPath, isMissing }: Running): string {
  const beside = besideOf(execPath);
  return isMissing(beside) ? execPath : beside;
}

/** Installations remove a bundle that is two of them old: its launcher knows the new one. */
function bundled(run: readonly string[], { mainModule, isMissing }: Running): Program {
  const file = decodeURIComponent(new URL(mainModule).pathname);
  if (isMissing(file)) return { argv: [besideOf(file), ...exchangeWords], env: {} };
  const alone = ["--no-config", "--no-remote", "--no-npm", "--no-code-cache"];
  return {
    argv: [...run, ...alone, mainModule, ...exchangeWords],
    env: { DENO_DIR: "/dev/null/deno", DENO_NO_UPDATE_CHECK: "1" },
  };
}

/** Path of the plugin in the folder of a file. */
function besideOf(path: string): string {
  return path.replace(/[^/]*$/, exchangeWords[0]);
}

/** Sources need Deno's caches. */
function userEnv(env: Running["env"]): Record<string, string> {
  const names = ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(names.flatMap((name) => {
    const value = env(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

/** The program of an exchange, for this process. */
export function ownProgram(): Program {
  return programOf({
    execPath: Deno.execPath(),
    standalone: Deno.build.standalone,
    mainModule: Deno.mainModule,
    env: (name) => Deno.env.get(name),
    isMissing: (path) => failureOf(() => Deno.statSync(path)) instanceof Deno.errors.NotFound,
  });
}
