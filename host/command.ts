/**
 * Commands as data: what to run, where, and what it reads. Nothing here runs
 * anything.
 *
 * @module
 */

/** Every program the project may start. */
export const tools = [
  "ip",
  "bridge",
  "tc",
  "iptables-save",
  "iptables-restore",
  "ip6tables-save",
  "ip6tables-restore",
  "nft",
  "conntrack",
  "busctl",
  "nsenter",
  "sh",
  // Read /proc where Deno does not let the plugin do it (`proc.ts`).
  "cat",
  "find",
  "stat",
] as const;

/** Name of a program the project may start. */
export type Tool = typeof tools[number];

/** Where programs are looked for, in this order; the caller's PATH is not used. */
export const toolDirs = [
  "/usr/local/sbin",
  "/usr/local/bin",
  "/usr/sbin",
  "/usr/bin",
  "/sbin",
  "/bin",
] as const;

/** A network namespace by the path of its file; `ns/` makes, checks and enters them. */
export interface NetnsRef {
  /** Path of the namespace file, with a slash. */
  readonly path: string;
}

/** One program run. */
export interface Command {
  /** Tells it from other actions. */
  readonly kind: "command";
  /** The program. */
  readonly tool: Tool;
  /** Its arguments; no shell reads them. */
  readonly args: readonly string[];
  /** The namespace to run in; absent means the plugin's own. */
  readonly netns?: NetnsRef;
  /** What the program reads; absent means nothing. */
  readonly stdin?: string;
}

/** Makes a {@linkcode Command}. */
export function command(
  tool: Tool,
  args: readonly string[],
  rest: { netns?: NetnsRef | undefined; stdin?: string } = {},
): Command {
  return {
    kind: "command",
    tool,
    args,
    ...(rest.netns && { netns: rest.netns }),
    ...(rest.stdin !== undefined && { stdin: rest.stdin }),
  };
}

const plainWord = /^[A-Za-z0-9_@%+=:,./-]+$/;

/** A word as a shell would need it. */
export function shellQuote(word: string): string {
  return plainWord.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The line a person would type to run this command, for messages and dry runs. */
export function shellLine(cmd: Command): string {
  const words = [cmd.tool, ...cmd.args].map(shellQuote).join(" ");
  const inside = cmd.netns ? `nsenter --net=${shellQuote(cmd.netns.path)} ${words}` : words;
  if (cmd.stdin === undefined) return inside;
  return `${inside} <<'EOF'\n${cmd.stdin.replace(/\n?$/, "\n")}EOF`;
}
