/**
 * Debian packages that tests and the demonstration need.
 *
 * @module
 */

/** What kernel tests run, beyond a plain Debian. */
export const testPackages: readonly string[] = [
  "conntrack",
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

async function missingPackages(packages: readonly string[]): Promise<string[]> {
  const { stdout } = await new Deno.Command("dpkg-query", {
    args: ["-W", "-f", "${Package} ${db:Status-Status}\n", ...packages],
    stderr: "null",
  }).output();
  const lines = new TextDecoder().decode(stdout).split("\n");
  return packages.filter((name) => !lines.includes(`${name} installed`));
}

async function apt(args: readonly string[]): Promise<void> {
  const { code } = await new Deno.Command("apt-get", {
    args: [...args],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdout: "null",
  }).spawn().status;
  if (code === 0) return;
  console.error(`Cannot install packages: apt-get ${args[0]} ended with exit status ${code}`);
  Deno.exit(1);
}
