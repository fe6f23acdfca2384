/**
 * `ip link`: builders and the reader of its JSON.
 *
 * @module
 */
import type { Command, NetnsRef } from "./command.ts";
import { command } from "./command.ts";
import { parseIpJson } from "./ip_json.ts";

/** A namespace a command runs in. */
export interface NetnsOption {
  /** The namespace to run in; absent means the plugin's own. */
  readonly netns?: NetnsRef | undefined;
}

/** MTU of a new link of Ethernet, in bytes, where none is asked for. */
export const etherMtu = 1500;

/** A new bridge. */
export interface BridgeSpec extends NetnsOption {
  /** Name of the bridge. */
  readonly name: string;
  /** Bytes; the kernel's default when 0 or absent. */
  readonly mtu?: number | undefined;
  /** Hardware address; setting one keeps the bridge from taking a port's. */
  readonly address?: string;
  /** Whether it filters by VLAN; not when absent. */
  readonly vlanFiltering?: boolean;
}

/** `ip link add name BR [mtu N] [address MAC] type bridge [vlan_filtering 1]` */
export function addBridge(spec: BridgeSpec): Command {
  return command("ip", [
    ...["link", "add", "name", spec.name],
    ...attributes(spec),
    ...["type", "bridge"],
    ...(spec.vlanFiltering ? ["vlan_filtering", "1"] : []),
  ], spec);
}

/** One end of a veth pair. */
export interface VethEnd {
  /** Name of the link. */
  readonly name: string;
  /** Hardware address; the kernel's choice when absent. */
  readonly address?: string;
}

/** A new veth pair. */
export interface VethSpec extends NetnsOption {
  /** The end in the namespace the command runs in. */
  readonly end: VethEnd;
  /** The other end, and the namespace it is made in; absent means the same one. */
  readonly peer: VethEnd & { readonly netns?: NetnsRef | undefined };
  /** Bytes, of both ends. */
  readonly mtu?: number | undefined;
}

/** `ip link add name A [mtu N] [address MAC] type veth peer name B [mtu N] [address MAC] [netns PATH]` */
export function addVeth({ end, peer, mtu, netns }: VethSpec): Command {
  return command("ip", [
    ...["link", "add", "name", end.name],
    ...attributes({ ...end, mtu }),
    ...["type", "veth", "peer", "name", peer.name],
    ...attributes({ ...peer, mtu }),
    ...(peer.netns ? ["netns", peer.netns.path] : []),
  ], { netns });
}

/** A new link of any other kind. */
export interface LinkSpec extends NetnsOption {
  /** Name of the link. */
  readonly name: string;
  /** Kind and its own words: `macvlan mode bridge`. */
  readonly type: readonly string[];
  /** The link that it stands on. */
  readonly parent?: string | undefined;
  /** Bytes; the kernel's default when 0 or absent. */
  readonly mtu?: number | undefined;
  /** Hardware address; the kernel's choice when absent. */
  readonly address?: string | undefined;
  /** Packets. */
  readonly txQLen?: number | undefined;
  /** The namespace it is made in; the command's own when absent. */
  readonly into?: NetnsRef | undefined;
}

/**
 * `ip link add [link PARENT] name X [mtu N] [address MAC] [txqueuelen N] [netns PATH] type KIND …`.
 * Kernels before 6.15 refuse a name that the command's own namespace has, too.
 */
export function addLink(spec: LinkSpec): Command {
  return command("ip", [
    ...["link", "add"],
    ...(spec.parent ? ["link", spec.parent] : []),
    ...["name", spec.name],
    ...attributes(spec),
    ...(spec.txQLen !== undefined ? ["txqueuelen", String(spec.txQLen)] : []),
    ...(spec.into ? ["netns", spec.into.path] : []),
    ...["type", ...spec.type],
  ], spec);
}

function attributes(
  spec: { mtu?: number | undefined; address?: string | undefined },
): string[] {
  return [
    ...(spec.mtu && spec.mtu > 0 ? ["mtu", String(spec.mtu)] : []),
    ...(spec.address ? ["address", spec.address] : []),
  ];
}

/** Attributes of a link that can be set; absent ones stay. */
export interface LinkChange extends NetnsOption {
  /** The namespace it moves to. It leaves its addresses behind and goes down. */
  readonly into?: NetnsRef;
  /** The new name; of a link that moves, there. The link must be down. */
  readonly rename?: string;
  /** Bytes. */
  readonly mtu?: number | undefined;
  /** Whether it is set up or down. */
  readonly up?: boolean;
  /** The bridge or VRF that it joins. */
  readonly master?: string;
  /** Whether it leaves its master. */
  readonly nomaster?: boolean;
  /** Hardware address. */
  readonly address?: string;
  /** `ifalias`; empty removes it. */
  readonly alias?: string;
  /** Whether it takes packets for other addresses. */
  readonly promisc?: boolean | undefined;
  /** Whether it takes every multicast packet. */
  readonly allmulti?: boolean | undefined;
  /** Packets. */
  readonly txQLen?: number | undefined;
}

