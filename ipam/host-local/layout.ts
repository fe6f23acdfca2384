/**
 * Where everything lies on the disk, and the actions that change it. Nothing
 * here touches the disk.
 *
 * @module
 */
import type { ContainerInterface } from "../../cni/attachment_key.ts";
import type { RemoveFile, WriteFile } from "../../host/step.ts";
import type { Netns } from "./liveness.ts";
import type { Reservation } from "./reservation.ts";
import { formatKey } from "./reservation.ts";

/** What is known of an attachment beyond its reservation files. */
export interface Entry {
  /** Names of its reservation files. */
  readonly names: readonly string[];
  /** Boot in which it was made by us; absent when another program made or changed the files. */
  readonly boot?: string;
  /** Namespace at the time of ADD, when there was one. */
  readonly netns?: Netns;
}

/** A change of what is known of an attachment. */
export interface EntryChange {
  readonly key: ContainerInterface;
  readonly before: Entry | undefined;
  /** `undefined` when nothing is known any more. */
  readonly after: Entry | undefined;
}

/** Longest file name that file systems take. */
const maxName = 255;

/** Paths of one network, and actions on them. */
export class Layout {
  /** The network's directory: lock, reservations, last addresses. */
  readonly dir: string;
  /** Entries of the index, one for each attachment. */
  readonly entries: string;
  /** Which state of the directory the index describes. */
  readonly stamp: string;
  readonly lock: string;
  /** Written and removed to see whether that works. */
  readonly probe: string;
  /** Inside the directory, to be on the same file system; nobody takes the name for an address. */
  readonly temporary: string;
  /** One writer at a time: it holds the lock. */
  readonly indexTemporary: string;
  readonly #sync: boolean;

  /** With `sync` a reservation is on the disk before its address is used. */
  constructor(dataDir: string, network: string, options: { sync?: boolean } = {}) {
    this.dir = `${dataDir}/${network}`;
    this.lock = `${this.dir}/lock`;
    this.probe = `${this.dir}/.denocni-probe`;
    this.temporary = `${this.dir}/.denocni-tmp`;
    // Beside the network's directory, because the reference's plugin reads that whole.
    const state = `${dataDir}/.denocni/${network}`;
    this.entries = `${state}/by-key`;
    this.stamp = `${state}/stamp`;
    this.indexTemporary = `${state}/tmp`;
    this.#sync = options.sync ?? false;
  }

  /** Makes a reservation; it fails when the address has a file already. */
  reserve(name: string, key: ContainerInterface): WriteFile {
    return { ...this.#write(`${this.dir}/${name}`, formatKey(key)), exclusive: true };
  }

  /** Removes a reservation, as long as it is this one. */
  release({ name, text }: Pick<Reservation, "name" | "text">): RemoveFile {
    return { kind: "remove", path: `${this.dir}/${name}`, onlyIfText: text };
  }

  /** Path of the file with the address handed out last from a range set. */
  lastPath(set: number): string {
    return `${this.dir}/last_reserved_ip.${set}`;
  }

  /** Writes which address was handed out last from a range set. */
  writeLast(set: number, name: string): WriteFile {
    return this.#write(this.lastPath(set), name);
  }

  /** Writes the file that shows whether that works. */
  writeProbe(): WriteFile {
    return this.#write(this.probe, "\n");
  }

  #write(path: string, text: string): WriteFile {
    return { kind: "write", path, text, temporary: this.temporary, sync: this.#sync };
  }

  /** Path of an attachment's entry; `undefined` when its names are too long for one. */
  entryPath({ containerId, ifName }: ContainerInterface): string | undefined {
    // `abc:eth0`; a colon or slash inside a name is escaped.
    const name = `${encodeURIComponent(containerId)}:${encodeURIComponent(ifName)}`;
    return name.length > maxName ? undefined : `${this.entries}/${name}`;
  }

  /** Writes an attachment's entry, or removes it. Nothing when it cannot have one. */
  changeEntry(
    key: ContainerInterface,
    entry: Entry | undefined,
  ): WriteFile | RemoveFile | undefined {
    const path = this.entryPath(key);
    if (path === undefined) return undefined;
    if (!entry) return { kind: "remove", path };
    return { kind: "write", path, text: JSON.stringify(entry), temporary: this.indexTemporary };
  }
}
