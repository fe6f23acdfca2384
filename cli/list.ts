/**
 * `cni list`.
 *
 * @module
 */
import type { CachedAttachment } from "../cni/runtime/cache.ts";
import type { FoundFile } from "../cni/runtime/find.ts";
import type { JsonObject } from "../cni/types.ts";
import { inspectNetns } from "../ns/netns.ts";
import { parseResult } from "../cni/result.ts";
import { Cache } from "../cni/runtime/cache.ts";
import { listNetworks } from "../cni/runtime/find.ts";
import { oldest } from "../cni/version.ts";
import type { Cli, Subcommand } from "./cli.ts";
import { table } from "./table.ts";

/** Shows networks and attachments. */
export const command: Subcommand = {
  usage: "list [FLAGS] [NETWORK]",
  text: `
Shows the networks of the directory, in the order in which they are looked up, and
the attachments that are remembered, or those of NETWORK alone. STATE tells what has
changed since they were made:
  ok             the namespace is there
  netns gone     nothing stands at its path; "cni gc NETWORK" removes such ones
  netns foreign  what stands at its path is no network namespace
  netns unknown  it was not remembered
  network gone   the network is not configured any more
A file that cannot be read ends every lookup that comes to it.`,
  example: "cni list --json",
  flags: ["json", "conf-dir", "cache-dir"],
  words: { min: 0, max: 1 },
  run(cli) {
    const files = listNetworks(cli.confDir);
    const names = new Set(files.map(({ network }) => network?.name));
    const wanted = cli.word(0);
    const attachments = new Cache(cli.cacheDir).attachments()
      .filter(({ network }) => wanted === "" || network === wanted)
      .map((attachment) => ({ attachment, state: stateOf(attachment, names) }));
    const shown = files.filter(({ network }) => wanted === "" || network?.name === wanted);
    cli.print({
      networks: shown.map(networkJson),
      attachments: attachments.map(attachmentJson),
    }, () => `${networkTable(cli, shown)}\n${attachmentTable(cli, attachments)}`);
    return Promise.resolve();
  },
};

interface Shown {
  readonly attachment: CachedAttachment;
  readonly state: string;
}

/** Change since ADD; empty when there is none. */
function stateOf(
  { netns, network }: CachedAttachment,
  networks: ReadonlySet<string | undefined>,
): string {
  const states = [netnsState(netns), networks.has(network) ? "" : "network gone"];
  return states.filter(Boolean).join(", ") || "ok";
}

function netnsState(path: string): string {
  if (path === "") return "netns unknown";
  const { is } = inspectNetns(path);
  return is === "namespace" ? "" : is === "missing" ? "netns gone" : "netns foreign";
}

function addressesOf({ result }: CachedAttachment): string[] {
  try {
    return parseResult(result ?? {}, oldest).result.ips.map(({ address }) => address);
  } catch {
    return [];
  }
}

function networkJson({ path, network, error }: FoundFile): JsonObject {
  if (!network) return { file: path, error: error?.msg ?? "" };
  const { name, cniVersion, plugins } = network;
  return { name, cniVersion, plugins: plugins.map(({ type }) => type), file: path };
}

function attachmentJson({ attachment, state }: Shown): JsonObject {
  const { network, containerId, ifName, netns } = attachment;
  return { network, containerId, ifName, netns, addresses: addressesOf(attachment), state };
}

function networkTable(cli: Cli, files: readonly FoundFile[]): string {
  if (files.length === 0) return `No network is configured in ${cli.confDir}\n`;
  const rows = files.map(({ path, network, error }) =>
    network
      ? [
        network.name,
        network.cniVersion || oldest,
        network.plugins.map(({ type }) => type).join(" → "),
        path,
      ]
      : ["-", "-", `cannot be read: ${error?.msg}`, path]
  );
  return table(["NETWORK", "VERSION", "PLUGINS", "FILE"], rows);
}

function attachmentTable(cli: Cli, shown: readonly Shown[]): string {
  if (shown.length === 0) return `Nothing is attached, as far as ${cli.cacheDir} tells\n`;
  const rows = shown.map(({ attachment, state }) => [
    attachment.network,
    attachment.ifName,
    addressesOf(attachment).join(" "),
    attachment.netns || "-",
    state,
    attachment.containerId,
  ]);
  return table(["NETWORK", "INTERFACE", "ADDRESSES", "NAMESPACE", "STATE", "CONTAINER"], rows);
}
