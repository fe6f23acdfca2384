/**
 * What is particular to a lease of DHCPv6 (RFC 8415 sections 14.2, 18.2.4 and 21.4): its times, its
 * configuration parameters, the goals of its exchanges, and its form on the disk.
 *
 * @module
 */
import type { Decoder } from "../../../cni/decode.ts";
import type { Dns, JsonObject } from "../../../cni/types.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Lifetimes } from "../../../host/ip_addr.ts";
import type { Message6 } from "../codec/message6.ts";
import type { LeasedAddress6 } from "../codec/server_answer6.ts";
import type { ExchangeGoal6 } from "../exchange/client_message6.ts";
import type { AckTiming, Lease as KeptLease, LeaseProtocol } from "./lease.ts";
import type { LeaseParameters } from "./parameters4.ts";
import { formatCidr, formatIp, hostPrefix } from "../../../host/ip.ts";
import { decodeMessage6, encodeMessage6, messageType6 } from "../codec/message6.ts";
import { infiniteLifetime, option6, readOption6 } from "../codec/options6.ts";
import { isRoutableUnicast6, serverAnswer6 } from "../codec/server_answer6.ts";
import { leaseJsonDecoder, leaseToJson } from "./lease_json.ts";
import { leaseWithTimes, second } from "./lease_times.ts";
import { sameParameters } from "./parameters4.ts";

/** A lease; its REPLY names a server and leases an address. */
export type Lease6 = KeptLease<Message6>;

/** Seconds; a server that gives less costs more processes than its lease is worth. */
const shortest = { lease: 4, rebinding: 3, renewal: 2 } as const;
/** T1 and T2 as parts of the preferred lifetime (section 21.4), where the server leaves them to the client. */
const usual = { renewal: 0.5, rebinding: 0.8 } as const;

/** Makes a lease of a REPLY that {@linkcode completedReply6} has passed. */
export function leaseOf6(ack: Message6, moment: AckTiming): Lease6 {
  return leaseWithTimes(ack, secondsOf(leasedBy(ack)), moment);
}

/**
 * Gives T1, T2 and the end. Times that the server leaves to the client, and invalid ones, become parts
 * of the preferred lifetime, or of the valid lifetime when the preferred one is over. An infinite T1 or
 * T2 of an address that expires is invalid, too: it would leave a container without an address.
 */
function secondsOf(
  { t1, t2, preferred, valid }: LeasedAddress6,
): Record<"renewal" | "rebinding" | "lease", number> {
  const lease = Math.max(endless(valid), shortest.lease);
  const base = endless(preferred) || lease;
  const given = endless(t2);
  const sane = given >= shortest.rebinding && (given < lease || lease === Infinity);
  const rebinding = sane ? given : Math.max(base * usual.rebinding, shortest.rebinding);
  const first = endless(t1);
  const renewal = first >= shortest.renewal && first <= rebinding
    ? first
    : Math.max(Math.min(base * usual.renewal, rebinding), shortest.renewal);
  return { renewal, rebinding, lease };
}

function endless(seconds: number): number {
  return seconds === infiniteLifetime ? Infinity : seconds;
}

/** When the preferred lifetime ends, after which new connections should use other addresses. */
export function deprecatedAt({ ack, since }: Lease6): number {
  return since + endless(leasedBy(ack).preferred) * second;
}

/** The rest of both lifetimes in seconds, for the interface; absent for an infinite lease. */
export function lifetimesAt(lease: Lease6, now: number): Lifetimes | undefined {
  if (isEndless(lease.ack)) return undefined;
  const left = (end: number) => Math.max(Math.round((end - now) / second), 0);
  const valid = Math.max(left(lease.expireAt), 1);
  return { valid, preferred: Math.min(left(deprecatedAt(lease)), valid) };
}

/** Whether both lifetimes are infinite. */
function isEndless(ack: Message6): boolean {
  const { preferred, valid } = leasedBy(ack);
  return preferred === infiniteLifetime && valid === infiniteLifetime;
}

/** Gives the address of a lease. */
export function leasedAddress6(ack: Message6): Ip {
  return leasedBy(ack).address;
}

function leasedBy(ack: Message6): LeasedAddress6 {
  return serverAnswer6(ack).leased!;
}

/** Gives the REPLY if a lease can be made of it. It leaves nothing to the one before. */
export function completedReply6(ack: Message6): Message6 | undefined {
  const whole = ack.type === messageType6.reply && serverAnswer6(ack).leased &&
    readOption6(ack.options, option6.serverId);
  return whole ? ack : undefined;
}

/**
 * Makes the goal of an exchange about a lease. REBIND takes the place of a reboot: a server's
 * confirmation that an address belongs on the link (CONFIRM) does not extend the lease.
 */
export function goalOf6(kind: ExchangeGoal6["kind"], ack: Message6): ExchangeGoal6 {
  const { address } = leasedBy(ack);
  const server = readOption6(ack.options, option6.serverId)!;
  return { kind: kind === "reboot" ? "rebind" : kind, address, server };
}

/**
 * Reads the configuration parameters of a REPLY. It says nothing of the network: routers advertise
 * the prefix on the link and themselves, and the kernel takes it from them.
 */
export function leaseParameters6(ack: Message6): LeaseParameters {
  return {
    ip: { address: formatCidr(hostPrefix(leasedBy(ack).address)) },
    routes: [],
    dns: dnsOf(ack),
  };
}

/** Leaves out link-local servers, since a result cannot say on which link they are. */
function dnsOf({ options }: Message6): Dns {
  const servers: readonly Ip[] = readOption6(options, option6.nameServers) ?? [];
  const nameservers = servers.filter(isRoutableUnicast6).map(formatIp);
  const search = readOption6(options, option6.searchList);
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(search && { search: [...search] }),
  };
}

/** What the lease machine needs to know of DHCPv6. */
export const leaseProtocol6: LeaseProtocol<Message6, ExchangeGoal6> = {
  leaseOf: leaseOf6,
  goalOf: goalOf6,
  completed: completedReply6,
  // Each REPLY extends finite lifetimes: the interface has to get them.
  grantsSame: (a, b) =>
    sameParameters(leaseParameters6(a), leaseParameters6(b)) && isEndless(a) && isEndless(b),
};

/** Writes a lease as JSON for the disk: times are numbers or `"never"`, the REPLY is in hexadecimal. */
export function lease6ToJson({ ack, ...times }: Lease6): JsonObject {
  return leaseToJson(times, encodeMessage6(ack));
}

/** Reads a lease that {@linkcode lease6ToJson} has written. */
export const lease6Decoder: Decoder<Lease6> = leaseJsonDecoder("a REPLY with a lease", (bytes) => {
  const ack = decodeMessage6(bytes);
  return ack && completedReply6(ack);
});
