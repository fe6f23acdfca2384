/**
 * Executes a plugin's file: finds it on `CNI_PATH`, gives it environment and
 * stdin, and turns whatever it leaves into a result or a `CniError`
 * (specification section 3; message texts as libcni's).
 *
 * @module
 */
import type { Output } from "../host/spawn.ts";
import { DeadlineError, spawn } from "../host/spawn.ts";
import { isObject, lookup } from "./decode.ts";
import { CniError, codes } from "./error.ts";
import { parseJson } from "./json.ts";

/** The six variables of the protocol. All are set, empty ones too, so that none is inherited. */
export interface PluginEnv {
  readonly CNI_COMMAND: string;
  readonly CNI_CONTAINERID: string;
  readonly CNI_NETNS: string;
  readonly CNI_IFNAME: string;
  readonly CNI_ARGS: string;
  readonly CNI_PATH: string;
}

/** How a plugin is executed. */
export interface ExecOptions {
  /** Put over the environment of this process, which the plugin inherits. */
  readonly env: PluginEnv;
  /** The request configuration. */
  readonly stdin: string;
  /** Takes what the plugin wrote to stderr, after its end; this process's stderr when absent. */
  readonly stderr?: ((text: string) => void) | undefined;
  /** Milliseconds after which the plugin is told to end; 100,000 when absent. */
  readonly deadline?: number | undefined;
  /** Waits between attempts while the file is being written (milliseconds). */
  readonly pause?: ((milliseconds: number) => Promise<void>) | undefined;
}

/** Directories of a search path as `CNI_PATH` writes it; empty ones do not count. */
export function splitPath(path: string): string[] {
  return path.split(":").filter((dir) => dir !== "");
}

/**
 * The first regular file of this name in the directories, symbolic links
 * followed. Throws a `CniError` when the name is no file name or nothing is found.
 */
export function findPlugin(type: string, dirs: readonly string[]): string {
  if (type === "") throw unusable("no plugin name provided");
  if (/[/\0]/.test(type)) throw unusable(`invalid plugin name: ${type}`);
  if (dirs.length === 0) {
    throw new CniError(codes.invalidEnvironment, "no paths provided");
  }
  const found = candidates(type, dirs).find(isFile);
  if (found !== undefined) return found;
  throw new CniError(
    codes.delegateFailed,
    `failed to find plugin ${JSON.stringify(type)} in path [${dirs.join(" ")}]`,
  );
}

/** Whether a file of this name is in the directories. */
export function hasPlugin(type: string, dirs: readonly string[]): boolean {
  return candidates(type, dirs).some(isFile);
}

function candidates(type: string, dirs: readonly string[]): string[] {
  return dirs.map((dir) => `${dir.replace(/\/+$/, "")}/${type}`);
}

