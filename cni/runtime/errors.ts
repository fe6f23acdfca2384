/**
 * Errors of the runtime that callers tell apart. All are `CniError`s: the code
 * is the plugin's where a plugin failed.
 *
 * @module
 */
import { CniError, codes, toCniError } from "../error.ts";

/** A directory holds no network configuration at all. */
export class NoConfigsFoundError extends CniError {
  /** Always `NoConfigsFoundError`. */
  override readonly name = "NoConfigsFoundError";

  /** Makes the error of this directory. */
  constructor(
    /** The directory that was searched. */
    readonly dir: string,
  ) {
    super(codes.invalidNetworkConfig, `no net configurations found in ${dir}`);
  }
}

/** A directory holds network configurations, but none of this name. */
export class NotFoundError extends CniError {
  /** Always `NotFoundError`. */
  override readonly name = "NotFoundError";

  /** Makes the error of this name in this directory. */
  constructor(
    /** The directory that was searched. */
    readonly dir: string,
    /** The name that was looked for. */
    readonly network: string,
  ) {
    super(
      codes.invalidNetworkConfig,
      `no net configuration with name ${JSON.stringify(network)} in ${dir}`,
    );
  }
}

/** The configuration's version is older than CHECK. */
export class CheckNotSupportedError extends CniError {
  /** Always `CheckNotSupportedError`. */
  override readonly name = "CheckNotSupportedError";

  /** Makes the error of this version. */
  constructor(version: string) {
    super(
      codes.incompatibleVersion,
      `configuration version ${JSON.stringify(version)} does not support the CHECK command`,
    );
  }
}

/** Puts words before an error's message; code and details stay, the error becomes the cause. */
export function wrap(prefix: string, error: unknown): CniError {
  const inner = toCniError(error);
  return new CniError(inner.code, `${prefix}${inner.msg}`, inner.details, { cause: inner });
}

/** Several failures as one: a line each; the code is theirs, or 112 when they differ. */
export function join(failures: readonly CniError[]): CniError {
  if (failures.length === 1) return failures[0]!;
  const [first] = failures;
  const same = failures.every(({ code }) => code === first?.code);
  return new CniError(
    same && first ? first.code : codes.cleanupFailed,
    failures.map(({ message }) => message).join("\n"),
    "",
    { cause: new AggregateError(failures) },
  );
}

/** The system's reason in its usual short form: `no such file or directory`. */
export function systemReason(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/ \(os error \d+\).*$/s, "").toLowerCase();
}
