/**
 * The steps that make and release reservations: pure functions of what was
 * decided.
 *
 * @module
 */
import type { ContainerInterface } from "../../cni/attachment_key.ts";
import { formatIp } from "../../host/ip.ts";
import type { Step } from "../../host/step.ts";
import type { Candidate } from "./allocator.ts";
import type { Entry, EntryChange, Layout } from "./layout.ts";
import type { Reservation } from "./reservation.ts";
import { describeKey, formatKey } from "./reservation.ts";

/** The address chosen from one range set. */
export interface Choice extends Candidate {
  /** Index of the range set. */
  readonly set: number;
  /** The attachment has it already. */
  readonly held: boolean;
  /** A dead reservation that must go first, and why it is dead. */
  readonly clear?: Dead;
}

/** A reservation that nobody can have any more. */
export interface Dead {
  readonly reservation: Reservation;
  readonly why: string;
}

/** Changes of an ADD. */
export interface Decision {
  readonly key: ContainerInterface;
  readonly choices: readonly Choice[];
  /** Reservations that go first. */
  readonly dead: readonly Dead[];
  /** What is known of attachments from then on, the asking one last. */
  readonly entries: readonly EntryChange[];
}

/**
 * Reserves the chosen addresses. Files first, then what is known of them, so
 * that no entry is older than its files.
 */
export function planReserve(layout: Layout, { key, choices, dead, entries }: Decision): Step[] {
  const added = choices.filter(({ held }) => !held);
  return [
    ...dead.map(({ reservation, why }) => ({
      why: `release "${reservation.name}": ${why}`,
      do: layout.release(reservation),
    })),
    ...added.map((choice) => reserve(layout, key, choice)),
    ...entries.flatMap((change) => remember(layout, change)),
    ...added.map(({ set, ip }) => ({
      why: `remember "${formatIp(ip)}" as the last address of range set ${set}`,
      do: layout.writeLast(set, formatIp(ip)),
    })),
  ];
}

/** The undo leaves alone what is not this attachment's. */
function reserve(layout: Layout, key: ContainerInterface, { ip }: Choice): Step {
  const write = layout.reserve(formatIp(ip), key);
  return {
    why: `reserve "${formatIp(ip)}" for ${describeKey(key)}`,
    do: write,
    undo: { kind: "remove", path: write.path, onlyIfText: write.text },
  };
}

/** Nothing when nothing changes, or when the attachment cannot have an entry. */
function remember(layout: Layout, { key, before, after }: EntryChange): Step[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const change = layout.changeEntry(key, after);
  const undo = layout.changeEntry(key, before);
  return change && undo ? [{ why: `index ${describeKey(key)}`, do: change, undo }] : [];
}

/** Releases reservations, and then what is known of those who had them. */
export function planRelease(
  layout: Layout,
  reservations: readonly Reservation[],
  entries: readonly EntryChange[],
): Step[] {
  return [
    ...reservations.map((reservation) => ({
      why: `release "${reservation.name}"`,
      do: layout.release(reservation),
    })),
    ...entries.flatMap((change) => remember(layout, change)),
  ];
}

/** What is known of the owners of reservations once these are released. */
export function entriesWithout(
  reservations: readonly Reservation[],
  known: (key: ContainerInterface) => Entry | undefined,
): EntryChange[] {
  const released = new Map<string, { key: ContainerInterface; names: string[] }>();
  for (const { key, name } of reservations) {
    if (!key) continue;
    const owner = released.get(formatKey(key)) ?? { key, names: [] };
    owner.names.push(name);
    released.set(formatKey(key), owner);
  }
  return [...released.values()].map(({ key, names }) => {
    const before = known(key);
    const left = before?.names.filter((name) => !names.includes(name)) ?? [];
    return {
      key,
      before,
      after: before && left.length > 0 ? { ...before, names: left } : undefined,
    };
  });
}
