/**
 * The program that opens sockets inside a namespace. It reads one JSON request
 * a line and answers each with one JSON line of the same `id`. Servers tell
 * each caller the address they see it under, so a test can see masquerading.
 *
 * @module
 */
/// <reference lib="deno.unstable" />

/** Transport protocol of a probe. */
export type Transport = "tcp" | "udp";

/** What the agent is asked to do. */
export type AgentRequest =
  & { readonly id: number }
  & (
    | {
      readonly do: "listen";
      readonly transport: Transport;
      /** 0 lets the kernel choose. */
      readonly port: number;
      /** `0.0.0.0` or `::` for all of a family. */
      readonly address: string;
    }
    | {
      readonly do: "call";
      readonly transport: Transport;
      readonly port: number;
      readonly address: string;
      /** Milliseconds until it gives up. */
      readonly timeout: number;
    }
    | {
      /** Open a TCP server that sends each caller as much as the caller takes. */
      readonly do: "pour";
      readonly address: string;
    }
    | {
      /** Take what such a server sends. */
      readonly do: "draw";
      readonly port: number;
      readonly address: string;
      /** Milliseconds from the first byte on. */
      readonly duration: number;
    }
  );

/** What came in how much time. */
export interface Flow {
  readonly bytes: number;
  /** Time that it really took. */
  readonly milliseconds: number;
}

/** What came of a call. `from` is the caller's address as the server saw it. */
export type Outcome =
  | { readonly is: "answered"; readonly from: string }
  | { readonly is: "refused" | "timeout" | "unreachable" };

/** What the agent answers. */
export type AgentReply =
  & { readonly id: number }
  & (
    | { readonly port: number }
    | { readonly outcome: Outcome }
    | { readonly flow: Flow }
    | { readonly error: string }
  );

type Listen = Extract<AgentRequest, { do: "listen" }>;
type Call = Extract<AgentRequest, { do: "call" }>;

function listen({ transport, port, address }: Listen): number {
  return transport === "tcp" ? listenTcp(port, address) : listenUdp(port, address);
}

function listenTcp(port: number, hostname: string): number {
  const listener = Deno.listen({ port, hostname });
  (async () => {
    for await (const connection of listener) answerTcp(connection);
  })();
  return listener.addr.port;
}

async function answerTcp(connection: Deno.TcpConn): Promise<void> {
  const text = `${connection.remoteAddr.hostname}\n`;
  await connection.write(new TextEncoder().encode(text)).catch(() => {});
  connection.close();
}

function listenUdp(port: number, hostname: string): number {
  const socket = Deno.listenDatagram({ transport: "udp", port, hostname });
  (async () => {
    for await (const [, from] of socket) {
      const text = `${(from as Deno.NetAddr).hostname}\n`;
      await socket.send(new TextEncoder().encode(text), from).catch(() => {});
    }
  })();
  return (socket.addr as Deno.NetAddr).port;
}

async function call(request: Call): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const timer = setTimeout(() => resolve({ is: "timeout" }), request.timeout);
  const attempt = request.transport === "tcp" ? callTcp : callUdp;
  const outcome = await Promise.race([
    promise,
    attempt(request, promise).catch(outcomeOf),
  ]);
  clearTimeout(timer);
  resolve(outcome);
  return outcome;
}

async function callTcp({ address, port }: Call): Promise<Outcome> {
  using connection = await Deno.connect({ hostname: address, port });
  const buffer = new Uint8Array(128);
  const length = await connection.read(buffer) ?? 0;
  return answered(buffer.subarray(0, length));
}

/** A first datagram may get lost while a neighbour is looked up: keep asking until the end. */
async function callUdp(
  { address, port }: Call,
  end: Promise<unknown>,
): Promise<Outcome> {
  const hostname = address.includes(":") ? "::" : "0.0.0.0";
  const socket = Deno.listenDatagram({ transport: "udp", port: 0, hostname });
  const ask = () =>
    socket.send(new Uint8Array([63]), {
      transport: "udp",
      hostname: address,
      port,
    }).catch(() => 0);
  const timer = setInterval(ask, 100);
  end.then(() => {
    clearInterval(timer);
    socket.close();
  });
  await ask();
  const [data] = await socket.receive();
  return answered(data);
}

function answered(data: Uint8Array): Outcome {
  return { is: "answered", from: new TextDecoder().decode(data).trim() };
}

function outcomeOf(error: unknown): Outcome {
  if (error instanceof Deno.errors.ConnectionRefused) return { is: "refused" };
  if (error instanceof Deno.errors.TimedOut) return { is: "timeout" };
  return { is: "unreachable" };
}

function pour(hostname: string): number {
  const listener = Deno.listen({ port: 0, hostname });
  (async () => {
    for await (const connection of listener) pourInto(connection).catch(() => {});
  })();
  return listener.addr.port;
}

async function pourInto(connection: Deno.TcpConn): Promise<void> {
  using _open = connection;
  const chunk = new Uint8Array(16_384);
  while (true) await connection.write(chunk);
}

type Draw = Extract<AgentRequest, { do: "draw" }>;

/** The time ends with a packet, so that the rate is exact for slow links, too. */
async function draw({ address, port, duration }: Draw): Promise<Flow> {
  using connection = await Deno.connect({ hostname: address, port });
  const buffer = new Uint8Array(65_536);
  let bytes = await connection.read(buffer) ?? 0;
  const start = performance.now();
  let milliseconds = 0;
  while (milliseconds < duration) {
    bytes += await connection.read(buffer) ?? 0;
    milliseconds = performance.now() - start;
  }
  return { bytes, milliseconds };
}

async function reply(request: AgentRequest): Promise<AgentReply> {
  try {
    return { id: request.id, ...await act(request) };
  } catch (error) {
    return { id: request.id, error: String(error) };
  }
}

async function act(request: AgentRequest) {
  switch (request.do) {
    case "listen":
      return { port: listen(request) };
    case "call":
      return { outcome: await call(request) };
    case "pour":
      return { port: pour(request.address) };
    case "draw":
      return { flow: await draw(request) };
  }
}

async function main(): Promise<void> {
  let rest = "";
  const texts = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
  for await (const text of texts) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) {
      reply(JSON.parse(line)).then((value) => console.log(JSON.stringify(value)));
    }
  }
  Deno.exit();
}

if (import.meta.main) await main();
