/**
 * Names that reach paths and command lines: checked before anything is done with them. Texts,
 * codes and their order are the reference's.
 *
 * @module
 */
import { CniError, codes } from "./error.ts";

const identifier = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Refuses a container ID that is not letters, digits, `_`, `.` and `-`, or starts otherwise than with the first two. */
export function checkContainerId(id: string): void {
  if (id === "") throw new CniError(codes.unknownContainer, "missing containerID");
  if (!identifier.test(id)) {
    throw new CniError(codes.invalidEnvironment, "invalid characters in containerID", id);
  }
}

/** Refuses a network name that breaks the rule of {@linkcode checkContainerId}. */
export function checkNetworkName(name: string): void {
  if (name === "") {
    throw new CniError(codes.invalidNetworkConfig, "missing network name:");
  }
  if (!identifier.test(name)) {
    throw new CniError(
      codes.invalidNetworkConfig,
      "invalid characters found in network name",
      name,
    );
  }
}

/** Bytes that the kernel keeps for an interface name, the NUL at its end left out. */
const maxIfNameBytes = 15;

/** `/`, `:`, NUL and white space as Go has it: with U+0085 and without U+FEFF, unlike `\s`. */
const forbiddenInIfName =
  // deno-lint-ignore no-control-regex
  /[/:\0\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Refuses what the kernel would not take as the name of an interface. */
export function checkIfName(name: string): void {
  const problem = ifNameProblem(name);
  if (problem) throw new CniError(codes.invalidEnvironment, ...problem);
}

/** Whether the kernel would take this as the name of an interface. */
export function isIfName(name: string): boolean {
  return ifNameProblem(name) === undefined;
}

/**
 * Refuses what the kernel would not give to a new interface: it puts a number in the place of `%d`
 * and takes no other `%`, and `all` and `default` are its own, for variables.
 */
export function checkNewIfName(name: string): void {
  if (isNewIfName(name)) return;
  throw new CniError(
    codes.invalidEnvironment,
    `Cannot use CNI_IFNAME "${name}": the kernel gives no interface this name`,
    'a name has no "%", and is neither "all" nor "default"',
  );
}

/** Whether the kernel would give this name to a new interface. */
export function isNewIfName(name: string): boolean {
  return isIfName(name) && !name.includes("%") && name !== "all" && name !== "default";
}

function ifNameProblem(name: string): [msg: string, details?: string] | undefined {
  if (name === "") return ["interface name is empty"];
  if (new TextEncoder().encode(name).length > maxIfNameBytes) {
    return ["interface name is too long", "interface name should be less than 16 characters"];
  }
  if (name === "." || name === "..") return ["interface name is . or .."];
  // Half of a surrogate pair is in no UTF-8, which names are written in.
  if (!name.isWellFormed()) return ["interface name contains half a character"];
  if (forbiddenInIfName.test(name)) {
    return ["interface name contains / or : or whitespace characters"];
  }
  return undefined;
}

/** Whether this is the plain name of a plugin's file: no path, no hidden file, no option. */
export function isPluginType(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name);
}
