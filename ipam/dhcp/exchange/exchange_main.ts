/**
 * The process that holds one exchange: it runs inside the namespace, speaks on UDP
 * port 68 (DHCPv6: 546), and ends. It reads its order from stdin and ends when stdin
 * is closed; it prints its report. The way its packets take has been prepared
 * (`passage.ts`).
 *
 * @module
 */
import type { Datagram } from "./exchange4.ts";
import type { SocketOptions } from "./udp_sockets.ts";
import type { Order } from "./ipc4.ts";
import type { Order6 } from "./ipc6.ts";
import { formatIp } from "../../../host/ip.ts";
import * as exchange from "./exchange4.ts";
import { fatal, Sockets } from "./udp_sockets.ts";
import { noCounts, orderFromLine, reportToLine } from "./ipc4.ts";

/** Reads an order, holds the exchange, prints the report, and ends the process. */
export async function main(): Promise<never> {
  const line = await readLine();
  Deno.stdin.read(new Uint8Array(1)).then(() => Deno.exit(1));
  const report = await hold(line);
  Deno.stdout.writeSync(new TextEncoder().encode(`${report}\n`));
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

/** Holds what a line orders; gives the line of the report. */
async function hold(line: string): Promise<string> {
  if (JSON.parse(line).family !== 6) return await hold4(orderFromLine(line));
  const { orderFromLine: orderFromLine6 } = await import("./ipc6.ts");
  return await hold6(orderFromLine6(line));
}

async function hold4(order: Order): Promise<string> {
  const { goal, client, within, timeout, resendMax, from, port = 68 } = order;
  // Broadcasts come to the socket of all addresses alone.
  const all = from && goal.kind === "release" ? [] : ["0.0.0.0"];
  const hostnames = [...(from ? [formatIp(from)] : []), ...all];
  const report = await talk({
    sockets: { hostnames, port, serverPort: 67 },
    begin: () =>
      exchange.begin({ goal, client, now: 0, deadline: within, timeout, resendMax, random }),
    receive: exchange.receive,
    tick: exchange.tick,
    noCounts,
  });
  return reportToLine(report, Date.now());
}

async function hold6({ goal, client, within, from, zone }: Order6): Promise<string> {
  const exchange6 = await import("./exchange6.ts");
  const { noCounts, reportToLine } = await import("./ipc6.ts");
  const report = await talk({
    sockets: { hostnames: [`${formatIp(from)}${zone}`], port: 546, serverPort: 547, zone },
    begin: () => exchange6.begin({ goal, client, now: 0, deadline: within, random }),
    receive: exchange6.receive,
    tick: exchange6.tick,
    noCounts,
  });
  return reportToLine(report, Date.now());
}

/** A state machine of packets and times, and where it speaks. */
interface Talk<State extends { readonly counts: Counts }, Outcome, Counts> {
  readonly sockets: SocketOptions;
  readonly begin: () => Turn<State, Outcome>;
  readonly receive: (
    state: State,
    arrived: { readonly packet: Uint8Array; readonly now: number },
  ) => Turn<State, Outcome>;
  readonly tick: (state: State, now: number) => Turn<State, Outcome>;
  readonly noCounts: Counts;
}

type Turn<State, Outcome> =
  | {
    readonly done: false;
    readonly send?: Datagram;
    readonly until: number;
    readonly state: State;
  }
  | { readonly done: true; readonly send?: Datagram; readonly outcome: Outcome };

type Ending<Counts> =
  | { readonly kind: "cut off"; readonly message: string; readonly counts: Counts }
  | { readonly kind: "port taken" };

async function talk<State extends { readonly counts: Counts }, Outcome, Counts>(
  it: Talk<State, Outcome, Counts>,
): Promise<Outcome | Ending<Counts>> {
  const sockets = await Sockets.open(it.sockets).catch(toEnding);
  if (!(sockets instanceof Sockets)) {
    return sockets.kind === "cut off" ? { ...sockets, counts: it.noCounts } : sockets;
  }
  return await converse(it, sockets);
}

/** An address or the link may have gone just now. */
function toEnding(error: Error): Ending<undefined> {
  if (error instanceof Deno.errors.AddrInUse) return { kind: "port taken" };
  const message = fatal(error);
  if (message === undefined) throw error;
  return { kind: "cut off", message, counts: undefined };
}

async function converse<State extends { readonly counts: Counts }, Outcome, Counts>(
  { begin, receive, tick, noCounts }: Talk<State, Outcome, Counts>,
  sockets: Sockets,
): Promise<Outcome | Ending<Counts>> {
  const start = performance.now();
  const now = () => performance.now() - start;
  let turn = begin();
  for (;;) {
    const lost = turn.send && await sockets.send(turn.send);
    if (lost) {
      return { kind: "cut off", message: lost, counts: turn.done ? noCounts : turn.state.counts };
    }
    if (turn.done) return turn.outcome;
    const packet = await sockets.receive(turn.until - now());
    const { state } = turn;
    turn = packet ? receive(state, { packet, now: now() }) : tick(state, now());
  }
}

/** 0 ≤ n < 1, in steps of 2⁻³². */
function random(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}
