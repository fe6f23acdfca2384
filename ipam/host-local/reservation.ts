/**
 * The reference's reservation files: one per address, named by it, holding who
 * has it.
 *
 * @module
 */
import type { ContainerInterface } from "../../cni/attachment_key.ts";

/** A reservation file. */
export interface Reservation {
  /** File name: the address. */
  readonly name: string;
  /** The whole content, as it is on the disk. */
  readonly text: string;
  /** Holder of the address; `undefined` when the content names none: the address is free. */
  readonly key: ContainerInterface | undefined;
  /** Time of the last change, milliseconds since 1970. */
  readonly madeAt: number;
}

const lineBreak = "\r\n";

/** Content of a reservation file. A key without `ifName` is one of old releases. */
export function formatKey({ containerId, ifName }: ContainerInterface): string {
  return ifName ? containerId + lineBreak + ifName : containerId;
}

/**
 * Reads the content of a reservation file. Files of old releases hold the
 * container alone: `ifName` is empty then. An empty file (a full disk) or one
 * with bytes that belong into no name (a power failure) gives `undefined`.
 */
export function parseKey(text: string): ContainerInterface | undefined {
  const [containerId, ifName = "", ...rest] = text.trim().split(lineBreak);
  const broken = /[\0\t-\r\ufffd]/.test(`${containerId}${ifName}`);
  if (!containerId || broken || rest.length > 0) return undefined;
  return { containerId, ifName };
}

/** `container "abc" interface "eth0"` */
export function describeKey({ containerId, ifName }: ContainerInterface): string {
  const container = `container "${containerId}"`;
  return ifName ? `${container} interface "${ifName}"` : container;
}
