/**
 * Socket activation in a runtime that cannot listen on a descriptor: systemd's own proxy inherits the
 * socket, accepts, and passes every connection on to a socket of ours.
 *
 * @module
 */
import type { Output } from "../../../host/spawn.ts";
import type { Listener } from "./socket.ts";
import { firstLine } from "../../../host/reason.ts";
import { spawn, toolEnv, toolPath } from "../../../host/spawn.ts";
import { listenOnSocket } from "./socket.ts";

/**
 * A script that runs the proxy in place of the shell until stdin ends, which happens however this
 * process ends. `LISTEN_PID` has to be the proxy's own number.
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

/** How the proxy starts and this process ends; a test chooses otherwise. */
export interface ProxyOptions {
  /** Runs the proxy for a socket of ours until the signal is aborted. */
  readonly start?: (own: string, until: AbortSignal) => Promise<Pick<Output, "stderr" | "code">>;
  /** Ends this process; gets a line that says why. */
  readonly leave?: (line: string) => void;
}

/**
 * Accepts the connections that the proxy passes on to a socket of ours, beside the path of the passed
 * one. Ends this process when the proxy ends or cannot be started: no plugin could connect any more.
 */
export async function listenBehindProxy(
  path: string,
  { start = startProxy, leave = endProcess }: ProxyOptions = {},
): Promise<Listener> {
  const own = `${path}.passed`;
  const listener = await listenOnSocket(own);
  const closing = new AbortController();
  const end = (state: string) => {
    if (closing.signal.aborted) return;
    listener.close();
    leave(`Cannot serve the passed socket: ${state}`);
  };
  start(own, closing.signal).then(
    ({ stderr, code }) => end(firstLine(stderr) || `exit status ${code}`),
    ({ message }: Error) => end(message),
  );
  return {
    accept: () => listener.accept(),
    close() {
      closing.abort();
      listener.close();
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
