/**
 * Kernel variables of a network namespace: their names, the list of those that
 * are allowed, and what they hold.
 *
 * @module
 */
import type { Command, NetnsRef } from "../../host/command.ts";
import { command } from "../../host/command.ts";
import { CniError, codes } from "../../cni/error.ts";
import { readNamedFile } from "../../recipes/files.ts";
import { parseRe2 } from "../../recipes/re2.ts";

/** A variable and its new value. */
export interface Variable {
  /** As the configuration writes it. */
  readonly name: string;
  /** Path below `/proc/sys`. */
  readonly key: string;
  readonly value: string;
}

/** A variable to change, with its current value, which is absent when it cannot be read. */
export interface VariableChange extends Variable {
  readonly was: string | undefined;
}

/** A name of an interface may have dots where the whole key is written with slashes. */
const slashed = /^net\/\w+\/(conf|neigh)\/(?!\.{1,2}\/)[^/]+\/\w+$/;

/**
 * The variables of a configuration, each once: of two names of one variable the
 * later one counts. Throws code 7 for one that is not below `net`.
 */
export function variablesOf(
  sysctl: Readonly<Record<string, string>>,
  ifName: string,
): Variable[] {
  const all = Object.entries(sysctl).map(([name, value]) => ({
    name,
    key: keyOf(name, ifName),
    value,
  }));
  return [...new Map(all.map((variable) => [variable.key, variable])).values()];
}

/** `IFNAME` is replaced after the dots, so that an interface's own dots stay. */
function keyOf(name: string, ifName: string): string {
  const path = slashed.test(name) ? name : name.replaceAll(".", "/");
  const key = path.replace("IFNAME", () => ifName).split("/").filter(Boolean).join("/");
  if (isNetKey(key)) return key;
  throw new CniError(
    codes.invalidNetworkConfig,
    `Cannot set "${name}": invalid net sysctl key, it is not below /proc/sys/net`,
  );
}

/** Whether a path below `/proc/sys` is one of a variable below `net`. */
export function isNetKey(key: string): boolean {
  return /^net\/[^\0]/.test(key) && !key.split("/").some((part) => /^\.{0,2}$/.test(part));
}

/** Where the administrator lists what is allowed. */
export const allowlistPath = "/etc/cni/tuning/allowlist.conf";

/** Throws code 7 for a name that the list does not allow; without a list every name is allowed. */
export function requireAllowed(names: readonly string[], path = allowlistPath): void {
  const lines = readAllowlist(path);
  if (!lines) return;
  const patterns = lines.map((line) => toPattern(line, path));
  const refused = names.find((name) => !patterns.some((pattern) => pattern.test(name)));
  if (refused === undefined) return;
  throw new CniError(
    codes.invalidNetworkConfig,
    `Sysctl ${refused} is not allowed. Only the following sysctls are allowed: [${
      lines.join(" ")
    }]`,
    `allow list: ${path}`,
  );
}

/** The expressions of the list; `undefined` when there is none. Throws code 5 for one that cannot be read. */
function readAllowlist(path: string): string[] | undefined {
  return readNamedFile(path)?.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** Throws code 5 for a list that cannot be read, and 7 for one with an invalid expression. */
export function checkAllowlist(path = allowlistPath): void {
  for (const line of readAllowlist(path) ?? []) toPattern(line, path);
}

/** The expression of a line. */
function toPattern(line: string, path: string): RegExp {
  const pattern = parseRe2(line);
  if (pattern) return pattern;
  throw new CniError(
    codes.invalidNetworkConfig,
    `Cannot use allow list "${path}": "${line}" is no regular expression that is understood here`,
  );
}

/** Prints for each variable `+` and its value, or `-` when it cannot be read, and a NUL. */
const show = `for key; do
  if value=$(cat "/proc/sys/$key"); then printf '+%s\\0' "$value"; else printf '%s\\0' -; fi
done 2>/dev/null`;

/** `cat` of every variable, inside the namespace. */
export function showVariables(keys: readonly string[], netns: NetnsRef): Command {
  return command("sh", ["-c", show, "sh", ...keys], { netns });
}

/** Values by key; variables that cannot be read are absent. */
export function parseVariables(text: string, keys: readonly string[]): ReadonlyMap<string, string> {
  const values = text.split("\0");
  return new Map(keys.flatMap((key, index) => {
    const value = values[index] ?? "-";
    return value.startsWith("+") ? [[key, value.slice(1)] as const] : [];
  }));
}

/** Whether two texts mean one value: the kernel puts tabs between numbers. */
export function sameValue(a: string | undefined, b: string): boolean {
  return a !== undefined && words(a) === words(b);
}

function words(value: string): string {
  return value.trim().split(/\s+/).join(" ");
}
