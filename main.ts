/**
 * The one entry of every packaging: picks the plugin (or the `cni` command) by
 * the name it was called by, gives up every permission the plugin does not
 * declare, and serves it.
 *
 * @module
 */
import { revokeUndeclared } from "./cni/permissions.ts";
import { serve } from "./cni/serve.ts";
import { loadPlugin, types } from "./registry.ts";

/** Serves the plugin of this name. A script run by Deno names it as its first argument. */
export async function main(name: string, args: readonly string[]): Promise<void> {
  if (name === "cni") {
    const { main } = await import("./cli/main.ts");
    return await main(args);
  }
  const plugin = await loadPlugin(name);
  if (!plugin) {
    console.error(
      `Cannot serve "${name}": expected one of ${["cni", ...types].join(", ")}`,
    );
    Deno.exit(1);
  }
  revokeUndeclared(plugin.permissions);
  await serve(plugin, loadPlugin);
}

if (import.meta.main) {
  const called = Deno.execPath().split("/").at(-1)!;
  const compiled = called === "cni" || types.includes(called);
  const name = compiled ? called : Deno.args[0] ?? called;
  await main(name, compiled ? Deno.args : Deno.args.slice(1));
}
