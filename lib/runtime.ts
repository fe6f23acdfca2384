/**
 * The runtime's side of the protocol: reads network configurations, calls their plugins
 * for an attachment, and remembers results in libcni's files.
 *
 * @module
 */
export * from "../cni/runtime/cache.ts";
export type { Attachment } from "../cni/runtime/chain.ts";
export * from "../cni/runtime/config.ts";
export * from "../cni/runtime/errors.ts";
export * from "../cni/runtime/executor.ts";
export * from "../cni/runtime/find.ts";
export type { Repaired } from "../cni/runtime/repair.ts";
export * from "../cni/runtime/runtime.ts";
export * from "../registry.ts";
