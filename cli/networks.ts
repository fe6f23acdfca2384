/**
 * Which network a command is about when the command line does not say it.
 *
 * @module
 */
import { CniError, codes } from "../cni/error.ts";
import type { CachedAttachment } from "../cni/runtime/cache.ts";
import type { NetworkConfig } from "../cni/runtime/config.ts";
import { networkFromPlugin, parseNetwork, parsePlugin } from "../cni/runtime/config.ts";
import { listNetworks } from "../cni/runtime/find.ts";
import type { Cli } from "./cli.ts";

/** The network of `--network`, or the only one there is. */
export function chosenNetwork(cli: Cli): NetworkConfig {
  const name = cli.parsed.value("network");
  if (name !== undefined) return cli.network(name);
  const found = listNetworks(cli.confDir);
  const broken = found.find(({ error }) => error);
  if (broken) {
    throw new CniError(broken.error!.code, `Cannot read "${broken.path}": ${broken.error!.msg}`);
  }
  const names = [...new Set(found.map(({ network }) => network!.name))];
  if (names.length === 1) return cli.network(names[0]!);
  throw new CniError(
    codes.invalidNetworkConfig,
    names.length === 0
      ? `Cannot choose a network: there is none in "${cli.confDir}"`
      : `Cannot choose a network: "${cli.confDir}" holds ${
        names.join(", ")
      }; name one with --network`,
  );
}

/** The network of an attachment: as it is configured now, else as it was at ADD. */
export function networkOf(cli: Cli, attachment: CachedAttachment): NetworkConfig {
  try {
    return cli.network(attachment.network);
  } catch {
    return networkAtAdd(attachment);
  }
}

/** The network of an attachment as it was at ADD. */
export function networkAtAdd({ config }: CachedAttachment): NetworkConfig {
  try {
    return parseNetwork(config);
  } catch {
    return networkFromPlugin(parsePlugin(config));
  }
}
