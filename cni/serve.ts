/**
 * The executed form of a plugin: environment and stdin in, one JSON value and an
 * exit status out, whatever happens (specification section 3).
 *
 * @module
 */
import type { Host } from "../ns/machine.ts";
import { Machine } from "../ns/machine.ts";
import { expected, isObject, lookup } from "./decode.ts";
import type { Env } from "./env.ts";
import { readEnv } from "./env.ts";
import { CniError, codes, toCniError } from "./error.ts";
import { parseJson } from "./json.ts";
import { checkNetworkName } from "./names.ts";
import type { Plugin } from "./plugin.ts";
import type { Call, Load } from "./call.ts";
import { callPlugin } from "./request.ts";
import { formatResult, stringifyResult } from "./result.ts";
import type { Json, JsonObject, Verb } from "./types.ts";
import {
  atLeast,
  formatVersionObject,
  latest,
  oldest,
  parseVersion,
  reconcile,
  versions,
} from "./version.ts";
import { print } from "../host/print.ts";

/** Input of an executed plugin. */
export interface Input {
  /** Reads an environment variable. */
  readonly env: (name: string) => string | undefined;
  /** Reads stdin to its end; not called for VERSION. */
  readonly stdin: () => string;
  /** Finds our own plugins, for delegates in process. */
  readonly load?: Load | undefined;
  /** Run our own delegates in process also where `CNI_PATH` holds no file of that name. */
  readonly inProcessIfMissing?: boolean | undefined;
  /** Aborted when the plugin shall stop: what was done is taken back. */
  readonly signal?: AbortSignal;
}

/** Output of an executed plugin. */
export interface Outcome {
  /** Exit status. */
  readonly exit: 0 | 1;
  /** At most one JSON value. */
  readonly stdout: string;
  /** Text for people. */
  readonly stderr: string;
}

/** Handles one execution. Never throws. */
export async function handle(plugin: Plugin, input: Input): Promise<Outcome> {
  const machine = new Machine(input.signal ? { signal: input.signal } : {});
  try {
    if (!input.env("CNI_COMMAND")) return about(plugin);
    const env = readEnv(input.env);
    const stdout = await dispatch(plugin, env, input, machine);
    // Whoever stops an ADD does not wait for its result.
    if (env.command === "ADD") input.signal?.throwIfAborted();
    return success(stdout);
  } catch (error) {
    return failure(error, await machine.rollback());
  }
}

/** Reads this process's environment and stdin, handles the call and exits. */
export async function serve(plugin: Plugin, load?: Load): Promise<never> {
  const interrupted = new AbortController();
  const outcome = await handle(plugin, {
    env: (name) => Deno.env.get(name),
    stdin() {
      const text = readStdin();
      abortOnSignals(interrupted);
      return text;
    },
    load,
    signal: interrupted.signal,
  });
  print(Deno.stderr, outcome.stderr);
  print(Deno.stdout, outcome.stdout);
  Deno.exit(outcome.exit);
}

/** Called once stdin is read: until then a signal just ends the process, for there is nothing to take back. */
function abortOnSignals(interrupted: AbortController): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    Deno.addSignalListener(signal, () => interrupted.abort(stopped(signal)));
  }
}

function stopped(signal: string): CniError {
  return new CniError(codes.interrupted, `Cannot finish: stopped by ${signal}`);
}

function about(plugin: Plugin): Outcome {
  const supported = (plugin.versions ?? versions).join(", ");
  const stderr = `CNI ${plugin.type} plugin of denocni: ${plugin.about}\n` +
    `CNI protocol versions supported: ${supported}\n`;
  return { exit: 0, stdout: "", stderr };
}

function success(stdout: string): Outcome {
  return { exit: 0, stdout, stderr: "" };
}

function failure(error: unknown, undoFailures: readonly string[]): Outcome {
  const json = withUndoFailures(error, undoFailures).toJson(latest);
  return { exit: 1, stdout: stringifyResult(json), stderr: "" };
}

