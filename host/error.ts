/**
 * What a failed action throws.
 *
 * @module
 */
import type { Reason } from "./reason.ts";
import { classify, firstLine } from "./reason.ts";
import type { Action, Step } from "./step.ts";
import { describe } from "./step.ts";
import type { Output } from "./spawn.ts";

/** A step or a query that failed: what could not be done and why. */
export class ActionError extends Error {
  /** Tells this error from others. */
  override readonly name = "ActionError";
  /** Class of the failure, for callers that tolerate some. */
  readonly reason: Reason;
  /** The copy-pasteable command, its exit code and its whole stderr, or the file's error. */
  readonly details: string;
  /** Meaning of a failure of this class, from the step. */
  readonly meaning: string | undefined;

  /** `why` follows "Cannot", and `words` say what stands in the way. */
  constructor(
    why: string,
    { words, reason, meaning, details }: {
      words: string;
      reason: Reason;
      meaning?: string | undefined;
      details: string;
    },
  ) {
    super(`Cannot ${why}: ${meaning ? `${words} (${meaning})` : words}`);
    this.reason = reason;
    this.meaning = meaning;
    this.details = details;
  }

  /** A step whose program ended with a failure. */
  static fromOutput(
    { why, do: action, meaning = {} }: Pick<Step, "why" | "do" | "meaning">,
    output: Output,
  ): ActionError {
    const stderr = output.stderr.trim();
    const end = output.signal ? `killed by ${output.signal}` : `exit status ${output.code}`;
    const reason = classify(stderr);
    const details = [`command: ${describe(action)}`, end, stderr && `stderr: ${stderr}`];
    return new ActionError(why, {
      words: firstLine(stderr) || end,
      reason,
      meaning: meaning[reason],
      details: details.filter(Boolean).join("; "),
    });
  }

  /** A file or kernel variable that could not be read or written. */
  static fromSystem(why: string, action: Action, error: unknown): ActionError {
    const words = error instanceof Error ? error.message : String(error);
    const reason = error instanceof Deno.errors.NotFound
      ? "missing"
      : error instanceof Deno.errors.AlreadyExists
      ? "exists"
      : error instanceof Deno.errors.PermissionDenied
      ? "denied"
      : classify(words);
    return new ActionError(why, { words, reason, details: `action: ${describe(action)}` });
  }
}

/** Whether this failure of this step is as good as success. */
export function isTolerated(step: Step, error: unknown): boolean {
  return error instanceof ActionError &&
    (step.tolerate?.includes(error.reason) ?? false);
}
