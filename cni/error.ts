/**
 * The only thing that leaves a plugin when it fails (specification section 5,
 * "Error"). `docs/errors.md` explains every code.
 *
 * @module
 */
import { ActionError } from "../host/error.ts";
import { DeadlineError, ToolMissingError } from "../host/spawn.ts";
import type { Reason } from "../host/reason.ts";
import type { JsonObject } from "./types.ts";

/** Codes below 100 are the specification's (8 and 999 the reference's); from 100 on they are ours. */
export const codes = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidNetworkConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  refused: 100,
  toolMissing: 101,
  alreadyExists: 102,
  objectMissing: 103,
  noAddress: 104,
  checkFailed: 105,
  kernelUnsupported: 106,
  permissionDenied: 107,
  capacity: 108,
  portConflict: 109,
  delegateFailed: 110,
  interrupted: 111,
  cleanupFailed: 112,
  internal: 999,
} as const;

/** Name of an error code. */
export type CodeName = keyof typeof codes;

/** An error of the protocol: code, message and details. */
export class CniError extends Error {
  /** Tells this error from others. */
  override readonly name: string = "CniError";

  /** Makes an error; `options.cause` is what led to it. */
  constructor(
    readonly code: number,
    /** What could not be done: `Cannot <do what> "<value>": <state>`. */
    readonly msg: string,
    /** Everything a person needs to look into it. */
    readonly details = "",
    options?: ErrorOptions,
  ) {
    super(details ? `${msg}; ${details}` : msg, options);
  }

  /** The object for stdout; keys in the order the reference writes them. */
  toJson(cniVersion?: string): JsonObject {
    return {
      ...(cniVersion !== undefined && { cniVersion }),
      code: this.code,
      msg: this.msg,
      ...(this.details && { details: this.details }),
    };
  }
}

const codeOfReason: Readonly<Record<Reason, number>> = {
  missing: codes.objectMissing,
  exists: codes.alreadyExists,
  busy: codes.tryAgainLater,
  denied: codes.permissionDenied,
  unsupported: codes.kernelUnsupported,
  full: codes.capacity,
  invalid: codes.refused,
  other: codes.refused,
};

/** An error that says why a thing is busy is final: waiting does not help. */
function codeOf({ reason, meaning }: ActionError): number {
  return reason === "busy" && meaning ? codes.refused : codeOfReason[reason];
}

/** Turns whatever was thrown into a protocol error. Code 999 means a defect of ours. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  const cause = { cause: error };
  if (error instanceof ActionError) {
    return new CniError(codeOf(error), error.message, error.details, cause);
  }
  if (error instanceof ToolMissingError) {
    return new CniError(codes.toolMissing, error.message, "", cause);
  }
  if (error instanceof DeadlineError) {
    return new CniError(codes.tryAgainLater, error.message, "", cause);
  }
  if (error instanceof Error) {
    return new CniError(codes.internal, error.message || error.name, error.stack ?? "", cause);
  }
  return new CniError(codes.internal, String(error), "", cause);
}
