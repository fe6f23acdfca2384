/**
 * The configuration of sbr.
 *
 * @module
 */
import type { Infer } from "../../cni/decode.ts";
import {
  boolean,
  integer,
  list,
  map,
  object,
  optional,
  refine,
  string,
  withDefault,
} from "../../cni/decode.ts";
import type { Family, Ip } from "../../host/ip.ts";
import { parseIp } from "../../host/ip.ts";

const fields = object({
  table: optional(
    integer({ min: 1, max: 2 ** 32 - 1 }),
    "Routing table for every address. It is only referred to: no route is touched, and the other keys do not matter.",
  ),
  gateways: optional(
    list(string()),
    "Gateways in place of those of the addresses, at most one a family. An empty list: addresses without a gateway are meant to have none.",
  ),
  addSourceHints: withDefault(
    boolean(),
    false,
    "Keep the routes to the interface's own subnets in the main table, with the address as source.",
  ),
});

/** The decoder. */
export const conf = map(
  refine(fields, ({ table, gateways = [] }, report) => {
    const problem = table === undefined ? gatewayProblem(gateways) : undefined;
    if (problem !== undefined) report("gateways", problem);
  }),
  ({ gateways, ...rest }) => ({
    ...rest,
    gateways: gateways?.flatMap((text) => parseIp(text) ?? []),
  }),
);
/** The decoded configuration. */
export type Conf = Infer<typeof conf>;

/** The reference's message for gateways that cannot be used. */
function gatewayProblem(texts: readonly string[]): string | undefined {
  if (texts.length > 2) {
    return "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)";
  }
  const invalid = texts.find((text) => !parseIp(text));
  if (invalid !== undefined) return `invalid static gateway IP address: ${invalid}`;
  const [first, second] = texts;
  const family = first === undefined ? undefined : parseIp(first)?.family;
  if (second === undefined || parseIp(second)?.family !== family) return undefined;
  return `gateways list contains multiple IPv${family} addresses: ${first} and ${second}`;
}

/** The configured gateway of a family. */
export function staticGateway({ gateways }: Conf, family: Family): Ip | undefined {
  return gateways?.find((gateway) => gateway.family === family);
}
