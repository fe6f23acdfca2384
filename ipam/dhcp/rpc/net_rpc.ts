/**
 * Calls over a stream of bytes in the framing of Go's `net/rpc` over HTTP: the caller sends
 * `CONNECT /_goRPC_ HTTP/1.0`, waits for `HTTP/1.0 200 Connected to Go RPC`, and then a header and
 * an argument go for every call, a header and a reply come back, all of them gob. Source: Go's
 * packages `net/rpc` and `encoding/gob`.
 *
 * @module
 */
import type { GobType, GobValue, StructType, TypedValue } from "./gob.ts";
import { GobDecoder, GobEncoder, GobError, isStruct, readUint, uintSize } from "./gob.ts";

/** Both directions of a connection, as `Deno.Conn` has them. */
export interface ByteStream {
  /** What the other side sends. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What this side sends. */
  readonly writable: WritableStream<Uint8Array>;
}

/** A method that can be called from outside. */
export interface RpcMethod {
  /** Type of what it gives. */
  readonly reply: GobType;
  /**
   * Does it. An error that it throws goes to the caller as its message. `signal` is aborted when
   * the caller has gone before the answer, a runtime that gave up for example.
   */
  run(args: GobValue, signal: AbortSignal): Promise<GobValue>;
}

/** Methods by the names that callers use: `Service.Method`. */
export type RpcMethods = Readonly<Record<string, RpcMethod>>;

/** What one connection may use. */
export interface RpcLimits {
  /** Longest message, in bytes. */
  readonly message?: number;
  /** Most calls that run at one time; further ones wait. */
  readonly calls?: number;
}

/** A call to make. */
export interface RpcCall {
  /** `Service.Method` */
  readonly method: string;
  /** Type of the arguments. */
  readonly type: GobType;
  /** The arguments. */
  readonly args: GobValue;
  /** Ends the wait; the call then throws its reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What a method of the other side said instead of a result. */
export class RemoteError extends Error {
  /** Tells this error from others. */
  override readonly name: string = "RemoteError";
}

/** The other side does not speak this protocol, or stopped in the middle. */
export class RpcError extends Error {
  /** Tells this error from others. */
  override readonly name: string = "RpcError";
}

/** Path that `net/rpc` serves by default. */
const path = "/_goRPC_";
/** Status of an accepted connection. */
const connected = "200 Connected to Go RPC";
/** Longest HTTP head, in bytes. */
const maxHead = 8192;
/** Longest message, in bytes: a configuration is some kilobytes. */
const maxMessage = 1024 * 1024;
/** Most calls of one connection at a time; the reference's plugin makes one. */
const maxCalls = 16;

const requestType: StructType = {
  kind: "struct",
  name: "Request",
  fields: [
    { name: "ServiceMethod", type: { kind: "string" } },
    { name: "Seq", type: { kind: "uint" } },
  ],
};

const responseType: StructType = {
  kind: "struct",
  name: "Response",
  fields: [...requestType.fields, { name: "Error", type: { kind: "string" } }],
};

/** `struct{}`: what stands for the reply when there is none. */
export const nothing: StructType = { kind: "struct", name: "", fields: [] };

const noReply: TypedValue = { type: nothing, value: {} };

/** What both headers say. */
interface Header {
  readonly method: string;
  readonly seq: number | bigint;
  readonly error: string;
}

/**
 * Answers the calls of one connection, until the caller ends it; then closes the stream. Calls run
 * at the same time and are answered as they end. Throws a {@linkcode GobError} or
 * {@linkcode RpcError} when the caller does not keep to the protocol, or what the stream fails with,
 * after what runs has ended. There is no time limit: to end it, close the connection.
 */
export function serveRpc(
  stream: ByteStream,
  options: { readonly methods: RpcMethods; readonly limits?: RpcLimits },
): Promise<void> {
  const server = new Server(new Peer(stream, options.limits?.message), options);
  return server.serve().finally(() => server.close());
}

/**
 * Makes one call over a new connection, which it closes. Throws a {@linkcode RemoteError} with what
 * the method said, a {@linkcode GobError} or {@linkcode RpcError} when the answer makes no sense
 * or does not come.
 */
export function callRpc(stream: ByteStream, call: RpcCall): Promise<GobValue> {
  const peer = new Peer(stream);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(call.signal?.reason);
  if (call.signal?.aborted) abort();
  call.signal?.addEventListener("abort", abort);
  return Promise.race([aborted, exchange(peer, call)]).finally(() => {
    call.signal?.removeEventListener("abort", abort);
    return call.signal?.aborted ? peer.abort(call.signal.reason) : peer.close();
  });
}

async function exchange(peer: Peer, { method, type, args }: RpcCall): Promise<GobValue> {
  const fail = (state: string): never => {
    throw new RpcError(`Cannot call "${method}": ${state}`);
  };
  const ended = "the connection ended before the answer";
  await peer.write(new TextEncoder().encode(`CONNECT ${path} HTTP/1.0\n\n`));
  const [line] = await peer.head() ?? fail(ended);
  if (statusOf(line!) !== connected) return fail(`unexpected HTTP response ${quote(line!)}`);
  const header = { type: requestType, value: { ServiceMethod: method, Seq: 0 } };
  await peer.send(header, { type, value: args });
  const response = headerOf(await peer.receive() ?? fail(ended));
  const reply = await peer.receive() ?? fail(ended);
  if (response.seq !== 0) return fail(`an answer to call ${response.seq} that was not made`);
  if (response.error) throw new RemoteError(response.error);
  return reply;
}

/** What follows the version in a status line. */
function statusOf(line: string): string | undefined {
  return /^HTTP\/1\.[01] (.*)$/.exec(line)?.[1];
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text);
}

