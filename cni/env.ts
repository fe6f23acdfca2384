/**
 * The environment of a plugin (specification section 3, "Parameters").
 *
 * @module
 */
import { CniError, codes } from "./error.ts";
import { splitPath } from "./invoke.ts";
import { checkContainerId, checkIfName } from "./names.ts";

/** The variables of one execution; one that is not set is empty. */
export interface Env {
  /** `CNI_COMMAND`; not checked to be a verb. */
  readonly command: string;
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  readonly args: string;
  /** Directories of `CNI_PATH`; empty ones are left out. */
  readonly path: readonly string[];
  /** Whether the plugin may work on its own namespace (`CNI_NETNS_OVERRIDE`). */
  readonly netnsOverride: boolean;
}

interface Variable {
  readonly name: string;
  /** Verbs that need it; `"all"` also when the command is no verb or missing. */
  readonly requiredBy: "all" | readonly string[];
  /** Refuses a bad value, for the verbs in `checkedBy` or else in `requiredBy`. */
  readonly check?: (value: string) => void;
  readonly checkedBy?: readonly string[];
}

const attachment = ["ADD", "CHECK", "DEL"];

/** In the order in which the reference looks at them. */
const variables: readonly Variable[] = [
  { name: "CNI_COMMAND", requiredBy: "all" },
  { name: "CNI_CONTAINERID", requiredBy: attachment, check: checkContainerId },
  {
    name: "CNI_NETNS",
    requiredBy: ["ADD", "CHECK"],
    check: checkNetns,
    checkedBy: attachment,
  },
  { name: "CNI_IFNAME", requiredBy: attachment, check: checkIfName },
  { name: "CNI_PATH", requiredBy: [...attachment, "GC", "STATUS"] },
];

/**
 * Reads and checks the environment. A bad value wins over missing variables, and these are named
 * all at once. Throws a `CniError` of code 4.
 */
export function readEnv(get: (name: string) => string | undefined): Env {
  const value = (name: string) => get(name) ?? "";
  const command = value("CNI_COMMAND");
  for (const variable of variables) checkValue(variable, command, value(variable.name));
  const missing = variables
    .filter((variable) => isRequired(variable, command) && value(variable.name) === "")
    .map(({ name }) => name);
  if (missing.length > 0) {
    throw new CniError(
      codes.invalidEnvironment,
      `required env variables [${missing.join(",")}] missing`,
    );
  }
  return {
    command,
    containerId: value("CNI_CONTAINERID"),
    netns: value("CNI_NETNS"),
    ifName: value("CNI_IFNAME"),
    args: value("CNI_ARGS"),
    path: splitPath(value("CNI_PATH")),
    netnsOverride: /^(1|true)$/i.test(value("CNI_NETNS_OVERRIDE")),
  };
}

function isRequired({ requiredBy }: Variable, command: string): boolean {
  return requiredBy === "all" || requiredBy.includes(command);
}

function checkValue(variable: Variable, command: string, value: string): void {
  const { check, requiredBy, checkedBy = requiredBy } = variable;
  if (value !== "" && checkedBy.includes(command)) check?.(value);
}

function checkNetns(path: string): void {
  if (!path.includes("\0")) return;
  throw new CniError(
    codes.invalidEnvironment,
    `Cannot use CNI_NETNS ${JSON.stringify(path)}: it contains NUL`,
  );
}
