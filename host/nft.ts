/**
 * nft: transactions as text, and the reader of its JSON.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { cutBytes } from "./iptables.ts";

/** Commits lines at once or not at all: `nft -f -`. */
export function nftTransaction(lines: readonly string[]): Command {
  return command("nft", ["-f", "-"], { stdin: `${lines.join("\n")}\n` });
}

/**
 * The same with `nft -a -e -f -`: prints the rules it adds, and those of chains
 * that a `list` line names as they were before, with their handles.
 */
export function nftEcho(lines: readonly string[]): Command {
  return command("nft", ["-a", "-e", "-f", "-"], { stdin: `${lines.join("\n")}\n` });
}

/** A rule that is known by its comment and can be deleted by its handle. */
export interface CommentedRule {
  /** The chain it is in. */
  readonly chain: string;
  /** Its comment. */
  readonly comment: string;
  /** Number by which it is deleted. */
  readonly handle: number;
}

/** Reads what {@linkcode nftEcho} prints: commented rules that it added and that it listed. */
export function parseNftEcho(
  text: string,
): { readonly added: CommentedRule[]; readonly listed: CommentedRule[] } {
  const added: CommentedRule[] = [];
  const listed: CommentedRule[] = [];
  let inside = "";
  for (const line of text.split("\n")) {
    inside = /^\s*chain (\S+) \{/.exec(line)?.[1] ?? inside;
    const [, comment, handle] = / comment "([^"]*)" # handle (\d+)$/.exec(line) ?? [];
    if (comment === undefined) continue;
    const chain = /^add rule \S+ \S+ (\S+) /.exec(line)?.[1];
    const rule = { chain: chain ?? inside, comment, handle: Number(handle) };
    (chain === undefined ? listed : added).push(rule);
  }
  // A release that lists what it has just added must not make that look old.
  const fresh = new Set(added.map(({ handle }) => handle));
  return { added, listed: listed.filter(({ handle }) => !fresh.has(handle)) };
}

/** `nft -j list tables` */
export function listTables(): Command {
  return command("nft", ["-j", "list", "tables"]);
}

/** `nft -j list table FAMILY NAME` */
export function listTable({ family, name }: TableName): Command {
  return command("nft", ["-j", "list", "table", family, name]);
}

/** Family and name of a table. */
export interface TableName {
  /** Family of the packets. */
  readonly family: "ip" | "ip6" | "inet" | "bridge";
  /** Name of the table. */
  readonly name: string;
}

/** `inet cni_plugins_masquerade`, as it stands in every command. */
export function tableWords({ family, name }: TableName): string {
  return `${family} ${name}`;
}

/** Bytes that the comment of a rule or an element can hold. */
const commentLimit = 128;

/** A comment's text as nft can keep it: no double quotes, cut at a character's end. */
export function commentText(text: string): string {
  return cutBytes(text.replaceAll('"', ""), commentLimit);
}

/** A comment behind a rule or an element's key. */
export function comment(text: string): string {
  return `comment "${commentText(text)}"`;
}

/** A rule as nft lists it. */
export interface NftRule {
  /** Family of its table. */
  readonly family: string;
  /** The table it is in. */
  readonly table: string;
  /** The chain it is in. */
  readonly chain: string;
  /** Number by which it is deleted. */
  readonly handle: number;
  /** Its comment. */
  readonly comment: string | undefined;
  /** Its statements as JSON. */
  readonly expr: readonly unknown[];
}

/** An element of a set or map as nft lists it. */
export interface NftElement {
  /** Name of the set or map. */
  readonly set: string;
  /** `6 . 8080`: parts as a command takes them; protocols are numbers. */
  readonly key: string;
  /** Its comment. */
  readonly comment: string | undefined;
  /** `10.0.0.2 . 80`; absent in a set. */
  readonly value: string | undefined;
}

/** A listing of nft. */
export interface NftListing {
  /** The tables. */
  readonly tables: readonly TableName[];
  /** Names of the chains. */
  readonly chains: readonly string[];
  /** The rules of all chains, in order. */
  readonly rules: readonly NftRule[];
  /** The elements of all sets and maps. */
  readonly elements: readonly NftElement[];
}

/** A listing without anything in it. */
export const emptyListing: NftListing = {
  tables: [],
  chains: [],
  rules: [],
  elements: [],
};

interface RawSet {
  readonly name: string;
  readonly elem?: readonly unknown[];
}

type RawEntry = {
  readonly table?: TableName;
  readonly chain?: { readonly name: string };
  readonly rule?: Omit<NftRule, "expr" | "comment"> & {
    readonly comment?: string;
    readonly expr?: readonly unknown[];
  };
  readonly set?: RawSet;
  readonly map?: RawSet;
};

/** Reads the JSON of a listing. */
export function parseListing(text: string): NftListing {
  const { nftables = [] }: { nftables?: RawEntry[] } = JSON.parse(text || "{}");
  return {
    tables: nftables.flatMap(({ table }) => table ?? []),
    chains: nftables.flatMap(({ chain }) => chain?.name ?? []),
    rules: nftables.flatMap(({ rule }) => rule ? readRule(rule) : []),
    elements: nftables.flatMap((entry) => [
      ...(entry.set?.elem ?? []).map((elem) => readElement(entry.set!.name, elem, undefined)),
      ...(entry.map?.elem ?? []).map((pair) => {
        const [key, value] = pair as [unknown, unknown];
        return readElement(entry.map!.name, key, value);
      }),
    ]),
  };
}

function readRule(rule: NonNullable<RawEntry["rule"]>): NftRule {
  const { family, table, chain, handle } = rule;
  const expr = rule.expr ?? [];
  return { family, table, chain, handle, comment: rule.comment, expr };
}

function readElement(set: string, key: unknown, value: unknown): NftElement {
  const { elem } = key as {
    elem?: { val: unknown; comment?: string };
  };
  return {
    set,
    key: expression(elem ? elem.val : key),
    comment: elem?.comment,
    value: value === undefined ? undefined : expression(value),
  };
}

const protocolNumbers: Readonly<Record<string, string>> = {
  tcp: "6",
  udp: "17",
  sctp: "132",
};

/** Turns the JSON of a value into the text of a command. */
function expression(value: unknown): string {
  if (typeof value !== "object" || value === null) {
    return protocolNumbers[String(value)] ?? String(value);
  }
  const { concat, prefix, range } = value as {
    concat?: readonly unknown[];
    prefix?: { addr: string; len: number };
    range?: readonly [unknown, unknown];
  };
  if (concat) return concat.map(expression).join(" . ");
  if (prefix) return `${prefix.addr}/${prefix.len}`;
  if (range) return range.map(expression).join("-");
  return JSON.stringify(value);
}
