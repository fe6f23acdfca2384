/**
 * One network's reservations as they are on the disk, under the lock.
 *
 * @module
 */
import type { ContainerInterface } from "../../cni/attachment_key.ts";
import { isSameInterface } from "../../cni/attachment_key.ts";
import { isDirectory, readFileIfExists } from "../../host/files.ts";
import type { Ip } from "../../host/ip.ts";
import { formatIp, parseIp } from "../../host/ip.ts";
import { lockFile } from "../../host/lock.ts";
import { processNamespaces } from "../../host/proc.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import { requireLock } from "../../recipes/lock.ts";
import { removeAll } from "../../recipes/removal.ts";
import { Index } from "./index.ts";
import type { Entry, EntryChange } from "./layout.ts";
import { Layout } from "./layout.ts";
import type { Netns } from "./liveness.ts";
import { bootId } from "../../host/machine_id.ts";
import { bootTime, isGone } from "./liveness.ts";
import type { Reservation } from "./reservation.ts";
import { formatKey, parseKey } from "./reservation.ts";

/** Where and how a network's reservations are kept. */
export interface StoreOptions {
  readonly dataDir: string;
  readonly network: string;
  readonly host: Host;
  /** Milliseconds to wait for the lock. */
  readonly lockTimeout: number;
  /** Reservations of earlier boots count. */
  readonly keepAcrossReboot: boolean;
}

/** Milliseconds by which a file's time may be earlier than the boot that it is of. */
const slack = 1000;

/** How an address stands. */
export type Standing =
  | { readonly is: "free" }
  /** There is a file, and nobody can have the address any more. */
  | { readonly is: "leftover"; readonly reservation: Reservation; readonly why: string }
  | { readonly is: "held"; readonly reservation: Reservation };

/**
 * Locks a network's directory, making it when it is missing. A dry run makes and
 * locks nothing.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const path = `${options.dataDir}/${options.network}`;
  if (!isDirectory(path)) {
    await options.host.apply([{ why: `make directory "${path}"`, do: { kind: "mkdir", path } }]);
  }
  return await Store.open(options);
}

/** Locks a network's directory; `undefined` when there is none. */
export async function openStoreIfExists(options: StoreOptions): Promise<Store | undefined> {
  const exists = isDirectory(`${options.dataDir}/${options.network}`);
  return exists ? await Store.open(options) : undefined;
}

async function lock(path: string, deadline: number): Promise<Deno.FsFile> {
  // The mode is the reference's.
  return requireLock(await lockFile(path, { mode: 0o750, deadline }), { path, deadline });
}

/** One network's reservations. Hold it for as short as possible; disposing of it unlocks. */
export class Store implements Disposable {
  /** Where its files lie. */
  readonly layout: Layout;
  readonly #options: StoreOptions;
  readonly #index: Index;
  readonly #lock: Deno.FsFile | undefined;
  /** Whether the index describes the directory, but for changes through this object. */
  #current: boolean;
  /** Names of files by content, once the directory was read. */
  #found: Map<string, readonly string[]> | undefined;
  /** Identity of the running boot, once it was asked for. */
  #boot: string | undefined;
  #bootTime: number | undefined;
  /** Namespaces that processes are in, once they were looked at. */
  #processes: ReadonlySet<number> | undefined;

  private constructor(options: StoreOptions, layout: Layout, lock: Deno.FsFile | undefined) {
    this.layout = layout;
    this.#options = options;
    this.#index = new Index(layout);
    this.#lock = lock;
    this.#current = isDirectory(layout.dir) && this.#index.isCurrent();
  }

  /** Locks a directory that exists. */
  static async open(options: StoreOptions): Promise<Store> {
    const { dataDir, network, host, lockTimeout, keepAcrossReboot } = options;
    const layout = new Layout(dataDir, network, { sync: keepAcrossReboot });
    const file = host.dryRun ? undefined : await lock(layout.lock, lockTimeout);
    return new Store(options, layout, file);
  }

  [Symbol.dispose](): void {
    this.#lock?.close();
  }

  /** Identity of the running boot. */
  get boot(): string {
    return this.#boot ??= bootId();
  }

  /** The reservation file of this name, if there is one. */
  read(name: string): Reservation | undefined {
    const path = `${this.layout.dir}/${name}`;
    const text = readFileIfExists(path);
    if (text === undefined) return undefined;
    const madeAt = Deno.statSync(path).mtime?.getTime() ?? 0;
    return { name, text, key: parseKey(text), madeAt };
  }

  /** Every reservation file; reads the whole directory. */
  all(): Reservation[] {
    return this.names().map((name) => this.read(name)).filter((one) => one !== undefined);
  }

  /** Names of all reservation files; reads the directory without the files. */
  names(): string[] {
    if (!isDirectory(this.layout.dir)) return [];
    return [...Deno.readDirSync(this.layout.dir)].map(({ name }) => name)
      .filter((name) => parseIp(name) !== undefined);
  }

