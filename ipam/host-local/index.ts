/**
 * The index beside the reservation files: one small file per attachment, and a
 * stamp that says which state of the directory it describes.
 *
 * The files of the reference stay the truth, and the reference's plugin may
 * change them at any time. As long as the directory is as the stamp says, nobody
 * but us has made or removed a file in it, and the index can be trusted without
 * looking at the directory. Otherwise (a change by the reference's plugin, a
 * process killed half-way, an index that is missing) the directory is read once.
 *
 * @module
 */
import { isObject } from "../../cni/decode.ts";
import type { ContainerInterface } from "../../cni/attachment_key.ts";
import type { DirStamp } from "../../host/dir_stamp.ts";
import { isUnchanged, stampDir } from "../../host/dir_stamp.ts";
import { changeCache, readOwnJson, removeFile, writeFileAtomic } from "../../host/files.ts";
import type { Entry, EntryChange, Layout } from "./layout.ts";

/** Which state of the directory the index describes, and what is known of boots. */
interface Stamp extends Partial<DirStamp> {
  /** The boot that `bootTime` belongs to. */
  readonly boot?: string;
  /** When that boot began by the earliest clock so far, milliseconds since 1970. */
  readonly bootTime?: number;
}

/** The index of one network's directory. */
export class Index {
  readonly #layout: Layout;
  readonly #known: Stamp;

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#known = objectIn(layout.stamp) ?? {};
  }

  /** Whether the index describes the directory as it is now. */
  isCurrent(): boolean {
    return isUnchanged(this.#layout.dir, this.#known);
  }

  /** When this boot began by the earliest clock that the index saw; milliseconds since 1970. */
  bootTime(boot: string): number | undefined {
    return this.#known.boot === boot ? this.#known.bootTime : undefined;
  }

  /** Marks the index as current. The directory is read once more when that fails. */
  stamp({ boot, bootTime }: Pick<Stamp, "boot" | "bootTime"> = this.#known): void {
    const { dir, stamp, indexTemporary: temporary } = this.#layout;
    changeCache(() => {
      const text = JSON.stringify({ ...stampDir(dir), boot, bootTime });
      writeFileAtomic(stamp, text, { temporary });
    });
  }

  /** What is known of an attachment; its files may say otherwise. */
  read(key: ContainerInterface): Entry | undefined {
    const path = this.#layout.entryPath(key);
    const value = path === undefined ? undefined : objectIn(path);
    return Array.isArray(value?.names) ? value as unknown as Entry : undefined;
  }

  /** Time of the last change of an entry, milliseconds since 1970; 0 when there is none. */
  changedAt(key: ContainerInterface): number {
    const path = this.#layout.entryPath(key);
    return path === undefined ? 0 : Deno.statSync(path).mtime?.getTime() ?? 0;
  }

  /** Makes the index hold exactly these entries; tells whether that worked. */
  rebuild(entries: Iterable<EntryChange>): boolean {
    return changeCache(() => this.#rebuild(entries));
  }

  #rebuild(entries: Iterable<EntryChange>): void {
    const { entries: dir, indexTemporary: temporary } = this.#layout;
    Deno.mkdirSync(dir, { recursive: true });
    const left = new Set([...Deno.readDirSync(dir)].map(({ name }) => `${dir}/${name}`));
    for (const { key, before, after } of entries) {
      const path = this.#layout.entryPath(key);
      if (path === undefined) continue;
      left.delete(path);
      const text = JSON.stringify(after);
      if (text !== JSON.stringify(before)) writeFileAtomic(path, text, { temporary });
    }
    for (const path of left) removeFile(path);
  }
}

function objectIn(path: string): Record<string, unknown> | undefined {
  const value = readOwnJson(path);
  return isObject(value) ? value : undefined;
}
