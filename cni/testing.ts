/**
 * Calls a plugin in process, for tests that stand beside the code: configuration
 * and names in, result or error out, no stdin and no environment.
 *
 * @module
 */
import type { Host } from "../ns/machine.ts";
import { Machine } from "../ns/machine.ts";
import type { Decoder } from "./decode.ts";
import type { GcRequest, Plugin, Request } from "./plugin.ts";
import type { Call } from "./call.ts";
import { callPlugin } from "./request.ts";
import type { JsonObject, Result, Verb } from "./types.ts";
import { emptyResult } from "./types.ts";

/** A call of a plugin; everything but the configuration has a value when absent. */
export interface TestCall {
  /** `cniVersion` is 1.1.0 and `name` is `mynet` when absent. */
  readonly config: JsonObject;
  /** `dummy` when absent. */
  readonly containerId?: string;
  /** `eth0` when absent. */
  readonly ifName?: string;
  /** A path where there is no namespace when absent. */
  readonly netns?: string;
  /** `CNI_ARGS`; empty when absent. */
  readonly args?: string;
  /** A new machine when absent; what it did is not taken back. */
  readonly host?: Host;
}

/** Calls a verb. Only ADD gives a result. */
export function call(
  plugin: Plugin,
  verb: Exclude<Verb, "VERSION">,
  test: TestCall,
): Promise<Result | undefined> {
  return callPlugin(plugin, verb, makeCall(test), { host: test.host ?? new Machine() });
}

/** Calls ADD. */
export async function add(plugin: Plugin, test: TestCall): Promise<Result> {
  return (await call(plugin, "ADD", test))!;
}

/** A plugin that notes its calls, and the calls it has noted. */
export interface Spy<C> {
  readonly plugin: Plugin<C>;
  readonly seen: { readonly verb: Verb; readonly req: Request<C> | GcRequest<C> }[];
}

/** Makes a plugin that notes each call, and then does what the test gives for the verb. */
export function spy<C>(conf: Decoder<C>, own: Partial<Plugin<C>> = {}): Spy<C> {
  const seen: Spy<C>["seen"] = [];
  const plugin: Plugin<C> = {
    type: "spy",
    about: "notes its calls",
    permissions: { run: [], read: [], write: [] },
    ...own,
    conf,
    async add(req) {
      seen.push({ verb: "ADD", req });
      return await own.add?.(req) ?? emptyResult();
    },
    async check(req) {
      seen.push({ verb: "CHECK", req });
      await own.check?.(req);
    },
    async del(req) {
      seen.push({ verb: "DEL", req });
      await own.del?.(req);
    },
    async gc(req) {
      seen.push({ verb: "GC", req });
      await own.gc?.(req);
    },
    async status(req) {
      seen.push({ verb: "STATUS", req });
      await own.status?.(req);
    },
  };
  return { plugin, seen };
}

/** The call that a test describes. */
export function makeCall({ config, containerId, ifName, netns, args }: TestCall): Call {
  const { cniVersion = "1.1.0", name = "mynet" } = config;
  return {
    containerId: containerId ?? "dummy",
    ifName: ifName ?? "eth0",
    netns: netns ?? "/some/where",
    args: args ?? "",
    path: [],
    config: { cniVersion, name, ...config },
    cniVersion: String(cniVersion),
  };
}
