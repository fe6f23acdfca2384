/**
 * VLANs of a bridge port, and the VLAN's own gateway link beside the bridge.
 *
 * @module
 */
import { expected, integer, list, object, optional, refine } from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import { addVlan, deleteVlan } from "../../host/bridge_vlan.ts";
import { addVeth, deleteLink, setBridgePort, setLink } from "../../host/ip_link.ts";
import type { Family } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import { sharedMac } from "../../recipes/attachment.ts";
import { sha512 } from "../../recipes/names.ts";
import { enableFamilies, refuseAdvertisements } from "../../recipes/veth.ts";

const highest = 4094;

/** `vlan`: 0 for none. */
export const vlanDecoder = integer({
  min: 0,
  max: highest,
  message: (id) => `invalid VLAN ID ${id} (must be between 0 and ${highest})`,
});

/** `vlanTrunk`: elements with `id`, with `minID` and `maxID`, or with all three. */
export const trunkDecoder = list(refine(
  object({
    minID: optional(integer(), "First tagged VLAN of a range, 1–4094."),
    maxID: optional(integer(), "Last tagged VLAN of the range, 1–4094."),
    id: optional(integer(), "One tagged VLAN, 1–4094."),
  }),
  ({ minID, maxID, id }, report) => {
    const bad = (value: number | undefined) =>
      value !== undefined && (value < 1 || value > highest);
    const range = `expected integer 1–${highest}`;
    if (bad(id)) report("id", `incorrect trunk id parameter, ${range} but received ${id}`);
    if (minID === undefined && maxID === undefined) return;
    if (minID === undefined) {
      report("minID", "minID and maxID should be configured simultaneously, minID is missing");
    } else if (maxID === undefined) {
      report("maxID", "minID and maxID should be configured simultaneously, maxID is missing");
    } else if (bad(minID)) {
      report("minID", `incorrect trunk minID parameter, ${range} but received ${minID}`);
    } else if (bad(maxID)) {
      report("maxID", `incorrect trunk maxID parameter, ${range} but received ${maxID}`);
    } else if (maxID < minID) {
      report(
        "minID",
        `minID is greater than maxID in trunk parameter, ${expected(`at most ${maxID}`, minID)}`,
      );
    }
  },
));

/** One element of `vlanTrunk`. */
export interface Trunk {
  readonly minID: number | undefined;
  readonly maxID: number | undefined;
  readonly id: number | undefined;
}

/** The tagged VLANs of a trunk, ascending and each once. */
export function trunkIds(trunk: readonly Trunk[]): number[] {
  const ids = trunk.flatMap(({ minID, maxID, id }) => [
    ...(minID !== undefined && maxID !== undefined
      ? Array.from({ length: maxID - minID + 1 }, (_, index) => minID + index)
      : []),
    ...(id !== undefined ? [id] : []),
  ]);
  return [...new Set(ids)].sort((a, b) => a - b);
}

/** The VLANs of one port. */
export interface PortVlans {
  /** Untagged VLAN; 0 for none. */
  readonly vlan: number;
  /** Tagged VLANs. */
  readonly trunk: readonly number[];
  /** Keep the VLAN that a bridge gives every new port. */
  readonly preserveDefaultVlan: boolean;
  /** That VLAN; 0 when the bridge gives none. */
  readonly defaultVlan: number;
}

/** The untagged VLAN of a port that has any; a trunk alone keeps VLAN 1, as it always has. */
export function nativeOf({ vlan, trunk }: PortVlans): number | undefined {
  return vlan === 0 && trunk.length === 0 ? undefined : vlan || 1;
}

/** Puts a port into its VLANs; nothing when there are none. The native one is never tagged. */
export function joinVlans(port: string, vlans: PortVlans): Step[] {
  const { trunk, preserveDefaultVlan, defaultVlan } = vlans;
  const native = nativeOf(vlans);
  if (native === undefined) return [];
  return [
    ...(preserveDefaultVlan || defaultVlan === 0 ? [] : [{
      why: `take port "${port}" out of default VLAN ${defaultVlan}`,
      do: deleteVlan(port, { vid: defaultVlan }),
      tolerate: ["missing"] as const,
    }]),
    {
      why: `put port "${port}" into VLAN ${native}, untagged`,
      do: addVlan(port, { vid: native, pvid: true }),
    },
    ...ranges(trunk.filter((vid) => vid !== native)).map((vid) => ({
      why: `put port "${port}" into VLAN ${vid}, tagged`,
      do: addVlan(port, { vid }),
    })),
  ];
}

/** Ascending numbers as `N` and `N-M`: a trunk of every VLAN is one command. */
export function ranges(ids: readonly number[]): string[] {
  const starts = ids.filter((id, index) => ids[index - 1] !== id - 1);
  const ends = ids.filter((id, index) => ids[index + 1] !== id + 1);
  return starts.map((start, index) =>
    start === ends[index] ? `${start}` : `${start}-${ends[index]}`
  );
}

/** The link that holds a VLAN's gateway addresses, with its port on the bridge. */
export interface VlanGateway {
  /** `<bridge>.<vlan>`. */
  readonly name: string;
  readonly mac: string;
  /** The veth's other end, a port of the bridge. */
  readonly port: string;
  /** The link as it is; absent when it has to be made. */
  readonly link: Link | undefined;
}

/** Names of a VLAN's gateway link. Throws code 7 when the kernel would refuse them. */
export async function vlanGatewayNames(
  bridge: string,
  vlan: number,
): Promise<Omit<VlanGateway, "link">> {
  const name = `${bridge}.${vlan}`;
  if (new TextEncoder().encode(name).length > 15) {
    throw new CniError(
      codes.invalidNetworkConfig,
      `Cannot use bridge "${bridge}" with VLAN ${vlan}: gateway link "${name}" is longer than 15 bytes`,
    );
  }
  return {
    name,
    mac: await sharedMac(name),
    port: `veth${(await sha512(`vlan gateway\0${name}`)).slice(0, 8)}`,
  };
}

/**
 * Creates a VLAN's gateway link. It stays when the ADD fails on a bridge that was
 * there before: other containers of the VLAN may rely on it by then.
 */
export function createVlanGateway(
  gateway: VlanGateway,
  { bridge, mtu, vlans, families, newBridge }: {
    bridge: string;
    mtu: number;
    vlans: PortVlans;
    families: readonly Family[];
    newBridge: boolean;
  },
): Step[] {
  const { name, mac, port } = gateway;
  return [
    {
      why: `create VLAN gateway link "${name}"`,
      do: addVeth({ end: { name, address: mac }, peer: { name: port }, mtu }),
      ...(newBridge && { undo: deleteLink(name) }),
      tolerate: ["exists"],
    },
    { why: `make "${port}" a port of bridge "${bridge}"`, do: setLink(port, { master: bridge }) },
    {
      why: `set options of port "${port}"`,
      do: setBridgePort(port, { hairpin: false, isolated: false }),
    },
    ...joinVlans(port, { ...vlans, trunk: [] }),
    ...refuseAdvertisements(name),
    ...enableFamilies(name, families),
    ...refuseAdvertisements(port),
    { why: `set port "${port}" up`, do: setLink(port, { up: true }) },
    { why: `set VLAN gateway link "${name}" up`, do: setLink(name, { up: true }) },
  ];
}
