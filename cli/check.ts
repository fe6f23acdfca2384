/**
 * `cni check NETWORK NETNS`.
 *
 * @module
 */
import type { Subcommand } from "./cli.ts";
import { existingAttachment } from "./attachment.ts";
import { runtimeFlags } from "./options.ts";

/** Runs CHECK. */
export const command: Subcommand = {
  usage: "check [FLAGS] NETWORK NETNS",
  text: `
Runs CHECK of every plugin of NETWORK with the result that add kept. Silent and
exit status 0 when all is as it was made; a network with disableCheck always is.
Without CAP_ARGS and CNI_ARGS those of the add are used.`,
  example: "cni check mynet /run/netns/web",
  flags: ["ifname", "json", ...runtimeFlags],
  words: { min: 2, max: 2 },
  async run(cli) {
    const network = cli.network(cli.word(0));
    const runtime = cli.runtime();
    const where = { cache: runtime.cache, network: network.name, netns: cli.word(1) };
    const attachment = await existingAttachment(cli, where);
    await runtime.check(network, attachment);
    const { containerId, ifName } = attachment;
    cli.confirm(
      { network: network.name, containerId, ifName, check: "ok" },
      `${ifName} on ${network.name} is as it was made`,
    );
  },
};
