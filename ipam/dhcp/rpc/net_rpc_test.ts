import { assertEquals, assertRejects } from "@std/assert";
import type { GobType, GobValue, StructType } from "./gob_types.ts";
import type { ByteStream, RpcMethods } from "./net_rpc.ts";
import { GobDecoder, readUint, uintSize } from "./gob_decoder.ts";
import { GobEncoder } from "./gob_encoder.ts";
import { GobError } from "./gob_types.ts";
import { callRpc, emptyStruct, RemoteError, RpcError, serveRpc } from "./net_rpc.ts";

const text: GobType = { kind: "string" };
const uint: GobType = { kind: "uint" };
const requestType: StructType = {
  kind: "struct",
  name: "Request",
  fields: [{ name: "ServiceMethod", type: text }, { name: "Seq", type: uint }],
};
const responseType: StructType = {
  kind: "struct",
  name: "Response",
  fields: [...requestType.fields, { name: "Error", type: text }],
};
const wordType: StructType = {
  kind: "struct",
  name: "Word",
  fields: [{ name: "Word", type: text }],
};

const connect = "CONNECT /_goRPC_ HTTP/1.0\n\n";
const accepted = "HTTP/1.0 200 Connected to Go RPC\n\n";

/** Two ends of a connection in memory. */
function pair(): [ByteStream, ByteStream] {
  const there = new TransformStream<Uint8Array, Uint8Array>();
  const back = new TransformStream<Uint8Array, Uint8Array>();
  return [
    { readable: there.readable, writable: back.writable },
    { readable: back.readable, writable: there.writable },
  ];
}

/** A connection on which these bytes come, in pieces, and what is written to it is kept. */
function tape(pieces: readonly Uint8Array[]): { stream: ByteStream; written: () => Uint8Array } {
  const out: Uint8Array[] = [];
  return {
    stream: {
      readable: ReadableStream.from(pieces),
      writable: new WritableStream({ write: (chunk) => void out.push(chunk.slice()) }),
    },
    written: () => Uint8Array.from(out.flatMap((chunk) => [...chunk])),
  };
}

