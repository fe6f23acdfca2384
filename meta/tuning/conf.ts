/**
 * The configuration of tuning, and what it asks for together with everything that a
 * runtime passes.
 *
 * @module
 */
import type { Decoder, Infer, Issue } from "../../cni/decode.ts";
import type { Request } from "../../cni/plugin.ts";
import {
  boolean,
  expected,
  integer,
  isObject,
  object,
  optional,
  string,
  stringThat,
  withDefault,
} from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import { mac, requestedMac } from "../../recipes/mac.ts";
import { repeatedKeys } from "./repeated_keys.ts";

/** Values by the names of kernel variables. */
type Variables = Readonly<Record<string, string>>;

function variables(): Decoder<Variables> {
  return {
    expects: "object of strings",
    decode(value, path, issues) {
      if (isObject(value)) return readVariables(value, path, issues);
      issues.push({ path, message: expected("object", value) });
      return undefined;
    },
  };
}

/** Reads own keys alone; `__proto__` is a key like any other. */
function readVariables(value: Record<string, unknown>, path: string, issues: Issue[]): Variables {
  const text = string();
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    text.decode(item, `${path}["${key}"]`, issues),
  ]);
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined));
}

/** Octets of an Ethernet address, of FireWire and of InfiniBand. */
const octets = [6, 8, 20];

const mtu = integer({ min: 0, max: 2 ** 31 - 1 });
const queue = integer({ min: 0, max: 2 ** 32 - 1 });

/** What the configuration and `args.cni` may both ask for. */
const fields = {
  sysctl: optional(
    variables(),
    "Kernel variables below `net`, by name; `IFNAME` in a name stands for the interface.",
  ),
  mac: optional(mac({ octets }), "Hardware address."),
  promisc: optional(boolean(), "`true` sets the interface promiscuous."),
  mtu: optional(mtu, "MTU in bytes; 0 leaves it."),
  allmulti: optional(boolean(), "Take every multicast packet, or do not."),
  txQLen: optional(queue, "Length of the transmit queue in packets."),
};

/** The decoder. */
export const conf = object({
  ...fields,
  dataDir: withDefault(
    stringThat("absolute path", (text) => /^\/[^\0\n\r]*$/.test(text)),
    "/run/cni/tuning",
    "Folder for what the interface was before.",
  ),
  args: optional(
    object({ cni: optional(object(fields), "Stronger than all else; `sysctl` is added.") }),
    "Optional metadata.",
  ),
  runtimeConfig: optional(
    object({ mac: optional(mac({ octets }), "Hardware address, by the capability `mac`.") }),
    "What the runtime passes by capabilities.",
  ),
});
/** The decoded configuration. */
export type Conf = Infer<typeof conf>;

/** Attributes of an interface; absent where none is asked for. */
export interface Attributes {
  readonly mac?: string;
  readonly promisc?: boolean;
  /** Bytes. */
  readonly mtu?: number;
  readonly allmulti?: boolean;
  /** Packets. */
  readonly txQLen?: number;
}

/** Attributes and kernel variables that are asked for. */
export interface RequestedTuning {
  readonly attributes: Attributes;
  /** Names as they are written. */
  readonly sysctl: Variables;
}

/**
 * Attributes and variables that are asked for. The configuration is the weakest source, then `CNI_ARGS`, then
 * `runtimeConfig`, then `args.cni`. Throws code 7 when the text repeats a variable.
 */
export function requestedTuning(
  req: Pick<Request<Conf>, "conf" | "args" | "text">,
): RequestedTuning {
  requireUnrepeated(req.text);
  const own = req.conf;
  const passed = own.args?.cni;
  const promisc = passed?.promisc ?? own.promisc;
  const attributes = {
    mac: requestedMac(req, { strongest: "args", octets }),
    // There is no way to ask for one that is not promiscuous.
    promisc: promisc || undefined,
    mtu: (passed?.mtu ?? own.mtu) || undefined,
    allmulti: passed?.allmulti ?? own.allmulti,
    txQLen: passed?.txQLen ?? own.txQLen,
  };
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return {
    attributes: Object.fromEntries(given),
    sysctl: { ...own.sysctl, ...passed?.sysctl },
  };
}

function requireUnrepeated(text: string | undefined): void {
  const repeated = text === undefined ? [] : repeatedKeys(text, "sysctl");
  if (repeated.length === 0) return;
  throw new CniError(
    codes.invalidNetworkConfig,
    `Cannot use network configuration: duplicated sysctl keys are not allowed: ${
      repeated.map((key) => JSON.stringify(key)).join(", ")
    }`,
  );
}
