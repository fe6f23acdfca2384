/**
 * The permissions of a plugin, as Deno grants them: programs by full path, files
 * and variables by name. An executable that holds all plugins is granted what
 * any of them needs and gives up what the called one does not declare.
 *
 * Paths of the kernel are a case of their own: Deno opens `/proc` and `/sys` only
 * for a program with every permission, so `host/proc.ts` reads them through
 * `cat`, `find` and `stat`, which come with the permission to read any file.
 *
 * @module
 */
import type { Tool } from "../host/command.ts";
import { checkTool, knownTools, toolDirs } from "../host/command.ts";
import type { Permissions } from "./plugin.ts";

/** Values of Deno's permission flags. */
export interface Grants {
  /** Full paths of programs, every place where one is looked for. */
  readonly run: readonly string[];
  /** Paths that may be read, with everything below them. */
  readonly read: readonly string[];
  /** Paths that may be written, with everything below them. */
  readonly write: readonly string[];
  /** Names of variables; `CNI_*` is all that start so. */
  readonly env: readonly string[];
  /** Sockets of any address: who serves leases is known to nobody before. */
  readonly net: boolean;
}

/** Stands for every path. Unlike a grant without a list, it leaves room for narrower ones beside it. */
const anyPath = "/";

/** Variables that the `cni` command reads besides those of the protocol. */
export const commandEnv: readonly string[] = ["NETCONFPATH", "CAP_ARGS"];

/**
 * Paths that plugins list in `permissions.read` and `permissions.write`, none
 * below another. A new one has to stand here, because a plugin gives up those of
 * the others.
 */
export const listedPaths: readonly string[] = ["/run/cni/denocni"];

/** Variables that plugins list in `permissions.env`; they stand here for the same reason. */
export const listedEnv: readonly string[] = ["LISTEN_PID", "LISTEN_FDS"];

/**
 * What a plugin is granted when it has an executable of its own. Throws for a program
 * that {@linkcode checkTool} refuses.
 */
export function grantsOf({ run, read, write, env = [], net = false }: Permissions): Grants {
  const readers: readonly Tool[] = read === true ? ["cat", "find", "stat"] : ["stat"];
  return {
    run: run === "any" ? paths(knownTools) : paths([...new Set([...run, ...readers])]),
    read: read === true ? [anyPath] : [...toolDirs, ...read],
    write: write === true ? [anyPath] : write,
    env: ["CNI_*", ...env],
    net,
  };
}

/** Grants of an executable with every plugin and the `cni` command. */
export function grantsOfAll(): Grants {
  return {
    run: paths(knownTools),
    read: [anyPath, ...toolDirs, ...listedPaths],
    write: [anyPath, ...listedPaths],
    env: ["CNI_*", ...commandEnv, ...listedEnv],
    net: true,
  };
}

/** Every place where a program may be found. */
function paths(names: readonly Tool[]): string[] {
  names.forEach(checkTool);
  return names.flatMap((name) => toolDirs.map((dir) => `${dir}/${name}`));
}

/**
 * Flags of `deno run` and `deno compile` that grant exactly this. A kind without names
 * is not granted at all.
 */
export function permissionFlags(grants: Grants): string[] {
  const kinds = ["run", "read", "write", "env"] as const;
  return [
    "--no-prompt",
    ...kinds.filter((kind) => grants[kind].length > 0)
      .map((kind) => `--allow-${kind}=${grants[kind].join(",")}`),
    // UDP is not a stable part of Deno.
    ...(grants.net ? ["--allow-net", "--unstable-net"] : []),
  ];
}

/**
 * Gives up what a plugin does not declare. What was never granted is no matter;
 * a grant without a list (`--allow-all`) cannot be narrowed and stays.
 */
export function revokeUndeclared(permissions: Permissions): void {
  const all = grantsOfAll();
  const own = grantsOf(permissions);
  for (const command of without(all.run, own.run)) revoke({ name: "run", command });
  for (const path of without(all.read, own.read)) revoke({ name: "read", path });
  for (const path of without(all.write, own.write)) revoke({ name: "write", path });
  for (const variable of without(all.env, own.env)) revoke({ name: "env", variable });
  if (!own.net) revoke({ name: "net" });
}

/** To give up a path is to give up those above it too: a plugin that may use any gives up none. */
function without(all: readonly string[], own: readonly string[]): string[] {
  if (own.includes(anyPath)) return [];
  return all.filter((name) => !own.includes(name));
}

function revoke(descriptor: Deno.PermissionDescriptor): void {
  Deno.permissions.revokeSync(descriptor);
}
