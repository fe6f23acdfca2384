/**
 * Socket activation: systemd has opened the socket and passes its descriptor. Deno's own API cannot
 * listen on a descriptor. Its form of Node's module for sockets can from version 2.8 on. That module
 * is loaded by name, here alone, so that nothing else uses Node's interfaces or their types. An
 * executable with an older runtime lets systemd's proxy accept (`socket_proxy.ts`).
 *
 * @module
 */
import type { Connection, Listener } from "./socket.ts";

/** The part of Node's socket that this file uses. */
interface NodeSocket {
  on(event: "data", listener: (bytes: Uint8Array) => void): void;
  on(event: "end" | "close", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  write(bytes: Uint8Array, done: (error?: Error | null) => void): boolean;
  end(): void;
  destroy(): void;
  pause(): void;
  resume(): void;
}

/** The part of Node's server that this file uses. */
export interface NodeServer {
  /** Listens on a descriptor. */
  listen(options: { readonly fd: number }, ready: () => void): void;
  /** Calls the listener at every failure; a failure without a listener ends the process. */
  on(event: "error", listener: (error: Error) => void): void;
  /** Accepts no more connections. */
  close(): void;
}

/** The part of Node's module for sockets that this file uses. */
interface Net {
  createServer(
    options: { readonly allowHalfOpen: boolean },
    connected: (socket: NodeSocket) => void,
  ): NodeServer;
}

/** Deno's access to Node's modules without an import. */
interface WithProcess {
  readonly process: { getBuiltinModule(name: "node:net"): Net };
}

/** Options of {@linkcode listenOnActivated}. */
export interface ActivationOptions {
  /** Path of the socket; a runtime that cannot listen on a descriptor makes a socket of its own beside it. */
  readonly path: string;
  /** Version of Deno; that of this process when absent. */
  readonly version?: string;
}

/** Accepts connections by a descriptor. Throws when it is no listening socket. */
export async function listenOnActivated(
  descriptor: number,
  { path, version = Deno.version.deno }: ActivationOptions,
): Promise<Listener> {
  if (canListenOnDescriptor(version)) return await acceptFromDescriptor(descriptor);
  const { listenBehindProxy } = await import("./socket_proxy.ts");
  return await listenBehindProxy(path);
}

/** Whether a version of Deno can listen on a descriptor; 2.7 cannot. */
export function canListenOnDescriptor(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 8);
}

async function acceptFromDescriptor(descriptor: number): Promise<Listener> {
  const net = (globalThis as unknown as WithProcess).process.getBuiltinModule("node:net");

  const queue = new ConnectionQueue();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    queue.push(connectionOf(socket));
  });

  await listenOnDescriptor(server, { fd: descriptor });
  return {
    accept: () => queue.next(),
    close() {
      server.close();
      queue.end();
    },
  };
}

/**
 * Makes a server listen on a descriptor. Throws when it is no listening socket. `say` gets later
 * failures, such as to accept a connection when no descriptor is free.
 */
export async function listenOnDescriptor(
  server: NodeServer,
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

/** Connections that nobody has accepted yet, or an accept that waits for a connection. */
class ConnectionQueue {
  readonly #connections: Connection[] = [];
  #waiting: ((connection: Connection | undefined) => void) | undefined;
  #ended = false;

  push(connection: Connection): void {
    if (!this.#waiting) return void this.#connections.push(connection);
    this.#waiting(connection);
    this.#waiting = undefined;
  }

  next(): Promise<Connection | undefined> {
    const connection = this.#connections.shift();
    if (connection || this.#ended) return Promise.resolve(connection);
    return new Promise((resolve) => this.#waiting = resolve);
  }

  end(): void {
    this.#ended = true;
    this.#waiting?.(undefined);
    this.#waiting = undefined;
  }
}

function connectionOf(socket: NodeSocket): Connection {
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

function readableOf(socket: NodeSocket): ReadableStream<Uint8Array> {
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
