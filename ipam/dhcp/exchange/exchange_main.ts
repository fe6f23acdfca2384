/**
 * The process of one exchange. It runs inside the namespace, speaks on UDP port 68 (DHCPv6: 546), and
 * ends. It reads its order from stdin, ends when stdin is closed, and prints its report. Its caller
 * has prepared the route of its packets (`broadcast_route.ts`).
 *
 * @module
 */
import type { ExchangeStep } from "./exchange.ts";
import type { CutOff, ExchangeReport, PortTaken } from "./ipc.ts";
import type { ExchangeOrder4 } from "./ipc4.ts";
import type { ExchangeOrder6 } from "./ipc6.ts";
import type { UdpSocketsOptions } from "./udp_sockets.ts";
import { formatIp } from "../../../host/ip.ts";
import { zeroCounts4 } from "./counts4.ts";
import { beginExchange4, receive4, tick4 } from "./exchange4.ts";
import { decodeOrder4, encodeReport4 } from "./ipc4.ts";
import { UdpSockets, unreachableText } from "./udp_sockets.ts";

/** Reads an order, runs the exchange, prints the report, and ends the process. */
export async function runExchangeProcess(): Promise<never> {
  const line = await readLine();
  Deno.stdin.read(new Uint8Array(1)).then(() => Deno.exit(1));
  const report = await runOrder(line);
  Deno.stdout.writeSync(new TextEncoder().encode(`${report}\n`));
  Deno.exit(0);
}

/** Reads a line. The caller may die at any time: the end of stdin ends this process, too. */
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

/** Runs the exchange of an order; gives the report. Both are lines. */
async function runOrder(line: string): Promise<string> {
  if (JSON.parse(line).family !== 6) return await run4(decodeOrder4(line));
  const { decodeOrder6 } = await import("./ipc6.ts");
  return await run6(decodeOrder6(line));
}

async function run4(order: ExchangeOrder4): Promise<string> {
  const { goal, client, within, timeout, resendMax, from, port = 68 } = order;
  // Only the socket of all addresses receives broadcasts.
  const all = from && goal.kind === "release" ? [] : ["0.0.0.0"];
  const hostnames = [...(from ? [formatIp(from)] : []), ...all];
  const report = await runMachine({
    sockets: { hostnames, port, serverPort: 67 },
    begin: () =>
      beginExchange4({ goal, client, now: 0, deadline: within, timeout, resendMax, random }),
    receive: receive4,
    tick: tick4,
    zeroCounts: zeroCounts4,
  });
  return encodeReport4(report, Date.now());
}

async function run6({ goal, client, within, from, zone }: ExchangeOrder6): Promise<string> {
  const { beginExchange6, receive6, tick6 } = await import("./exchange6.ts");
  const { zeroCounts6 } = await import("./counts6.ts");
  const { encodeReport6 } = await import("./ipc6.ts");
  const report = await runMachine({
    sockets: { hostnames: [`${formatIp(from)}${zone}`], port: 546, serverPort: 547, zone },
    begin: () => beginExchange6({ goal, client, now: 0, deadline: within, random }),
    receive: receive6,
    tick: tick6,
    zeroCounts: zeroCounts6,
  });
  return encodeReport6(report, Date.now());
}

/** The state machine of an exchange, and its sockets. */
interface Machine<State extends { readonly counts: Counts }, Outcome, Counts> {
  readonly sockets: UdpSocketsOptions;
  readonly begin: () => ExchangeStep<State, Outcome>;
  readonly receive: (
    state: State,
    arrived: { readonly packet: Uint8Array; readonly now: number },
  ) => ExchangeStep<State, Outcome>;
  readonly tick: (state: State, now: number) => ExchangeStep<State, Outcome>;
  /** Counts of an exchange that has not begun. */
  readonly zeroCounts: Counts;
}

async function runMachine<State extends { readonly counts: Counts }, Outcome, Counts>(
  machine: Machine<State, Outcome, Counts>,
): Promise<ExchangeReport<Outcome, Counts>> {
  const sockets = await UdpSockets.open(machine.sockets).catch(openFailure);
  if (sockets instanceof UdpSockets) return await exchangePackets(machine, sockets);
  return sockets.kind === "cut off" ? { ...sockets, counts: machine.zeroCounts } : sockets;
}

/** Tells why sockets cannot be opened: an address or the link may have gone just now. */
function openFailure(error: Error): CutOff<undefined> | PortTaken {
  if (error instanceof Deno.errors.AddrInUse) return { kind: "port taken" };
  const message = unreachableText(error);
  if (message === undefined) throw error;
  return { kind: "cut off", message, counts: undefined };
}

async function exchangePackets<State extends { readonly counts: Counts }, Outcome, Counts>(
  { begin, receive, tick, zeroCounts }: Machine<State, Outcome, Counts>,
  sockets: UdpSockets,
): Promise<Outcome | CutOff<Counts>> {
  const start = performance.now();
  const now = () => performance.now() - start;
  let step = begin();
  for (;;) {
    const message = step.send && await sockets.send(step.send);
    if (message) {
      return { kind: "cut off", message, counts: step.done ? zeroCounts : step.state.counts };
    }
    if (step.done) return step.outcome;
    const packet = await sockets.receive(step.until - now());
    const { state } = step;
    step = packet ? receive(state, { packet, now: now() }) : tick(state, now());
  }
}

/** Gives 0 ≤ n < 1, in steps of 2⁻³². */
function random(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32;
}
