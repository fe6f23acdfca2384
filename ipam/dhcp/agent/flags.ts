/**
 * The command line of `dhcp daemon`: the reference's flags, as Go's package `flag` reads them.
 *
 * @module
 */
import { defaultSocket } from "../conf/conf.ts";

/** How the agent runs. Times are milliseconds. */
export interface DaemonFlags {
  /** File for the process's number. */
  readonly pidfile: string | undefined;
  /** Precedes every path of the host: of the socket, of namespaces, of leases and locks. */
  readonly hostPrefix: string;
  /** Socket of the agent, without the prefix. */
  readonly socketPath: string;
  /** Always asks servers for broadcast answers. */
  readonly broadcast: boolean;
  /** Wait for the first answer to each message. */
  readonly timeout: number;
  /** Pauses double until they reach this. */
  readonly resendMax: number;
  /** Longest exchange. */
  readonly resendTimeout: number;
}

/** A command line, read. */
export type DaemonCommandLine =
  | { readonly kind: "run"; readonly flags: DaemonFlags }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "wrong"; readonly text: string };

type Value = string | number | boolean;

interface Flag {
  readonly name: string;
  readonly value: Value;
  /** Text of the default in the help. */
  readonly text?: string;
  readonly doc: string;
}

const second = 1000;

const known: readonly Flag[] = [
  { name: "pidfile", value: "", doc: "absolute path of a file to write the process's number to" },
  {
    name: "hostprefix",
    value: "",
    doc: "put before all paths of the host, leases and locks too",
  },
  { name: "socketpath", value: defaultSocket, doc: "socket to serve plugins on" },
  { name: "broadcast", value: false, doc: "ask servers to broadcast all of their answers" },
  {
    name: "timeout",
    value: 10 * second,
    text: "10s",
    doc: "wait for the first answer to a message; it doubles each time the message is sent again",
  },
  {
    name: "resendmax",
    value: 62 * second,
    text: "1m2s",
    doc: "pauses between attempts double until they reach this",
  },
  {
    name: "resendtimeout",
    value: 208 * second,
    text: "3m28s",
    doc: "limit for getting or renewing one lease",
  },
];

const usage = [
  "Usage: dhcp daemon [flags]",
  ...known.map(({ name, text, value, doc }) =>
    `  -${name} (${text ?? (value === "" ? "none" : value)}): ${doc}`
  ),
].join("\n");

/** Reads the arguments after `daemon`. */
export function parseFlags(args: readonly string[]): DaemonCommandLine {
  const values = new Map<string, Value>(known.map(({ name, value }) => [name, value]));
  for (let rest = args; rest.length > 0;) {
    const taken = take(rest);
    if (typeof taken === "string") return wrong(taken);
    if (taken.name === "help") return { kind: "help", text: usage };
    values.set(taken.name, taken.value);
    rest = rest.slice(taken.words);
  }
  const flags = toFlags(values);
  const problem = pathProblem(flags);
  return problem === undefined ? { kind: "run", flags } : wrong(problem);
}

/** Tells of a path that is relative, if one is: nobody says to which folder. */
function pathProblem({ pidfile, hostPrefix, socketPath }: DaemonFlags): string | undefined {
  const isRelative = (path: string) => !path.startsWith("/");
  if (pidfile !== undefined && isRelative(pidfile)) {
    return `Error writing pidfile ${JSON.stringify(pidfile)}: path not absolute`;
  }
  if (isRelative(socketPath)) {
    return `Cannot use socket path ${JSON.stringify(socketPath)}: it is not absolute`;
  }
  if (hostPrefix === "" || !isRelative(hostPrefix)) return undefined;
  return `Cannot use host prefix ${JSON.stringify(hostPrefix)}: it is not absolute`;
}

function wrong(problem: string): DaemonCommandLine {
  return { kind: "wrong", text: problem };
}

interface Taken {
  readonly name: string;
  readonly value: Value;
  /** Number of arguments that it took. */
  readonly words: 1 | 2;
}

/** Takes one flag from the front; gives what is wrong with it as a text. */
function take([word, next]: readonly string[]): Taken | string {
  const [, name, given] = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(word!) ?? [];
  if (name === undefined) return `Cannot use argument ${JSON.stringify(word)}: it is no flag`;
  if (name === "h" || name === "help") return { name: "help", value: true, words: 1 };
  const flag = known.find((flag) => flag.name === name);
  if (!flag) return `flag provided but not defined: -${name}`;
  // A boolean flag takes no further argument.
  const alone = given !== undefined || typeof flag.value === "boolean";
  const text = given ?? (typeof flag.value === "boolean" ? "true" : next);
  if (text === undefined) return `flag needs an argument: -${name}`;
  const value = read(text, flag.value);
  const problem = problemOf(value);
  if (problem) return `invalid value ${JSON.stringify(text)} for flag -${name}: ${problem}`;
  return { name, value: value!, words: alone ? 1 : 2 };
}

/** Longest duration: a timer of more than 24 days would end at once. */
const longest = 24 * 3600 * second;

/** Tells what is wrong with a value, if anything is. */
function problemOf(value: Value | undefined): string | undefined {
  if (value === undefined) return "parse error";
  return typeof value === "number" && value > longest ? "more than 24h" : undefined;
}

/** Reads a value of the type of its default. */
function read(text: string, like: Value): Value | undefined {
  if (typeof like === "number") return positive(parseDuration(text));
  return typeof like === "boolean" ? parseBoolean(text) : text;
}

function positive(value: number | undefined): number | undefined {
  return value !== undefined && value > 0 ? value : undefined;
}

/** Reads a boolean like Go's `strconv.ParseBool`. */
function parseBoolean(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}

function toFlags(values: ReadonlyMap<string, Value>): DaemonFlags {
  return {
    pidfile: values.get("pidfile") as string || undefined,
    hostPrefix: values.get("hostprefix") as string,
    socketPath: values.get("socketpath") as string,
    broadcast: values.get("broadcast") as boolean,
    timeout: values.get("timeout") as number,
    resendMax: values.get("resendmax") as number,
    resendTimeout: values.get("resendtimeout") as number,
  };
}

/** Milliseconds of each unit; the micro sign and the Greek letter are two characters. */
const units: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  "\u00b5s": 1e-3,
  "\u03bcs": 1e-3,
  ms: 1,
  s: second,
  m: 60 * second,
  h: 3600 * second,
};

/**
 * Reads a duration in Go's syntax (`time.ParseDuration`) as milliseconds: numbers with units, `1m30s`,
 * `1.5h`, `0`; `undefined` for any other text.
 */
export function parseDuration(text: string): number | undefined {
  const [, sign, rest] = /^([-+]?)(.*)$/s.exec(text)!;
  if (rest === "0") return 0;
  const unit = Object.keys(units).sort((a, b) => b.length - a.length).join("|");
  const part = `(\\d+\\.?\\d*|\\.\\d+)(${unit})`;
  if (!new RegExp(`^(?:${part})+$`).test(rest!)) return undefined;
  const parts = [...rest!.matchAll(new RegExp(part, "g"))];
  const sum = parts.reduce((sum, [, number, name]) => sum + Number(number) * units[name!]!, 0);
  return sign === "-" ? -sum : sum;
}
