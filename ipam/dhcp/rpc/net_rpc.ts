/**
 * Go's `net/rpc` over HTTP, client and server, over a stream of bytes. The caller sends
 * `CONNECT /_goRPC_ HTTP/1.0` and waits for `HTTP/1.0 200 Connected to Go RPC`. For every call it
 * then sends a header and an argument, and gets a header and a reply, all of them in gob. Source: Go's
 * packages `net/rpc` and `encoding/gob`.
 *
 * @module
 */
import type { GobType, GobValue, StructType, TypedValue } from "./gob_types.ts";
import { GobDecoder, readUint, uintSize } from "./gob_decoder.ts";
import { GobEncoder } from "./gob_encoder.ts";
import { GobError, isGobStruct } from "./gob_types.ts";

/** Both directions of a connection; `Deno.Conn` is one. */
export interface ByteStream {
  /** Bytes from the other side. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Bytes to the other side. */
  readonly writable: WritableStream<Uint8Array>;
}

/** A method that a server offers. */
export interface RpcMethod {
  /** Type of its reply. */
  readonly reply: GobType;
  /**
   * Runs the method. The caller gets the message of an error that it throws. `signal` is aborted when
   * the caller has gone before the answer, for example because its runtime has given up.
   */
  run(args: GobValue, signal: AbortSignal): Promise<GobValue>;
}

/** Methods by the names that callers use: `Service.Method`. */
export type RpcMethods = Readonly<Record<string, RpcMethod>>;

/** Limits of one connection. */
export interface RpcLimits {
  /** Longest message, in bytes. */
  readonly message?: number;
  /** Most calls that run at one time; further ones wait. */
  readonly calls?: number;
}

/** A call to a server. */
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

/** A method of the other side has failed; the message is the other side's. */
export class RemoteError extends Error {
  /** Tells this error from others. */
  override readonly name: string = "RemoteError";
}

/** The other side does not speak this protocol, or has stopped in the middle. */
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

/** `struct{}`: the type of the reply when there is none. */
export const emptyStruct: StructType = { kind: "struct", name: "", fields: [] };

const noReply: TypedValue = { type: emptyStruct, value: {} };

/** Fields of both headers. */
interface Header {
  readonly method: string;
  readonly seq: number | bigint;
  readonly error: string;
}

/**
 * Answers the calls of one connection until the caller ends it; then closes the stream. Calls run
 * concurrently and are answered as they end. Once no call runs any more, it throws a
 * {@linkcode GobError} or {@linkcode RpcError} when the caller has broken the protocol, or the error
 * of the stream. There is no time limit: to end it, close the connection.
 */
export function serveRpc(
  stream: ByteStream,
  options: { readonly methods: RpcMethods; readonly limits?: RpcLimits },
): Promise<void> {
  const server = new Server(new Peer(stream, options.limits?.message), options);
  return server.serve().finally(() => server.close());
}

/**
 * Makes one call over a new connection, which it closes. Throws a {@linkcode RemoteError} with the
 * message of the method, a {@linkcode GobError} or {@linkcode RpcError} when the answer is malformed
 * or does not come.
 */
export function callRpc(stream: ByteStream, call: RpcCall): Promise<GobValue> {
  const peer = new Peer(stream);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(call.signal?.reason);
  if (call.signal?.aborted) abort();
  call.signal?.addEventListener("abort", abort);
  return Promise.race([aborted, makeCall(peer, call)]).finally(() => {
    call.signal?.removeEventListener("abort", abort);
    return call.signal?.aborted ? peer.abort(call.signal.reason) : peer.close();
  });
}

async function makeCall(peer: Peer, { method, type, args }: RpcCall): Promise<GobValue> {
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

/** The part of a status line after the version. */
function statusOf(line: string): string | undefined {
  return /^HTTP\/1\.[01] (.*)$/.exec(line)?.[1];
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}…` : text);
}

function headerOf(value: GobValue): Header {
  if (!isGobStruct(value)) throw new RpcError("Cannot read RPC header: it is no struct");
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
      this.#start(header, await this.#peer.receive() ?? streamEnded());
      if (this.#running.size >= this.#maxCalls) await Promise.race(this.#running);
    }
  }

  /** Waits for running calls, so that a caller that has only stopped asking gets its answers. */
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

  /** Sends an answer; it is no failure when the caller has gone. */
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

/** Makes the answer of Go's server to the first line of a request. */
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

/** Go's error text for a method that is not found. */
function notFound(method: string, known: readonly string[]): string {
  const dot = method.lastIndexOf(".");
  if (dot < 0) return `rpc: service/method request ill-formed: ${method}`;
  const service = method.slice(0, dot + 1);
  const what = known.some((other) => other.startsWith(service)) ? "method" : "service";
  return `rpc: can't find ${what} ${method}`;
}

/** Text of an error; an empty text would mean success. */
function textOf(error: unknown): string {
  return (error instanceof Error ? error.message || error.name : String(error)) || "unknown error";
}

/** The other side of a connection: messages to it and from it. */
class Peer {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new GobEncoder();
  readonly #decoder = new GobDecoder();
  readonly #maxMessage: number;
  /** Received bytes that are not used yet. */
  #chunks: Uint8Array[] = [];
  #size = 0;

  constructor({ readable, writable }: ByteStream, longest = maxMessage) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    this.#maxMessage = longest;
  }

  /** Writes both values at once, so that nothing comes between. */
  async send(header: TypedValue, body: TypedValue): Promise<void> {
    await this.write(this.#encoder.encode(header, body));
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes);
  }

  /** Reads the next value; `undefined` where the stream ends between two. */
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
    const rest = await this.#take(uintSize(first[0]!) - 1) ?? streamEnded();
    const length = Number(readUint(joined([first, rest])));
    if (length < 1 || length > this.#maxMessage) {
      throw new RpcError(`Cannot read RPC message: it has ${length} bytes`);
    }
    return await this.#take(length) ?? streamEnded();
  }

  /** Reads the lines of an HTTP head; `undefined` where the stream ends before its empty line. */
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

  /** Ends both directions, in this order: the end of reading may close the connection. */
  async close(): Promise<void> {
    await this.#writer.close().catch(ignore);
    await this.#reader.cancel().catch(ignore);
  }

  /** Ends both directions without waiting for bytes on their way. */
  abort(reason: unknown): void {
    this.#writer.abort(reason).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
  }
}

/** Failures to ignore when a connection ends. */
function ignore(): void {}

function streamEnded(): never {
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
