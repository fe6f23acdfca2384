/**
 * `cni repair [NETWORK]`.
 *
 * @module
 */
import type { CniError } from "../cni/error.ts";
import { toCniError } from "../cni/error.ts";
import type { CachedAttachment } from "../cni/runtime/cache.ts";
import { join, wrap } from "../cni/runtime/errors.ts";
import type { Repaired } from "../cni/runtime/repair.ts";
import type { JsonObject } from "../cni/types.ts";
import { inspectNetns } from "../ns/netns.ts";
import type { Cli, Subcommand } from "./cli.ts";
import { networkAtAdd } from "./networks.ts";
import { runtimeFlags } from "./options.ts";

/** Puts rules back. */
export const command: Subcommand = {
  usage: "repair [FLAGS] [NETWORK]",
  text: `
Puts back what others have taken away of the attachments to NETWORK, or of all that
are remembered, outside of their containers: rules of firewall and portmap, masquerade
and spoof checks, after firewalld or nftables was reloaded. Nothing is done where
nothing is missing. It works from the result and the configuration of each ADD. Left
out are attachments whose namespace is gone, and plugins that are not ours.`,
  example: "cni repair mynet",
  flags: ["json", ...runtimeFlags],
  words: { min: 0, max: 1 },
  async run(cli) {
    const wanted = cli.word(0);
    const known = cli.runtime().cache.attachments()
      .filter(({ network }) => wanted === "" || network === wanted);
    const done: Done[] = [];
    const failures: CniError[] = [];
    for (const attachment of known) {
      try {
        done.push(await repair(cli, attachment));
      } catch (error) {
        const { network, containerId, ifName } = attachment;
        failures.push(wrap(`${network}: ${containerId}/${ifName}: `, toCniError(error)));
      }
    }
    // An error is the one JSON value then.
    if (failures.length === 0 || !cli.json) {
      cli.print(done.map(toJson), () => done.map(describe).join("") || nothing(wanted));
    }
    if (failures.length > 0) throw join(failures);
  },
};

interface Done {
  readonly attachment: CachedAttachment;
  readonly state: "ok" | "repaired" | "netns gone";
  readonly plugins: readonly Repaired[];
}

async function repair(cli: Cli, attachment: CachedAttachment): Promise<Done> {
  // Its addresses may be another container's by now.
  if (isGone(attachment)) return { attachment, state: "netns gone", plugins: [] };
  const plugins = await cli.runtime().repair(networkAtAdd(attachment), attachment);
  const missing = plugins.some(({ missing }) => missing.length > 0);
  return { attachment, state: missing ? "repaired" : "ok", plugins };
}

function isGone({ netns }: CachedAttachment): boolean {
  return netns !== "" && inspectNetns(netns).is !== "namespace";
}

function toJson({ attachment, state, plugins }: Done): JsonObject {
  const { network, containerId, ifName } = attachment;
  return {
    network,
    containerId,
    ifName,
    state,
    missing: plugins.flatMap(({ type, missing }) => missing.map((line) => `${type}: ${line}`)),
    foreign: plugins.filter(({ foreign }) => foreign).map(({ type }) => type),
  };
}

function describe({ attachment, state, plugins }: Done): string {
  const { network, containerId, ifName } = attachment;
  const foreign = plugins.filter(({ foreign }) => foreign).map(({ type }) => type);
  const note = foreign.length > 0 ? ` (not ours, left out: ${foreign.join(", ")})` : "";
  const lines = plugins.flatMap(({ type, missing }) =>
    missing.map((line) => `  ${type}: ${line}\n`)
  );
  return `${network}: ${containerId}/${ifName}: ${state}${note}\n${lines.join("")}`;
}

function nothing(wanted: string): string {
  return wanted ? `Nothing is attached to ${wanted}\n` : "Nothing is attached\n";
}
