/**
 * What passes between an exchange's process and the one that started it: one line of
 * JSON each way. Both are of one build, or of two when an agent goes on after its files
 * were replaced: so fields may come, and none may change its meaning or go.
 *
 * @module
 */
import type { Client, Counts, Goal, Outcome } from "./exchange4.ts";
import type { Ip } from "../../../host/ip.ts";
import { formatIp, parseIp } from "../../../host/ip.ts";
import { decode, encode } from "../codec/message4.ts";

/** What the process is to do. Times are milliseconds. */
export interface Order {
  readonly goal: Goal;
  readonly client: Client;
  /** When to give up, from the start. */
  readonly within: number;
  readonly timeout?: number | undefined;
  readonly resendMax?: number | undefined;
  /** The address to send from; absent for none. */
  readonly from?: Ip | undefined;
  /** The port to send from; 68 when absent, 0 for any. */
  readonly port?: number | undefined;
}

/** What the process has to say. */
export type Report =
  | Outcome
  /** Nothing can be sent any more; `message` is the system's. */
  | { readonly kind: "cut off"; readonly message: string; readonly counts: Counts }
  /** Another program has the port. */
  | { readonly kind: "port taken" };

/** The counts of an exchange that has not begun. */
export const noCounts: Counts = {
  discover: 0,
  request: 0,
  offer: 0,
  ack: 0,
  nak: 0,
  ignored: { malformed: 0, foreign: 0, unusable: 0 },
};

type Plain = Record<string, unknown>;

/** An order as a line. */
export function orderToLine({ goal, client, from, ...rest }: Order): string {
  const { chaddr, clientId, requested, provided, broadcast } = client;
  const server = "server" in goal ? formatIp(goal.server) : undefined;
  return JSON.stringify({
    ...rest,
    goal: { kind: goal.kind, address: goal.address && formatIp(goal.address), server },
    client: {
      chaddr: chaddr.toHex(),
      clientId: clientId.toHex(),
      requested,
      provided: [...provided].map(([code, value]) => [code, value.toHex()]),
      broadcast,
    },
    from: from && formatIp(from),
  });
}

interface RawOrder extends Omit<Order, "goal" | "client" | "from"> {
  readonly goal: {
    readonly kind: Goal["kind"];
    readonly address?: string;
    readonly server?: string;
  };
  readonly client: {
    readonly chaddr: string;
    readonly clientId: string;
    readonly requested: readonly number[];
    readonly provided: readonly (readonly [number, string])[];
    readonly broadcast?: boolean;
  };
  readonly from?: string;
}

/** An order from its line. */
export function orderFromLine(line: string): Order {
  const { goal, client, from, ...rest }: RawOrder = JSON.parse(line);
  const ip = (text: string | undefined) => text === undefined ? undefined : parseIp(text);
  return {
    ...rest,
    goal: { kind: goal.kind, address: ip(goal.address), server: ip(goal.server) } as Goal,
    client: {
      ...client,
      chaddr: Uint8Array.fromHex(client.chaddr),
      clientId: Uint8Array.fromHex(client.clientId),
      provided: new Map(
        client.provided.map(([code, value]) => [code, Uint8Array.fromHex(value)]),
      ),
    },
    from: ip(from),
  };
}

/** A report as a line; `at` is the time it was made, in milliseconds since 1970. */
export function reportToLine(report: Report, at: number): string {
  const plain: Plain = report.kind === "acked"
    ? { ...report, ack: encode(report.ack).toHex() }
    : { ...report };
  return JSON.stringify({ ...plain, at });
}

/** A report from its line, read at a time: the age of an answer is that of then. */
export function reportFromLine(line: string, now: number): Report {
  const { at, ...report } = JSON.parse(line);
  if (report.kind !== "acked") return report;
  return {
    ...report,
    ack: decode(Uint8Array.fromHex(report.ack))!,
    age: report.age + Math.max(now - at, 0),
  };
}
