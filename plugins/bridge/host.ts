/**
 * The host's side of a bridge attachment: what ADD does there.
 *
 * @module
 */
import type { Result } from "../../cni/types.ts";
import type { NetnsRef } from "../../host/command.ts";
import type { Family } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import type { AttachmentNames } from "../../recipes/attachment.ts";
import type { Conf } from "./conf.ts";
import type { PortVlans, VlanGateway } from "./vlan.ts";
import {
  addBridge,
  deleteLink,
  enableVlanFiltering,
  setBridgePort,
  setLink,
  showPorts,
} from "../../host/ip_link.ts";
import { addressesOf } from "../../recipes/configure.ts";
import { enableForwarding } from "../../recipes/forwarding.ts";
import { sharedLinkLock } from "../../recipes/shared_link.ts";
import { createVeth, enableFamilies, refuseAdvertisements } from "../../recipes/veth.ts";
import { gatewayCidrs, holdGateways } from "./gateway.ts";
import { createVlanGateway, joinVlans, trunkIds } from "./vlan.ts";

/** Facts of an ADD. */
export interface Facts {
  readonly own: AttachmentNames;
  readonly netns: NetnsRef;
  readonly ifName: string;
  /** Hardware address of the container's interface. */
  readonly mac: string;
  /** The bridge as it is; absent when it has to be made. */
  readonly bridge: Link | undefined;
  /** Hardware address that the bridge has or gets. */
  readonly bridgeMac: string;
  /** The one that we give a bridge of this name; a bridge that has it needs no pinning. */
  readonly ownMac: string;
  /** The VLAN's gateway link, where there has to be one. */
  readonly vlanGateway: VlanGateway | undefined;
}

/** The host's side, one process: the bridge, its addresses, the pair, the port. */
export function planHost(conf: Conf, facts: Facts & { result: Result }): Step[] {
  const { own, vlanGateway } = facts;
  const port = own.hostVeth;
  const gateways = conf.isGateway ? gatewayCidrs(addressesOf(facts.result)) : [];
  const target = { bridge: conf.bridge, forceAddress: conf.forceAddress };
  const onBridge = { ...target, name: conf.bridge, link: facts.bridge };
  const families = gateways.map(({ family }) => family);
  return [
    ...ensureBridge(conf, { ...facts, families: vlanGateway ? [] : families }),
    ...(vlanGateway ? [] : holdGateways(onBridge, gateways)),
    ...createVeth({ ...facts, mtu: conf.mtu }),
    ...joinBridge(port, conf),
    ...joinVlans(port, portVlans(conf, facts.bridge)),
    ...(vlanGateway ? ensureVlanGateway(conf, { ...facts, vlanGateway, families }) : []),
    ...refuseAdvertisements(port),
    { why: `set port "${port}" up`, do: setLink(port, { up: true }) },
    ...(vlanGateway ? holdGateways({ ...target, ...vlanGateway }, gateways) : []),
    ...enableForwarding(families),
  ];
}

/** What {@linkcode planHost} does for addresses, of a port that was made without knowing them. */
export function planGateways(conf: Conf, facts: Facts & { result: Result }): Step[] {
  if (!conf.isGateway) return [];
  const { bridge: name, forceAddress } = conf;
  const gateways = gatewayCidrs(addressesOf(facts.result));
  const families = gateways.map(({ family }) => family);
  const target = facts.vlanGateway ?? { name, link: facts.bridge };
  return [
    ...enableFamilies(target.name, families),
    ...holdGateways({ ...target, bridge: name, forceAddress }, gateways),
    ...enableForwarding(families),
  ];
}

/** With addresses, a gateway and a VLAN, the gateway stands on a link of the VLAN's own. */
export function hasVlanGateway({ vlan, ipam, isGateway }: Conf): boolean {
  return vlan !== 0 && ipam.type !== "" && isGateway;
}

/** Whether VLANs of the bridge are told apart. */
export function usesVlans(conf: Conf): boolean {
  return conf.vlan !== 0 || conf.vlanTrunk !== undefined;
}

/** The VLANs of the container's port. */
export function portVlans(conf: Conf, bridge: Link | undefined): PortVlans {
  return {
    vlan: conf.vlan,
    trunk: trunkIds(conf.vlanTrunk ?? []),
    preserveDefaultVlan: conf.preserveDefaultVlan,
    defaultVlan: bridge?.defaultVlan ?? 1,
  };
}

/**
 * Makes the bridge, or makes sure of one that is there. An address of its own
 * keeps a bridge from taking a port's, and so from changing it with each port.
 */
function ensureBridge(conf: Conf, facts: Facts & { families: readonly Family[] }): Step[] {
  const { bridge: name, mtu, promiscMode: promisc } = conf;
  const { bridge, bridgeMac: address, ownMac } = facts;
  const vlanFiltering = usesVlans(conf);
  return [
    ...(bridge ? [] : [{
      why: `create bridge "${name}"`,
      do: addBridge({ name, mtu, address, vlanFiltering }),
      undo: deleteLink(name),
      keepIf: showPorts(name),
      undoLock: sharedLinkLock(name),
      tolerate: ["exists"] as const,
    }]),
    ...refuseAdvertisements(name),
    ...enableFamilies(name, facts.families),
    ...(bridge && bridge.mac !== ownMac
      ? [{ why: `pin the hardware address of bridge "${name}"`, do: setLink(name, { address }) }]
      : []),
    ...(bridge && vlanFiltering && !bridge.vlanFiltering
      ? [{ why: `enable VLAN filtering of bridge "${name}"`, do: enableVlanFiltering(name) }]
      : []),
    {
      why: `set bridge "${name}" up`,
      do: setLink(name, { up: true, ...(promisc && { promisc }) }),
    },
  ];
}

function joinBridge(port: string, conf: Conf): Step[] {
  return [
    {
      why: `make "${port}" a port of bridge "${conf.bridge}"`,
      do: setLink(port, { master: conf.bridge }),
    },
    {
      why: `set options of port "${port}"`,
      do: setBridgePort(port, { hairpin: conf.hairpinMode, isolated: conf.portIsolation }),
    },
  ];
}

function ensureVlanGateway(
  conf: Conf,
  { vlanGateway, families, bridge }: Facts & {
    vlanGateway: VlanGateway;
    families: readonly Family[];
  },
): Step[] {
  if (vlanGateway.link) return enableFamilies(vlanGateway.name, families);
  return createVlanGateway(vlanGateway, {
    bridge: conf.bridge,
    mtu: conf.mtu,
    vlans: portVlans(conf, bridge),
    families,
    newBridge: !bridge,
  });
}
