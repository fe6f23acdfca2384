/**
 * What is particular to a lease of DHCPv4 (RFC 2131 sections 3.3 and 4.4.5): its times, the goals
 * of its exchanges, and its form on the disk.
 *
 * @module
 */
import type { Decoder } from "../../../cni/decode.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Message4 } from "../codec/message4.ts";
import type { ExchangeGoal4 } from "../exchange/client_message4.ts";
import type { GoalKind } from "../exchange/exchange.ts";
import type { AckTiming, Lease, LeaseProtocol } from "./lease.ts";
import { sameIp } from "../../../host/ip.ts";
import { decodeMessage4, encodeMessage4 } from "../codec/message4.ts";
import { messageType4, option4, readOption4 } from "../codec/options4.ts";
import { leaseJsonDecoder, leaseToJson } from "./lease_json.ts";
import { leaseWithTimes } from "./lease_times.ts";
import { hasPrefixLength, leaseParameters4, sameParameters } from "./parameters4.ts";

/** A lease; its DHCPACK names a server and a prefix length. */
export type Lease4 = Lease<Message4>;

/** Seconds of a lease whose server gives no time, and the time that means no end (RFC 2131 section 3.3). */
const usualLease = 3600;
const infinite = 0xffff_ffff;
/** Seconds; a server that gives less costs more processes than its lease is worth. */
const shortest = { lease: 4, renewal: 2 } as const;

/** Makes a lease of a DHCPACK. */
export function leaseOf4(ack: Message4, timing: AckTiming): Lease4 {
  return leaseWithTimes(ack, secondsOf(ack), timing);
}

/** Gives T1, T2 and the end; invalid times of a server become the defaults of RFC 2131. */
function secondsOf({ options }: Message4): Record<"renewal" | "rebinding" | "lease", number> {
  const given = readOption4(options, option4.leaseTime) || usualLease;
  if (given === infinite) return { renewal: Infinity, rebinding: Infinity, lease: Infinity };
  const lease = Math.max(given, shortest.lease);
  const between = (least: number, list: readonly (number | undefined)[], end: number) =>
    list.find((value) => value !== undefined && value >= least && value < end);
  const t2 = readOption4(options, option4.rebindingTime);
  const rebinding = between(shortest.renewal + 1, [t2], lease) ?? lease * 0.875;
  const t1 = readOption4(options, option4.renewalTime);
  const halves = [t1, lease / 2, rebinding * 4 / 7];
  const renewal = between(shortest.renewal, halves, rebinding) ?? shortest.renewal;
  return { renewal, rebinding, lease };
}

function goalOf(kind: GoalKind, ack: Message4): ExchangeGoal4 {
  return { kind, address: ack.yiaddr, server: serverOf(ack)! };
}

function serverOf({ options }: Message4): Ip | undefined {
  return readOption4(options, option4.serverId);
}

/** Whether a lease can be kept with a DHCPACK. */
function isWhole(ack: Message4): boolean {
  return serverOf(ack) !== undefined && hasPrefixLength(ack);
}

/** A DHCPACK for the same address without a mask keeps the mask of the one before. */
function completed(ack: Message4, before: Message4): Message4 | undefined {
  const { code } = option4.subnetMask;
  const mask = before.options.get(code);
  const lacking = mask && !ack.options.has(code) && sameIp(ack.yiaddr, before.yiaddr);
  const whole = lacking ? { ...ack, options: new Map([...ack.options, [code, mask]]) } : ack;
  return isWhole(whole) ? whole : undefined;
}

/** What the lease machine needs to know of DHCPv4. */
export const leaseProtocol4: LeaseProtocol<Message4, ExchangeGoal4> = {
  leaseOf: leaseOf4,
  goalOf,
  completed,
  grantsSame: (a, b) => sameParameters(leaseParameters4(a), leaseParameters4(b)),
};

/** Writes a lease as JSON for the disk: times are numbers or `"never"`, the DHCPACK is in hexadecimal. */
export function lease4ToJson({ ack, ...times }: Lease4): JsonObject {
  return leaseToJson(times, encodeMessage4(ack));
}

/** Reads a lease that {@linkcode lease4ToJson} has written. */
export const lease4Decoder: Decoder<Lease4> = leaseJsonDecoder("a DHCPACK", (bytes) => {
  const ack = decodeMessage4(bytes);
  const type = ack && readOption4(ack.options, option4.messageType);
  return type === messageType4.ack && isWhole(ack!) ? ack : undefined;
});
