/**
 * The order and the report of a DHCPv4 exchange as lines of JSON.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Client4, ExchangeGoal4 } from "./client_message4.ts";
import type { ExchangeCounts4 } from "./counts4.ts";
import type { ExchangeOutcome4 } from "./exchange4.ts";
import type { ExchangeReport, RawGoal, RawOptions } from "./ipc.ts";
import { formatIp, parseIp } from "../../../host/ip.ts";
import { decodeMessage4, encodeMessage4 } from "../codec/message4.ts";
import {
  decodeReport,
  encodeReport,
  goalFromJson,
  goalToJson,
  optionsFromJson,
  optionsToJson,
} from "./ipc.ts";

/** What the process is to do. Times are milliseconds. */
export interface ExchangeOrder4 {
  readonly goal: ExchangeGoal4;
  readonly client: Client4;
  /** When to give up, from the start. */
  readonly within: number;
  readonly timeout?: number | undefined;
  readonly resendMax?: number | undefined;
  /** The address to send from; absent for none. */
  readonly from?: Ip | undefined;
  /** The port to send from; 68 when absent, 0 for any. */
  readonly port?: number | undefined;
}

/** How the exchange has ended, or why it could not. */
export type ExchangeReport4 = ExchangeReport<ExchangeOutcome4, ExchangeCounts4>;

interface RawOrder extends Omit<ExchangeOrder4, "goal" | "client" | "from"> {
  readonly goal: RawGoal;
  readonly client: {
    readonly chaddr: string;
    readonly clientId: string;
    readonly requested: readonly number[];
    readonly provided: RawOptions;
    readonly broadcast?: boolean | undefined;
  };
  readonly from?: string | undefined;
}

/** Writes an order. */
export function encodeOrder4({ goal, client, from, ...rest }: ExchangeOrder4): string {
  const { chaddr, clientId, requested, provided, broadcast } = client;
  const order: RawOrder = {
    ...rest,
    goal: goalToJson<Ip>(goal, formatIp),
    client: {
      chaddr: chaddr.toHex(),
      clientId: clientId.toHex(),
      requested,
      provided: optionsToJson(provided),
      broadcast,
    },
    from: from && formatIp(from),
  };
  return JSON.stringify(order);
}

/** Reads an order. */
export function decodeOrder4(line: string): ExchangeOrder4 {
  const { goal, client, from, ...rest }: RawOrder = JSON.parse(line);
  return {
    ...rest,
    goal: goalFromJson(goal, parseIp) as ExchangeGoal4,
    client: {
      ...client,
      chaddr: Uint8Array.fromHex(client.chaddr),
      clientId: Uint8Array.fromHex(client.clientId),
      provided: new Map(optionsFromJson(client.provided)),
    },
    from: from === undefined ? undefined : parseIp(from),
  };
}

/** Writes a report; `at` is the time it was made, in milliseconds since 1970. */
export function encodeReport4(report: ExchangeReport4, at: number): string {
  return encodeReport(report, { at, encode: encodeMessage4 });
}

/** Reads a report at a time: the age of an acknowledgement is that of then. */
export function decodeReport4(line: string, now: number): ExchangeReport4 {
  return decodeReport(line, { now, decode: decodeMessage4 }) as ExchangeReport4;
}
