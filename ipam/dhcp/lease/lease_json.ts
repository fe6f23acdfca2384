/**
 * A lease of either family as JSON for the disk: times are numbers or `"never"`, the acknowledgement is
 * in hexadecimal.
 *
 * @module
 */
import type { Decoder } from "../../../cni/decode.ts";
import type { JsonObject } from "../../../cni/types.ts";
import type { Lease } from "./lease.ts";
import { map, object, optional, refine, required, scalar } from "../../../cni/decode.ts";

const never = "never";

/** Writes a lease; its acknowledgement is given in bytes. */
export function leaseToJson(
  { since, renewAt, rebindAt, expireAt, refused }: Omit<Lease<unknown>, "ack">,
  ack: Uint8Array,
): JsonObject {
  const time = (value: number) => value === Infinity ? never : value;
  return {
    since,
    renewAt: time(renewAt),
    rebindAt: time(rebindAt),
    expireAt: time(expireAt),
    ...(refused && { refused }),
    ack: ack.toHex(),
  };
}

const time: Decoder<number> = scalar(
  `milliseconds since 1970 or "${never}"`,
  (value) => value === never ? Infinity : isTime(value) ? value : undefined,
);

const yes: Decoder<true> = scalar("true", (value) => value === true ? value : undefined);

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value) && value as number >= 0;
}

/** Reads a lease that {@linkcode leaseToJson} has written; `read` gives an acknowledgement with which a lease can be kept. */
export function leaseJsonDecoder<A>(
  what: string,
  read: (bytes: Uint8Array) => A | undefined,
): Decoder<Lease<A>> {
  const ack: Decoder<A> = scalar(`${what} in hexadecimal`, (value) => {
    const isHex = typeof value === "string" && /^([0-9a-f]{2})+$/.test(value);
    return isHex ? read(Uint8Array.fromHex(value)) : undefined;
  });
  const fields = object({
    since: required(time, "When the lease was asked for."),
    renewAt: required(time, "When to renew it."),
    rebindAt: required(time, "When to rebind it."),
    expireAt: required(time, "When it ends."),
    refused: optional(yes, "Set when a server has said that the address is not ours."),
    ack: required(ack, "The last acknowledgement."),
  });
  const inOrder = refine(fields, ({ since, renewAt, rebindAt, expireAt }, report) => {
    if (since < renewAt && renewAt <= rebindAt && rebindAt <= expireAt) return;
    report("expireAt", "expected since < renewAt ≤ rebindAt ≤ expireAt");
  });
  return map(inOrder, ({ refused, ...lease }) => refused ? { ...lease, refused } : lease);
}
