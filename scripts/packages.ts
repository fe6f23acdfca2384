/**
 * Debian packages that tests and the demonstration need.
 *
 * @module
 */

import { spawn } from "../host/spawn.ts";

/** What kernel tests run, beyond a plain Debian. */
export const testPackages: readonly string[] = [
  "busybox",
  "conntrack",
  "dnsmasq-base",
  "iproute2",
  "iptables",
  "kmod",
  "nftables",
  "procps",
  "util-linux",
];

/**
 * Makes sure that packages are installed. Installs what is missing when this is
 * Debian and root, and says so; else says what is missing and exits with status 1.
 */
export async function ensurePackages(packages: readonly string[]): Promise<void> {
  const missing = await missingPackages(packages);
  if (missing.length === 0) return;
  if (Deno.uid() !== 0) {
    console.error(`Cannot go on: missing Debian packages: ${missing.join(" ")}`);
    console.error(`As root: apt-get install ${missing.join(" ")}`);
    Deno.exit(1);
  }
  console.log(`Installing missing Debian packages: ${missing.join(" ")}`);
  await apt(["update", "-qq"]);
  await apt(["install", "-y", "-qq", "--no-install-recommends", ...missing]);
}

/** Where dpkg is not known nothing is: what then is missing shows itself. */
async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const query = ["-W", "-f", "${Package} ${db:Status-Status}\\n", ...packages];
  try {
    const { stdout } = await spawn("/usr/bin/dpkg-query", query);
    const lines = stdout.split("\n");
    return packages.filter((name) => !lines.includes(`${name} installed`));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log(`This is not Debian: taking these for installed: ${packages.join(" ")}`);
    return [];
  }
}

async function apt(args: readonly string[]): Promise<void> {
  const { code, stderr } = await spawn("/usr/bin/apt-get", args, {
    inherit: true,
    env: { DEBIAN_FRONTEND: "noninteractive" },
    deadline: 600_000,
  });
  if (code === 0) return;
  console.error(`Cannot install packages: apt-get ${args[0]}: ${stderr.trim()}`);
  Deno.exit(1);
}
