/**
 * What a runtime does with a list of plugins: inject name, version, capabilities
 * and the previous result, forward for ADD and CHECK, in reverse for DEL. Written
 * from the specification and not from our own runtime, so that the two can be
 * compared.
 *
 * @module
 */
import type { JsonObject } from "../../cni/types.ts";
import type { PluginCall } from "./plugin.ts";
import { succeed } from "./plugin.ts";
import type { Sandbox } from "./sandbox.ts";

/** One attachment of one list of plugins. */
export interface Chain {
  readonly name: string;
  readonly cniVersion: string;
  readonly plugins: readonly JsonObject[];
  readonly netns: string;
  readonly containerId?: string;
  readonly ifname?: string;
  readonly args?: string;
  /** Values for the capabilities that plugins declare. */
  readonly capabilityArgs?: JsonObject;
  readonly binDir?: string;
}

/** The call of one plugin of the list. */
export function chainCall(
  chain: Chain,
  verb: "ADD" | "DEL" | "CHECK" | "GC" | "STATUS",
  { plugin, prevResult, extra = {} }: {
    plugin: JsonObject;
    prevResult?: JsonObject | undefined;
    extra?: JsonObject;
  },
): PluginCall {
  const { name, cniVersion, netns, containerId, ifname, args, binDir } = chain;
  const runtimeConfig = capabilities(chain, plugin);
  return {
    type: plugin["type"] as string,
    verb,
    netns,
    config: {
      ...plugin,
      name,
      cniVersion,
      ...(runtimeConfig && { runtimeConfig }),
      ...(prevResult && { prevResult }),
      ...extra,
    },
    ...(containerId !== undefined && { containerId }),
    ...(ifname !== undefined && { ifname }),
    ...(args !== undefined && { args }),
    ...(binDir !== undefined && { binDir }),
  };
}

function capabilities(
  { capabilityArgs = {} }: Chain,
  plugin: JsonObject,
): JsonObject | undefined {
  const wanted = (plugin["capabilities"] ?? {}) as JsonObject;
  const given = Object.entries(capabilityArgs).filter(([key]) => wanted[key] === true);
  return given.length > 0 ? Object.fromEntries(given) : undefined;
}

/** ADD of the whole list; gives the last result. */
export async function addChain(
  sandbox: Sandbox,
  chain: Chain,
): Promise<JsonObject> {
  let prevResult: JsonObject | undefined;
  for (const plugin of chain.plugins) {
    prevResult = await succeed(
      sandbox,
      chainCall(chain, "ADD", { plugin, prevResult }),
    );
  }
  return prevResult!;
}

/** CHECK of the whole list with the result of its ADD. */
export async function checkChain(
  sandbox: Sandbox,
  chain: Chain,
  prevResult: JsonObject,
): Promise<void> {
  for (const plugin of chain.plugins) {
    await succeed(sandbox, chainCall(chain, "CHECK", { plugin, prevResult }));
  }
}

/** DEL of the whole list, last plugin first. */
export async function delChain(
  sandbox: Sandbox,
  chain: Chain,
  prevResult?: JsonObject,
): Promise<void> {
  for (const plugin of chain.plugins.toReversed()) {
    await succeed(sandbox, chainCall(chain, "DEL", { plugin, prevResult }));
  }
}
