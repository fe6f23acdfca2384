/**
 * The identities of this machine and of its running boot.
 *
 * @module
 */
import { failureOf, readFileIfExists } from "./files.ts";
import { readProc } from "./proc.ts";

/** The machine ID of `/etc/machine-id`; `undefined` where it is absent, empty or cannot be read. */
export function machineId(path = "/etc/machine-id"): string | undefined {
  let id: string | undefined;
  failureOf(() => id = readFileIfExists(path)?.trim());
  return id || undefined;
}

/** The identity of the running boot, which every boot gets anew. */
export function bootId(): string {
  return readProc("/proc/sys/kernel/random/boot_id").trim();
}
