/**
 * The runtime's side of the protocol: reads network configurations, calls their plugins
 * for an attachment, and remembers results in libcni's files.
 *
 * @example Let a plugin of your own take part in a chain
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { anyObject, definePlugin, emptyResult } from "@denocni/denocni/plugin";
 * import { createExecutor, loadPlugin, parseNetwork, Runtime } from "@denocni/denocni/runtime";
 *
 * const nothing = () => Promise.resolve();
 * const audit = definePlugin({
 *   type: "audit",
 *   about: "changes nothing",
 *   permissions: { run: [], read: true, write: [] },
 *   conf: anyObject(),
 *   add: ({ prevResult }) => Promise.resolve(prevResult ?? emptyResult()),
 *   check: nothing,
 *   del: nothing,
 *   gc: nothing,
 *   status: nothing,
 * });
 * const executor = createExecutor({
 *   path: ["/opt/cni/bin"],
 *   load: (type) => type === audit.type ? Promise.resolve(audit) : loadPlugin(type),
 *   inProcessIfMissing: true,
 * });
 * const network = parseNetwork(
 *   `{ "cniVersion": "1.1.0", "name": "pods", "plugins": [{ "type": "audit" }] }`,
 * );
 * const runtime = new Runtime({ executor });
 * await runtime.status(network);
 * assertEquals((await runtime.versions("audit")).at(-1), "1.1.0");
 * ```
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
