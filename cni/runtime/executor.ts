/**
 * How the runtime carries a plugin out: in this process when it is one of ours,
 * else by executing the file found on `CNI_PATH`.
 *
 * @module
 */
import type { Host } from "../../ns/machine.ts";
import { Machine } from "../../ns/machine.ts";
import { lookup } from "../decode.ts";
import { ownPlugin } from "../delegate.ts";
import { readEnv } from "../env.ts";
import { CniError, codes } from "../error.ts";
import type { ExecOptions, PluginEnv } from "../invoke.ts";
import { execPlugin, execVersion, findPlugin } from "../invoke.ts";
import type { Plugin } from "../plugin.ts";
import type { Call, Load } from "../call.ts";
import { repairWith } from "../request.ts";
import { dispatch, withUndoFailures } from "../serve.ts";
import type { JsonObject, Verb } from "../types.ts";
import { oldest, versions } from "../version.ts";

/** One call of one plugin. */
export interface PluginCall {
  /** What to do. */
  readonly verb: Exclude<Verb, "VERSION">;
  /** Identifier of the container; empty for GC and STATUS. */
  readonly containerId: string;
  /** Path of the namespace; may be empty. */
  readonly netns: string;
  /** Name of the interface inside the container. */
  readonly ifName: string;
  /** Text of `CNI_ARGS`. */
  readonly args: string;
  /** The request configuration. */
  readonly config: JsonObject;
}

/** A plugin that has been found. */
export interface Runnable {
  /** Its type. */
  readonly type: string;
  /** The file that is executed; absent when the plugin runs in this process. */
  readonly file?: string;
  /** Calls a verb and gives stdout. Throws a `CniError` or what the plugin threw. */
  call(call: PluginCall): Promise<string>;
  /** Versions of the protocol it supports. */
  versions(): Promise<readonly string[]>;
  /** Puts back what is missing of an attachment; absent when the plugin is executed. */
  repair?(call: PluginCall): Promise<string[]>;
}

/** Finds plugins by type. Throws a `CniError` when there is none. */
export interface Executor {
  /** Finds a plugin; nothing is executed yet. */
  find(type: string): Promise<Runnable>;
}

/** Options of an executor. */
export interface ExecutorOptions {
  /** Directories of `CNI_PATH`. */
  readonly path: readonly string[];
  /** Finds our own plugins; absent means that every plugin is executed. */
  readonly load?: Load | undefined;
  /** Run our own plugins also where the directories hold no file of that name. */
  readonly inProcessIfMissing?: boolean | undefined;
  /** The machine for a plugin in process; a real one that takes failed calls back when absent. */
  readonly host?: ((type: string) => Host) | undefined;
  /** Stops what runs in process and takes it back; no further plugin is started. */
  readonly signal?: AbortSignal | undefined;
  /** Takes what executed plugins write to stderr; this process's stderr when absent. */
  readonly stderr?: ((text: string) => void) | undefined;
  /** Milliseconds after which an executed plugin is told to end; 100,000 when absent. */
  readonly deadline?: number | undefined;
}

/** The executor of files and of our own plugins. */
export function createExecutor(options: ExecutorOptions): Executor {
  return {
    async find(type) {
      options.signal?.throwIfAborted();
      const own = await ownPlugin(type, options.path, options);
      return own ? inProcess(own, options) : executed(type, options);
    },
  };
}

function executed(type: string, options: ExecutorOptions): Runnable {
  const file = findPlugin(type, options.path);
  const rest: Pick<ExecOptions, "stderr" | "deadline"> = options;
  return {
    type,
    file,
    async call(call) {
      if (options.host?.(type).dryRun) throw notPlannable(type, file);
      const stdin = JSON.stringify(call.config);
      return await execPlugin(file, { ...rest, env: envOf(call, options.path), stdin });
    },
    versions: () => execVersion(file, rest),
  };
}

function notPlannable(type: string, file: string): CniError {
  return new CniError(
    codes.notAvailable,
    `Cannot plan plugin "${type}": ${file} is not ours, and executing it would change the host`,
  );
}

function envOf(call: PluginCall, path: readonly string[]): PluginEnv {
  return {
    CNI_COMMAND: call.verb,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netns,
    CNI_IFNAME: call.ifName,
    CNI_ARGS: call.args,
    CNI_PATH: path.join(":"),
  };
}

function inProcess(plugin: Plugin, options: ExecutorOptions): Runnable {
  return {
    type: plugin.type,
    versions: () => Promise.resolve(plugin.versions ?? versions),
    call: (call) =>
      onMachine(plugin, options, (host) => carryOut(plugin, call, { ...options, host })),
    repair: (call) =>
      onMachine(
        plugin,
        options,
        (host) => repairWith(plugin, directCall(call, options.path), { ...options, host }),
      ),
  };
}

/** On a machine that takes back what fails, unless there is one already. */
async function onMachine<T>(
  plugin: Plugin,
  { host, signal }: ExecutorOptions,
  work: (host: Host) => Promise<T>,
): Promise<T> {
  const given = host?.(plugin.type);
  if (given) return await work(given);
  const machine = new Machine(signal ? { signal } : {});
  try {
    return await work(machine);
  } catch (error) {
    throw withUndoFailures(error, await machine.rollback());
  }
}

/** A call that does not come through an environment. */
function directCall({ verb: _, ...call }: PluginCall, path: readonly string[]): Call {
  const version = lookup(call.config, "cniVersion");
  return { ...call, path, cniVersion: typeof version === "string" && version ? version : oldest };
}

/** The same checks in the same order as in a process of its own. */
function carryOut(
  plugin: Plugin,
  call: PluginCall,
  options: Omit<ExecutorOptions, "host"> & { host: Host },
): Promise<string> {
  const env: Readonly<Record<string, string>> = { ...envOf(call, options.path) };
  const { load, inProcessIfMissing, host } = options;
  const stdin = () => JSON.stringify(call.config);
  const variables = readEnv((name) => env[name] ?? Deno.env.get(name));
  return dispatch(plugin, variables, { stdin, load, inProcessIfMissing }, host);
}
