/**
 * The configuration of host-device, and which device it selects.
 *
 * @module
 */
import type { Infer } from "../../cni/decode.ts";
import { map, object, optional, stringThat, withDefault } from "../../cni/decode.ts";
import { CniError, codes } from "../../cni/error.ts";
import { dnsDecoder, ipamDecoder } from "../../cni/sections.ts";
import { listProc, readProcLink, statProcs } from "../../host/proc.ts";

const busDir = "/sys/bus";
const pciDir = `${busDir}/pci/devices`;
const auxiliaryDir = `${busDir}/auxiliary/devices`;

/** The drivers that hand a device to a program: there is no link that could be moved. */
const userSpaceDrivers: ReadonlySet<string> = new Set(["vfio-pci", "uio_pci_generic", "igb_uio"]);

/** A text of this pattern, or an empty one, which counts as absent. */
function text(expects: string, pattern: RegExp) {
  return stringThat(expects, (text) => text === "" || pattern.test(text));
}

/** A link may be named by one of its other names, which may be longer. */
const linkName = text("name of a link", /^(?!\.{1,2}$)[^\s/:\0]{1,127}$/);

/** Six octets, or as many as EUI-64 and InfiniBand have, between colons or hyphens, or by twos between dots. */
const hardwareAddress = map(
  text(
    "hardware address like 02:00:00:00:00:01",
    /^([0-9a-f]{2}([:-])([0-9a-f]{2}\2){4}([0-9a-f]{2}\2){0,14}[0-9a-f]{2}|[0-9a-f]{4}(\.[0-9a-f]{4}){2,9})$/i,
  ),
  (text) => text.toLowerCase().replaceAll(/[:.-]/g, "").match(/../g)?.join(":") ?? "",
);

/** The decoder. */
export const conf = object({
  device: optional(
    linkName,
    "Name of the link; of several selectors it counts most.",
  ),
  hwaddr: optional(hardwareAddress, "Hardware address of the link."),
  kernelpath: optional(
    text("path below /sys/devices/", /^\/sys\/devices\/(?!(.*\/)?\.\.(\/|$))[^\0\n]+$/),
    "Folder of the device in sysfs; its `net` names the link.",
  ),
  pciBusID: optional(
    text("PCI address like 0000:00:1f.6", /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i),
    "PCI address of the device.",
  ),
  ipam: withDefault(ipamDecoder, { type: "" }, "IPAM plugin and its options; none for layer 2."),
  dns: optional(dnsDecoder, "Name resolution for the result, in place of the IPAM plugin's."),
  runtimeConfig: optional(
    object({
      deviceID: optional(
        text("name of a device", /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/),
        "PCI address or auxiliary device, by the capability `deviceID`; in place of `pciBusID`.",
      ),
    }),
    "What the runtime passes by capabilities.",
  ),
});

/** The decoded configuration. */
export type Conf = Infer<typeof conf>;

/** A device as the configuration names it. */
export interface DeviceSelection {
  /** The key that counts. */
  readonly key: "device" | "hwaddr" | "kernelpath" | "pciBusID" | "deviceID";
  readonly value: string;
  /** The device's folder in sysfs, where it is selected by that. */
  readonly folder?: string;
  /** Its PCI address, where that selects it. */
  readonly pciId: string | undefined;
  /** Whether it belongs to a driver of user space. */
  readonly userSpace: boolean;
}

/** Whether anything selects a device. A STATUS comes without what a runtime passes. */
export function selectsDevice(
  { device, hwaddr, kernelpath, pciBusID, runtimeConfig }: Conf,
): boolean {
  return [device, hwaddr, kernelpath, pciBusID, runtimeConfig?.deviceID].some(Boolean);
}

/** The device that is selected. Throws code 7 when none is, and 103 when sysfs does not have it. */
export function selectDevice(conf: Conf): DeviceSelection {
  if (!selectsDevice(conf)) {
    throw new CniError(
      codes.invalidNetworkConfig,
      'specify either "device", "hwaddr", "kernelpath" or "pciBusID"',
    );
  }
  const deviceId = conf.runtimeConfig?.deviceID || undefined;
  const byId = deviceId && resolve(deviceId);
  const pciId = byId ? byId.pciId : conf.pciBusID || undefined;
  const userSpace = pciId !== undefined && isForUserSpace(pciId);
  const rest = { userSpace, pciId: userSpace ? pciId : undefined };
  for (const key of ["device", "hwaddr"] as const) {
    if (conf[key]) return { key, value: conf[key], ...rest };
  }
  const { kernelpath } = conf;
  if (kernelpath) return { key: "kernelpath", value: kernelpath, folder: kernelpath, ...rest };
  if (byId) return { key: "deviceID", value: deviceId, folder: byId.folder, ...rest, pciId };
  return { key: "pciBusID", value: pciId!, folder: `${pciDir}/${pciId}`, ...rest, pciId };
}

function resolve(id: string): { folder: string; pciId?: string } {
  const [pci, auxiliary] = statProcs([`${pciDir}/${id}`, `${auxiliaryDir}/${id}`]);
  if (pci) return { folder: `${pciDir}/${id}`, pciId: id };
  if (auxiliary) return { folder: `${auxiliaryDir}/${id}` };
  throw new CniError(
    codes.objectMissing,
    `runtime config DeviceID ${id} not found or unsupported`,
    [pciDir, auxiliaryDir].map(listing).join("; "),
  );
}

function isForUserSpace(pciId: string): boolean {
  const driver = readProcLink(`${pciDir}/${pciId}/driver`);
  if (driver !== undefined) return userSpaceDrivers.has(driver.slice(driver.lastIndexOf("/") + 1));
  const [device] = statProcs([`${pciDir}/${pciId}`]);
  throw new CniError(
    codes.objectMissing,
    `error with host device: PCI device "${pciId}": ${
      device ? "no driver is bound to it" : "no such device"
    }`,
    device ? "" : listing(pciDir),
  );
}

/** Devices of the host, for an error's details. */
function listing(dir: string): string {
  const names = listProc(dir);
  return names ? `in ${dir}: ${names.join(", ") || "nothing"}` : `no folder ${dir}`;
}

/** Names of the links that a device has, as its folder in sysfs tells; `undefined` when it cannot have any. */
export function linksOf(folder: string): string[] | undefined {
  const own = listProc(`${folder}/net`);
  if (own || !folder.startsWith(pciDir)) return own;
  const virtio = (listProc(folder) ?? []).filter((name) => name.startsWith("virtio"));
  return virtio.map((name) => listProc(`${folder}/${name}/net`)).find((names) => names);
}
