/**
 * The socket on which the agent is reached: made by ourselves, or by systemd and passed on.
 *
 * @module
 */
import type { ByteStream } from "../rpc/net_rpc.ts";
import { failureOf, removeFile } from "../../../host/files.ts";

/** A plugin that has called. */
export interface Caller extends ByteStream {
  /** Ends both directions. */
  close(): void;
}

/** Where callers come in. */
export interface Door {
  /** The next caller; `undefined` once the door is closed. */
  accept(): Promise<Caller | undefined>;
  /** Lets nobody in any more; what is on the disk goes. */
  close(): void;
}

/** What systemd says of sockets that it has passed. */
export interface Passed {
  /** `LISTEN_PID`: the process that they are for. */
  readonly pid: string | undefined;
  /** `LISTEN_FDS`: how many. */
  readonly count: string | undefined;
}

/** Descriptor of the first socket that systemd passes. */
const firstPassed = 3;
/** Mode of the socket: root and its group. */
const socketMode = 0o660;
/** Mode of a folder that is made for the socket. */
const folderMode = 0o700;

/**
 * Descriptor of the one socket that was passed to this process; `undefined` when none was.
 * Throws when there are several.
 */
export function passedSocket({ pid, count }: Passed, own: number): number | undefined {
  if (pid === undefined || Number(pid) !== own) return undefined;
  const sockets = Number(count ?? 0);
  if (!(sockets >= 1)) return undefined;
  if (sockets === 1) return firstPassed;
  throw new Error(`Too many (${sockets}) FDs passed through socket activation`);
}

/**
 * Makes the socket. A file that a dead agent has left is replaced; a live agent's is not, nor is
 * a file that is no socket: then this throws.
 */
export async function openDoor(path: string): Promise<Door> {
  makeFolder(path);
  await makeRoom(path);
  const listener = Deno.listen({ transport: "unix", path });
  Deno.chmodSync(path, socketMode);
  return {
    accept: () => listener.accept().catch(orClosed),
    close() {
      listener.close();
      failureOf(() => removeFile(path));
    },
  };
}

/** Makes the folder of a socket, by the socket's absolute path; one that is there stays as it is. */
export function makeFolder(path: string): void {
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  Deno.mkdirSync(folder, { recursive: true, mode: folderMode });
}

/** What it is called that nobody is at a socket, in Go's words; `undefined` for other failures. */
export function nobodyWords(error: Error): string | undefined {
  if (error instanceof Deno.errors.NotFound) return "no such file or directory";
  if (error instanceof Deno.errors.ConnectionRefused) return "connection refused";
  // It was just closed.
  return error instanceof Deno.errors.ConnectionReset ? "connection reset by peer" : undefined;
}

/** Whether somebody answers at a socket. Throws what keeps us from asking. */
export async function isServed(path: string): Promise<boolean> {
  const caller = await Deno.connect({ transport: "unix", path }).catch((error) => {
    if (nobodyWords(error) === undefined) throw error;
    return undefined;
  });
  caller?.close();
  return caller !== undefined;
}

async function makeRoom(path: string): Promise<void> {
  let found: Deno.FileInfo | undefined;
  failureOf(() => found = Deno.lstatSync(path));
  if (!found) return;
  if (!found.isSocket) throw cannot(path, "there is a file that is no socket");
  if (await isServed(path)) throw cannot(path, "another lease agent serves it");
  removeFile(path);
}

function cannot(path: string, state: string): Error {
  return new Error(`Cannot listen on "${path}": ${state}`);
}

/** A caller that has gone before it was let in is no reason to stop. */
function orClosed(error: unknown): undefined {
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
    return undefined;
  }
  throw error;
}
