/**
 * The hardware address asked for a container's interface.
 *
 * @module
 */
import { parseCniArgs } from "../cni/args.ts";
import type { Decoder } from "../cni/decode.ts";
import { map, object, optional, stringThat } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";

const pattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** A unicast hardware address of six octets; given back in lower case. */
export function mac(): Decoder<string> {
  return map(
    stringThat(
      "unicast hardware address like 02:00:00:00:00:01",
      (text) => text === "" || isMac(text),
    ),
    (text) => text.toLowerCase(),
  );
}

function isMac(text: string): boolean {
  return pattern.test(text) && (parseInt(text.slice(0, 2), 16) & 1) === 0;
}

/** The configuration keys that carry an address: `args.cni.mac` and `runtimeConfig.mac`. */
export const macFields = {
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
    "What the runtime passes by capabilities.",
  ),
};

interface MacConf {
  readonly args: { readonly cni: { readonly mac: string | undefined } | undefined } | undefined;
  readonly runtimeConfig: { readonly mac: string | undefined } | undefined;
}

/**
 * The address asked for, or `undefined`: `CNI_ARGS` is the weakest source, then
 * `args.cni.mac`, then `runtimeConfig.mac`. Empty ones do not count.
 */
export function requestedMac(req: Pick<Request<MacConf>, "conf" | "args">): string | undefined {
  const fromArgs = parseCniArgs(req.args, ["MAC"]).MAC;
  if (fromArgs && !isMac(fromArgs)) {
    throw new CniError(
      codes.invalidEnvironment,
      `Cannot use CNI_ARGS "MAC=${fromArgs}": expected unicast hardware address`,
    );
  }
  const { args, runtimeConfig } = req.conf;
  return runtimeConfig?.mac || args?.cni?.mac || fromArgs?.toLowerCase() || undefined;
}
