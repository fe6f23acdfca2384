/**
 * The kernel of guests: Debian's own for machines in a cloud, from its package, never installed.
 * It stands below the user's cache folder, under its version, and is fetched once.
 *
 * @module
 */
import { spawn, toolEnv } from "../../host/spawn.ts";
import { ensurePackages } from "../packages.ts";
import { exists } from "../../tests/harness/exists.ts";

/** An architecture, as Deno names it. */
export type Architecture = typeof Deno.build.arch;

/** What Debian and QEMU call an architecture, and how its machines are started. */
export interface Platform {
  /** The architecture's name in names of packages. */
  readonly debian: string;
  /** Package of the emulator. */
  readonly emulatorPackage: string;
  /** Program that emulates it. */
  readonly emulator: string;
  /** Type of machine. */
  readonly machine: string;
  /** Name of its first serial port. */
  readonly console: string;
}

/** How each architecture's guests are started. */
export const platforms: Readonly<Record<Architecture, Platform>> = {
  x86_64: {
    debian: "amd64",
    emulatorPackage: "qemu-system-x86",
    emulator: "qemu-system-x86_64",
    machine: "pc",
    console: "ttyS0",
  },
  aarch64: {
    debian: "arm64",
    emulatorPackage: "qemu-system-arm",
    emulator: "qemu-system-aarch64",
    machine: "virt",
    console: "ttyAMA0",
  },
};

/** A kernel that can be booted. */
export interface GuestKernel {
  readonly image: string;
  readonly initrd: string;
  /** Folder of its modules, which is named after its version. */
  readonly modules: string;
  readonly platform: Platform;
}

/** What the kernel needs before it can reach the root file system; their dependencies come along. */
const earlyModules = ["virtio_pci", "virtiofs", "overlay"];

/** The folder of kernels. */
export function cacheFolder(env: (name: string) => string | undefined = Deno.env.get): string {
  return `${env("XDG_CACHE_HOME") || `${env("HOME") ?? ""}/.cache`}/denocni/guest`;
}

/** Installs what emulates guests, and gives Debian's current kernel; fetches it when it is new. */
export async function guestKernel(arch: Architecture = Deno.build.arch): Promise<GuestKernel> {
  // The file server opens files of others without touching their times.
  if (Deno.uid() !== 0) throw new Error("Cannot start a guest: only root may");
  const platform = platforms[arch];
  await ensurePackages([platform.emulatorPackage, "cpio", "kmod"]);
  const name = await packageName(platform);
  const folder = `${cacheFolder()}/${name}`;
  if (!exists(folder)) {
    console.log(`Fetching a kernel for guests into ${folder}`);
    await putInPlace(folder, (beside) => unpack(name, beside));
  }
  return await bootable(folder, platform);
}

/** The kernel of a folder into which its package is unpacked. */
async function bootable(folder: string, platform: Platform): Promise<GuestKernel> {
  const version = versionOf(folder.slice(folder.lastIndexOf("/") + 1));
  return {
    platform,
    image: `${folder}/boot/vmlinuz-${version}`,
    initrd: await initrd(folder, version),
    modules: `${folder}/lib/modules/${version}`,
  };
}

/** Name of the package with the kernel, which ends with its version. */
async function packageName({ debian }: Platform): Promise<string> {
  const ask = () => run("apt-cache", ["depends", `linux-image-cloud-${debian}`]).catch(() => "");
  const name = kernelPackage(await ask());
  if (name) return name;
  await run("apt-get", ["update", "-qq"]);
  const found = kernelPackage(await ask());
  if (found) return found;
  throw new Error(`Cannot find a kernel for guests: no package linux-image-cloud-${debian}`);
}

/** The package that `apt-cache depends` says a kernel's meta package stands for. */
export function kernelPackage(dependencies: string): string | undefined {
  return /^\s*Depends: (linux-image-\S+)$/m.exec(dependencies)?.[1];
}

/** Fetches packages and unpacks them; a list that is old names files which are no longer there. */
const unpackScript = `mkdir -p "$0"
cd "$0"
apt-get download -qq "$@" || { apt-get update -qq; apt-get download -qq "$@"; }
for file in *.deb; do
  dpkg -x "$file" .
  rm "$file"
done`;

/** Unpacks a kernel's package, and a shell for its start. */
async function unpack(name: string, folder: string): Promise<void> {
  await run("sh", ["-ec", unpackScript, folder, name, "busybox-static"]);
  await run("depmod", ["-b", folder, versionOf(name)]);
}

function versionOf(name: string): string {
  return name.slice("linux-image-".length);
}

/** The kernel's first file system; another one when what starts there has changed. */
async function initrd(folder: string, version: string): Promise<string> {
  const init = await Deno.readTextFile(new URL("init.sh", import.meta.url));
  const path = `${folder}/initrd-${await digest(init + earlyModules)}`;
  if (exists(path)) return path;
  const tree = await Deno.makeTempDir({ prefix: "denocni-initrd-" });
  try {
    await Deno.writeTextFile(`${tree}/init`, init, { mode: 0o755 });
    await Deno.mkdir(`${tree}/bin`);
    await Deno.copyFile(`${folder}/bin/busybox`, `${tree}/bin/busybox`);
    await copyModules({ folder, version, to: `${tree}/modules` });
    await putInPlace(path, (beside) => run("sh", ["-ec", archiveScript, tree, beside]));
    return path;
  } finally {
    await Deno.remove(tree, { recursive: true });
  }
}

/** Puts a folder's files into an archive for the kernel. */
const archiveScript = `cd "$0"
find . | cpio --quiet -o -H newc | gzip >"$1"`;

/** Copies the early modules under names that sort as they are loaded. */
async function copyModules(
  { folder, version, to }: { folder: string; version: string; to: string },
): Promise<void> {
  await Deno.mkdir(to);
  const options = ["-d", folder, "-S", version, "--show-depends", "--all"];
  const files = moduleFiles(await run("modprobe", [...options, ...earlyModules]));
  for (const [index, file] of files.entries()) {
    const name = file.slice(file.lastIndexOf("/") + 1);
    await Deno.copyFile(file, `${to}/${String(index).padStart(2, "0")}-${name}`);
  }
}

/** The files that `modprobe --show-depends` says are loaded, each once, in its order. */
export function moduleFiles(depends: string): string[] {
  return [...new Set([...depends.matchAll(/^insmod (\S+)/gm)].map(([, file]) => file!))];
}

/**
 * Makes a file or folder under a name of its own and renames it when it is whole, so that neither
 * one that was cut off nor two at once do harm.
 */
export async function putInPlace(
  path: string,
  make: (beside: string) => Promise<unknown>,
): Promise<void> {
  const beside = `${path}.${crypto.randomUUID()}`;
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  try {
    await make(beside);
    await Deno.rename(beside, path);
  } catch (error) {
    await Deno.remove(beside, { recursive: true }).catch(() => {});
    // Another one was faster.
    if (!exists(path)) throw error;
  }
}

async function digest(text: string): Promise<string> {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(bytes).toHex().slice(0, 12);
}

/** Runs a program of this machine that must succeed, and gives its stdout. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await spawn("/usr/bin/env", [program, ...args], {
    inherit: true,
    env: toolEnv,
    deadline: 600_000,
  });
  if (code === 0) return stdout;
  throw new Error(`Cannot make a kernel for guests: ${program} ${args[0]}: ${stderr.trim()}`);
}