/**
 * `ip link set dev X [netns PATH] [name Y] [mtu N] [address MAC] [alias TEXT] [promisc on]
 * [allmulticast on] [txqueuelen N] [master BR|nomaster] [up|down]`
 */
export function setLink(name: string, change: LinkChange): Command {
  const { into, rename, mtu, up, master, address, alias, promisc, allmulti, txQLen } = change;
  return command("ip", [
    ...["link", "set", "dev", name],
    ...(into ? ["netns", into.path] : []),
    ...(rename ? ["name", rename] : []),
    ...(mtu ? ["mtu", String(mtu)] : []),
    ...(address ? ["address", address] : []),
    ...(alias !== undefined ? ["alias", alias] : []),
    ...(promisc !== undefined ? ["promisc", onOff(promisc)] : []),
    ...(allmulti !== undefined ? ["allmulticast", onOff(allmulti)] : []),
    ...(txQLen !== undefined ? ["txqueuelen", String(txQLen)] : []),
    ...(master ? ["master", master] : []),
    ...(change.nomaster ? ["nomaster"] : []),
    ...(up !== undefined ? [up ? "up" : "down"] : []),
  ], change);
}

/** `ip link set dev PORT type bridge_slave hairpin on|off isolated on|off` */
export function setBridgePort(
  name: string,
  { hairpin, isolated, netns }: NetnsOption & { hairpin: boolean; isolated: boolean },
): Command {
  return command("ip", [
    ...["link", "set", "dev", name, "type", "bridge_slave"],
    ...["hairpin", onOff(hairpin), "isolated", onOff(isolated)],
  ], { netns });
}

/** `ip link set dev BR type bridge vlan_filtering 1` */
export function enableVlanFiltering(bridge: string, { netns }: NetnsOption = {}): Command {
  const args = ["link", "set", "dev", bridge, "type", "bridge", "vlan_filtering", "1"];
  return command("ip", args, { netns });
}

/** `ip link del dev X` */
export function deleteLink(name: string, { netns }: NetnsOption = {}): Command {
  return command("ip", ["link", "del", "dev", name], { netns });
}

/** `ip -d -j addr show`: every link of a namespace with its details and addresses. */
export function showLinks({ netns }: NetnsOption = {}): Command {
  return command("ip", ["-d", "-j", "addr", "show"], { netns });
}

/** `ip -d -j addr show dev X` */
export function showLink(name: string, { netns }: NetnsOption = {}): Command {
  return command("ip", ["-d", "-j", "addr", "show", "dev", name], { netns });
}

/** `ip -j link show master BR`: the ports of a bridge. */
export function showPorts(bridge: string, { netns }: NetnsOption = {}): Command {
  return command("ip", ["-j", "link", "show", "master", bridge], { netns });
}

function onOff(value: boolean): "on" | "off" {
  return value ? "on" : "off";
}

/** One link as `ip -d -j addr show` tells it. */
export interface Link {
  /** Its name. */
  readonly name: string;
  /** Its number inside the namespace. */
  readonly index: number;
  /** `bridge`, `veth`, …; absent for a plain device. */
  readonly kind: string | undefined;
  /** Hardware address, lower-case colon hex. */
  readonly mac: string;
  /** The address that the hardware came with, where it is another one. */
  readonly permanentMac: string | undefined;
  /** Bytes. */
  readonly mtu: number;
  /** Whether it is set up. */
  readonly up: boolean;
  /** Whether it is up and something can be sent: a cable, an open tap, a parent that is up. */
  readonly carrier: boolean;
  /** Name of the bridge or VRF it is enslaved to. */
  readonly master: string | undefined;
  /**
   * Index of the link that it stands on, or of a veth's peer; of one in the same
   * namespace, only where that is listed too.
   */
  readonly linkIndex: number | undefined;
  /** Name of that link, where it is in the same namespace. */
  readonly linkName: string | undefined;
  /** The kernel's promiscuity counter. */
  readonly promiscuity: number;
  /** Whether somebody set it to take every multicast packet. */
  readonly allmulti: boolean;
  /** Length of the transmit queue in packets. */
  readonly txQLen: number;
  /** Kind of its root queueing discipline, where iproute2 tells it. */
  readonly qdisc?: string;
  /** Whether somebody set it promiscuous; being the port of a bridge only counts. */
  readonly promisc: boolean;
  /** Other names that it has. */
  readonly altNames: readonly string[];
  /** Bus and name of the hardware that it belongs to: `pci/0000:00:1f.6`. */
  readonly hardware: string | undefined;
  /** `ifalias`. */
  readonly alias: string | undefined;
  /** Of a macvlan or ipvlan: `bridge`, `l2`, … */
  readonly mode: string | undefined;
  /** Of a vlan: its 802.1Q number. */
  readonly vlanId: number | undefined;
  /** Of a VRF: its routing table. */
  readonly vrfTable: number | undefined;
  /** Of a tun or tap device: what it was made with. */
  readonly tun: TunLink | undefined;
  /** Of a bridge: whether it filters by VLAN. */
  readonly vlanFiltering: boolean;
  /** VLAN that a bridge gives new ports; 0 for none. */
  readonly defaultVlan: number;
  /** Of a bridge port: whether packets may leave by the port they came from. */
  readonly hairpin: boolean;
  /** Of a bridge port: whether it reaches only ports that are not isolated. */
  readonly isolated: boolean;
  /** Its addresses of both families. */
  readonly addresses: readonly LinkAddress[];
}

