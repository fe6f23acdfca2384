/**
 * Leases on the disk: a file for each family of an attachment, whole or absent. The agent reads them when
 * it starts; a plugin without an agent uses nothing else. All files are gone after a reboot, and so are
 * the namespaces that the leases were for.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Family } from "../../../host/ip.ts";
import type { Step } from "../../../host/step.ts";
import type { AttachmentRecord } from "../../../recipes/record.ts";
import type { LeaseIntent, LeaseRecord } from "./lease_record.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { failureOf, readFileIfExists, removeFile, writeFileAtomic } from "../../../host/files.ts";
import { removeRecord, temporaryOf, writeRecord } from "../../../recipes/record.ts";
import {
  familyOfPath,
  intentPath,
  leaseFolder,
  leasePath,
  leasePathOf,
  listLeaseFiles,
} from "./lease_files.ts";
import {
  leaseIntentFile,
  leaseRecordFile,
  parseLeaseIntent,
  parseLeaseRecord,
} from "./lease_record.ts";

/** How leases are stored. */
export interface LeaseStoreOptions {
  /**
   * Precedes the paths of the host, other than `dir`, as this process sees them. In files they stand
   * without it, for programs of the host.
   */
  readonly prefix?: string;
  /** Takes a line about each unusable file; stderr when absent. */
  readonly say?: (line: string) => void;
}

/** The leases in one folder. */
export class LeaseStore {
  /** Takes a line about each unusable file. */
  readonly say: (line: string) => void;
  readonly #prefix: string;

  /** `dir` is the folder of this host when absent. */
  constructor(
    readonly dir: string = leaseFolder,
    { prefix = "", say = (line) => console.error(line) }: LeaseStoreOptions = {},
  ) {
    this.#prefix = prefix;
    this.say = say;
  }

  /** Path of the lease of an attachment. */
  pathOf(attachment: AttachmentKey, family: Family = 4): Promise<string> {
    return leasePath(attachment, { dir: this.dir, family });
  }

  /** Writes a lease; a kill at any moment leaves the previous lease, or this one. */
  write(record: LeaseRecord): void {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    writeFileAtomic(record.path, textOf(leaseRecordFile(this.#onHost(record))), {
      temporary: temporaryOf(record.path),
    });
  }

  /** Removes a lease, unless its file holds a later acquisition by now. */
  remove({ path, generation }: Pick<LeaseRecord, "path" | "generation">): void {
    const found = this.read(path);
    if (found && found.generation !== generation) return;
    removeFile(path);
    removeFile(temporaryOf(path));
  }

  /** Reads every lease that can be read, in the order of the file names. */
  all(): LeaseRecord[] {
    return this.#each(listLeaseFiles(this), (path) => this.read(path));
  }

  /** Writes the intent of an acquisition, before that begins. */
  writeIntent(intent: LeaseIntent): void {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    const path = intentPath(intent.path);
    writeFileAtomic(path, textOf(leaseIntentFile(this.#onHost(intent))), {
      temporary: temporaryOf(path),
    });
  }

  /** Removes an intent, by the path of its lease. */
  removeIntent(path: string): void {
    removeFile(intentPath(path));
    removeFile(temporaryOf(intentPath(path)));
  }

  /** Reads the intent beside the path of a lease, like {@linkcode LeaseStore.read}. */
  readIntent(path: string): LeaseIntent | undefined {
    return this.#parse(
      intentPath(path),
      (text) => this.#here({ ...parseLeaseIntent(familyOfPath(path), text), path } as LeaseIntent),
    );
  }

  /** Reads every intent that can be read. */
  allIntents(): LeaseIntent[] {
    const paths = listLeaseFiles(this, "intent").map(leasePathOf);
    return this.#each(paths, (path) => this.readIntent(path));
  }

  /**
   * Reads the lease in a file. Renames a file that holds none: the lease that it was about expires by
   * itself. Throws a `CniError` when the file cannot be read, since its content may well be good.
   */
  read(path: string): LeaseRecord | undefined {
    return this.#parse(
      path,
      (text) => this.#here({ ...parseLeaseRecord(familyOfPath(path), text), path } as LeaseRecord),
    );
  }

  /** Makes paths those that this process sees. */
  #here<T extends LeaseIntent>(it: T): T {
    return withPaths(it, (path) => `${this.#prefix}${path}`);
  }

  /** Makes paths those of the host. */
  #onHost<T extends LeaseIntent>(it: T): T {
    const prefix = this.#prefix;
    return withPaths(it, (path) => path.startsWith(prefix) ? path.slice(prefix.length) : path);
  }

  /** Reads each file; logs and leaves out what cannot be read. */
  #each<T>(paths: readonly string[], read: (path: string) => T | undefined): T[] {
    return paths.flatMap((path) => {
      let found: T | undefined;
      const failure = failureOf(() => found = read(path));
      if (failure) this.say(`dhcp: ${failure.message}`);
      return found === undefined ? [] : [found];
    });
  }

  #parse<T>(path: string, parse: (text: string) => T): T | undefined {
    const text = readText(path);
    if (text === undefined) return undefined;
    let parsed: T | undefined;
    const failure = failureOf(() => parsed = parse(text));
    if (failure) this.#setAside(path, failure.message);
    return parsed;
  }

  #setAside(path: string, problem: string): void {
    const aside = `${path}.damaged`;
    this.say(`dhcp: Cannot use lease file "${path}": ${problem}; it is kept as "${aside}"`);
    const failure = failureOf(() => Deno.renameSync(path, aside));
    if (failure) this.say(`dhcp: Cannot rename "${path}": ${failure.message}`);
  }
}

function withPaths<T extends LeaseIntent>(it: T, change: (path: string) => string): T {
  const agent = it.agent === undefined ? undefined : change(it.agent);
  return { ...it, netns: change(it.netns), agent };
}

function readText(path: string): string | undefined {
  let text: string | undefined;
  const failure = failureOf(() => text = readFileIfExists(path));
  if (!failure) return text;
  const message = `Cannot read lease file "${path}": ${failure.message}`;
  throw new CniError(codes.ioFailure, message, "", { cause: failure });
}

/** Plans to write a lease like {@linkcode LeaseStore.write}, for a plugin; a rollback removes it. */
export function writeLeaseSteps(record: LeaseRecord): Step[] {
  return writeRecord(leaseRecordFile(record));
}

/** Plans to remove a lease. */
export function removeLeaseSteps({ path }: Pick<LeaseRecord, "path">): Step[] {
  return removeRecord({ path });
}

function textOf({ network, containerId, ifName, data }: AttachmentRecord<JsonObject>): string {
  return `${JSON.stringify({ network, containerId, ifName, data })}\n`;
}
