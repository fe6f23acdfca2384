/**
 * `cni add NETWORK NETNS`.
 *
 * @module
 */
import { stringifyResult } from "../cni/result.ts";
import type { Subcommand } from "./cli.ts";
import { attachmentFrom } from "./attachment.ts";
import { runtimeFlags } from "./options.ts";
import { picture } from "./picture.ts";

/** Runs ADD and prints the result. */
export const command: Subcommand = {
  usage: "add [FLAGS] NETWORK NETNS",
  text: `
Runs ADD of every plugin of NETWORK for the namespace at the path NETNS and keeps
the result for check and del. The container ID is made from the path, as cnitool
makes it. CAP_ARGS holds a JSON object of runtime data, CNI_ARGS KEY=VALUE;… pairs.

stdout: the result as JSON; on a terminal, and with --pretty, a picture of it.
Nothing is taken back when a plugin fails: call del, as every runtime does.`,
  example: "cni add mynet /run/netns/web",
  flags: ["ifname", "json", "pretty", ...runtimeFlags],
  words: { min: 2, max: 2 },
  async run(cli) {
    const network = cli.network(cli.word(0));
    const attachment = await attachmentFrom(cli, cli.word(1));
    const result = await cli.runtime().add(network, attachment);
    const { parsed, io } = cli;
    const draws = !cli.json && (io.stdoutIsTerminal || parsed.has("pretty"));
    io.stdout(draws ? picture(result, attachment.netns) : stringifyResult(result));
  },
};
