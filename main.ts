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
  const [subcommand, ...words] = subcommandOf(name, args);
  if (subcommand === "exchange") return await serveExchange();
  if (subcommand === "daemon") return await serveLeases(words);
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

/** Words after `dhcp`, if there are any: every executable that holds the plugin may be asked for them. */
function subcommandOf(name: string, args: readonly string[]): readonly string[] {
  if (args[0] === "dhcp") return args.slice(1);
  return name === "dhcp" ? args : [];
}

/** The lease agent, which may do what its plugin may. */
async function serveLeases(args: readonly string[]): Promise<never> {
  const plugin = await loadPlugin("dhcp");
  if (plugin) revokeUndeclared(plugin.permissions);
  const { runDaemon } = await import("./ipam/dhcp/agent/daemon.ts");
  return await runDaemon(args);
}

/** An exchange with DHCP servers, which needs its sockets and nothing else. */
async function serveExchange(): Promise<never> {
  revokeUndeclared({ run: [], read: [], write: [], net: true });
  const { runExchangeProcess } = await import("./ipam/dhcp/exchange/exchange_main.ts");
  return await runExchangeProcess();
}

if (import.meta.main) {
  const called = Deno.execPath().split("/").at(-1)!;
  const isNamed = called === "cni" || types.includes(called);
  // The executable of one plugin gets its name as an argument first, so that it may be renamed.
  const [first = called, ...rest] = Deno.args;
  if (!isNamed) await main(first, rest);
  else await main(called, first === called ? rest : Deno.args);
}
