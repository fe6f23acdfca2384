/**
 * The reference's reservation files: one per address, named by it, holding who
 * has it.
 *
 * @module
 */
import type { AttachmentKey } from "../../cni/types.ts";

/** A reservation file. */
export interface Reservation {
  /** File name: the address. */
  readonly name: string;
  /** The whole content, as it is on the disk. */
  readonly text: string;
  /** Who has the address; `undefined` when the content says nothing: the address is free. */
  readonly key: AttachmentKey | undefined;
  /** Time of the last change, milliseconds since 1970. */
  readonly madeAt: number;
}

const lineBreak = "\r\n";

/** What a reservation file holds. A key without `ifname` is one of old releases. */
export function formatKey({ containerID, ifname }: AttachmentKey): string {
  return ifname ? containerID + lineBreak + ifname : containerID;
}

/**
 * Reads the content of a reservation file. Files of old releases hold the
 * container alone: `ifname` is empty then. An empty file (a full disk) or one
 * with bytes that belong into no name (a power failure) gives `undefined`.
 */
export function parseKey(text: string): AttachmentKey | undefined {
  const [containerID, ifname = "", ...rest] = text.trim().split(lineBreak);
  const broken = /[\0\t-\r\ufffd]/.test(`${containerID}${ifname}`);
  if (!containerID || broken || rest.length > 0) return undefined;
  return { containerID, ifname };
}

/** Whether two keys are the same attachment. */
export function sameKey(a: AttachmentKey | undefined, b: AttachmentKey): boolean {
  return a?.containerID === b.containerID && a.ifname === b.ifname;
}

/** `container "abc" interface "eth0"` */
export function describeKey({ containerID, ifname }: AttachmentKey): string {
  const container = `container "${containerID}"`;
  return ifname ? `${container} interface "${ifname}"` : container;
}
