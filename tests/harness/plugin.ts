/**
 * Runs plugins as a container runtime does: the file named after the type, a
 * configuration on stdin, `CNI_*` variables and PATH and nothing else.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject, Verb } from "../../cni/types.ts";
import { types } from "../../registry.ts";
import type { InProcessCall } from "./in_process.ts";
import type { Finished } from "./process.ts";
import { execute, Running } from "./process.ts";
import type { Sandbox } from "./sandbox.ts";
import type { StandingHost } from "./standing.ts";

/** Debian's containernetworking-plugins. */
export const peerDir = "/usr/lib/cni";

/** All protocol versions. */
export const versions = [
  "0.1.0",
  "0.2.0",
  "0.3.0",
  "0.3.1",
  "0.4.0",
  "1.0.0",
  "1.1.0",
] as const;

/** One call of one plugin. */
export interface PluginCall {
  readonly type: string;
  readonly verb: Verb | (string & Record<never, never>);
  /** Written to stdin; text or bytes as they are. */
  readonly config?: JsonObject | string | Uint8Array;
  /** `c1` when absent. */
  readonly containerId?: string;
  /** Path for `CNI_NETNS`; empty when absent. */
  readonly netns?: string;
  /** `eth0` when absent. */
  readonly ifname?: string;
  readonly args?: string;
  /** Variables on top; `undefined` takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Folder with the plugin, also given as `CNI_PATH`; {@linkcode binDir} when absent. */
  readonly binDir?: string;
  /** Milliseconds until it is killed. */
  readonly deadline?: number;
}

/** What a plugin left. */
export interface PluginOutput extends Finished {
  /** stdout as JSON; `undefined` when it is empty. */
  readonly json: JsonObject | undefined;
}

/** The words that start a plugin inside the host stand-in. */
export function pluginArgv(sandbox: Sandbox, call: PluginCall): string[] {
  const path = `${call.binDir ?? binDir()}/${call.type}`;
  return ["nsenter", `--net=${sandbox.host}`, "--", path];
}

/** The whole environment of a plugin. */
export function pluginEnv(call: PluginCall): Record<string, string> {
  const all: Record<string, string | undefined> = {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    CNI_COMMAND: call.verb,
    CNI_CONTAINERID: call.containerId ?? "c1",
    CNI_NETNS: call.netns ?? "",
    CNI_IFNAME: call.ifname ?? "eth0",
    CNI_ARGS: call.args ?? "",
    CNI_PATH: call.binDir ?? binDir(),
    ...call.env,
  };
  const set = Object.entries(all).filter(([, value]) => value !== undefined);
  return Object.fromEntries(set) as Record<string, string>;
}

/** What a plugin reads. */
export function pluginStdin(call: PluginCall): string | Uint8Array {
  const { config = "" } = call;
  if (typeof config === "string" || config instanceof Uint8Array) return config;
  return JSON.stringify(config);
}

/** Calls a plugin and waits for its end. Throws when stdout is neither empty nor one JSON value. */
export async function callPlugin(
  sandbox: Sandbox,
  call: PluginCall,
): Promise<PluginOutput> {
  const stdin = pluginStdin(call);
  const output = sandbox.standing && typeof stdin === "string" && isOwn(call)
    ? await callInProcess(sandbox.standing, { type: call.type, env: pluginEnv(call), stdin })
    : await execute(pluginArgv(sandbox, call), {
      stdin,
      env: pluginEnv(call),
      cwd: "/",
      deadline: call.deadline,
    });
  return { ...output, json: parseStdout(call, output) };
}

/** Whether the plugin under test is called, and nothing but its answer matters. */
function isOwn({ type, binDir, deadline }: PluginCall): boolean {
  return binDir === undefined && deadline === undefined && types.includes(type);
}

async function callInProcess(host: StandingHost, call: InProcessCall): Promise<Finished> {
  const { exit, stdout, stderr } = await host.call(call);
  return { code: exit, signal: null, stdout, stderr };
}

/** Starts a plugin and does not wait for it. */
export function startPlugin(sandbox: Sandbox, call: PluginCall): Running {
  return new Running(pluginArgv(sandbox, call), {
    stdin: pluginStdin(call),
    env: pluginEnv(call),
    cwd: "/",
  });
}

