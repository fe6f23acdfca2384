/**
 * The configuration of the bridge plugin.
 *
 * @module
 */
import type { Infer } from "../../cni/decode.ts";
import {
  boolean,
  integer,
  map,
  object,
  optional,
  refine,
  stringThat,
  withDefault,
} from "../../cni/decode.ts";
import { isNewIfName } from "../../cni/names.ts";
import { dnsDecoder, ipamDecoder } from "../../cni/sections.ts";
import { macFields } from "../../recipes/mac.ts";
import { masqueradeField } from "../../recipes/masquerade.ts";
import { trunkDecoder, vlanDecoder } from "./vlan.ts";

/** Configuration of the bridge plugin. */
export const conf = map(
  refine(
    object({
      bridge: withDefault(
        stringThat("interface name", isNewIfName),
        "cni0",
        "Name of the bridge; it is created when missing.",
      ),
      isGateway: withDefault(boolean(), false, "Give the bridge each subnet's gateway address."),
      isDefaultGateway: withDefault(
        boolean(),
        false,
        "Also make it the default gateway; implies `isGateway`.",
      ),
      forceAddress: withDefault(boolean(), false, "Replace a conflicting address of the bridge."),
      ipMasq: withDefault(boolean(), false, "Masquerade the container's addresses; needs IPAM."),
      ipMasqBackend: masqueradeField,
      mtu: withDefault(
        integer({ min: 0, max: 65535 }),
        0,
        "MTU in bytes of a new bridge and both ends of the pair.",
        "the kernel's",
      ),
      hairpinMode: withDefault(
        boolean(),
        false,
        "Let the port send frames back where they came from.",
      ),
      promiscMode: withDefault(
        boolean(),
        false,
        "Set the bridge promiscuous; not with `hairpinMode`.",
      ),
      vlan: withDefault(vlanDecoder, 0, "Untagged VLAN of the port; 0 for none."),
      vlanTrunk: optional(trunkDecoder, "Tagged VLANs of the port."),
      preserveDefaultVlan: withDefault(
        boolean(),
        false,
        "Keep the bridge's default VLAN on a port that has VLANs of its own.",
      ),
      macspoofchk: withDefault(boolean(), false, "Drop frames with any other source address."),
      enabledad: withDefault(
        boolean(),
        false,
        "Run IPv6 duplicate address detection in the container and wait for it.",
      ),
      disableContainerInterface: withDefault(
        boolean(),
        false,
        "Leave the container's interface down; not with IPAM.",
      ),
      portIsolation: withDefault(
        boolean(),
        false,
        "Keep the port from talking to other isolated ports.",
      ),
      ipam: withDefault(
        ipamDecoder,
        { type: "" },
        "IPAM plugin and its options; without, layer 2 only.",
        "none",
      ),
      dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
      ...macFields,
    }),
    ({ hairpinMode, promiscMode, disableContainerInterface, ipam }, report) => {
      if (disableContainerInterface && ipam.type) {
        report("disableContainerInterface", "cannot be used together with IPAM");
      }
      if (hairpinMode && promiscMode) {
        report("hairpinMode", "cannot be used together with promiscMode");
      }
    },
  ),
  (conf) => ({ ...conf, isGateway: conf.isGateway || conf.isDefaultGateway }),
);

/** A decoded configuration; a default gateway is a gateway. */
export type Conf = Infer<typeof conf>;
