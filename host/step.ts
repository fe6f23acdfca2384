/**
 * Plans as data: steps with their reason and their undo. The same value is what
 * a dry run prints, what tests compare, what rollback undoes and what fault
 * injection breaks step by step.
 *
 * @module
 */
import type { Command, NetnsRef } from "./command.ts";
import { shellLine, shellQuote } from "./command.ts";
import type { Reason } from "./reason.ts";

/** Writes a whole file atomically: a temporary file beside it, then link or rename. */
export interface WriteFile {
  /** Tells it from other actions. */
  readonly kind: "write";
  /** Full path. */
  readonly path: string;
  /** The whole content. */
  readonly text: string;
  /** Permission bits of the file; 0600 when absent. */
  readonly mode?: number;
  /** Fail with reason `exists` when the file is there already. */
  readonly exclusive?: boolean;
  /** Wait until the content is on the disk. */
  readonly sync?: boolean;
  /** The temporary file, for a directory whose only writer holds a lock; a new name when absent. */
  readonly temporary?: string;
}

/** Makes a directory with its parents; one that is there already is a success. */
export interface MakeDir {
  /** Tells it from other actions. */
  readonly kind: "mkdir";
  /** Full path. */
  readonly path: string;
  /** Permission bits of a new directory; 0755 when absent. */
  readonly mode?: number;
}

/** Removes a file; a file that is gone already is a success. */
export interface RemoveFile {
  /** Tells it from other actions. */
  readonly kind: "remove";
  /** Full path. */
  readonly path: string;
  /** Leave the file alone unless it holds exactly this text. */
  readonly onlyIfText?: string;
}

/** Writes one kernel variable below `/proc/sys`; one that cannot be written and is right already is a success. */
export interface SetSysctl {
  /** Tells it from other actions. */
  readonly kind: "sysctl";
  /** Path below `/proc/sys`, always with slashes: `net/ipv6/conf/eth0/accept_ra`. */
  readonly key: string;
  /** Text to write, without a newline. */
  readonly value: string;
  /** The namespace whose variable it is; absent means the plugin's own. */
  readonly netns?: NetnsRef;
  /** A kernel without this variable is no failure; one that refuses the write is worth a line on stderr. */
  readonly optional?: boolean;
}

/** Something a step does or undoes. */
export type Action = Command | WriteFile | RemoveFile | MakeDir | SetSysctl;

/** One step of a plan. */
export interface Step {
  /** Purpose, in the imperative, as it follows "Cannot": `create bridge "cni0"`. */
  readonly why: string;
  /** The action. */
  readonly do: Action;
  /** The action that takes it back; absent when there is nothing to take back. */
  readonly undo?: Action;
  /**
   * A query made before the undo: any answer but an empty one (nothing, or an
   * empty JSON list) means that others use the thing by now, and it stays.
   */
  readonly keepIf?: Command;
  /**
   * A file that everybody locks, shared, while beginning to use the thing: query
   * and undo have it alone. Where it cannot be had the thing stays.
   */
  readonly undoLock?: string;
  /** Meaning of a failure by its reason, and a remedy; follows the program's own words. */
  readonly meaning?: Readonly<Partial<Record<Reason, string>>>;
  /** Failures that are as good as success; such a step is not undone. */
  readonly tolerate?: readonly Reason[];
}

/** Makes a {@linkcode SetSysctl}. */
export function sysctl(
  key: string,
  value: string | number,
  rest: { netns?: NetnsRef; optional?: boolean } = {},
): SetSysctl {
  return { kind: "sysctl", key, value: String(value), ...rest };
}

/** The line a person would type to do the same, for messages and dry runs. */
export function describe(action: Action): string {
  switch (action.kind) {
    case "command":
      return shellLine(action);
    case "write":
      return `printf %s ${shellQuote(action.text)} > ${shellQuote(action.path)}`;
    case "remove":
      return `rm -f ${shellQuote(action.path)}`;
    case "mkdir":
      return `mkdir -p ${shellQuote(action.path)}`;
    case "sysctl": {
      const write = `echo ${shellQuote(action.value)} > ${shellQuote(`/proc/sys/${action.key}`)}`;
      return action.netns
        ? `nsenter --net=${shellQuote(action.netns.path)} sh -c ${shellQuote(write)}`
        : write;
    }
  }
}
