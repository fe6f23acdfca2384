/**
 * Calls a plugin in process, for tests that stand beside the code: configuration
 * and names in, result or error out, no stdin and no environment.
 *
 * @module
 */
import type { Host } from "../ns/machine.ts";
import { Machine } from "../ns/machine.ts";
import type { Decoder } from "./decode.ts";
import type { GcRequest, IpamTraits, Plugin, Request } from "./plugin.ts";
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
  /** `CNI_NETNS_OVERRIDE`: the namespace may be the test's own ({@linkcode testNetns}). */
  readonly netnsOverride?: boolean;
  /** `CNI_ARGS`; empty when absent. */
  readonly args?: string;
  /** A new machine when absent; what it did is not taken back. */
  readonly host?: Host;
  /** Plugins that are called in process when this one delegates to their types. */
  readonly delegates?: readonly Plugin[];
}

/** A namespace that is always there, for a plugin with a fake host: the test's own. */
export const testNetns = "/proc/self/ns/net";

/**
 * Calls a verb. Only ADD gives a result. Throws what the plugin throws.
 *
 * @example Test a plugin without a kernel
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { definePlugin, emptyResult, integer, object, required } from "@denocni/denocni/plugin";
 * import { setLink } from "@denocni/denocni/host";
 * import { call, FakeHost, testNetns } from "@denocni/denocni/testing";
 *
 * const plugin = definePlugin({
 *   type: "mtu",
 *   about: "sets the MTU of an interface",
 *   permissions: { run: ["ip", "nsenter"], read: true, write: [] },
 *   conf: object({ mtu: required(integer({ min: 68 }), "MTU in bytes.") }),
 *   async add({ conf, host, ifName, netns, prevResult }) {
 *     const change = setLink(ifName, { mtu: conf.mtu, netns: { path: netns } });
 *     await host.apply([{ why: `set MTU of "${ifName}"`, do: change }]);
 *     return prevResult ?? emptyResult();
 *   },
 *   check: () => Promise.resolve(),
 *   del: () => Promise.resolve(),
 *   gc: () => Promise.resolve(),
 *   status: () => Promise.resolve(),
 * });
 *
 * const host = new FakeHost();
 * const config = { mtu: 1400 };
 * await call(plugin, "ADD", { config, netns: testNetns, netnsOverride: true, host });
 * assertEquals(host.lines, [`nsenter --net=${testNetns} ip link set dev eth0 mtu 1400`]);
 * ```
 */
export function call(
  plugin: Plugin,
  verb: Exclude<Verb, "VERSION">,
  test: TestCall,
): Promise<Result | undefined> {
  const { host = new Machine(), delegates = [] } = test;
  const load = (type: string) => {
    const found = delegates.find((it) => it.type === type);
    return found && Promise.resolve(found);
  };
  return callPlugin(plugin, verb, makeCall(test), { host, load, inProcessIfMissing: true });
}

/** Calls ADD. */
export async function add(plugin: Plugin, test: TestCall): Promise<Result> {
  return (await call(plugin, "ADD", test))!;
}

const byItself: IpamTraits = {
  needsInterface: false,
  releaseFirst: false,
  needsBroadcast: false,
};

/** Traits of IPAM plugins: one that keeps addresses itself, one that leases them, one nobody knows. */
export const testTraits = {
  local: byItself,
  leasing: { needsInterface: true, releaseFirst: true, needsBroadcast: true },
  unknown: { ...byItself, needsInterface: true },
} as const satisfies Readonly<Record<string, IpamTraits>>;

/** A plugin that notes its calls, and the calls it has noted. */
export interface Spy<C> {
  /** The plugin. */
  readonly plugin: Plugin<C>;
  /** Its calls, in order. */
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
export function makeCall(
  { config, containerId, ifName, netns, args, netnsOverride }: TestCall,
): Call {
  const { cniVersion = "1.1.0", name = "mynet" } = config;
  return {
    containerId: containerId ?? "dummy",
    ifName: ifName ?? "eth0",
    netns: netns ?? "/some/where",
    args: args ?? "",
    path: [],
    config: { cniVersion, name, ...config },
    cniVersion: String(cniVersion),
    ...(netnsOverride !== undefined && { netnsOverride }),
  };
}