function utf8(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

/** A caller that is written by hand: sends what it likes and reads values. */
class Caller {
  readonly #encoder = new GobEncoder();
  readonly #decoder = new GobDecoder();
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor({ readable, writable }: ByteStream) {
    this.#writer = writable.getWriter();
    this.#reader = readable.getReader();
  }

  async connect(): Promise<string> {
    await this.#writer.write(utf8(connect));
    return new TextDecoder().decode((await this.#reader.read()).value);
  }

  async send(ServiceMethod: string, { Seq, Word = "" }: { Seq: number | bigint; Word?: string }) {
    const header = { type: requestType, value: { ServiceMethod, Seq } };
    await this.#writer.write(this.#encoder.encode(header, { type: wordType, value: { Word } }));
  }

  /** A header and a reply; the server writes both as one piece. */
  async receive(): Promise<GobValue[]> {
    const { value } = await this.#reader.read();
    const values: GobValue[] = [];
    for (let rest: Uint8Array = value!; rest.length > 0;) {
      const start = uintSize(rest[0]!);
      const end = start + Number(readUint(rest));
      const item = this.#decoder.decode(rest.subarray(start, end));
      if (item !== undefined) values.push({ ...item as Record<string, GobValue> });
      rest = rest.subarray(end);
    }
    return values;
  }

  async end(): Promise<void> {
    await this.#writer.close();
    await this.#reader.cancel();
  }
}

/** Comes back when everything in memory has gone as far as it can. */
function idle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Methods that end when the test lets them. */
function held(): { methods: RpcMethods; finish: (word: string) => void; started: string[] } {
  const waiting = new Map<string, () => void>();
  const started: string[] = [];
  const run = (args: GobValue): Promise<GobValue> => {
    const { Word } = args as { Word: string };
    started.push(Word);
    return new Promise((resolve) => waiting.set(Word, () => resolve({ Word: `${Word}!` })));
  };
  const finish = (word: string) => waiting.get(word)!();
  return { methods: { "Test.Hold": { reply: wordType, run } }, finish, started };
}

const echo: RpcMethods = {
  "Test.Echo": { reply: wordType, run: (args) => Promise.resolve(args) },
  "Test.Fail": { reply: wordType, run: () => Promise.reject(new Error("Cannot do it: no")) },
  "Test.FailSilently": { reply: wordType, run: () => Promise.reject(new Error("")) },
  "Test.Throw": {
    reply: wordType,
    run() {
      throw new TypeError("at once");
    },
  },
  "Test.Misfit": { reply: wordType, run: () => Promise.resolve({ Word: 7 }) },
};

function callEcho(method: string): Promise<GobValue> {
  const [serving, calling] = pair();
  const served = serveRpc(serving, { methods: echo });
  return callRpc(calling, { method, type: wordType, args: { Word: "ü" } }).finally(() => served);
}

Deno.test("rpc: a call gets its reply, and both sides end", async () => {
  assertEquals({ ...await callEcho("Test.Echo") as object }, { Word: "ü" });
});

const failures: Record<string, string> = {
  "Test.Fail": "Cannot do it: no",
  "Test.FailSilently": "Error",
  "Test.Throw": "at once",
  "Test.Misfit": 'Cannot encode gob "Word": expected string but received 7',
  "Test.None": "rpc: can't find method Test.None",
  "Test.": "rpc: can't find method Test.",
  "None.Echo": "rpc: can't find service None.Echo",
  "Tes.Echo": "rpc: can't find service Tes.Echo",
  "Echo": "rpc: service/method request ill-formed: Echo",
  "toString": "rpc: service/method request ill-formed: toString",
  "": "rpc: service/method request ill-formed: ",
};

for (const [method, message] of Object.entries(failures)) {
  Deno.test(`rpc: a call of "${method}" gets the error as text`, async () => {
    const error = await assertRejects(() => callEcho(method), RemoteError);
    assertEquals(error.message, message);
  });
}

Deno.test("rpc: calls of one connection run together and are answered as they end", async () => {
  const { methods, finish, started } = held();
  const [serving, calling] = pair();
  const served = serveRpc(serving, { methods });
  const caller = new Caller(calling);
  assertEquals(await caller.connect(), accepted);
  await caller.send("Test.Hold", { Seq: 7, Word: "a" });
  await caller.send("Test.Hold", { Seq: 2n ** 64n - 1n, Word: "b" });
  await caller.send("Test.None", { Seq: 0 });
  const none = { ServiceMethod: "Test.None", Error: "rpc: can't find method Test.None" };
  assertEquals(await caller.receive(), [none, {}]);
  assertEquals(started, ["a", "b"]);
  finish("b");
  const header = { ServiceMethod: "Test.Hold", Seq: 2n ** 64n - 1n };
  assertEquals(await caller.receive(), [header, { Word: "b!" }]);
  finish("a");
  assertEquals(await caller.receive(), [{ ServiceMethod: "Test.Hold", Seq: 7 }, { Word: "a!" }]);
  await caller.end();
  await served;
});

Deno.test("rpc: the connection goes on after a reply that cannot be encoded", async () => {
  const [serving, calling] = pair();
  const served = serveRpc(serving, { methods: echo });
  const caller = new Caller(calling);
  await caller.connect();
  await caller.send("Test.Misfit", { Seq: 1 });
  const Error = 'Cannot encode gob "Word": expected string but received 7';
  assertEquals(await caller.receive(), [{ ServiceMethod: "Test.Misfit", Seq: 1, Error }, {}]);
  await caller.send("Test.Echo", { Seq: 2, Word: "x" });
  assertEquals(await caller.receive(), [{ ServiceMethod: "Test.Echo", Seq: 2 }, { Word: "x" }]);
  await caller.end();
  await served;
});

Deno.test("rpc: no more calls run at a time than the limit says", async () => {
  const { methods, finish, started } = held();
  const [serving, calling] = pair();
  const served = serveRpc(serving, { methods, limits: { calls: 2 } });
  const caller = new Caller(calling);
  await caller.connect();
  await caller.send("Test.Hold", { Seq: 1, Word: "a" });
  await caller.send("Test.Hold", { Seq: 2, Word: "b" });
  const third = caller.send("Test.Hold", { Seq: 3, Word: "c" });
  await idle();
  assertEquals(started, ["a", "b"]);
  finish("a");
  await caller.receive();
  await third;
  await idle();
  assertEquals(started, ["a", "b", "c"]);
  finish("b");
  finish("c");
  await caller.receive();
  await caller.receive();
  await caller.end();
  await served;
});

Deno.test("rpc: a method learns that its caller has gone, and is waited for", async () => {
  const order: string[] = [];
  const running = Promise.withResolvers<void>();
  const methods: RpcMethods = {
    "Test.Wait": {
      reply: wordType,
      run: (_, signal) =>
        new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            order.push("aborted");
            resolve({});
          });
          running.resolve();
        }),
    },
  };
  const [serving, calling] = pair();
  const served = serveRpc(serving, { methods }).then(() => order.push("served"));
  const caller = new Caller(calling);
  await caller.connect();
  await caller.send("Test.Wait", { Seq: 1 });
  await running.promise;
  assertEquals(order, []);
  await caller.end();
  await served;
  assertEquals(order, ["aborted", "served"]);
});