/** What a started plugin left. Throws when stdout is neither empty nor one JSON value. */
export async function outputOf(call: PluginCall, running: Running): Promise<PluginOutput> {
  const output = await running.finished;
  return { ...output, json: parseStdout(call, output) };
}

function parseStdout(
  call: PluginCall,
  output: Finished,
): JsonObject | undefined {
  if (output.stdout === "") return undefined;
  try {
    return JSON.parse(output.stdout);
  } catch (cause) {
    throw new Error(
      `Cannot read stdout of "${call.type}" as one JSON value: ${output.stdout}; stderr: ${output.stderr}`,
      { cause },
    );
  }
}

/** Calls a plugin that must succeed; gives the JSON of its stdout, an empty object when there is none. */
export async function succeed(
  sandbox: Sandbox,
  call: PluginCall,
): Promise<JsonObject> {
  return okJson(call, await callPlugin(sandbox, call));
}

/** The JSON of a call that must have succeeded. */
export function okJson(call: PluginCall, output: PluginOutput): JsonObject {
  const { code, signal, stdout, stderr } = output;
  assert(
    code === 0,
    `${call.type} ${call.verb} ended with ${signal ?? code}: ${stdout}${stderr}`,
  );
  if (call.verb === "ADD") assert(output.json, "ADD has no result on stdout");
  return output.json ?? {};
}

/** An error object. */
export interface ErrorObject {
  readonly cniVersion?: string;
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

/** Calls a plugin that must fail; gives its error object. */
export async function fail(
  sandbox: Sandbox,
  call: PluginCall,
): Promise<ErrorObject> {
  return errorObject(call, await callPlugin(sandbox, call));
}

/**
 * The error object of a call that must have failed as the protocol demands: exit
 * status 1, one object with a foreseen code and a message, nothing else.
 */
export function errorObject(
  call: PluginCall,
  output: PluginOutput,
): ErrorObject {
  const about = `${call.type} ${call.verb}: ${output.stdout}${output.stderr}`;
  assertEquals(output.signal ?? output.code, 1, about);
  const { json } = output;
  assert(json && !Array.isArray(json), `no error object on stdout: ${about}`);
  const { code, msg, details, cniVersion, ...rest } = json;
  assertEquals(rest, {}, `unknown keys in an error object: ${about}`);
  assert(typeof code === "number" && Number.isInteger(code), about);
  assert(
    code > 0 && code !== 999,
    `code ${code} is not a foreseen one: ${about}`,
  );
  assert(typeof msg === "string" && msg !== "", about);
  for (const text of [details, cniVersion]) {
    assert(text === undefined || typeof text === "string", about);
  }
  return json as unknown as ErrorObject;
}

/** The addresses of a result, with their prefixes, from version 0.3.0 on. */
export function addressesOf(result: JsonObject): string[] {
  return ((result["ips"] ?? []) as JsonObject[]).map((ip) => ip["address"] as string);
}

let ownBinDir: string | undefined;

/**
 * Folder of the plugins under test: `CNI_BIN_DIR`, or launchers of the sources
 * for direct use during development.
 */
export function binDir(): string {
  return ownBinDir ??= Deno.env.get("CNI_BIN_DIR") ?? makeLaunchers();
}

/** Launchers of `main.ts` with the marker that says that they are ours. */
function makeLaunchers(): string {
  const dir = "/run/denocni-bin";
  Deno.mkdirSync(dir, { recursive: true });
  const denoDir = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const files: Record<string, number> = {};
  for (const type of ["plugins", "ipam", "meta"].flatMap((folder) => [...typesIn(folder)])) {
    const script = `#!/bin/sh
export DENO_DIR='${denoDir}' DENO_NO_UPDATE_CHECK=1
exec '${Deno.execPath()}' run --quiet --no-check --no-prompt --allow-all --unstable-net '${main}' ${type} "$@"
`;
    Deno.writeTextFileSync(`${dir}/${type}`, script, { mode: 0o755 });
    files[type] = script.length;
  }
  Deno.writeTextFileSync(`${dir}/.denocni`, JSON.stringify({ files }));
  return dir;
}

/** Types of the plugins in a folder of the sources. */
function* typesIn(folder: string): Generator<string> {
  const dir = new URL(`../../${folder}`, import.meta.url).pathname;
  try {
    for (const { name, isFile } of Deno.readDirSync(dir)) {
      if (isFile && name.endsWith(".ts") && !name.endsWith("_test.ts")) yield name.slice(0, -3);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
