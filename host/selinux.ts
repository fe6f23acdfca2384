/**
 * SELinux: running a program under a context of its own.
 *
 * @module
 */
import type { Command } from "./command.ts";
import { command } from "./command.ts";

/**
 * `$1` context, then the words of the program. The kernel gives the context to the
 * next program that this process becomes; it takes none where SELinux is off.
 */
const script = `{ printf %s "$1" >/proc/self/attr/exec; } 2>/dev/null || {
  echo "the kernel does not take SELinux context \\"$1\\": SELinux is off, or knows no such context" >&2
  exit 1
}
shift
exec "$@"`;

/** `printf %s CONTEXT >/proc/self/attr/exec && exec TOOL …`: what the program makes gets its label from the context. */
export function underContext(context: string, { tool, args, ...rest }: Command): Command {
  return command("sh", ["-c", script, "sh", context, tool, ...args], rest);
}
