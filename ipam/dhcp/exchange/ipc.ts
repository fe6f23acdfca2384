/**
 * What the process of an exchange and the process that has started it send each other: one line of
 * JSON each way, an order and a report. Both processes are of one build, or of two when an agent goes
 * on after its files were replaced: fields may be added, but none may change its meaning or go.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { GoalKind } from "./exchange.ts";
import { formatIp, parseIp } from "../../../host/ip.ts";

/** Nothing can be sent any more; the message is the system's. */
export interface CutOff<Counts> {
  readonly kind: "cut off";
  readonly message: string;
  readonly counts: Counts;
}

/** Another program has the client's port. */
export interface PortTaken {
  readonly kind: "port taken";
}

/** How an exchange has ended, or why it could not. */
export type ExchangeReport<Outcome, Counts> = Outcome | CutOff<Counts> | PortTaken;

/** A goal as JSON. */
export interface RawGoal {
  readonly kind: GoalKind;
  readonly address?: string | undefined;
  readonly server?: string | undefined;
}

/** A goal of either family; servers are named by an address or by a DUID. */
interface GoalOf<Server> {
  readonly kind: GoalKind;
  readonly address?: Ip | undefined;
  readonly server?: Server;
}

/** Options as JSON: pairs of a code and its value in hexadecimal. */
export type RawOptions = readonly (readonly [code: number, value: string])[];

/** Writes a goal. */
export function goalToJson<Server>(
  { kind, address, server }: GoalOf<Server>,
  serverText: (server: Server) => string,
): RawGoal {
  return {
    kind,
    address: address && formatIp(address),
    server: server === undefined ? undefined : serverText(server),
  };
}

/** Reads a goal. */
export function goalFromJson<Server>(
  { kind, address, server }: RawGoal,
  parseServer: (text: string) => Server,
): GoalOf<Server> {
  return {
    kind,
    ...(address !== undefined && { address: parseIp(address)! }),
    ...(server !== undefined && { server: parseServer(server) }),
  };
}

/** Writes options. */
export function optionsToJson(options: Iterable<readonly [number, Uint8Array]>): RawOptions {
  return [...options].map(([code, value]) => [code, value.toHex()]);
}

/** Reads options. */
export function optionsFromJson(options: RawOptions): (readonly [number, Uint8Array])[] {
  return options.map(([code, value]) => [code, Uint8Array.fromHex(value)]);
}

/** A report that may carry an acknowledgement. */
type ReportOf<Message> = { readonly kind: string; readonly ack?: Message; readonly age?: number };

/** Writes a report; `at` is the time it was made, in milliseconds since 1970. */
export function encodeReport<Message>(
  report: ReportOf<Message>,
  { at, encode }: { readonly at: number; readonly encode: (message: Message) => Uint8Array },
): string {
  const { ack } = report;
  return JSON.stringify({ ...report, ...(ack && { ack: encode(ack).toHex() }), at });
}

/** Reads a report at a time: the age of an acknowledgement is that of then. */
export function decodeReport<Message>(
  line: string,
  { now, decode }: {
    readonly now: number;
    readonly decode: (bytes: Uint8Array) => Message | undefined;
  },
): ReportOf<Message> {
  const { at, ...report } = JSON.parse(line);
  if (report.kind !== "acked") return report;
  return {
    ...report,
    ack: decode(Uint8Array.fromHex(report.ack))!,
    age: report.age + Math.max(now - at, 0),
  };
}
