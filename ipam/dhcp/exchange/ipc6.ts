/**
 * What passes between the process of a DHCPv6 exchange and the one that started it, as
 * `wire.ts` has it for DHCPv4.
 *
 * @module
 */
import type { Ip } from "../../../host/ip.ts";
import type { Client, Counts, Goal, Outcome } from "./exchange6.ts";
import { formatIp, parseIp } from "../../../host/ip.ts";
import { decode, encode } from "../codec/message6.ts";

/** What the process is to do. */
export interface Order6 {
  readonly goal: Goal;
  readonly client: Client;
  /** When to give up, in milliseconds from the start. */
  readonly within: number;
  /** The interface's link-local address. */
  readonly from: Ip;
  /** `%3` for interface 3. */
  readonly zone: string;
}

/** What the process has to say. */
export type Report6 =
  | Outcome
  /** Nothing can be sent any more; `message` is the system's. */
  | { readonly kind: "cut off"; readonly message: string; readonly counts: Counts }
  /** Another program has the port. */
  | { readonly kind: "port taken" };

/** The counts of an exchange that has not begun. */
export const noCounts: Counts = {
  solicit: 0,
  request: 0,
  confirm: 0,
  renew: 0,
  rebind: 0,
  release: 0,
  decline: 0,
  advertise: 0,
  reply: 0,
  ignored: { malformed: 0, foreign: 0, unusable: 0 },
};

/** An order as a line. */
export function orderToLine({ goal, client, from, within, zone }: Order6): string {
  const { duid, iaid, requested, provided, rapidCommit } = client;
  return JSON.stringify({
    family: 6,
    goal: {
      kind: goal.kind,
      address: goal.address && formatIp(goal.address),
      server: "server" in goal ? goal.server.toHex() : undefined,
    },
    client: {
      duid: duid.toHex(),
      iaid,
      requested,
      provided: provided.map(([code, value]) => [code, value.toHex()]),
      rapidCommit,
    },
    from: formatIp(from),
    within,
    zone,
  });
}

interface RawOrder {
  readonly goal: {
    readonly kind: Goal["kind"];
    readonly address?: string;
    readonly server?: string;
  };
  readonly client: {
    readonly duid: string;
    readonly iaid: number;
    readonly requested: readonly number[];
    readonly provided: readonly (readonly [number, string])[];
    readonly rapidCommit?: boolean;
  };
  readonly from: string;
  readonly within: number;
  readonly zone: string;
}

/** An order from its line. */
export function orderFromLine(line: string): Order6 {
  const { goal, client, from, within, zone }: RawOrder = JSON.parse(line);
  const { kind, address, server } = goal;
  return {
    goal: {
      kind,
      ...(address !== undefined && { address: parseIp(address)! }),
      ...(server !== undefined && { server: Uint8Array.fromHex(server) }),
    } as Goal,
    client: {
      ...client,
      duid: Uint8Array.fromHex(client.duid),
      provided: client.provided.map(([code, value]) => [code, Uint8Array.fromHex(value)] as const),
    },
    from: parseIp(from)!,
    within,
    zone,
  };
}

/** A report as a line; `at` is the time it was made, in milliseconds since 1970. */
export function reportToLine(report: Report6, at: number): string {
  const plain = report.kind === "acked" ? { ...report, ack: encode(report.ack).toHex() } : report;
  return JSON.stringify({ ...plain, at });
}

/** A report from its line, read at a time: the age of an answer is that of then. */
export function reportFromLine(line: string, now: number): Report6 {
  const { at, ...report } = JSON.parse(line);
  if (report.kind !== "acked") return report;
  return {
    ...report,
    ack: decode(Uint8Array.fromHex(report.ack))!,
    age: report.age + Math.max(now - at, 0),
  };
}