/** First lines of a request, and the status that they get. */
const heads: Record<string, string> = {
  "CONNECT /_goRPC_ HTTP/1.0\n\n": "HTTP/1.0 200 Connected to Go RPC\n\n",
  "CONNECT /_goRPC_ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n": "HTTP/1.0 200 Connected to Go RPC\n\n",
  "GET /_goRPC_ HTTP/1.0\n\n": "HTTP/1.0 405 Method Not Allowed\r\n",
  "CONNECT /other HTTP/1.0\n\n": "HTTP/1.0 404 Not Found\r\n",
  "CONNECT /_goRPC_\n\n": "HTTP/1.0 400 Bad Request\r\n",
  "CONNECT /_goRPC_ HTTP/1.0 x\n\n": "HTTP/1.0 400 Bad Request\r\n",
  "CONNECT /_goRPC_ HTTP/2.0\n\n": "HTTP/1.0 400 Bad Request\r\n",
  "\n\n": "HTTP/1.0 400 Bad Request\r\n",
};

for (const [head, start] of Object.entries(heads)) {
  Deno.test(`rpc: ${JSON.stringify(head)} gets ${start.trim()}`, async () => {
    const { stream, written } = tape([utf8(head)]);
    await serveRpc(stream, { methods: echo });
    const answer = new TextDecoder().decode(written());
    assertEquals(answer.slice(0, start.length), start);
    assertEquals(answer.endsWith("\n"), true);
  });
}

function request(value: GobValue, type: GobType = requestType): Uint8Array {
  return new GobEncoder().encode({ type, value }, { type: wordType, value: { Word: "x" } });
}

function fieldsOf(fields: Record<string, GobType>): StructType {
  const list = Object.entries(fields).map(([name, type]) => ({ name, type }));
  return { kind: "struct", name: "Request", fields: list };
}

const header = "Cannot read RPC header: its fields are of other types";
const inside = "Cannot read RPC message: the stream ends inside of it";
const whole = request({ ServiceMethod: "Test.Echo", Seq: 1 });

