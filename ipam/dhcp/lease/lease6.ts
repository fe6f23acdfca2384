/**
 * What a lease of DHCPv6 has of its own (RFC 8415 sections 14.2, 18.2.4 and 21.4): its
 * times, what it gives an interface, what its exchanges ask for, and its form on the disk.
 * It has the shape of a lease of DHCPv4, and is kept in the same way (`lease.ts`).
 *
 * @module
 */
import type { Decoder } from "../../../cni/decode.ts";
import type { Dns, JsonObject } from "../../../cni/types.ts";
import type { Ip } from "../../../host/ip.ts";
import type { Lifetimes } from "../../../host/ip_addr.ts";
import type { Leased } from "../codec/server_answer6.ts";
import type { Goal } from "../exchange/exchange6.ts";
import type { Lease as KeptLease, Moment, Protocol } from "./lease_machine.ts";
import type { Message } from "../codec/message6.ts";
import type { Granted } from "./parameters4.ts";
import { formatCidr, formatIp, hostPrefix } from "../../../host/ip.ts";
import { answerOf, isHost } from "../codec/server_answer6.ts";
import { decoderOf, jsonOf } from "./lease_json.ts";
import { second, timed } from "./lease_times.ts";
import { infinite, option, readOption } from "../codec/options6.ts";
import { decode, encode, messageType } from "../codec/message6.ts";
import { sameGrant } from "./parameters4.ts";

/** A lease; its REPLY names a server and leases an address. */
export type Lease = KeptLease<Message>;

/** Seconds; a server that gives less costs us more processes than it is worth. */
const shortest = { lease: 4, rebinding: 3, renewal: 2 } as const;
/** Parts of the preferred lifetime that a server should give (section 21.4), and a client may take. */
const usual = { renewal: 0.5, rebinding: 0.8 } as const;

/** A lease from a REPLY, which must lease something: {@linkcode completed} tells. */
export function leaseOf(ack: Message, moment: Moment): Lease {
  return timed(ack, secondsOf(leasedBy(ack)), moment);
}

/**
 * T1, T2 and the end. What the server leaves to the client, and nonsense, is replaced
 * by parts of the preferred lifetime, or of the valid one where nothing is preferred any
 * more. Nonsense is also a server that wants never to be asked for an address that ends:
 * a container would be left without one.
 */
function secondsOf(
  { t1, t2, preferred, valid }: Leased,
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
  return seconds === infinite ? Infinity : seconds;
}

/** When new connections should no longer use the address, where others are there. */
export function deprecatedAt({ ack, since }: Lease): number {
  return since + endless(leasedBy(ack).preferred) * second;
}

/** What is left of both lifetimes, for the interface; absent for an address without an end. */
export function lifetimesAt(lease: Lease, now: number): Lifetimes | undefined {
  if (isEndless(lease.ack)) return undefined;
  const left = (end: number) => Math.max(Math.round((end - now) / second), 0);
  const valid = Math.max(left(lease.expireAt), 1);
  return { valid, preferred: Math.min(left(deprecatedAt(lease)), valid) };
}

/** Whether the address may be used, and is preferred, for good. */
function isEndless(ack: Message): boolean {
  const { preferred, valid } = leasedBy(ack);
  return preferred === infinite && valid === infinite;
}

/** The address of a lease. */
export function leasedAddress(ack: Message): Ip {
  return leasedBy(ack).address;
}

function leasedBy(ack: Message): Leased {
  return answerOf(ack).leased!;
}

/** The REPLY, if a lease can be made of it. It says all: nothing is left to the one before. */
export function completed(ack: Message): Message | undefined {
  const whole = ack.type === messageType.reply && answerOf(ack).leased &&
    readOption(ack.options, option.serverId);
  return whole ? ack : undefined;
}

/**
 * What an exchange about a lease is to reach. A lease that may have ended is bound
 * anew: unlike DHCPv4's, a server's word that an address belongs on the link (CONFIRM)
 * gives it no more time.
 */
export function goalOf(kind: Goal["kind"], ack: Message): Goal {
  const { address } = leasedBy(ack);
  const server = readOption(ack.options, option.serverId)!;
  return { kind: kind === "reboot" ? "rebind" : kind, address, server };
}

/**
 * What a REPLY gives an interface. Of the network it says nothing: which prefix is on
 * the link and who the router is, routers advertise, and the kernel takes it from them.
 */
export function grantedBy(ack: Message): Granted {
  return {
    ip: { address: formatCidr(hostPrefix(leasedBy(ack).address)) },
    routes: [],
    dns: dnsOf(ack),
  };
}

/** Servers that are link-local are left out, since a result cannot say on which link. */
function dnsOf({ options }: Message): Dns {
  const servers: readonly Ip[] = readOption(options, option.nameServers) ?? [];
  const nameservers = servers.filter(isHost).map(formatIp);
  const search = readOption(options, option.searchList);
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(search && { search: [...search] }),
  };
}

/** What a lease of DHCPv6 has of its own, for the machine of `lease.ts`. */
export const dhcp6: Protocol<Message, Goal> = {
  leaseOf,
  goalOf,
  completed,
  // Lifetimes that end count anew with each REPLY: the interface has to know.
  same: (a, b) => sameGrant(grantedBy(a), grantedBy(b)) && isEndless(a) && isEndless(b),
};

/** The lease as JSON for the disk: times as numbers or `"never"`, the REPLY in hexadecimal. */
export function leaseToJson({ ack, ...times }: Lease): JsonObject {
  return jsonOf(times, encode(ack));
}

/** Reads what {@linkcode leaseToJson} has written; says what is wrong with anything else. */
export const leaseDecoder: Decoder<Lease> = decoderOf("a REPLY with a lease", (bytes) => {
  const ack = decode(bytes);
  return ack && completed(ack);
});
