/**
 * host-device: moves a link that the host has into the container, and back at DEL
 * as it was. Of a device that belongs to a driver of user space (DPDK) there is no
 * link: it only gets addresses.
 *
 * Owns: the device while a container has it, a record of how it was
 * (`/run/cni/denocni/devices/…`), and the addresses its IPAM plugin reserves. Runs:
 * `ip`, `sh`, `nsenter`, and the IPAM plugin.
 *
 * ```json
 * { "cniVersion": "1.1.0", "name": "fast", "type": "host-device", "device": "eth1" }
 * ```
 *
 * @module
 */
import type { GcRequest, Request } from "../cni/plugin.ts";
import type { Interface, Result } from "../cni/types.ts";
import type { NetnsRef } from "../host/command.ts";
import type { Link } from "../host/ip_link.ts";
import type { Step } from "../host/step.ts";
import type { Conf, DeviceSelection } from "./host-device/conf.ts";
import type { DeviceRecord } from "./host-device/record.ts";
import { definePlugin } from "../cni/plugin.ts";
import { serve } from "../cni/serve.ts";
import { parseLinks, setLink, showLink } from "../host/ip_link.ts";
import {
  compareContainer,
  gatherCheck,
  requirePrevResult,
  throwDifferences,
} from "../recipes/check.ts";
import { bringUp, waitForDetection } from "../recipes/configure.ts";
import { containerNetns, liveNetns } from "../recipes/container.ts";
import { compareUp, configureContainerLink } from "../recipes/container_link.ts";
import { overrideDns } from "../recipes/dns.ts";
import { addAddresses, needsInterface } from "../recipes/ipam.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { removeAll } from "../recipes/removal.ts";
import { requireTools, requireUsable } from "../recipes/status.ts";
import { conf, selectDevice, selectsDevice } from "./host-device/conf.ts";
import { findFreeDevice, requireDevice } from "./host-device/device.ts";
import { candidateNetns, giveBack, giveBackByAlias } from "./host-device/give_back.ts";
import {
  deviceFromLink,
  deviceRecords,
  findRecorded,
  newDeviceRecord,
  writeDeviceRecord,
} from "./host-device/record.ts";

/** The host-device plugin. */
export const plugin = definePlugin<Conf>({
  type: "host-device",
  about: "gives a container a network device of the host, and takes it back",
  needs: "iproute2",
  permissions: { run: "any", read: true, write: true },
  conf,
  add,
  check,
  del,
  gc,
  status,
});

async function add(req: Request<Conf>): Promise<Result> {
  const { ifName: name, netns: sandbox } = req;
  const netns = containerNetns(req);
  const selection = selectDevice(req.conf);
  if (selection.userSpace) {
    return resultOf(req, { name, sandbox, pciID: selection.pciId! }, await addAddresses(req));
  }
  const { link, addresses } = await findFreeDevice(req.host, { selection, attachment: req });
  const { folder } = selection;
  const { temporaryName: passing } = await attachmentNames(req);
  const device = deviceFromLink(link, addresses);
  const record = await newDeviceRecord(req, { device, netns: sandbox, passing, folder });
  const entry = { name, mac: link.mac, mtu: link.mtu, sandbox, ...pciIdOf(link, selection) };
  return await attach(req, { entry, record, netns });
}

/** The PCI address of a link, as far as selection or kernel tell it. */
function pciIdOf({ hardware }: Link, selection: DeviceSelection): Pick<Interface, "pciID"> {
  const pciID = selection.pciId ?? /^pci\/(.*)/.exec(hardware ?? "")?.[1];
  return pciID ? { pciID } : {};
}

/** A device that moves into the container. */
interface DeviceToMove {
  readonly entry: Interface;
  readonly record: DeviceRecord;
  readonly netns: NetnsRef;
}

/** Takes the device and configures it: up, with the addresses and routes of IPAM, if there is one. */
async function attach(req: Request<Conf>, device: DeviceToMove): Promise<Result> {
  const target = { netns: device.netns, ifName: req.ifName };
  const early = await needsInterface(req);
  if (early) await take(req, device, bringUp(target));
  const result = resultOf(req, device.entry, await addAddresses(req));
  const steps = configureContainerLink({ ...target, result, dad: true });
  if (early) await req.host.apply(steps);
  else await take(req, device, steps);
  if (result.ips.some(({ address }) => address.includes(":"))) {
    await waitForDetection(req.host, target);
  }
  return result;
}

