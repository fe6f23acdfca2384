/**
 * The flags of the `cni` command: one table that parsing and help come from.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";

/** One flag. */
interface Flag {
  /** Name of the value in help; absent for a flag without one. */
  readonly value?: string;
  readonly short?: string;
  /** May be given several times. */
  readonly repeated?: boolean;
  readonly about: string;
}

const table = {
  ifname: {
    value: "NAME",
    short: "i",
    about: "interface inside the container (CNI_IFNAME, else eth0)",
  },
  network: { value: "NAME", about: "network to attach to (the only one of the directory)" },
  del: { about: "plan the removal" },
  keep: {
    value: "ID/IFNAME",
    repeated: true,
    about: "an attachment that is still valid; may be repeated",
  },
  "best-effort": { about: "go on with the other plugins after one has failed" },
  json: { about: "one JSON value on stdout, also for an error" },
  pretty: { about: "a picture of the result, also where stdout is no terminal" },
  exec: { about: "execute every plugin, also those that could run in this process" },
  "cni-path": { value: "DIRS", about: "where plugins are (CNI_PATH, else /opt/cni/bin)" },
  "conf-dir": { value: "DIR", about: "where networks are (NETCONFPATH, else /etc/cni/net.d)" },
  "cache-dir": { value: "DIR", about: "where results are kept (/var/lib/cni)" },
  help: { short: "h", about: "this help" },
} as const satisfies Readonly<Record<string, Flag>>;

/** Name of a flag. */
export type FlagName = keyof typeof table;

/** Flags of every command that runs plugins. */
export const runtimeFlags = ["exec", "cni-path", "conf-dir", "cache-dir"] as const;

/** A command line that cannot be understood. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A parsed command line. */
export interface Parsed {
  readonly words: readonly string[];
  has(flag: FlagName): boolean;
  /** Value of a flag; the last one of several. */
  value(flag: FlagName): string | undefined;
  values(flag: FlagName): readonly string[];
}

/** Parses the flags that a command has. Throws {@linkcode UsageError} for others. */
export function parseFlags(args: readonly string[], names: readonly FlagName[]): Parsed {
  const flags = names.map((name) => [name, table[name] as Flag] as const);
  const valued = flags.filter(([, { value }]) => value).map(([name]) => name);
  const parsed = parseArgs(args, {
    string: ["_", ...valued],
    collect: valued,
    boolean: flags.filter(([, { value }]) => !value).map(([name]) => name),
    alias: Object.fromEntries(flags.map(([name, { short }]) => [name, short ?? []])),
    unknown: (arg, key) => {
      if (key !== undefined) throw new UsageError(`unknown flag: ${arg}`);
    },
  });
  const values = (name: FlagName) => (parsed[name] ?? []) as string[];
  for (const name of valued) {
    if (values(name).includes("")) throw new UsageError(`flag needs an argument: --${name}`);
  }
  return {
    words: parsed._.map(String),
    has: (name) => parsed[name] === true,
    value: (name) => values(name).at(-1),
    values,
  };
}

/** The lines of help about flags. */
export function flagHelp(names: readonly FlagName[]): string {
  const rows = names.map((name) => {
    const { short, value, about }: Flag = table[name];
    const left = `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`;
    return [left, about] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, about]) => `  ${left.padEnd(width)}  ${about}\n`).join("");
}
