/**
 * The library: call plugins as a runtime, and write one. Entries of one topic each have
 * the rest: `./plugin`, `./host`, `./runtime` and `./testing`.
 *
 * No plugin is loaded before it is asked for.
 *
 * @example Read a network, and find its plugins
 * ```ts
 * import { createExecutor, loadPlugin, parseNetwork, Runtime } from "@denocni/denocni";
 *
 * const executor = createExecutor({ path: [], load: loadPlugin, inProcessIfMissing: true });
 * const network = parseNetwork(JSON.stringify({
 *   cniVersion: "1.1.0",
 *   name: "pods",
 *   plugins: [{ type: "bridge" }, { type: "portmap", capabilities: { portMappings: true } }],
 * }));
 * console.log(await new Runtime({ executor }).validate(network)); // ["portMappings"]
 * ```
 *
 * @example Write a plugin that sets an interface's MTU
 * ```ts
 * import {
 *   command,
 *   definePlugin,
 *   emptyResult,
 *   integer,
 *   object,
 *   required,
 * } from "@denocni/denocni";
 *
 * const plugin = definePlugin({
 *   type: "mtu",
 *   about: "sets the MTU of an interface",
 *   permissions: { run: ["ip", "nsenter"], read: true, write: [] },
 *   conf: object({ mtu: required(integer({ min: 68 }), "MTU in bytes.") }),
 *   async add(req) {
 *     await req.host.apply([{
 *       why: `set MTU of "${req.ifName}"`,
 *       do: command("ip", ["link", "set", "dev", req.ifName, "mtu", `${req.conf.mtu}`], {
 *         netns: { path: req.netns },
 *       }),
 *     }]);
 *     return req.prevResult ?? emptyResult();
 *   },
 *   check: () => Promise.resolve(),
 *   del: () => Promise.resolve(),
 *   gc: () => Promise.resolve(),
 *   status: () => Promise.resolve(),
 * });
 * console.log(plugin.type);
 * // if (import.meta.main) await serve(plugin);
 * ```
 *
 * @module
 */
export { definePlugin } from "./cni/plugin.ts";
export type {
  Delegate,
  GcRequest,
  IpamTraits,
  Permissions,
  Plugin,
  Request,
} from "./cni/plugin.ts";
export { handle, serve } from "./cni/serve.ts";
export type { Input, Outcome } from "./cni/serve.ts";
export { callPlugin } from "./cni/request.ts";
export type { Call, CallContext, Load } from "./cni/call.ts";
export {
  boolean,
  cidr,
  decodeOrThrow,
  integer,
  ip,
  list,
  object,
  oneOf,
  optional,
  refine,
  required,
  string,
  withDefault,
} from "./cni/decode.ts";
export type { Decoder, Field, Fields, Infer, Issue, ObjectOf } from "./cni/decode.ts";
export { CniError, codes, toCniError } from "./cni/error.ts";
export type { CodeName } from "./cni/error.ts";
export { formatResult, parseResult } from "./cni/result.ts";
export { emptyResult } from "./cni/types.ts";
export type { AttachmentKey, ContainerInterface } from "./cni/attachment_key.ts";
export type {
  Dns,
  Interface,
  IpConfig,
  Json,
  JsonObject,
  Result,
  Route,
  Verb,
} from "./cni/types.ts";
export { versions } from "./cni/version.ts";
export { checkTool, command, knownTools } from "./host/command.ts";
export type { Command, KnownTool, NetnsRef, Tool } from "./host/command.ts";
export { ActionError } from "./host/error.ts";
export { fold, processes } from "./host/fold.ts";
export type { Unit } from "./host/fold.ts";
export type { Reason } from "./host/reason.ts";
export { describe, sysctl } from "./host/step.ts";
export type { Action, MakeDir, RemoveFile, SetSysctl, Step, WriteFile } from "./host/step.ts";
export { DryRun, Machine } from "./ns/machine.ts";
export type { Host, QueryOptions } from "./ns/machine.ts";
export { createNetns, inspectNetns, removeNetns } from "./ns/netns.ts";
export type { NetnsIdentity, NetnsState } from "./ns/netns.ts";
export { loadPlugin, types } from "./registry.ts";
export { Runtime } from "./cni/runtime/runtime.ts";
export type { DelOptions, RuntimeOptions } from "./cni/runtime/runtime.ts";
export type { Repaired } from "./cni/runtime/repair.ts";
export type { Attachment } from "./cni/runtime/chain.ts";
export { networkFromPlugin, parseNetwork, parsePlugin } from "./cni/runtime/config.ts";
export type { NetworkConfig, PluginConfig } from "./cni/runtime/config.ts";
export { findNetwork, findPluginConfig, listNetworks } from "./cni/runtime/find.ts";
export { loadNetwork, loadPluginFile } from "./cni/runtime/find.ts";
export type { FoundFile } from "./cni/runtime/find.ts";
export { Cache } from "./cni/runtime/cache.ts";
export type { CachedAttachment } from "./cni/runtime/cache.ts";
export { createExecutor } from "./cni/runtime/executor.ts";
export type { Executor, ExecutorOptions, PluginCall, Runnable } from "./cni/runtime/executor.ts";
export {
  CheckNotSupportedError,
  NoConfigsFoundError,
  NotFoundError,
} from "./cni/runtime/errors.ts";
