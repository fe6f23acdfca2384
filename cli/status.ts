/**
 * `cni status NETWORK`.
 *
 * @module
 */
import type { Subcommand } from "./cli.ts";
import { runtimeFlags } from "./options.ts";

/** Runs STATUS. */
export const command: Subcommand = {
  usage: "status [FLAGS] NETWORK [NETNS]",
  text: `
Runs STATUS of every plugin of NETWORK. Exit status 0 when it is ready for add.
NETNS is not used; cnitool wants it.`,
  example: "cni status mynet",
  flags: ["json", ...runtimeFlags],
  words: { min: 1, max: 2 },
  async run(cli) {
    const network = cli.network(cli.word(0));
    await cli.runtime().status(network);
    cli.confirm({ network: network.name, status: "ok" }, `${network.name} is ready`);
  },
};