/** From here on a rollback gives the device back; what comes after needs no undo of its own. */
async function take(
  { host }: Request<Conf>,
  { record, netns }: DeviceToMove,
  steps: readonly Step[],
): Promise<void> {
  const { device } = record.data;
  host.onRollback(`take "${device.name}"`, () => giveBack(host, record, candidateNetns(record)));
  const printed = await host.apply([...planTake(record, netns), ...steps]);
  const [inside] = parseLinks(printed);
  if (!inside) return;
  await host.apply(writeDeviceRecord({ ...record, data: { ...record.data, index: inside.index } }));
}

/**
 * Moves and renames in one message: no name is taken on either side, and none changes
 * on the host, where others would react to it. The alias is the reference's mark.
 */
export function planTake(record: DeviceRecord, netns: NetnsRef): Step[] {
  const { ifName, data: { device: { name }, passing } } = record;
  return [
    ...writeDeviceRecord(record),
    {
      why: `move "${name}" into the container`,
      do: setLink(name, { into: netns, rename: passing }),
      meaning: {
        exists: "the container has a link with one of its names",
        other: "loopback, bridges and some tunnels never leave their namespace",
      },
    },
    {
      why: `name container interface "${ifName}"`,
      do: setLink(passing, { rename: ifName, alias: name, netns }),
      meaning: { exists: "the container has an interface of that name already" },
    },
    { why: `look at container interface "${ifName}"`, do: showLink(ifName, { netns }) },
  ];
}

function resultOf({ conf }: Request<Conf>, entry: Interface, ipam: Result): Result {
  return {
    interfaces: [entry],
    ips: ipam.ips.map((ip) => ({ ...ip, interface: 0 })),
    routes: ipam.routes,
    dns: overrideDns(conf.dns, ipam.dns),
  };
}

/** The namespace is checked first: nothing else does so for a device of user space. */
async function check(req: Request<Conf>): Promise<void> {
  containerNetns(req);
  if (req.conf.ipam.type) await req.ipam.check();
  if (selectDevice(req.conf).userSpace) return void requirePrevResult(req);
  const { result, facts } = await gatherCheck(req);
  const record = await deviceRecords.find(req);
  throwDifferences(req.network, [
    ...compareContainer(req, facts, { result }),
    ...(facts.link ? [...compareUp(facts.link), ...compareMark(facts.link, record)] : []),
  ]);
}

/** A line when DEL would not find the device, or not know its name on the host. */
function compareMark(link: Link, record: DeviceRecord | undefined): string[] {
  if (!record) {
    return link.alias ? [] : [`container interface "${link.name}" has lost its alias`];
  }
  const same = findRecorded([link], record, { where: "container", records: [] });
  return same ? [] : [`container interface "${link.name}" is another device than ADD took`];
}

/** Releases the addresses first: they are free even where the device cannot be given back. */
async function del(req: Request<Conf>): Promise<void> {
  await removeAll([
    { why: "release addresses", when: req.conf.ipam.type !== "", run: () => req.ipam.del() },
    { why: "give the device back", run: () => release(req) },
  ]);
}

async function release(req: Request<Conf>): Promise<void> {
  const record = await deviceRecords.find(req);
  if (record) return await giveBack(req.host, record, candidateNetns(record, req.sandbox));
  await giveBackByAlias(req, liveNetns(req));
  await req.host.apply(await deviceRecords.remove(req));
}

async function gc(req: GcRequest<Conf>): Promise<void> {
  await removeAll([
    { why: "release stale addresses", when: req.conf.ipam.type !== "", run: () => req.ipam.gc() },
    ...deviceRecords.stale(req).map((record) => ({
      why: `give "${record.data.device.name}" back`,
      run: () => giveBack(req.host, record, candidateNetns(record)),
    })),
  ]);
}

async function status(req: Request<Conf>): Promise<void> {
  requireTools(["ip", "sh", "nsenter"]);
  if (selectsDevice(req.conf)) {
    const selection = requireUsable(() => selectDevice(req.conf));
    if (!selection.userSpace) await requireDevice(req.host, selection);
  }
  if (req.conf.ipam.type) await req.ipam.status();
}

if (import.meta.main) await serve(plugin);
