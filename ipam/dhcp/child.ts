/**
 * The process that holds one exchange: it runs inside the namespace, speaks on UDP
 * port 68, and ends. It reads its order from stdin and ends when stdin is closed; it
 * prints its report. The way its packets take has been prepared (`passage.ts`).
 *
 * @module
 */
/// <reference lib="deno.unstable" />
import type { Counts, Datagram, Turn } from "./exchange.ts";
import type { Order, Report } from "./wire.ts";
import { formatIp } from "../../host/ip.ts";
import { begin, receive, tick } from "./exchange.ts";
import { noCounts, orderFromLine, reportToLine } from "./wire.ts";

/** Room for whatever UDP carries. */
const largest = 65_536;
const ports = { server: 67, client: 68 } as const;

/** Reads an order, holds the exchange, prints the report, and ends the process. */
export async function main(): Promise<never> {
  const order = orderFromLine(await readLine());
  Deno.stdin.read(new Uint8Array(1)).then(() => Deno.exit(1));
  const report = await hold(order);
  Deno.stdout.writeSync(new TextEncoder().encode(`${reportToLine(report, Date.now())}\n`));
  Deno.exit(0);
}

/** Whoever gives orders dies at any time: no line is an end, too. */
async function readLine(): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(16_384);
  let text = "";
  while (!text.endsWith("\n")) {
    const length = await Deno.stdin.read(buffer);
    if (length === null) Deno.exit(1);
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
  return text;
}

async function hold(order: Order): Promise<Report> {
  const wire = await open(order).catch(unlessTaken);
  return wire ? await converse(order, wire) : { kind: "port taken" };
}

// deno-lint-ignore require-await -- what it throws is to be caught.
async function open(order: Order): Promise<Wire> {
  return new Wire(order);
}

function unlessTaken(error: unknown): undefined {
  if (!(error instanceof Deno.errors.AddrInUse)) throw error;
}

async function converse(order: Order, wire: Wire): Promise<Report> {
  const { goal, client, within, timeout, resendMax } = order;
  const start = performance.now();
  const now = () => performance.now() - start;
  let turn = begin({ goal, client, now: 0, deadline: within, timeout, resendMax, random });
  for (;;) {
    const lost = turn.send && await wire.send(turn.send);
    if (lost) return { kind: "cut off", message: lost, counts: countsOf(turn) };
    if (turn.done) return turn.outcome;
    const packet = await wire.receive(turn.until - now());
    const { state } = turn;
    turn = packet ? receive(state, { packet, now: now() }) : tick(state, now());
  }
}

function countsOf(turn: Turn): Counts {
  return turn.done ? noCounts : turn.state.counts;
}

/** 0 ≤ n < 1, in steps of 2⁻³². */
function random(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}

interface Arrival {
  readonly socket: Deno.DatagramConn;
  readonly packet?: Uint8Array | undefined;
}

/** The sockets of an exchange. */
class Wire {
  /** The first one sends; broadcasts come to the one of all addresses alone. */
  readonly #sockets: readonly Deno.DatagramConn[];
  readonly #pending = new Map<Deno.DatagramConn, Promise<Arrival>>();

  constructor({ from, port = ports.client, goal }: Order) {
    const own = from ? [formatIp(from)] : [];
    const all = from && goal.kind === "release" ? [] : ["0.0.0.0"];
    this.#sockets = [...own, ...all].map((hostname) =>
      Deno.listenDatagram({ transport: "udp", hostname, port, reuseAddress: true })
    );
  }

  /** Gives the system's words when nothing can be sent any more: no route, or no link. */
  async send({ bytes, to }: Datagram): Promise<string | undefined> {
    const address = { transport: "udp", hostname: formatIp(to), port: ports.server } as const;
    return await this.#sockets[0]!.send(bytes, address).then(() => undefined, fatal);
  }

  /** The next datagram, or nothing when there is none for so many milliseconds. */
  async receive(wait: number): Promise<Uint8Array | undefined> {
    // However many packets come, the time is told, too.
    if (wait <= 0) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), wait);
    const arrival = await Promise.race([late, ...this.#sockets.map((it) => this.#next(it))]);
    clearTimeout(timer);
    if (arrival) this.#pending.delete(arrival.socket);
    return arrival && (arrival.packet ?? new Uint8Array());
  }

  #next(socket: Deno.DatagramConn): Promise<Arrival> {
    const known = this.#pending.get(socket);
    if (known) return known;
    const next = socket.receive(new Uint8Array(largest)).then(
      ([packet]) => ({ socket, packet }),
      () => ({ socket }),
    );
    this.#pending.set(socket, next);
    return next;
  }
}

/** Words for what does not pass, as a link without a carrier, a full queue or a rule that drops does. */
function fatal(error: Error & { readonly code?: string }): string | undefined {
  return fatalCodes.includes(error.code ?? "") ? error.message : undefined;
}

const fatalCodes = ["ENETUNREACH", "EHOSTUNREACH", "ENODEV", "ENXIO", "EADDRNOTAVAIL", "ENETDOWN"];