/** What comes after the handshake, and how serving ends. */
const violations: Record<string, readonly [bytes: Uint8Array, error: string]> = {
  "a message of no bytes": [Uint8Array.of(0), "Cannot read RPC message: it has 0 bytes"],
  "a message of too many bytes": [
    Uint8Array.of(0xfc, 0, 1, 0, 1),
    "Cannot read RPC message: it has 65537 bytes",
  ],
  "a message of 2^64 − 1 bytes": [
    Uint8Array.fromHex("f8ffffffffffffffff"),
    "Cannot read RPC message: it has 18446744073709552000 bytes",
  ],
  "a length of 9 bytes": [Uint8Array.of(0xf7), "Cannot decode gob: an integer of 9 bytes"],
  "a length cut off": [Uint8Array.of(0xfe, 1), inside],
  "a message cut off": [whole.subarray(0, 20), inside],
  "a header without arguments": [
    new GobEncoder().encode({ type: requestType, value: { ServiceMethod: "Test.Echo" } }),
    inside,
  ],
  "no gob": [utf8("\x05hello"), "Cannot decode gob: type 52 is not defined"],
  "a header that is a number": [request(7, uint), "Cannot read RPC header: it is no struct"],
  "a method that is a number": [
    request({ ServiceMethod: 7 }, fieldsOf({ ServiceMethod: uint })),
    header,
  ],
  "a sequence that is a text": [request({ Seq: "7" }, fieldsOf({ Seq: text })), header],
  "a sequence below zero": [request({ Seq: -1 }, fieldsOf({ Seq: { kind: "int" } })), header],
  "a sequence that is a fraction": [
    request({ Seq: 1.5 }, fieldsOf({ Seq: { kind: "float" } })),
    header,
  ],
};

for (const [name, [bytes, message]] of Object.entries(violations)) {
  Deno.test(`rpc: serving ends at ${name}`, async () => {
    const { stream, written } = tape([utf8(connect), bytes]);
    const limits = { message: 65536 };
    const error = await assertRejects(() => serveRpc(stream, { methods: echo, limits }));
    assertEquals((error as Error).message, message);
    assertEquals(error instanceof RpcError || error instanceof GobError, true);
    assertEquals(new TextDecoder().decode(written()), accepted);
  });
}

Deno.test("rpc: serving ends at a head that does not end", async () => {
  for (const byte of ["x", "\r", "x\n"]) {
    const { stream, written } = tape([utf8(byte.repeat(10_000))]);
    const serve = () => serveRpc(stream, { methods: echo });
    await assertRejects(serve, RpcError, "Cannot read HTTP head: it has more than 8192 bytes");
    assertEquals(written().length, 0);
  }
});

Deno.test("rpc: serving ends well with a caller that leaves between messages", async () => {
  for (const bytes of ["", "CONN", connect]) {
    const { stream } = tape([utf8(bytes)]);
    await serveRpc(stream, { methods: echo });
  }
});

Deno.test("rpc: bytes may come one by one or all together", async () => {
  const all = Uint8Array.from([...utf8(connect), ...whole]);
  const together = tape([all]);
  await serveRpc(together.stream, { methods: echo });
  const single = tape(Array.from(all, (byte) => Uint8Array.of(byte)));
  await serveRpc(single.stream, { methods: echo });
  assertEquals(single.written(), together.written());
  const answer = new GobEncoder().encode(
    { type: responseType, value: { ServiceMethod: "Test.Echo", Seq: 1 } },
    { type: wordType, value: { Word: "x" } },
  );
  assertEquals(single.written().subarray(accepted.length), answer);
});

Deno.test("rpc: a failing stream fails the serving with its error, after what runs", async () => {
  let aborted = false;
  const methods: RpcMethods = {
    "Test.Echo": {
      reply: emptyStruct,
      run: (_, signal) =>
        new Promise((resolve) =>
          signal.addEventListener("abort", () => {
            aborted = true;
            resolve({});
          })
        ),
    },
  };
  const { stream, written } = tape([]);
  const pieces = [utf8(connect), whole];
  const readable = new ReadableStream<Uint8Array>({
    pull(controller) {
      const piece = pieces.shift();
      if (piece) controller.enqueue(piece);
      else controller.error(new Error("reset"));
    },
  }, { highWaterMark: 0 });
  const serve = () => serveRpc({ ...stream, readable }, { methods });
  await assertRejects(serve, Error, "reset");
  assertEquals(aborted, true);
  assertEquals(written().length > accepted.length, true);
});

