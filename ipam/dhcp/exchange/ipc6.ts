/**
 * The order and the report of a DHCPv6 exchange as lines of JSON.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Client6, ExchangeGoal6 } from "./client_message6.ts";
import type { ExchangeCounts6 } from "./counts6.ts";
import type { ExchangeOutcome6 } from "./exchange6.ts";
import type { ExchangeReport, RawGoal, RawOptions } from "./ipc.ts";
import { formatIp, parseIp } from "../../../host/ip.ts";
import { decodeMessage6, encodeMessage6 } from "../codec/message6.ts";
import {
  decodeReport,
  encodeReport,
  goalFromJson,
  goalToJson,
  optionsFromJson,
  optionsToJson,
} from "./ipc.ts";

/** What the process is to do. */
export interface ExchangeOrder6 {
  readonly goal: ExchangeGoal6;
  readonly client: Client6;
  /** When to give up, in milliseconds from the start. */
  readonly within: number;
  /** The interface's link-local address. */
  readonly from: Ip;
  /** `%3` for interface 3. */
  readonly zone: string;
}

/** How the exchange has ended, or why it could not. */
export type ExchangeReport6 = ExchangeReport<ExchangeOutcome6, ExchangeCounts6>;

interface RawOrder {
  readonly family: 6;
  readonly goal: RawGoal;
  readonly client: {
    readonly duid: string;
    readonly iaid: number;
    readonly requested: readonly number[];
    readonly provided: RawOptions;
    readonly rapidCommit?: boolean | undefined;
  };
  readonly from: string;
  readonly within: number;
  readonly zone: string;
}

/** Writes an order. */
export function encodeOrder6({ goal, client, from, within, zone }: ExchangeOrder6): string {
  const { duid, iaid, requested, provided, rapidCommit } = client;
  const order: RawOrder = {
    family: 6,
    goal: goalToJson<Uint8Array>(goal, (server) => server.toHex()),
    client: {
      duid: duid.toHex(),
      iaid,
      requested,
      provided: optionsToJson(provided),
      rapidCommit,
    },
    from: formatIp(from),
    within,
    zone,
  };
  return JSON.stringify(order);
}

/** Reads an order. */
export function decodeOrder6(line: string): ExchangeOrder6 {
  const { goal, client, from, within, zone }: RawOrder = JSON.parse(line);
  return {
    goal: goalFromJson(goal, (text) => Uint8Array.fromHex(text)) as ExchangeGoal6,
    client: {
      ...client,
      duid: Uint8Array.fromHex(client.duid),
      provided: optionsFromJson(client.provided),
    },
    from: parseIp(from)!,
    within,
    zone,
  };
}

/** Writes a report; `at` is the time it was made, in milliseconds since 1970. */
export function encodeReport6(report: ExchangeReport6, at: number): string {
  return encodeReport(report, { at, encode: encodeMessage6 });
}

/** Reads a report at a time: the age of an acknowledgement is that of then. */
export function decodeReport6(line: string, now: number): ExchangeReport6 {
  return decodeReport(line, { now, decode: decodeMessage6 }) as ExchangeReport6;
}
