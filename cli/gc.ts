/**
 * `cni gc NETWORK`.
 *
 * @module
 */
import type { ContainerInterface } from "../cni/attachment_key.ts";
import type { Subcommand } from "./cli.ts";
import { runtimeFlags, UsageError } from "./options.ts";

/** Removes stale attachments and runs GC. */
export const command: Subcommand = {
  usage: "gc [FLAGS] NETWORK [NETNS]",
  text: `
Removes every attachment of NETWORK that is remembered and not named by --keep,
then tells the plugins which ones are valid, so that they remove all else.
Without --keep nothing stays, as with cnitool. NETNS is not used; cnitool wants it.
A network with disableGC is left alone.`,
  example: "cni gc mynet --keep cnitool-43057b9dcc39fe733071/eth0",
  flags: ["keep", "json", ...runtimeFlags],
  words: { min: 1, max: 2 },
  async run(cli) {
    const network = cli.network(cli.word(0));
    const valid = cli.parsed.values("keep").map(containerInterface);
    await cli.runtime().gc(network, valid);
    cli.confirm(
      {
        network: network.name,
        keep: valid.map(({ containerId, ifName }) => ({
          containerID: containerId,
          ifname: ifName,
        })),
        gc: "ok",
      },
      `${network.name} holds nothing but ${valid.length} valid attachments`,
    );
  },
};

/** Neither part can contain a slash. */
function containerInterface(text: string): ContainerInterface {
  const [containerId, ifName, ...more] = text.split("/");
  if (!containerId || !ifName || more.length > 0) {
    throw new UsageError(`invalid --keep ${JSON.stringify(text)}: expected ID/IFNAME`);
  }
  return { containerId, ifName };
}
