/**
 * Users and groups of this host, by the files that name them.
 *
 * @module
 */
import { readFileIfExists } from "./files.ts";

/** The files: the name of an account stands first in a line, its number third. */
const files = { user: "/etc/passwd", group: "/etc/group" } as const;

/** A kind of account. */
export type AccountKind = keyof typeof files;

/** Number of a user or group; `undefined` when the file does not name it: other services may. */
export function accountId(kind: AccountKind, name: string): number | undefined {
  return parseAccountId(readFileIfExists(files[kind]) ?? "", name);
}

/** Number of a name in the text of such a file. */
export function parseAccountId(text: string, name: string): number | undefined {
  const line = text.split("\n").map((line) => line.split(":")).find(([first]) => first === name);
  return line && /^\d+$/.test(line[2] ?? "") ? Number(line[2]) : undefined;
}
