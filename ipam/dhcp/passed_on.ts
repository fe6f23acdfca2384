/**
 * A passed socket in a runtime that takes over no descriptor: systemd's own proxy inherits the
 * socket, accepts, and passes every connection on to a socket of ours.
 *
 * @module
 */
import type { Door } from "./door.ts";
import { firstLine } from "../../host/reason.ts";
import { spawn, toolEnv, toolPath } from "../../host/spawn.ts";
import { openDoor } from "./door.ts";

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

/**
 * Lets callers in that the proxy passes on; our socket is made beside the passed one's path.
 * Ends this process when the proxy ends: nobody could call any more.
 */
export async function openBehindProxy(path: string): Promise<Door> {
  const own = `${path}.passed`;
  const door = await openDoor(own);
  const closing = new AbortController();
  const proxy = spawn(toolPath("sh"), ["-c", script, "proxy", own], {
    stdin: "",
    until: closing.signal,
    deadline: Infinity,
    env: toolEnv,
  });
  proxy.then(({ stderr, code }) => {
    if (closing.signal.aborted) return;
    door.close();
    console.error(`Cannot serve the passed socket: ${firstLine(stderr) || `exit status ${code}`}`);
    Deno.exit(1);
  });
  return {
    accept: () => door.accept(),
    close() {
      closing.abort();
      door.close();
    },
  };
}