/** Creation flags of a tun or tap device. The program that opens it sets its other flags. */
export interface TunLink {
  /** Whether it carries Ethernet frames (`tap`) or IP packets (`tun`). */
  readonly type: "tap" | "tun";
  /** Whether it may be opened several times. */
  readonly multiQueue: boolean;
  /** The user who may open it: a name where this host has one for the number. */
  readonly owner: number | string | undefined;
  /** The group whose members may open it, in the same way. */
  readonly group: number | string | undefined;
}

/** An address of a link. */
export interface LinkAddress {
  /** Canonical text without the prefix length. */
  readonly address: string;
  /** Length of the prefix in bits. */
  readonly prefix: number;
  /** `global`, `link`, `host` or a number. */
  readonly scope: string;
  /** Whether duplicate address detection has not ended. */
  readonly tentative: boolean;
  /** Whether duplicate address detection found another owner. */
  readonly dadFailed: boolean;
}

/** Reads the JSON of {@linkcode showLinks}. */
export function parseLinks(json: string): Link[] {
  // iproute2 prints an empty object for a link that a filter left out.
  const links = parseIpJson<RawLink>(json).filter((link) => link.ifname !== undefined);
  const indexByName = new Map(links.map((link) => [link.ifname, link.ifindex]));
  return links.map((link) => toLink(link, indexByName));
}

interface RawLink {
  ifname: string;
  ifindex: number;
  link?: string | null;
  link_index?: number;
  address?: string;
  permaddr?: string;
  mtu: number;
  flags: string[];
  master?: string;
  promiscuity?: number;
  txqlen?: number;
  qdisc?: string;
  altnames?: string[];
  parentbus?: string;
  parentdev?: string;
  ifalias?: string;
  linkinfo?: {
    info_kind?: string;
    info_data?: {
      vlan_filtering?: number;
      vlan_default_pvid?: number;
      mode?: string;
      id?: number;
      table?: number;
      type?: string;
      multi_queue?: boolean;
      user?: number | string;
      group?: number | string;
    };
    info_slave_data?: { hairpin?: boolean; isolated?: boolean };
  };
  addr_info?: RawAddress[];
}

interface RawAddress {
  local?: string;
  prefixlen: number;
  scope: string;
  tentative?: boolean;
  dadfailed?: boolean;
}

function toLink(raw: RawLink, indexByName: ReadonlyMap<string, number>): Link {
  const { info_kind, info_data, info_slave_data } = raw.linkinfo ?? {};
  return {
    name: raw.ifname,
    index: raw.ifindex,
    kind: info_kind,
    mac: raw.address ?? "",
    permanentMac: raw.permaddr,
    mtu: raw.mtu,
    up: raw.flags.includes("UP"),
    carrier: raw.flags.includes("LOWER_UP"),
    master: raw.master,
    linkIndex: raw.link_index ??
      (raw.link ? indexByName.get(raw.link) : undefined),
    linkName: raw.link ?? undefined,
    promiscuity: raw.promiscuity ?? 0,
    allmulti: raw.flags.includes("ALLMULTI"),
    txQLen: raw.txqlen ?? 0,
    ...(raw.qdisc !== undefined && { qdisc: raw.qdisc }),
    promisc: raw.flags.includes("PROMISC"),
    altNames: raw.altnames ?? [],
    hardware: raw.parentbus && `${raw.parentbus}/${raw.parentdev}`,
    alias: raw.ifalias,
    mode: info_data?.mode,
    vlanId: info_data?.id,
    vrfTable: info_kind === "vrf" ? info_data?.table : undefined,
    tun: info_kind === "tun" ? toTun(info_data) : undefined,
    vlanFiltering: info_data?.vlan_filtering === 1,
    defaultVlan: info_data?.vlan_default_pvid ?? 1,
    hairpin: info_slave_data?.hairpin ?? false,
    isolated: info_slave_data?.isolated ?? false,
    addresses: (raw.addr_info ?? []).map(toAddress),
  };
}

function toTun(data: NonNullable<RawLink["linkinfo"]>["info_data"]): TunLink {
  return {
    type: data?.type === "tun" ? "tun" : "tap",
    multiQueue: data?.multi_queue ?? false,
    owner: data?.user,
    group: data?.group,
  };
}

function toAddress(raw: RawAddress): LinkAddress {
  return {
    address: raw.local ?? "",
    prefix: raw.prefixlen,
    scope: raw.scope,
    tentative: raw.tentative ?? false,
    dadFailed: raw.dadfailed ?? false,
  };
}
