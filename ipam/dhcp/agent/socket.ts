/**
 * The socket on which plugins reach the agent: the agent makes it, or systemd does and passes it on.
 *
 * @module
 */
import type { ByteStream } from "../rpc/net_rpc.ts";
import { failureOf, removeFile } from "../../../host/files.ts";
import { unservedText } from "../rpc/dial_error.ts";

/** A connection that a plugin has made. */
export interface Connection extends ByteStream {
  /** Ends both directions. */
  close(): void;
}

/** A socket that accepts connections. */
export interface Listener {
  /** Gives the next connection; `undefined` once the listener is closed. */
  accept(): Promise<Connection | undefined>;
  /** Accepts no more connections, and removes the file of a socket of our own. */
  close(): void;
}

/** Variables by which systemd tells of sockets that it has passed. */
export interface ActivationVariables {
  /** `LISTEN_PID`: the process that gets the sockets. */
  readonly pid: string | undefined;
  /** `LISTEN_FDS`: the number of sockets. */
  readonly count: string | undefined;
}

/** Descriptor of the first socket that systemd passes. */
const firstDescriptor = 3;
/** Mode of the socket: root and its group. */
const socketMode = 0o660;
/** Mode of the socket's folder. */
const folderMode = 0o700;

/**
 * Gives the descriptor of the socket that systemd has passed to this process; `undefined` when it has
 * passed none. Throws when it has passed several.
 */
export function activatedDescriptor(
  { pid, count }: ActivationVariables,
  own: number,
): number | undefined {
  if (pid === undefined || Number(pid) !== own) return undefined;
  const sockets = Number(count ?? 0);
  if (!(sockets >= 1)) return undefined;
  if (sockets === 1) return firstDescriptor;
  throw new Error(`Too many (${sockets}) FDs passed through socket activation`);
}

/**
 * Makes the socket and listens. Replaces the file of an agent that no longer runs. Throws when an
 * agent serves the socket, or the file is no socket.
 */
export async function listenOnSocket(path: string): Promise<Listener> {
  makeSocketFolder(path);
  await removeUnserved(path);
  const listener = Deno.listen({ transport: "unix", path });
  Deno.chmodSync(path, socketMode);
  return {
    accept: () => listener.accept().catch(undefinedIfClosed),
    close() {
      listener.close();
      failureOf(() => removeFile(path));
    },
  };
}

/** Makes the folder of a socket, by the socket's absolute path. An existing folder stays as it is. */
export function makeSocketFolder(path: string): void {
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  Deno.mkdirSync(folder, { recursive: true, mode: folderMode });
}

/** Whether somebody answers at a socket. Throws when the attempt to connect fails for another reason. */
export async function isAnswered(path: string): Promise<boolean> {
  const caller = await Deno.connect({ transport: "unix", path }).catch((error) => {
    if (unservedText(error) === undefined) throw error;
    return undefined;
  });
  caller?.close();
  return caller !== undefined;
}

async function removeUnserved(path: string): Promise<void> {
  let found: Deno.FileInfo | undefined;
  failureOf(() => found = Deno.lstatSync(path));
  if (!found) return;
  if (!found.isSocket) throw cannot(path, "there is a file that is no socket");
  if (await isAnswered(path)) throw cannot(path, "another lease agent serves it");
  removeFile(path);
}

function cannot(path: string, state: string): Error {
  return new Error(`Cannot listen on "${path}": ${state}`);
}

/** Gives `undefined` for the error of a closed listener; throws any other. */
function undefinedIfClosed(error: unknown): undefined {
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
    return undefined;
  }
  throw error;
}
