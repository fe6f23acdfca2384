/**
 * A socket that systemd has opened and passed on. Deno's own API takes over no descriptor. Its
 * form of Node's module for sockets does from version 2.8 on; it is asked for by name, for this
 * alone, so that nothing else gets to use Node's interfaces or their types. An executable with an
 * older runtime lets systemd's proxy accept (`passed_on.ts`).
 *
 * @module
 */
import type { Caller, Door } from "./socket.ts";

/** The part of Node's sockets that is used. */
interface Socket {
  on(event: "data", listener: (bytes: Uint8Array) => void): void;
  on(event: "end" | "close", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
  end(): void;
  destroy(): void;
  pause(): void;
  resume(): void;
}

/** The part of Node's server that is used. */
export interface Server {
  /** Listens on a descriptor. */
  listen(options: { readonly fd: number }, ready: () => void): void;
  /** Hears of every failure; one that nobody hears of ends the process. */
  on(event: "error", listener: (error: Error) => void): void;
  /** Lets nobody in any more. */
  close(): void;
}

/** The part of Node's module for sockets that is used. */
interface Net {
  createServer(
    options: { readonly allowHalfOpen: boolean },
    connected: (socket: Socket) => void,
  ): Server;
}

/** What Deno has of Node without an import. */
interface WithProcess {
  readonly process: { getBuiltinModule(name: "node:net"): Net };
}

/** How a passed socket is opened. */
export interface PassedOptions {
  /** Path of the socket; a runtime that takes over no descriptor makes one of its own beside it. */
  readonly path: string;
  /** Version of Deno; the one that runs when absent. */
  readonly version?: string;
}

/** Lets callers in by a descriptor. Throws when it is no socket that listens. */
export async function openPassed(
  descriptor: number,
  { path, version = Deno.version.deno }: PassedOptions,
): Promise<Door> {
  if (takesOver(version)) return await openDescriptor(descriptor);
  const { openBehindProxy } = await import("./socket_proxy.ts");
  return await openBehindProxy(path);
}

/** Whether this version of Deno listens on a descriptor: 2.7 refuses. */
export function takesOver(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 8);
}

async function openDescriptor(descriptor: number): Promise<Door> {
  const net = (globalThis as unknown as WithProcess).process.getBuiltinModule("node:net");
  const queue = new Queue();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    queue.push(callerOf(socket));
  });
  await listen(server, { fd: descriptor });
  return {
    accept: () => queue.next(),
    close() {
      server.close();
      queue.end();
    },
  };
}

/**
 * Has a server listen on a descriptor. Throws when it is no socket that listens. What fails later,
 * to let a caller in where no descriptor is free for one, gets to `say`.
 */
export async function listen(
  server: Server,
  { fd, say = (line) => console.error(line) }: {
    readonly fd: number;
    readonly say?: (line: string) => void;
  },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let fail = (_error: Error) => reject(new Error("LISTEN_FDS=1 but no FD found"));
  server.on("error", (error) => fail(error));
  server.listen({ fd }, resolve);
  await promise;
  fail = ({ message }) => say(`dhcp: Cannot let a plugin in: ${message}`);
}

/** Callers that nobody has asked for yet, or askers that no caller has come for. */
class Queue {
  readonly #callers: Caller[] = [];
  #waiting: ((caller: Caller | undefined) => void) | undefined;
  #ended = false;

  push(caller: Caller): void {
    if (!this.#waiting) return void this.#callers.push(caller);
    this.#waiting(caller);
    this.#waiting = undefined;
  }

  next(): Promise<Caller | undefined> {
    const caller = this.#callers.shift();
    if (caller || this.#ended) return Promise.resolve(caller);
    return new Promise((resolve) => this.#waiting = resolve);
  }

  end(): void {
    this.#ended = true;
    this.#waiting?.(undefined);
    this.#waiting = undefined;
  }
}

function callerOf(socket: Socket): Caller {
  return {
    readable: readableOf(socket),
    writable: new WritableStream<Uint8Array>({
      write: (bytes) =>
        new Promise((resolve, reject) => {
          socket.write(bytes, (error) => error ? reject(error) : resolve());
        }),
      close: () => socket.end(),
      abort: () => socket.destroy(),
    }),
    close: () => socket.destroy(),
  };
}

function readableOf(socket: Socket): ReadableStream<Uint8Array> {
  let over = false;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const end = (error?: Error) => {
        if (over) return;
        over = true;
        if (error) controller.error(error);
        else controller.close();
      };
      socket.pause();
      socket.on("data", (bytes) => {
        if (over) return;
        controller.enqueue(new Uint8Array(bytes));
        socket.pause();
      });
      socket.on("end", () => end());
      socket.on("close", () => end());
      socket.on("error", end);
    },
    pull: () => socket.resume(),
    cancel() {
      over = true;
      socket.destroy();
    },
  });
}
