/**
 * How our own program is started again, to hold an exchange.
 *
 * @module
 */

import { failureOf } from "../../host/files.ts";

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
  /** Whether there is such a file. */
  readonly isFile: (path: string) => boolean;
}

/** The subcommand that {@linkcode ownProgram} names. */
export const exchangeWords = ["dhcp", "exchange"] as const;

const quiet = ["--quiet", "--no-check", "--no-lock", "--no-prompt"];
/** An exchange needs the network and nothing else. */
const allowed = ["--allow-net", "--unstable-net"];

/**
 * The program of an exchange, by what runs this process: an executable of ours, a
 * launcher's bundle, or our sources. Throws where a program of somebody else runs us:
 * then it has to say what to start.
 */
export function programOf(running: Running): Program {
  const { execPath, standalone, mainModule, env } = running;
  if (standalone) return { argv: [executable(running), ...exchangeWords], env: {} };
  const run = [execPath, "run", ...quiet, ...allowed];
  if (/\/main\.ts$/.test(mainModule)) {
    return { argv: [...run, mainModule, ...exchangeWords], env: userEnv(env) };
  }
  if (/\.js$/.test(mainModule)) {
    const alone = ["--no-config", "--no-remote", "--no-npm", "--no-code-cache"];
    return {
      argv: [...run, ...alone, mainModule, ...exchangeWords],
      env: { DENO_DIR: "/dev/null/deno", DENO_NO_UPDATE_CHECK: "1" },
    };
  }
  throw new Error(`Cannot start "${mainModule}" again: it is not a program of denocni`);
}

/** The executable of another plugin may open no sockets: better the one beside it. */
function executable({ execPath, isFile }: Running): string {
  const beside = execPath.replace(/[^/]*$/, exchangeWords[0]);
  return beside !== execPath && isFile(beside) ? beside : execPath;
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
    isFile: (path) => failureOf(() => Deno.statSync(path)) === undefined,
  });
}
