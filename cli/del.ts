/**
 * `cni del NETWORK NETNS`.
 *
 * @module
 */
import type { Subcommand } from "./cli.ts";
import { existingAttachment } from "./attachment.ts";
import { runtimeFlags } from "./options.ts";

/** Runs DEL. */
export const command: Subcommand = {
  usage: "del [FLAGS] NETWORK NETNS",
  text: `
Runs DEL of every plugin of NETWORK in reverse and forgets the result. NETNS may be
gone. What is removed already is a success. The first failure ends it, as with
cnitool, and the result is still kept, so that del can be called again.
Without CAP_ARGS and CNI_ARGS those of the add are used.`,
  example: "cni del mynet /run/netns/web",
  flags: ["ifname", "best-effort", "json", ...runtimeFlags],
  words: { min: 2, max: 2 },
  async run(cli) {
    const network = cli.network(cli.word(0));
    const runtime = cli.runtime();
    const where = { cache: runtime.cache, network: network.name, netns: cli.word(1) };
    const attachment = await existingAttachment(cli, where);
    const bestEffort = cli.parsed.has("best-effort");
    await runtime.del(network, attachment, { bestEffort });
    const { containerId, ifName } = attachment;
    cli.confirm(
      { network: network.name, containerId, ifName, del: "ok" },
      `${ifName} is off ${network.name}`,
    );
  },
};
