/**
 * The hardware address asked for a container's interface.
 *
 * @module
 */
import { parseCniArgs } from "../cni/args.ts";
import type { Decoder, Field } from "../cni/decode.ts";
import { expected, object, optional, scalar } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";

/** Octets as the reference reads them: between colons or hyphens, or by twos between dots. */
const pattern = /^[0-9a-f]{2}([:-])[0-9a-f]{2}(\1[0-9a-f]{2})+$|^[0-9a-f]{4}(\.[0-9a-f]{4})+$/i;

/** Keys with a hardware address. */
export interface MacOptions {
  /** Numbers of octets; 6 when absent. */
  readonly octets?: readonly number[];
}

const expects = "unicast hardware address like 02:00:00:00:00:01";

/** A unicast hardware address; given back in lower case with colons. An empty text counts as absent. */
export function mac(options: MacOptions = {}): Decoder<string> {
  return scalar(
    expects,
    (value) => value === "" ? "" : typeof value === "string" ? parseMac(value, options) : undefined,
  );
}

function parseMac(text: string, { octets: lengths = [6] }: MacOptions): string | undefined {
  if (!pattern.test(text)) return undefined;
  const octets = text.toLowerCase().replaceAll(/[:.-]/g, "").match(/../g)!;
  if (!lengths.includes(octets.length)) return undefined;
  // Only the first octet of an Ethernet address tells of multicast.
  if (octets.length !== 6) return octets.join(":");
  const isUnicast = (parseInt(octets[0]!, 16) & 1) === 0 && octets.some((octet) => octet !== "00");
  return isUnicast ? octets.join(":") : undefined;
}

/** A key that may hold a hardware address. */
export interface PassedMac {
  /** Hardware address. */
  readonly mac: string | undefined;
}

/** The configuration keys that carry an address: `args.cni.mac` and `runtimeConfig.mac`. */
export const macFields: {
  readonly args: Field<{ readonly cni: PassedMac | undefined }, false>;
  readonly runtimeConfig: Field<PassedMac, false>;
} = {
  args: optional(
    object({
      cni: optional(
        object({ mac: optional(mac(), "Hardware address of the container's interface.") }),
        "Convention for what a runtime passes.",
      ),
    }),
    "Optional metadata.",
  ),
  runtimeConfig: optional(
    object({ mac: optional(mac(), "Hardware address, by the capability `mac`; the strongest.") }),
    "Values that the runtime passes by capabilities.",
  ),
};

/** The key of plugins whose configuration itself may name an address. */
export const macField: Field<string, false> = optional(
  mac(),
  "Hardware address; weaker than any that a runtime passes.",
);

/** The keys of a configuration that may hold a hardware address. */
export interface MacConf {
  /** Hardware address of a plugin whose configuration itself may name one. */
  readonly mac?: string | undefined;
  /** Optional metadata. */
  readonly args: { readonly cni: PassedMac | undefined } | undefined;
  /** Values that the runtime passes by capabilities. */
  readonly runtimeConfig: PassedMac | undefined;
}

/**
 * The address asked for, or `undefined`: the configuration's `mac` is the weakest
 * source, then `CNI_ARGS`, then `args.cni.mac`, then `runtimeConfig.mac`; the last
 * two the other way round where `args` is the strongest. Empty ones do not count.
 */
export function requestedMac(
  req: Pick<Request<MacConf>, "conf" | "args">,
  { strongest = "runtimeConfig", ...options }: MacOptions & {
    readonly strongest?: "runtimeConfig" | "args";
  } = {},
): string | undefined {
  const { mac, args, runtimeConfig } = req.conf;
  const fromArgs = parseCniArgs(req.args, ["MAC"]).MAC;
  const passed = [runtimeConfig?.mac, args?.cni?.mac];
  if (strongest === "args") passed.reverse();
  return passed.find(Boolean) || (fromArgs ? macOrThrow(fromArgs, options) : mac || undefined);
}

function macOrThrow(text: string, options: MacOptions): string {
  const mac = parseMac(text, options);
  if (mac !== undefined) return mac;
  throw new CniError(
    codes.invalidEnvironment,
    `Cannot use MAC of CNI_ARGS: ${expected(expects, text)}`,
  );
}
