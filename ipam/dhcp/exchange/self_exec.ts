/**
 * Starts this process's own program again, for the process of an exchange.
 *
 * @module
 */

import { failureOf } from "../../../host/files.ts";

/** A program to start: its arguments, and variables on top of those of every program. */
export interface Program {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** The program of a running process. */
export interface RunningProcess {
  /** Path of the executable. */
  readonly execPath: string;
  /** Whether the executable contains the program. */
  readonly standalone: boolean;
  /** URL of the main module. */
  readonly mainModule: string;
  /** Reads an environment variable. */
  readonly env: (name: string) => string | undefined;
  /** Whether there is no such file; a file that cannot be looked at counts as existing. */
  readonly isMissing: (path: string) => boolean;
}

/** The subcommand that {@linkcode exchangeProgram} runs. */
const exchangeWords = ["dhcp", "exchange"] as const;

const quiet = ["--quiet", "--no-check", "--no-lock", "--no-prompt"];
/** An exchange needs the network and nothing else. */
const allowed = ["--allow-net", "--unstable-net"];

/**
 * Finds the program of an exchange, by what runs a process: an executable of ours, a launcher's bundle,
 * or our sources. An agent goes on when its files are replaced, and then starts the new ones. Throws
 * when another program runs our code: it has to name the program of an exchange itself.
 */
export function exchangeProgramOf(running: RunningProcess): Program {
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

/** Prefers the executable of `dhcp` beside this one: that of another plugin may open no sockets. */
function executable({ execPath, isMissing }: RunningProcess): string {
  const beside = besideOf(execPath);
  return isMissing(beside) ? execPath : beside;
}

/** Runs the bundle. An installation removes the bundle before the last one: then the launcher knows the new one. */
function bundled(run: readonly string[], { mainModule, isMissing }: RunningProcess): Program {
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

/** Gives the variables by which sources find Deno's caches. */
function userEnv(env: RunningProcess["env"]): Record<string, string> {
  const names = ["HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(names.flatMap((name) => {
    const value = env(name);
    return value === undefined ? [] : [[name, value]];
  }));
}

/** Finds the program of an exchange, for this process. */
export function exchangeProgram(): Program {
  return exchangeProgramOf({
    execPath: Deno.execPath(),
    standalone: Deno.build.standalone,
    mainModule: Deno.mainModule,
    env: (name) => Deno.env.get(name),
    isMissing: (path) => failureOf(() => Deno.statSync(path)) instanceof Deno.errors.NotFound,
  });
}
