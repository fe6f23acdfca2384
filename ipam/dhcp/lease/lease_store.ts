/**
 * Leases on the disk: a file for each family of an attachment, whole or absent. The agent reads them when it
 * starts; a plugin without an agent works with them alone. All is gone after a reboot, as the
 * namespaces are that the leases were for.
 *
 * @module
 */
import type { AttachmentKey } from "../../../cni/attachment_key.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Step } from "../../../host/step.ts";
import type { Kept } from "../../../recipes/record.ts";
import type { Entry, Family, Intent } from "./lease_record.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { failureOf, readFileIfExists, removeFile, writeFileAtomic } from "../../../host/files.ts";
import { dropRecord, keepRecord, temporaryOf } from "../../../recipes/record.ts";
import { entryRecord, intentRecord, parseEntry, parseIntent } from "./lease_record.ts";
import { familyOf, leaseFiles, leasePath, usual } from "./lease_files.ts";

/** How leases are kept. */
export interface StoreOptions {
  /**
   * Put before the paths of the host, other than `dir`, where this process sees them; the files
   * have them without it, for programs of the host.
   */
  readonly prefix?: string;
  /** Gets a line about each file that is of no use; stderr when absent. */
  readonly say?: (line: string) => void;
}

/** The leases in one folder. */
export class Store {
  /** Gets a line about each file that is of no use. */
  readonly say: (line: string) => void;
  readonly #prefix: string;

  /** `dir` absent: the one of this host. */
  constructor(
    readonly dir: string = usual.dir,
    { prefix = "", say = (line) => console.error(line) }: StoreOptions = {},
  ) {
    this.#prefix = prefix;
    this.say = say;
  }

  /** Where the lease of an attachment is kept. */
  pathOf(attachment: AttachmentKey, family: Family = 4): Promise<string> {
    return leasePath(attachment, { dir: this.dir, family });
  }

  /** Writes a lease; a kill at any moment leaves the one before, or this one. */
  write(entry: Entry): void {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    writeFileAtomic(entry.path, textOf(entryRecord(this.#onHost(entry))), {
      temporary: temporaryOf(entry.path),
    });
  }

  /** Removes a lease, unless its file holds a later acquisition by now. */
  remove({ path, generation }: Pick<Entry, "path" | "generation">): void {
    const found = this.read(path);
    if (found && found.generation !== generation) return;
    removeFile(path);
    removeFile(temporaryOf(path));
  }

  /** Every lease that can be read, in the order of the file names. */
  all(): Entry[] {
    return this.#each(leaseFiles(this), (path) => this.read(path));
  }

  /** Notes an acquisition before it begins. */
  intend(intent: Intent): void {
    Deno.mkdirSync(this.dir, { recursive: true, mode: 0o755 });
    const path = intentPath(intent.path);
    writeFileAtomic(path, textOf(intentRecord(this.#onHost(intent))), {
      temporary: temporaryOf(path),
    });
  }

  /** Forgets an acquisition by the path of its lease. */
  forget(path: string): void {
    removeFile(intentPath(path));
    removeFile(temporaryOf(intentPath(path)));
  }

  /** The acquisition noted beside the path of a lease; as {@linkcode Store.read}. */
  intent(path: string): Intent | undefined {
    return this.#parse(
      intentPath(path),
      (text) => this.#here({ ...parseIntent(familyOf(path), text), path } as Intent),
    );
  }

  /** Every acquisition that is noted and can be read. */
  intents(): Intent[] {
    const paths = leaseFiles(this, "intent").map((path) => path.replace(/intent$/, "json"));
    return this.#each(paths, (path) => this.intent(path));
  }

  /**
   * The lease in a file. A file that is none is set aside under another name: what it was about
   * ends by itself, and the rest goes on. Throws a `CniError` where the file cannot be read: what
   * is in it may well be good.
   */
  read(path: string): Entry | undefined {
    return this.#parse(
      path,
      (text) => this.#here({ ...parseEntry(familyOf(path), text), path } as Entry),
    );
  }

  /** Paths as this process sees them. */
  #here<T extends Intent>(it: T): T {
    return withPaths(it, (path) => `${this.#prefix}${path}`);
  }

  /** Paths as the host has them. */
  #onHost<T extends Intent>(it: T): T {
    const prefix = this.#prefix;
    return withPaths(it, (path) => path.startsWith(prefix) ? path.slice(prefix.length) : path);
  }

  /** What cannot be read now is said and left out. */
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

function withPaths<T extends Intent>(it: T, change: (path: string) => string): T {
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

function intentPath(path: string): string {
  return path.replace(/json$/, "intent");
}

/** Steps that write a lease as {@linkcode Store.write} does, for a plugin; a rollback removes it. */
export function storeSteps(entry: Entry): Step[] {
  return keepRecord(entryRecord(entry));
}

/** Steps that remove a lease. */
export function dropSteps({ path }: Pick<Entry, "path">): Step[] {
  return dropRecord({ path });
}

function textOf({ network, containerId, ifName, data }: Kept<JsonObject>): string {
  return `${JSON.stringify({ network, containerId, ifName, data })}\n`;
}
