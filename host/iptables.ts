/**
 * iptables and ip6tables: transactions as text for `iptables-restore`, and the
 * reader of `iptables-save`. Nothing here runs `iptables` itself: one process
 * carries any number of rules.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import type { Family } from "./ip.ts";

/** A table of iptables. */
export type Table = "nat" | "raw" | "filter";

/** Seconds to wait for the lock that legacy iptables holds; below the deadline of a program. */
const lockWait = "15";

/**
 * Commits lines to a table at once, without touching what they do not name:
 * `iptables-restore --noflush -w 15`.
 *
 * Beside `-N`, `-A`, `-I`, `-D`, `-F` and `-X`, a line may be an assertion:
 * `-C CHAIN rule…` for a rule that must exist, `-N CHAIN` for a chain that must
 * not. A line that fails leaves the whole table as it was.
 */
export function restore(family: Family, text: string): Command {
  return command(restoreTool(family), ["--noflush", "-w", lockWait], {
    stdin: text,
  });
}

/** Name of the program that {@linkcode restore} runs. */
export function restoreTool(
  family: Family,
): "iptables-restore" | "ip6tables-restore" {
  return family === 4 ? "iptables-restore" : "ip6tables-restore";
}

/** `iptables-save -t TABLE` */
export function save(family: Family, table: Table): Command {
  return command(family === 4 ? "iptables-save" : "ip6tables-save", [
    "-t",
    table,
  ]);
}

/** The text that commits lines to one table; empty for no lines. */
export function tableText(table: Table, lines: readonly string[]): string {
  if (lines.length === 0) return "";
  return [`*${table}`, ...lines, "COMMIT", ""].join("\n");
}

/** One word of a line, in double quotes where the reader needs them. */
export function quote(word: string): string {
  if (/^[^\s"'\\]+$/.test(word)) return word;
  return `"${word.replace(/["\\]/g, "\\$&")}"`;
}

/** Bytes that a rule's comment can hold. */
const commentLimit = 255;

/** The words of a comment, cut to what the kernel holds at a character's end. */
export function comment(text: string): string {
  return `-m comment --comment ${quote(cutBytes(text, commentLimit))}`;
}

/** The longest start of a text that takes at most `limit` bytes. */
export function cutBytes(text: string, limit: number): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= limit) return text;
  const cut = new TextDecoder().decode(bytes.subarray(0, limit));
  // A character cut in the middle becomes a replacement character, which goes.
  return cut.replace(/\uFFFD+$/, "");
}

/** A rule of a chain. */
export interface ChainRule {
  /** The chain it is in. */
  readonly chain: string;
  /** Its words, as they follow `-A CHAIN `. */
  readonly text: string;
  /** Goes to the head of its chain. */
  readonly first?: boolean;
}

/** `CHAIN rule…`, as it follows `-A`. */
export function ruleSpec({ chain, text }: ChainRule): string {
  return `${chain} ${text}`;
}

/** The line that adds a rule. */
export function addition(rule: ChainRule): string {
  return `${rule.first ? "-I" : "-A"} ${ruleSpec(rule)}`;
}

/** The line that asserts a rule: it fails where the rule is missing. */
export function assertion(rule: ChainRule): string {
  return `-C ${ruleSpec(rule)}`;
}

/** The line that deletes a rule, wherever in its chain it is. */
export function deletion(rule: ChainRule): string {
  return `-D ${ruleSpec(rule)}`;
}

/** A rule as `iptables-save` prints it. */
export interface SavedRule extends ChainRule {
  /** Its words one by one, quotes taken off. */
  readonly words: readonly string[];
}

/** One table as `iptables-save` prints it. */
export interface SavedTable {
  /** Names of the chains. */
  readonly chains: ReadonlySet<string>;
  /** The rules of all chains, in order. */
  readonly rules: readonly SavedRule[];
}

/** A table that has nothing in it. */
export const emptyTable: SavedTable = { chains: new Set(), rules: [] };

/** Reads the output of {@linkcode save}. */
export function parseSave(text: string): SavedTable {
  const chains = new Set<string>();
  const rules: SavedRule[] = [];
  for (const line of text.split("\n")) {
    const chain = /^:(\S+)/.exec(line)?.[1];
    if (chain !== undefined) chains.add(chain);
    const rule = /^(?:\[\d+:\d+\] )?-A (\S+) ?(.*)$/.exec(line);
    if (rule) {
      const [, name = "", rest = ""] = rule;
      rules.push({ chain: name, words: splitWords(rest), text: rest });
    }
  }
  return { chains, rules };
}

/** Takes a line apart as `iptables-restore` does: spaces divide, double quotes join, `\` escapes inside them. */
export function splitWords(line: string): string[] {
  const word = /"((?:[^"\\]|\\.)*)"|\S+/g;
  return [...line.matchAll(word)].map(([plain, quoted]) =>
    quoted === undefined ? plain : quoted.replace(/\\(.)/g, "$1")
  );
}

/** Value after an option among a rule's words. */
export function optionOf(rule: SavedRule, name: string): string | undefined {
  const index = rule.words.indexOf(name);
  return index < 0 ? undefined : rule.words[index + 1];
}

/** Chain or target that a rule jumps to. */
export function targetOf(rule: SavedRule): string | undefined {
  return optionOf(rule, "-j") ?? optionOf(rule, "-g");
}

/** The rules that jump to a chain. */
export function jumpsTo(table: SavedTable, chain: string): SavedRule[] {
  return table.rules.filter((rule) => targetOf(rule) === chain);
}
