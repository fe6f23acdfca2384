/**
 * IPAM delegation (specification section 4): the plugin named by `ipam.type`
 * gets the whole request configuration and the same environment. When the file
 * found on `CNI_PATH` is our own it runs in this process, so that one process
 * does the work of two.
 *
 * @module
 */
import { readFileIfExists } from "../host/files.ts";
import { isObject, lookup } from "./decode.ts";
import { CniError, codes } from "./error.ts";
import { execPlugin, findPlugin, hasPlugin } from "./invoke.ts";
import { isPluginType } from "./names.ts";
import type { Ipam, Plugin } from "./plugin.ts";
import type { Call, Surroundings } from "./request.ts";
import { callPlugin } from "./request.ts";
import { parseResult } from "./result.ts";
import type { Result, Verb } from "./types.ts";
import { emptyResult } from "./types.ts";

/** Name of the file beside installed plugins that says which of them are ours. */
export const markerName = ".denocni";

type DelegatedVerb = Exclude<Verb, "VERSION">;

/** The delegate of a call. Nothing is looked up before a verb is called. */
export function createIpam(call: Call, surroundings: Surroundings): Ipam {
  const type = ipamType(call);
  const run = (verb: DelegatedVerb) => delegate(type, verb, call, surroundings);
  return {
    type,
    add: async () => await run("ADD") ?? emptyResult(),
    del: async () => void await run("DEL"),
    check: async () => void await run("CHECK"),
    gc: async () => void await run("GC"),
    status: async () => void await run("STATUS"),
  };
}

function ipamType(call: Call): string {
  const ipam = lookup(call.config, "ipam");
  const type = isObject(ipam) ? lookup(ipam, "type") : undefined;
  return typeof type === "string" ? type : "";
}

async function delegate(
  type: string,
  verb: DelegatedVerb,
  call: Call,
  surroundings: Surroundings,
): Promise<Result | undefined> {
  const own = await ownPlugin(type, call.path, surroundings);
  if (own) return await callPlugin(own, verb, call, surroundings);
  return await execute(type, verb, call, surroundings);
}

/** The plugin to run in process, or `undefined` when the file on the path must be executed. */
export async function ownPlugin(
  type: string,
  path: readonly string[],
  { load, inProcessIfMissing }: Pick<Surroundings, "load" | "inProcessIfMissing">,
): Promise<Plugin | undefined> {
  if (!load || !isPluginType(type)) return undefined;
  const own = inProcessIfMissing && !hasPlugin(type, path) || isOurs(findPlugin(type, path));
  return own ? await load(type) : undefined;
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

async function execute(
  type: string,
  verb: DelegatedVerb,
  call: Call,
  { host }: Surroundings,
): Promise<Result | undefined> {
  const file = findPlugin(type, call.path);
  const run = (verb: DelegatedVerb) => execPlugin(file, delegateCall(verb, call));
  if (verb !== "ADD") return void await run(verb);
  if (host.dryRun) {
    throw new CniError(
      codes.notAvailable,
      `Cannot plan: IPAM plugin "${file}" is not ours, and executing it would reserve addresses`,
    );
  }
  // The specification wants DEL also when the delegate's own ADD fails.
  host.onRollback(`reserve addresses with "${type}"`, async () => void await run("DEL"));
  return parseResult(parseJson(type, await run("ADD")), call.cniVersion).result;
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
    stdin: JSON.stringify(call.config),
  };
}

function parseJson(type: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CniError(
      codes.delegateFailed,
      `Cannot read result of IPAM plugin "${type}": ${(error as Error).message}`,
      text,
    );
  }
}