/** What a server says to a call, and how the call ends. */
function answer(value: GobValue, type: StructType = responseType): Uint8Array {
  const reply = { type: wordType, value: { Word: "x" } };
  return Uint8Array.from([
    ...utf8(accepted),
    ...new GobEncoder().encode({ type, value }, reply),
  ]);
}

const ended = 'Cannot call "Test.Echo": the connection ended before the answer';
const answers: Record<string, readonly [bytes: Uint8Array, error: string]> = {
  "nothing": [utf8(""), ended],
  "half a head": [utf8("HTTP/1.0 200 Connected to Go RPC\n"), ended],
  "a handshake alone": [utf8(accepted), ended],
  "a refusal": [
    utf8("HTTP/1.0 404 Not Found\r\nX: y\r\n\r\n404 page not found\n"),
    'Cannot call "Test.Echo": unexpected HTTP response "HTTP/1.0 404 Not Found"',
  ],
  "another status of success": [
    utf8("HTTP/1.0 200 OK\n\n"),
    'Cannot call "Test.Echo": unexpected HTTP response "HTTP/1.0 200 OK"',
  ],
  "a long line of another protocol": [
    utf8("x".repeat(100) + "\n\n"),
    `Cannot call "Test.Echo": unexpected HTTP response "${"x".repeat(77)}…"`,
  ],
  "an answer to another call": [
    answer({ Seq: 3 }),
    'Cannot call "Test.Echo": an answer to call 3 that was not made',
  ],
  "half an answer": [answer({}).subarray(0, 100), inside],
  "a header of other types": [answer({ Error: 1 }, fieldsOf({ Error: uint })), header],
};

for (const [name, [bytes, message]] of Object.entries(answers)) {
  Deno.test(`rpc: a call fails with ${name} for an answer`, async () => {
    const { stream } = tape([bytes]);
    const call = { method: "Test.Echo", type: wordType, args: { Word: "x" } };
    const error = await assertRejects(() => callRpc(stream, call), RpcError);
    assertEquals(error.message, message);
  });
}

Deno.test("rpc: a call sends nothing but the handshake before it is accepted", async () => {
  const [serving, calling] = pair();
  const called = callRpc(calling, { method: "Test.Echo", type: wordType, args: {} });
  const reader = serving.readable.getReader();
  assertEquals(new TextDecoder().decode((await reader.read()).value), connect);
  const further = reader.read();
  const writer = serving.writable.getWriter();
  await idle();
  assertEquals(await Promise.race([further, Promise.resolve("nothing")]), "nothing");
  await writer.write(utf8(accepted));
  assertEquals((await further).done, false);
  await writer.close();
  await assertRejects(() => called, RpcError, ended);
});

Deno.test("rpc: a call ends with the reason of its signal, before it and in the middle", async () => {
  const call = { method: "Test.Hold", type: wordType, args: { Word: "a" } };
  const [, unanswered] = pair();
  const aborted = AbortSignal.abort(new Error("too late"));
  await assertRejects(() => callRpc(unanswered, { ...call, signal: aborted }), Error, "too late");

  const { methods, finish, started } = held();
  const [serving, calling] = pair();
  const served = serveRpc(serving, { methods });
  const controller = new AbortController();
  const called = callRpc(calling, { ...call, signal: controller.signal });
  await idle();
  assertEquals(started, ["a"]);
  controller.abort(new Error("deadline"));
  await assertRejects(() => called, Error, "deadline");
  finish("a");
  await assertRejects(() => served, Error, "deadline");
});
