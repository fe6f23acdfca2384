/**
 * Files that a configuration names.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import { readFileIfExists } from "../host/files.ts";

/** Reads a file that a configuration names; `undefined` when there is none. Throws code 5 for one that cannot be read. */
export function readNamedFile(path: string): string | undefined {
  try {
    return readFileIfExists(path);
  } catch (error) {
    throw new CniError(codes.ioFailure, `Cannot read "${path}": ${(error as Error).message}`);
  }
}
