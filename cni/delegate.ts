/**
 * Delegation (specification section 4): the plugin named by `ipam.type` gets the
 * whole request configuration and the same environment, any other delegate the
 * configuration that its caller makes for it. When the file
 * found on `CNI_PATH` is our own it runs in this process (`request.ts`), so that
 * one process does the work of two; any other is executed here.
 *
 * @module
 */
import { readFileIfExists } from "../host/files.ts";
import type { Host } from "../ns/machine.ts";
import { CniError, codes } from "./error.ts";
import { execPlugin, findPlugin, hasPlugin } from "./invoke.ts";
import { parseJson } from "./json.ts";
import { isPluginType } from "./names.ts";
import type { IpamTraits, Plugin } from "./plugin.ts";
import type { Call, CallContext, DelegatedVerb } from "./call.ts";
import { parseResult } from "./result.ts";
import type { Json, Result } from "./types.ts";

/** Name of the file beside installed plugins that says which of them are ours. */
export const markerName = ".denocni";

/** The plugin to run in process, or `undefined` when the file on the path must be executed. */
export async function ownPlugin(
  type: string,
  path: readonly string[],
  { load, inProcessIfMissing }: Pick<CallContext, "load" | "inProcessIfMissing">,
): Promise<Plugin | undefined> {
  if (!load || !isPluginType(type)) return undefined;
  const own = inProcessIfMissing && !hasPlugin(type, path) || isOurs(findPlugin(type, path));
  const plugin = own ? await load(type) : undefined;
  return plugin && mayServe(plugin) ? plugin : undefined;
}

/**
 * Traits of an IPAM plugin that nobody knows: it may talk over the container's interface
 * before it gives an address, and takes an address back when no link has it any more.
 */
const unknownIpam: IpamTraits = {
  needsInterface: true,
  releaseFirst: false,
  needsBroadcast: false,
};

/**
 * Traits of an IPAM plugin. A type stands for a contract, so what our plugin of that type
 * declares counts for any file of its name, also for one that is executed.
 */
export async function ipamTraits(
  type: string,
  { load }: Pick<CallContext, "load">,
): Promise<IpamTraits> {
  const known = isPluginType(type) ? await load?.(type) : undefined;
  return known?.ipam ?? unknownIpam;
}

/** A plugin that opens sockets cannot do so in a process that has given them up. */
function mayServe({ permissions: { net } }: Plugin): boolean {
  return !net || Deno.permissions.querySync({ name: "net" }).state === "granted";
}

/**
 * Whether a plugin's file is one that we installed: the marker beside it lists
 * its name with the size it had, so a file that another package has put in its
 * place since is executed.
 */
export function isOurs(file: string): boolean {
  const slash = file.lastIndexOf("/");
  const text = readFileIfExists(`${file.slice(0, slash)}/${markerName}`);
  if (text === undefined) return false;
  try {
    const sizes = JSON.parse(text)?.files ?? {};
    return sizes[file.slice(slash + 1)] === Deno.statSync(file).size;
  } catch {
    return false;
  }
}

/** Executes a delegate. Only ADD gives a result. */
export async function execDelegate(
  type: string,
  { verb, call, host }: { verb: DelegatedVerb; call: Call; host: Host },
): Promise<Result | undefined> {
  const file = findPlugin(type, call.path);
  const run = (verb: DelegatedVerb) => execPlugin(file, delegateCall(verb, call));
  if (host.dryRun && changes.has(verb)) throw notPlannable(verb, file);
  if (verb !== "ADD") return void await run(verb);
  // The specification wants DEL also when the delegate's own ADD fails.
  host.onRollback(`call ADD of "${type}"`, async () => void await run("DEL"));
  return parseResult(parseStdout(type, await run("ADD")), call.cniVersion).result;
}

const changes: ReadonlySet<DelegatedVerb> = new Set<DelegatedVerb>(["ADD", "DEL", "GC"]);

function notPlannable(verb: DelegatedVerb, file: string): CniError {
  return new CniError(
    codes.notAvailable,
    `Cannot plan ${verb} of plugin "${file}": it is not ours, and executing it would change what it keeps`,
  );
}

function delegateCall(verb: DelegatedVerb, call: Call) {
  return {
    env: {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: call.containerId,
      CNI_NETNS: call.netns,
      CNI_IFNAME: call.ifName,
      CNI_ARGS: call.args,
      CNI_PATH: call.path.join(":"),
    },
    stdin: call.text ?? JSON.stringify(call.config),
  };
}

function parseStdout(type: string, text: string): Json {
  try {
    return parseJson(text);
  } catch (error) {
    throw new CniError(
      codes.delegateFailed,
      `Cannot read result of plugin "${type}": ${(error as Error).message}`,
      text,
    );
  }
}