function unusable(message: string): CniError {
  return new CniError(codes.invalidNetworkConfig, message);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/**
 * Executes a plugin and gives its stdout. Throws the `CniError` that the plugin
 * printed, or one of code 110 when it left none.
 */
export async function execPlugin(
  path: string,
  options: ExecOptions,
): Promise<string> {
  const output = await start(path, options);
  if (output.stderr) (options.stderr ?? writeStderr)(output.stderr);
  if (output.code === 0 && output.signal === null) return output.stdout;
  throw failureOf(path, output);
}

/** Asks a plugin for the versions it supports. A plugin older than the question supports 0.1.0. */
export async function execVersion(
  path: string,
  options: Pick<ExecOptions, "stderr" | "deadline" | "pause"> = {},
): Promise<string[]> {
  try {
    const stdout = await execPlugin(path, {
      ...options,
      env: versionEnv,
      stdin: '{"cniVersion":"1.1.0"}',
    });
    return parseVersionInfo(stdout);
  } catch (error) {
    if (
      error instanceof CniError && error.msg === "unknown CNI_COMMAND: VERSION"
    ) {
      return ["0.1.0"];
    }
    throw error;
  }
}

/** The first plugins wanted every variable for every command. */
const versionEnv: PluginEnv = {
  CNI_COMMAND: "VERSION",
  CNI_CONTAINERID: "",
  CNI_NETNS: "dummy",
  CNI_IFNAME: "dummy",
  CNI_ARGS: "",
  CNI_PATH: "dummy",
};

/** Reads the answer to VERSION. Throws a `CniError` when it is none. */
export function parseVersionInfo(text: string): string[] {
  const info = parseObject(text, "decoding version info: ");
  const cniVersion = lookup(info, "cniVersion") ?? "";
  if (typeof cniVersion !== "string" || cniVersion === "") {
    throw undecodable("decoding version info: missing field cniVersion");
  }
  const supported = lookup(info, "supportedVersions") ?? [];
  if (!Array.isArray(supported) || !supported.every(isString)) {
    throw undecodable(
      "decoding version info: supportedVersions is not a list of strings",
    );
  }
  if (supported.length > 0) return supported;
  if (cniVersion === "0.2.0") return ["0.1.0", "0.2.0"];
  throw undecodable("decoding version info: missing field supportedVersions");
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function parseObject(text: string, prefix: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    throw undecodable(`${prefix}${(error as Error).message}`);
  }
  if (isObject(value)) return value;
  throw undecodable(`${prefix}expected object but received ${typeName(value)}`);
}

function undecodable(message: string): CniError {
  return new CniError(codes.decodingFailure, message);
}

function typeName(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "list" : typeof value;
}

const attempts = 6;

/** Starts the plugin afresh as long as its file is just being written, six times in all. */
async function start(path: string, options: ExecOptions): Promise<Output> {
  for (let attempt = 1;; attempt++) {
    try {
      return await spawn(path, [], {
        env: { ...options.env },
        stdin: options.stdin,
        inherit: true,
        deadline: options.deadline ?? 100_000,
      });
    } catch (error) {
      const busy = error instanceof Error &&
        /text file busy/i.test(error.message);
      if (!busy || attempt === attempts) throw notRun(path, error);
      await (options.pause ?? sleep)(1000);
    }
  }
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A plugin that could not be started, or did not end. */
function notRun(path: string, error: unknown): CniError {
  const late = error instanceof DeadlineError;
  const why = late ? "signal: killed" : error instanceof Error ? error.message : String(error);
  return new CniError(
    codes.delegateFailed,
    `netplugin failed with no error message: ${why}`,
    late ? error.message : describe(path),
    { cause: error },
  );
}

function failureOf(path: string, output: Output): CniError {
  const ending = output.signal
    ? `signal: ${signalWord(output.signal)}`
    : `exit status ${output.code}`;
  if (output.stdout) return reportedError(path, output.stdout, ending);
  const stderr = output.stderr.trim();
  return new CniError(
    codes.delegateFailed,
    stderr
      ? `netplugin failed: ${JSON.stringify(stderr)}: ${ending}`
      : `netplugin failed with no error message: ${ending}`,
    describe(path),
  );
}

function describe(path: string): string {
  return `plugin: ${path}`;
}

const signalWords: Readonly<Record<string, string>> = {
  SIGABRT: "aborted",
  SIGHUP: "hangup",
  SIGINT: "interrupt",
  SIGKILL: "killed",
  SIGSEGV: "segmentation fault",
  SIGTERM: "terminated",
};

function signalWord(signal: string): string {
  return signalWords[signal] ?? signal;
}

/** The error object on stdout of a plugin that failed. */
function reportedError(path: string, stdout: string, ending: string): CniError {
  try {
    return parseError(stdout);
  } catch (error) {
    return new CniError(
      codes.delegateFailed,
      `netplugin failed but error parsing its diagnostic message ${JSON.stringify(stdout)}: ${
        (error as CniError).msg
      }`,
      `${describe(path)}; ${ending}`,
    );
  }
}

/** Reads an error object. Throws a `CniError` of code 6 when it is none. */
export function parseError(text: string): CniError {
  const object = parseObject(text, "");
  const code = lookup(object, "code");
  const msg = lookup(object, "msg");
  const details = lookup(object, "details") ?? "";
  if (!Number.isSafeInteger(code ?? 0) || Number(code ?? 0) < 0) {
    throw undecodable("code is not an unsigned integer");
  }
  if (!isString(msg ?? "") || !isString(details)) {
    throw undecodable("msg and details are not strings");
  }
  if (code === undefined && msg === undefined) {
    throw undecodable("it has no code and no msg");
  }
  return new CniError(Number(code ?? 0), String(msg ?? ""), details);
}

/** A reader of stderr that has gone away is no reason to fail. */
function writeStderr(text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) {
      done += Deno.stderr.writeSync(bytes.subarray(done));
    }
  } catch {
    // Nobody to tell.
  }
}