/** The error that leaves a plugin: what could not be taken back stands in its details. */
export function withUndoFailures(error: unknown, undoFailures: readonly string[]): CniError {
  const { code, msg, details } = toCniError(error);
  const all = [details, ...undoFailures].filter(Boolean).join("; ");
  return new CniError(code, msg, all, { cause: error });
}

/** Runs the checks in the order of the reference and calls the verb; gives stdout. */
export async function dispatch(
  plugin: Plugin,
  env: Env,
  input: Pick<Input, "stdin" | "load" | "inProcessIfMissing">,
  host: Host,
): Promise<string> {
  const supported = plugin.versions ?? versions;
  if (env.command === "VERSION") return `${formatVersionObject(supported)}\n`;
  const text = readOrThrow(input.stdin);
  const config = parseConfig(text);
  checkName(config);
  const verb = knownVerb(env.command);
  const cniVersion = gate(verb, config, supported);
  const call: Call = { ...env, config, text, cniVersion };
  const { load, inProcessIfMissing } = input;
  const result = await callPlugin(plugin, verb, call, { host, load, inProcessIfMissing });
  return result ? stringifyResult(formatResult(result, cniVersion)) : "";
}

function parseConfig(text: string): JsonObject {
  let value: Json;
  try {
    value = parseJson(text);
  } catch (error) {
    throw malformed((error as Error).message);
  }
  if (value === null) return {};
  if (!isObject(value)) throw malformed(expected("object", value));
  return value;
}

function readOrThrow(stdin: () => string): string {
  try {
    return stdin();
  } catch (error) {
    throw new CniError(
      codes.ioFailure,
      `error reading from stdin: ${(error as Error).message}`,
    );
  }
}

function malformed(reason: string): CniError {
  return new CniError(
    codes.decodingFailure,
    `error unmarshall network config: ${reason}`,
  );
}

function checkName(config: JsonObject): void {
  const name = lookup(config, "name") ?? "";
  if (typeof name !== "string") throw malformed(`name: ${expected("string", name)}`);
  if (name === "") {
    throw new CniError(codes.invalidNetworkConfig, "missing network name");
  }
  checkNetworkName(name);
}

function knownVerb(command: string): Exclude<Verb, "VERSION"> {
  switch (command) {
    case "ADD":
    case "DEL":
    case "CHECK":
    case "GC":
    case "STATUS":
      return command;
    default:
      throw new CniError(
        codes.invalidEnvironment,
        `unknown CNI_COMMAND: ${command}`,
      );
  }
}

const since: Readonly<Partial<Record<Verb, string>>> = {
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

/** Version rules of a verb; gives the configuration's version. */
function gate(
  verb: Verb,
  config: JsonObject,
  supported: readonly string[],
): string {
  const version = lookup(config, "cniVersion") ?? "";
  if (typeof version !== "string") {
    throw new CniError(
      codes.decodingFailure,
      `decoding version from network config: ${expected("string", version)}`,
    );
  }
  const wanted = version || oldest;
  const minimum = since[verb];
  if (minimum !== undefined) {
    parseVersion(wanted);
    allow(atLeast(wanted, minimum), `config version does not allow ${verb}`);
    allow(
      supported.some((known) => atLeast(known, wanted)),
      `plugin version does not allow ${verb}`,
    );
  }
  reconcile(wanted, supported);
  return wanted;
}

function allow(condition: boolean, message: string): void {
  if (!condition) throw new CniError(codes.incompatibleVersion, message);
}

function readStdin(): string {
  const chunks: Uint8Array[] = [];
  const buffer = new Uint8Array(64 * 1024);
  for (let n = Deno.stdin.readSync(buffer); n; n = Deno.stdin.readSync(buffer)) {
    chunks.push(buffer.slice(0, n));
  }
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") +
    decoder.decode();
}
