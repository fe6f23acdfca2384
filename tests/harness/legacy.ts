/**
 * Puts the legacy iptables in the place of the one over nftables, for the time
 * of a test: tools are looked for in `/usr/local/sbin` first.
 *
 * @module
 */
import { must } from "./process.ts";

const dir = "/usr/local/sbin";

/** The legacy programs under the usual names, taken away when disposed of. */
export async function useLegacyIptables(): Promise<AsyncDisposable> {
  await must(["mount", "-t", "tmpfs", "-o", "mode=0755", "denocni", dir]);
  for (const family of ["iptables", "ip6tables"]) {
    for (const end of ["", "-save", "-restore"]) {
      Deno.symlinkSync(`/usr/sbin/${family}-legacy${end}`, `${dir}/${family}${end}`);
    }
  }
  return {
    async [Symbol.asyncDispose]() {
      await must(["umount", dir]);
    },
  };
}