function headerOf(value: GobValue): Header {
  if (!isStruct(value)) throw new RpcError("Cannot read RPC header: it is no struct");
  const { ServiceMethod = "", Seq = 0, Error = "" } = value;
  if (
    typeof ServiceMethod !== "string" || typeof Error !== "string" || !isSequence(Seq)
  ) {
    throw new RpcError("Cannot read RPC header: its fields are of other types");
  }
  return { method: ServiceMethod, seq: Seq, error: Error };
}

function isSequence(value: GobValue): value is number | bigint {
  return Number.isSafeInteger(value) && Number(value) >= 0 ||
    typeof value === "bigint" && value > 0n;
}

/** The serving side of one connection. */
class Server {
  readonly #peer: Peer;
  readonly #methods: RpcMethods;
  readonly #maxCalls: number;
  readonly #running = new Set<Promise<void>>();
  readonly #gone = new AbortController();

  constructor(
    peer: Peer,
    { methods, limits }: { readonly methods: RpcMethods; readonly limits?: RpcLimits },
  ) {
    this.#peer = peer;
    this.#methods = methods;
    this.#maxCalls = limits?.calls ?? maxCalls;
  }

  async serve(): Promise<void> {
    if (!await this.#accept()) return;
    for (;;) {
      const value = await this.#peer.receive();
      if (value === undefined) return;
      const header = headerOf(value);
      this.#start(header, await this.#peer.receive() ?? cut());
      if (this.#running.size >= this.#maxCalls) await Promise.race(this.#running);
    }
  }

  /** Waits for what runs, so that a caller that is only done with asking has its answers. */
  async close(): Promise<void> {
    this.#gone.abort();
    await Promise.all(this.#running);
    await this.#peer.close();
  }

  async #accept(): Promise<boolean> {
    const head = await this.#peer.head();
    if (!head) return false;
    const answer = answerTo(head[0]!);
    await this.#peer.write(new TextEncoder().encode(answer.text));
    return answer.accepted;
  }

  #start(header: Header, args: GobValue): void {
    const running = this.#run(header.method, args)
      .then((reply) => this.#answer(header, { reply, error: "" }))
      .catch((error) => this.#answer(header, { reply: noReply, error: textOf(error) }))
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  async #run(method: string, args: GobValue): Promise<TypedValue> {
    const found = Object.hasOwn(this.#methods, method) ? this.#methods[method] : undefined;
    if (!found) throw new RpcError(notFound(method, Object.keys(this.#methods)));
    return { type: found.reply, value: await found.run(args, this.#gone.signal) };
  }

  /** A caller that has gone gets no answer, and that is no failure. */
  #answer(
    { method, seq }: Header,
    { reply, error }: { readonly reply: TypedValue; readonly error: string },
  ): Promise<void> {
    const value = { ServiceMethod: method, Seq: seq, Error: error };
    return this.#peer.send({ type: responseType, value }, reply).catch((cause) => {
      if (cause instanceof GobError) throw cause;
    });
  }
}

/** What Go's server answers to the first line of a request. */
function answerTo(line: string): { accepted: boolean; text: string } {
  const [verb, target, version, ...more] = line.split(" ");
  const refuse = (status: string, body: string) => ({
    accepted: false,
    text: `HTTP/1.0 ${status}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n${body}\n`,
  });
  if (!/^HTTP\/1\.[01]$/.test(version ?? "") || more.length > 0) {
    return refuse("400 Bad Request", "400 Bad Request");
  }
  if (target !== path) return refuse("404 Not Found", "404 page not found");
  if (verb !== "CONNECT") return refuse("405 Method Not Allowed", "405 must CONNECT");
  return { accepted: true, text: `HTTP/1.0 ${connected}\n\n` };
}

/** In the words of `net/rpc`. */
function notFound(method: string, known: readonly string[]): string {
  const dot = method.lastIndexOf(".");
  if (dot < 0) return `rpc: service/method request ill-formed: ${method}`;
  const service = method.slice(0, dot + 1);
  const what = known.some((other) => other.startsWith(service)) ? "method" : "service";
  return `rpc: can't find ${what} ${method}`;
}

/** An empty text would mean success. */
function textOf(error: unknown): string {
  return (error instanceof Error ? error.message || error.name : String(error)) || "unknown error";
}

/** The other side: messages to it and from it. */
class Peer {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new GobEncoder();
  readonly #decoder = new GobDecoder();
  readonly #maxMessage: number;
  /** What has come and is not used yet. */
  #chunks: Uint8Array[] = [];
  #size = 0;

  constructor({ readable, writable }: ByteStream, longest = maxMessage) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    this.#maxMessage = longest;
  }

  /** Writes both as one piece, so that nothing comes between. */
  async send(header: TypedValue, body: TypedValue): Promise<void> {
    await this.write(this.#encoder.encode(header, body));
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes);
  }

  /** The next value, or `undefined` where the stream ends between two. */
  async receive(): Promise<GobValue | undefined> {
    for (;;) {
      const message = await this.#message();
      if (!message) return undefined;
      const value = this.#decoder.decode(message);
      if (value !== undefined) return value;
    }
  }

  async #message(): Promise<Uint8Array | undefined> {
    const first = await this.#take(1);
    if (!first) return undefined;
    const rest = await this.#take(uintSize(first[0]!) - 1) ?? cut();
    const length = Number(readUint(joined([first, rest])));
    if (length < 1 || length > this.#maxMessage) {
      throw new RpcError(`Cannot read RPC message: it has ${length} bytes`);
    }
    return await this.#take(length) ?? cut();
  }

  /** The lines of an HTTP head, or `undefined` where the stream ends before its empty line. */
  async head(): Promise<string[] | undefined> {
    let text = "";
    for (let read = 0; read < maxHead; read++) {
      const byte = await this.#take(1);
      if (!byte) return undefined;
      text += String.fromCharCode(byte[0]!);
      if (text.endsWith("\n\n") || text.endsWith("\n\r\n")) return text.split(/\r?\n/);
    }
    throw new RpcError(`Cannot read HTTP head: it has more than ${maxHead} bytes`);
  }

  async #take(count: number): Promise<Uint8Array | undefined> {
    while (this.#size < count) {
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#chunks.push(value);
      this.#size += value.length;
    }
    return this.#cutOff(count);
  }

  #cutOff(count: number): Uint8Array {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : joined(this.#chunks);
    this.#chunks = [all.subarray(count)];
    this.#size -= count;
    return all.subarray(0, count);
  }

  /** Ends both directions, in this order: what ends reading may close the connection. */
  async close(): Promise<void> {
    await this.#writer.close().catch(ignore);
    await this.#reader.cancel().catch(ignore);
  }

  /** Ends both directions without waiting for what is on its way. */
  abort(reason: unknown): void {
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }
}

/** What ends a connection cannot fail in a way that matters. */
function ignore(): void {}

function cut(): never {
  throw new RpcError("Cannot read RPC message: the stream ends inside of it");
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
