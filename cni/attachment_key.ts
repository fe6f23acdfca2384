/**
 * The names of an attachment, by which plugins and the runtime tell one from another.
 *
 * @module
 */

/** A container's interface, which names an attachment on one network. */
export interface ContainerInterface {
  /** `CNI_CONTAINERID` of its ADD. */
  readonly containerId: string;
  /** `CNI_IFNAME` of its ADD. */
  readonly ifName: string;
}

/** The three names of an attachment. */
export interface AttachmentKey extends ContainerInterface {
  /** Name of the network. */
  readonly network: string;
}

/** A network and its attachments that a GC keeps. */
export interface ValidAttachments {
  /** Name of the network. */
  readonly network: string;
  /** Attachments that stay. */
  readonly valid: readonly AttachmentKey[];
}

/** Whether two names are those of the same interface of the same container. */
export function isSameInterface(a: ContainerInterface, b: ContainerInterface): boolean {
  return a.containerId === b.containerId && a.ifName === b.ifName;
}

/** Whether two keys name the same attachment. */
export function isSameAttachment(a: AttachmentKey, b: AttachmentKey): boolean {
  return a.network === b.network && isSameInterface(a, b);
}

/**
 * Tells which attachments of a network are none of the valid ones, each in the same time
 * however many are valid.
 */
export function staleOn(
  network: string,
  valid: readonly ContainerInterface[],
): (it: AttachmentKey) => boolean {
  // No name contains a NUL.
  const textOf = ({ containerId, ifName }: ContainerInterface) => `${containerId}\0${ifName}`;
  const keep = new Set(valid.map(textOf));
  return (it) => it.network === network && !keep.has(textOf(it));
}
