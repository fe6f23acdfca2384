/**
 * Hardware that this machine does not have, as sysfs shows it. Shipped code knows
 * nothing of it: folders of a test lie over those of the kernel, inside this run's
 * private mount namespace.
 *
 * @module
 */
import { must } from "./process.ts";

const bus = "/sys/bus";

/** Where a device of no bus can be made, for selection by its path. */
export const devices = "/sys/devices/virtual/net";

/** Folders over sysfs, taken away when disposed of. One at a time. */
export class FakeSysfs implements AsyncDisposable {
  private constructor() {}

  /** Puts empty folders in place. */
  static async install(): Promise<FakeSysfs> {
    for (const dir of [bus, devices]) {
      await must(["mount", "-t", "tmpfs", "-o", "mode=0755", "denocni", dir]);
    }
    Deno.mkdirSync(`${bus}/pci/devices`, { recursive: true });
    Deno.mkdirSync(`${bus}/auxiliary/devices`, { recursive: true });
    return new FakeSysfs();
  }

  /** A PCI device and its driver. Its links are below `net`, or below that of a virtio device. */
  pci(
    address: string,
    { driver, links, virtio }: { driver?: string; links?: readonly string[]; virtio?: string },
  ): void {
    const dir = `${devices}/pci0000:00/${address}`;
    Deno.mkdirSync(dir, { recursive: true });
    if (driver) Deno.symlinkSync(`../../../../bus/pci/drivers/${driver}`, `${dir}/driver`);
    if (links) showLinks(virtio ? `${dir}/${virtio}` : dir, links);
    Deno.symlinkSync(dir, `${bus}/pci/devices/${address}`);
  }

  /** Takes a PCI device away, as when it is unplugged. */
  unplug(address: string): void {
    Deno.removeSync(`${bus}/pci/devices/${address}`);
  }

  /** A device of the auxiliary bus. */
  auxiliary(id: string, links: readonly string[]): void {
    showLinks(`${bus}/auxiliary/devices/${id}`, links);
  }

  /** A device of no bus; gives its path. */
  other(name: string, links: readonly string[]): string {
    showLinks(`${devices}/${name}`, links);
    return `${devices}/${name}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dir of [devices, bus]) await must(["umount", dir]);
  }
}

function showLinks(dir: string, names: readonly string[]): void {
  Deno.mkdirSync(`${dir}/net`, { recursive: true });
  for (const name of names) Deno.mkdirSync(`${dir}/net/${name}`);
}
