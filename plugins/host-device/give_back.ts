/**
 * Gives a device back to the host as it was: the one way for DEL, GC and the
 * rollback of an ADD. It can be stopped anywhere, and repeated.
 *
 * @module
 */
import type { Request } from "../../cni/plugin.ts";
import { CniError, codes } from "../../cni/error.ts";
import { isIfName } from "../../cni/names.ts";
import type { NetnsRef } from "../../host/command.ts";
import { addConfiguredAddress } from "../../host/ip_addr.ts";
import type { Link, LinkChange } from "../../host/ip_link.ts";
import { setLink, showLinks } from "../../host/ip_link.ts";
import type { Step } from "../../host/step.ts";
import type { Host } from "../../ns/machine.ts";
import type { NetnsState } from "../../ns/netns.ts";
import { currentNetns, inspectNetns, ownNetns, sameNetns } from "../../ns/netns.ts";
import { queryLinks } from "../../recipes/links.ts";
import { contradictsResult } from "../../recipes/attachment.ts";
import { removeRecord } from "../../recipes/record.ts";
import { enableFamilies } from "../../recipes/veth.ts";
import type { Conf } from "./conf.ts";
import type { Device, DeviceRecord } from "./record.ts";
import { deviceFromLink, deviceRecords, findRecorded, recordForLink } from "./record.ts";

/** A namespace where a device may be. */
export interface CandidateNetns {
  readonly netns: NetnsRef;
  /** Whether it is the one that the device was given to. */
  readonly recorded: boolean;
}

/** A device that was found, and what else the host has. */
export interface FoundDevice {
  readonly link: Link;
  /** The namespace it is in; absent on the host. */
  readonly netns?: NetnsRef | undefined;
  readonly onHost: readonly Link[];
}

/**
 * Gives a device back and drops its record. One that is nowhere is gone with its
 * container (as a virtual link is), or unplugged: the record goes all the same.
 */
export async function giveBack(
  host: Host,
  record: DeviceRecord,
  candidates: readonly CandidateNetns[],
): Promise<void> {
  const found = await findDevice(host, record, candidates);
  await host.apply([
    ...(found ? planReturn(record.data.device, found) : []),
    ...removeRecord(record),
  ]);
}

async function findDevice(
  host: Host,
  record: DeviceRecord,
  candidates: readonly CandidateNetns[],
): Promise<FoundDevice | undefined> {
  const records = deviceRecords.all();
  const [onHost, ...inside] = await Promise.all([
    queryLinks(host, showLinks()),
    ...candidates.map(({ netns }) => queryLinks(host, showLinks({ netns }))),
  ]);
  for (const [index, { netns, recorded }] of candidates.entries()) {
    const where = recorded ? "container" : "elsewhere";
    const link = findRecorded(inside[index]!, record, { where, records });
    if (link) return { link, netns, onHost };
  }
  const link = findRecorded(onHost, record, { where: "host", records });
  return link && { link, onHost };
}

/** Namespaces where a recorded device may be: the one that it was given to, and the one at its path now. */
export function candidateNetns({ data }: DeviceRecord, live?: NetnsState): CandidateNetns[] {
  const candidates = [inspectNetns(data.netns), live].flatMap((state): CandidateNetns[] => {
    if (state?.is !== "namespace" || sameNetns(state.identity, currentNetns())) return [];
    return [{ netns: state.netns, recorded: sameNetns(state.identity, data.identity) }];
  });
  const distinct = [...new Map(candidates.map((it) => [it.netns.path, it])).values()];
  return distinct.sort((a, b) => Number(b.recorded) - Number(a.recorded));
}

/**
 * One message moves the device, names it and sets what has changed, so that no name
 * is taken for a moment on either side. Throws code 102 when another link of the
 * host has its name: then it stays where it is.
 */
export function planReturn(device: Device, found: FoundDevice): Step[] {
  const { link, netns } = found;
  refuseConflict(device, found);
  const change = differences(link, device);
  const mustBeDown = !netns && link.up && (change.rename ?? change.address) !== undefined;
  const rest = remaining(device, mustBeDown || netns ? { ...link, addresses: [] } : link);
  const up = device.up && (netns !== undefined || mustBeDown || !link.up);
  const all: LinkChange = {
    ...(netns && { netns, into: ownNetns(), rename: device.name }),
    ...change,
    ...(up && rest.length === 0 && { up }),
  };
  const why = `give "${device.name}" back to the host`;
  return [
    ...(mustBeDown
      ? [{ why: `set "${link.name}" down`, do: setLink(link.name, { up: false }) }]
      : []),
    ...(Object.keys(all).length > 0 ? [{ why, do: setLink(link.name, all) }] : []),
    ...rest,
    ...(up && rest.length > 0
      ? [{ why: `set "${device.name}" up`, do: setLink(device.name, { up }) }]
      : []),
  ];
}

