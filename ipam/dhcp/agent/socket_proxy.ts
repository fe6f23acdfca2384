/**
 * A passed socket in a runtime that takes over no descriptor: systemd's own proxy inherits the
 * socket, accepts, and passes every connection on to a socket of ours.
 *
 * @module
 */
import type { Output } from "../../../host/spawn.ts";
import type { Door } from "./socket.ts";
import { firstLine } from "../../../host/reason.ts";
import { spawn, toolEnv, toolPath } from "../../../host/spawn.ts";
import { openDoor } from "./socket.ts";

/**
 * Runs the proxy in place of the shell, until stdin ends: with us, however we end. The number in
 * `LISTEN_PID` has to be its own.
 */
const script = `exec 4<&0 </dev/null
{ read -r _; kill $$; } <&4 >/dev/null 2>&1 &
exec 4<&-
for dir in /usr/lib/systemd /lib/systemd; do
if [ -x $dir/systemd-socket-proxyd ]; then
export LISTEN_PID=$$ LISTEN_FDS=1
exec $dir/systemd-socket-proxyd --connections-max=1024 "$1"
fi
done
echo "systemd-socket-proxyd is not there, and this version of Deno takes over no socket" >&2
exit 1`;

/** What a test chooses otherwise. */
export interface ProxyOptions {
  /** Runs the proxy for a socket of ours, until a signal is given. */
  readonly start?: (own: string, until: AbortSignal) => Promise<Pick<Output, "stderr" | "code">>;
  /** Ends this process, with a line about why. */
  readonly leave?: (line: string) => void;
}

/**
 * Lets callers in that the proxy passes on; our socket is made beside the passed one's path.
 * Ends this process when the proxy ends, or cannot be started: nobody could call any more.
 */
export async function openBehindProxy(
  path: string,
  { start = startProxy, leave = endProcess }: ProxyOptions = {},
): Promise<Door> {
  const own = `${path}.passed`;
  const door = await openDoor(own);
  const closing = new AbortController();
  const end = (state: string) => {
    if (closing.signal.aborted) return;
    door.close();
    leave(`Cannot serve the passed socket: ${state}`);
  };
  start(own, closing.signal).then(
    ({ stderr, code }) => end(firstLine(stderr) || `exit status ${code}`),
    ({ message }: Error) => end(message),
  );
  return {
    accept: () => door.accept(),
    close() {
      closing.abort();
      door.close();
    },
  };
}

async function startProxy(own: string, until: AbortSignal): Promise<Output> {
  const words = ["-c", script, "proxy", own];
  return await spawn(toolPath("sh"), words, { stdin: "", until, deadline: Infinity, env: toolEnv });
}

function endProcess(line: string): void {
  console.error(line);
  Deno.exit(1);
}
