/**
 * What CHECK compares on the host: the bridge, the port and its VLANs. Loaded by
 * CHECK alone.
 *
 * @module
 */
import type { Result } from "../../cni/types.ts";
import type { PortVlan } from "../../host/bridge_vlan.ts";
import type { Link } from "../../host/ip_link.ts";
import type { AttachmentNames } from "../../recipes/attachment.ts";
import type { Conf } from "./conf.ts";
import type { PortVlans } from "./vlan.ts";
import { compareLink } from "../../recipes/check.ts";
import { isHostEndOf } from "../../recipes/attachment.ts";
import { hasVlanGateway, portVlans, usesVlans } from "./host.ts";
import { nativeOf, ranges } from "./vlan.ts";

/** The bridge as recorded and configured; a line for each difference. */
export function compareBridge(
  conf: Conf,
  { result, links }: { result: Result; links: readonly Link[] },
): string[] {
  const { bridge: name, promiscMode } = conf;
  const link = links.find((link) => link.name === name);
  if (!link) return [`bridge "${name}" is missing`];
  const mac = result.interfaces.find((entry) => entry.name === name && !entry.sandbox)?.mac;
  return [
    ...compareLink(link, { kind: "bridge", mac, where: "bridge" }),
    ...(promiscMode && link.promiscuity === 0 ? [`bridge "${name}" is not promiscuous`] : []),
    ...(usesVlans(conf) && !link.vlanFiltering ? [`bridge "${name}" does not filter VLANs`] : []),
    ...(hasVlanGateway(conf) ? compareVlanGateway(conf, links) : []),
  ];
}

function compareVlanGateway({ bridge, vlan }: Conf, links: readonly Link[]): string[] {
  const name = `${bridge}.${vlan}`;
  const link = links.find((link) => link.name === name);
  if (!link) return [`VLAN gateway link "${name}" is missing`];
  return link.up ? [] : [`VLAN gateway link "${name}" is down`];
}

/** The host end: the peer of the container's interface, and a port as configured. */
export function comparePort(
  conf: Conf,
  { result, links, own, inside, vlans }: {
    result: Result;
    links: readonly Link[];
    own: AttachmentNames;
    inside: Link | undefined;
    /** VLANs of all ports; absent where VLANs are not told apart. */
    vlans: ReadonlyMap<string, readonly PortVlan[]> | undefined;
  },
): string[] {
  const port = links.find((link) =>
    link.name === own.hostVeth && isHostEndOf(link, own) ||
    inside && link.index === inside.linkIndex
  );
  if (!port) return ["the host end of the veth pair is missing"];
  const mac = result.interfaces.find(({ name, sandbox }) => name === port.name && !sandbox)?.mac;
  const differs = (what: string, is: boolean, wanted: boolean) =>
    is === wanted ? [] : [`port "${port.name}" has ${what} ${is ? "on" : "off"}`];
  return [
    ...compareLink(port, { kind: "veth", mac, where: "port" }),
    ...(port.up ? [] : [`port "${port.name}" is down`]),
    ...(port.master === conf.bridge
      ? []
      : [`"${port.name}" is not a port of bridge "${conf.bridge}"`]),
    ...differs("hairpin", port.hairpin, conf.hairpinMode),
    ...differs("isolation", port.isolated, conf.portIsolation),
    ...(vlans
      ? compareVlans(port.name, {
        wanted: portVlans(conf, links.find(({ name }) => name === conf.bridge)),
        present: vlans.get(port.name) ?? [],
      })
      : []),
  ];
}

/** The VLANs a port is in, as configured; a line for each difference. */
export function compareVlans(
  port: string,
  { wanted, present }: { wanted: PortVlans; present: readonly PortVlan[] },
): string[] {
  const native = nativeOf(wanted);
  if (native === undefined) return [];
  const tagged = wanted.trunk.filter((vid) => vid !== native);
  const spared = wanted.preserveDefaultVlan ? [wanted.defaultVlan] : [];
  const isNative = ({ vid, pvid, untagged }: PortVlan) => vid === native && pvid && untagged;
  const is = (vid: number) => present.some((entry) => entry.vid === vid && !entry.untagged);
  const missing = tagged.filter((vid) => !is(vid));
  const extra = present.map(({ vid }) => vid)
    .filter((vid) => ![native, ...tagged, ...spared].includes(vid));
  return [
    ...(present.some(isNative) ? [] : [`port "${port}" is not in VLAN ${native}, untagged`]),
    ...ranges(missing).map((vids) => `port "${port}" is not in VLAN ${vids}, tagged`),
    ...ranges(extra).map((vids) => `port "${port}" is in VLAN ${vids}, which is not configured`),
  ];
}