  /** What an attachment holds. */
  heldBy(key: ContainerInterface): Reservation[] {
    if (!this.#current || this.layout.entryPath(key) === undefined) this.#readAll();
    const names = this.#found?.get(formatKey(key)) ?? this.#index.read(key)?.names ?? [];
    const held = names.map((name) => this.read(name))
      .filter((one) => one?.key && isSameInterface(one.key, key)) as Reservation[];
    if (held.length === names.length || this.#found) return held;
    // Somebody wrote into a file, which the directory does not show.
    this.#readAll();
    return this.heldBy(key);
  }

  /** What is known of an attachment beyond its files. */
  entry(key: ContainerInterface): Entry | undefined {
    if (!this.#current) this.#readAll();
    return this.#current ? this.#index.read(key) : undefined;
  }

  /** Whether an address is free, and if not, why. */
  standing(ip: Ip): Standing {
    const reservation = this.read(formatIp(ip));
    if (!reservation) return { is: "free" };
    const why = this.#leftover(reservation);
    return why ? { is: "leftover", reservation, why } : { is: "held", reservation };
  }

  /** Why nobody can have this address any more, if that is certain at once. */
  #leftover(reservation: Reservation): string | undefined {
    if (!reservation.key) return "its file names nobody";
    const old = !this.#options.keepAcrossReboot && this.#isOfEarlierBoot(reservation);
    return old ? "it was reserved before the host was booted" : undefined;
  }

  #isOfEarlierBoot(reservation: Reservation): boolean {
    const boot = this.#entryOf(reservation)?.boot;
    if (boot !== undefined) return boot !== this.boot;
    return reservation.madeAt < this.#earliestBootTime() - slack;
  }

  /** By whichever clock says the earliest: a clock that was set must not age anything. */
  #earliestBootTime(): number {
    return this.#bootTime ??= Math.min(bootTime(), this.#index.bootTime(this.boot) ?? Infinity);
  }

  /** Whether the namespace for which an address was reserved in this boot is gone. */
  isAbandoned(reservation: Reservation): boolean {
    const entry = this.#entryOf(reservation);
    return entry?.netns !== undefined && entry.boot === this.boot && this.isGone(entry.netns);
  }

  /** Whether it is certain that a namespace of this boot is gone. */
  isGone(netns: Netns): boolean {
    return isGone(netns, () => this.#processes ??= processNamespaces("net"));
  }

  /** What is known of a reservation's owner, if it is about this reservation. */
  #entryOf({ key, name }: Reservation): Entry | undefined {
    const entry = key && this.entry(key);
    return entry?.names.includes(name) ? entry : undefined;
  }

  /** The address handed out last from a range set. */
  last(set: number): Ip | undefined {
    return parseIp(readFileIfExists(this.layout.lastPath(set)) ?? "");
  }

  /** Carries out a plan. A rollback takes it back under the lock, too. */
  async apply(steps: readonly Step[]): Promise<void> {
    if (steps.length === 0) return;
    const { host } = this.#options;
    let again: Store | undefined;
    host.onRollback(`unlock "${this.layout.dir}"`, () => {
      if (again) again.#settle();
      again?.[Symbol.dispose]();
      return Promise.resolve();
    });
    await host.apply(steps);
    this.#settle();
    host.onRollback(`lock "${this.layout.dir}"`, async () => {
      again = await Store.open(this.#options);
    });
  }

  /** Carries out every step of a removal, whatever becomes of the others. */
  async applyAll(steps: readonly Step[]): Promise<void> {
    if (steps.length === 0) return;
    const { host } = this.#options;
    await removeAll(
      steps.map((step) => ({ why: step.why, run: async () => void await host.apply([step]) })),
    );
    this.#settle();
  }

  /** Proves that files can be written here. */
  async probe(): Promise<void> {
    const why = `write to "${this.layout.dir}"`;
    await this.#options.host.apply([
      { why, do: this.layout.writeProbe() },
      { why, do: { kind: "remove", path: this.layout.probe } },
    ]);
    this.#settle();
  }

  /** The index describes the directory as it is left. */
  #settle(): void {
    if (this.#options.host.dryRun || !this.#current) return;
    // Who had no need to know the boot passes on what is known.
    if (this.#boot === undefined) return this.#index.stamp();
    const known = this.#index.bootTime(this.#boot);
    this.#index.stamp({ boot: this.#boot, bootTime: known ?? bootTime() });
  }

  /** Reads the directory and brings the index up to date. */
  #readAll(): void {
    if (this.#found) return;
    const owners = ownersOf(this.all());
    this.#found = new Map(owners.map(({ key, names }) => [formatKey(key), names]));
    if (this.#options.host.dryRun) return;
    this.#current = this.#index.rebuild(owners.map((owner) => this.#known(owner)));
    this.#settle();
  }

  /** What stays known of an attachment whose files lay open to other programs. */
  #known({ key, names, madeAt }: Owner): EntryChange {
    const before = this.#index.read(key);
    const ours = before?.boot === this.boot && madeAt <= this.#index.changedAt(key);
    return { key, before, after: ours ? { ...before, names } : { names } };
  }
}

/** An attachment and all of its files. */
interface Owner {
  readonly key: ContainerInterface;
  readonly names: string[];
  /** Time of the latest change of one, milliseconds since 1970. */
  madeAt: number;
}

function ownersOf(reservations: readonly Reservation[]): Owner[] {
  const owners = new Map<string, Owner>();
  for (const { key, name, madeAt } of reservations) {
    if (!key) continue;
    const owner = owners.get(formatKey(key)) ?? { key, names: [], madeAt: 0 };
    owner.names.push(name);
    owner.madeAt = Math.max(owner.madeAt, madeAt);
    owners.set(formatKey(key), owner);
  }
  return [...owners.values()];
}
