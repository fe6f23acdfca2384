/**
 * Commands as data: what to run, where, and what it reads. Nothing here runs
 * anything.
 *
 * @module
 */

/** Programs that the plugins of this project start. */
export const knownTools = [
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

/** Name of a program that the plugins of this project start. */
export type KnownTool = typeof knownTools[number];

/** Name of a program: a known one, or any other that a plugin declares (`ethtool`, `wg`). */
export type Tool = KnownTool | (string & Record<never, never>);

/** A letter or digit first, so that no name is a path, hidden, or an option. */
const toolName = /^[A-Za-z0-9][A-Za-z0-9._+-]*$/;

/**
 * Throws for a tool that is no plain file name. A tool is found by its name in
 * {@linkcode toolDirs}, and its name stands in Deno's list of permissions: a path, a
 * space or a comma would name something else there.
 */
export function checkTool(tool: Tool): void {
  if (toolName.test(tool)) return;
  throw new TypeError(`Cannot use program ${JSON.stringify(tool)}: not a plain program name`);
}

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
  /** Text on its stdin; empty when absent. */
  readonly stdin?: string;
}

/** Makes a {@linkcode Command}. Throws for a tool that {@linkcode checkTool} refuses. */
export function command(
  tool: Tool,
  args: readonly string[],
  rest: { netns?: NetnsRef | undefined; stdin?: string } = {},
): Command {
  checkTool(tool);
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