function refuseConflict({ name }: Device, { link, netns, onHost }: FoundDevice): void {
  const other = onHost.find((it) =>
    (netns || it !== link) && (it.name === name || it.altNames.includes(name))
  );
  if (!other) return;
  const where = netns ? "in the container" : `on the host as "${link.name}"`;
  throw new CniError(
    codes.alreadyExists,
    `Cannot give "${name}" back to the host: the host has another link of that name`,
    `the device stays ${where}; the other link has index ${other.index} and hardware address ${other.mac}: remove or rename it and call DEL again`,
  );
}

/** The attributes that differ and that one message can set. */
function differences(link: Link, device: Device): LinkChange {
  return {
    ...(link.name !== device.name && { rename: device.name }),
    ...(link.mtu !== device.mtu && { mtu: device.mtu }),
    ...(link.mac !== device.mac && { address: device.mac }),
    ...(link.promisc !== device.promisc && { promisc: device.promisc }),
    ...((link.alias ?? "") !== (device.alias ?? "") && { alias: device.alias ?? "" }),
  };
}

/** Addresses and master, which the device loses when it moves. */
function remaining(device: Device, link: Pick<Link, "addresses" | "master">): Step[] {
  const { name, master } = device;
  const lost = device.addresses.filter((given) =>
    !link.addresses.some(({ address, prefix }) =>
      address === given.address && prefix === given.prefix
    )
  );
  const ipv6 = lost.some(({ address }) => address.includes(":"));
  return [
    ...enableFamilies(name, ipv6 ? [6] : []),
    ...lost.map((given): Step => ({
      why: `give "${name}" address ${given.address}/${given.prefix} again`,
      do: addConfiguredAddress(name, given),
      tolerate: ["exists"],
    })),
    ...(master && link.master !== master
      ? [{
        why: `make "${name}" a port of "${master}" again`,
        do: setLink(name, { master }),
        tolerate: ["missing" as const],
      }]
      : []),
  ];
}

/**
 * Gives back a device of which there is no record: the reference took it, or the
 * records are lost. Its alias, the reference's mark, tells its name; how it was is
 * not known, so it stays down. A link that cannot be told is left alone.
 */
export async function giveBackByAlias(
  req: Request<Conf>,
  netns: NetnsRef | undefined,
): Promise<void> {
  const found = await findByAlias(req, netns);
  if (!found) return;
  const { link } = found;
  const device: Device = {
    ...deviceFromLink(link, []),
    name: link.alias!,
    alias: undefined,
    up: !found.netns && link.up,
  };
  await req.host.apply(planReturn({ ...device, master: undefined }, found));
}

async function findByAlias(
  req: Request<Conf>,
  netns: NetnsRef | undefined,
): Promise<FoundDevice | undefined> {
  const records = deviceRecords.all();
  const isMarked = (link: Link) =>
    isIfName(link.alias ?? "") && !recordForLink(link, { where: "elsewhere", records });
  const [onHost, inside] = await Promise.all([
    queryLinks(req.host, showLinks()),
    netns ? queryLinks(req.host, showLinks({ netns })) : [],
  ]);
  const marked = inside.filter(isMarked);
  const taken = marked.find((link) => link.name === req.ifName && !contradictsResult(link, req)) ??
    marked.find((link) => isSelected(link, req));
  if (taken) return { link: taken, netns: netns!, onHost };
  const link = onHost.find((link) => isMarked(link) && isReturned(link, req));
  return link && { link, onHost };
}

/** Whether configuration or result name this very device. */
function isSelected(link: Link, req: Request<Conf>): boolean {
  const recorded = req.prevResult?.interfaces.find(({ sandbox }) => sandbox)?.mac?.toLowerCase();
  return isNamed(link, req) || isHardware(link, req) || link.mac === recorded;
}

/** Whether the configuration names the device as its alias does. */
function isNamed({ alias, altNames }: Link, { conf }: Request<Conf>): boolean {
  return [alias, ...altNames].includes(conf.device || undefined);
}

function isHardware({ mac, permanentMac, hardware }: Link, { conf }: Request<Conf>): boolean {
  const id = conf.runtimeConfig?.deviceID || conf.pciBusID;
  return [mac, permanentMac].some((mac) => mac && mac === conf.hwaddr) ||
    id !== undefined && hardware?.endsWith(`/${id}`) === true;
}

/**
 * Whether the kernel has brought it back: under its own name for such a link, or under
 * the container's. An administrator may give a link an alias, too.
 */
function isReturned(link: Link, req: Request<Conf>): boolean {
  if (link.name === link.alias) return false;
  if (link.name === `dev${link.index}`) return isNamed(link, req) || isHardware(link, req);
  return link.name === req.ifName && isNamed(link, req);
}
