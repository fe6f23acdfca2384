/**
 * Computes a token bucket from a rate and a burst, with the reference's arithmetic.
 *
 * @module
 */
import type { Tbf } from "../../host/tc.ts";
import { longestBurst } from "../../host/tc.ts";
import type { Bucket } from "./conf.ts";
import { maxBytes } from "./conf.ts";

/** Seconds of the rate that a default burst holds: enough that the wakeups of a busy host cost nothing. */
const defaultSeconds = 0.025;

/** Bytes of the smallest default burst: some packets, or a segment of a few. */
const smallestDefault = 16_384;

/** Bytes of a packet beyond its MTU: Ethernet's header and a VLAN tag. */
const header = 18;

/** The link of a token bucket, and how long packets wait. */
export interface BucketLink {
  /** Bytes. */
  readonly mtu: number;
  /** Milliseconds. */
  readonly latency: number;
}

/** The token bucket for a rate and a burst. */
export function tbfOf({ rate, burst }: Bucket, { mtu, latency }: BucketLink): Tbf {
  const wanted = burst ?? defaultBurst(rate, mtu);
  const fitting = Math.min(wanted, rate * longestBurst, maxBytes);
  const limit = Math.min(Math.floor(rate * latency / 1000) + fitting, maxBytes);
  return { rate, burst: fitting, limit };
}

function defaultBurst(rate: number, mtu: number): number {
  return Math.max(Math.floor(rate * defaultSeconds), smallestDefault, mtu + header);
}

/** A line when packets of the link's size never pass, or when more than a second passes unlimited. */
export function burstWarnings(
  { burst, rate }: Tbf,
  { mtu, what }: { mtu: number; what: string },
): string[] {
  if (burst < mtu + header - 4) {
    return [
      `${what} of ${burst} bytes is smaller than a packet of MTU ${mtu}: such packets get lost`,
    ];
  }
  if (burst <= rate) return [];
  return [
    `${what} of ${burst} bytes is more than the rate gives in a second: all of it passes at once`,
  ];
}
