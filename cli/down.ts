/**
 * `cni down NAME…`.
 *
 * @module
 */
import type { Json } from "../cni/types.ts";
import { command as toolCommand } from "../host/command.ts";
import { Machine } from "../ns/machine.ts";
import { inspectNetns, namedNetns } from "../ns/netns.ts";
import type { CniError } from "../cni/error.ts";
import { join, wrap } from "../cni/runtime/errors.ts";
import type { Cli, Subcommand } from "./cli.ts";
import { attachmentFrom, isSameNamespace, requireName } from "./attachment.ts";
import { chosenNetwork, networkOf } from "./networks.ts";
import { runtimeFlags } from "./options.ts";

/** Detaches namespaces and removes them. */
export const command: Subcommand = {
  usage: "down [FLAGS] NAME…",
  text: `
Removes every attachment of the network namespace of each NAME, then the namespace
itself. With --network only the attachments to that network go, and the namespace
stays as long as it has others. What is gone already is a success; after a failure
the next NAME is taken, and what failed can be tried again.`,
  example: "cni down web db",
  flags: ["network", "ifname", "json", ...runtimeFlags],
  words: { min: 1, max: Infinity },
  async run(cli) {
    const names = cli.parsed.words;
    names.forEach(requireName);
    const done: Down[] = [];
    const failures: CniError[] = [];
    for (const [index, name] of names.entries()) {
      cli.progress(`[${index + 1}/${names.length}] detaching ${name}`);
      try {
        done.push(await down(cli, name));
      } catch (error) {
        failures.push(wrap(`${name}: `, error));
      } finally {
        cli.progress("");
      }
    }
    // An error is the one JSON value then.
    if (failures.length === 0 || !cli.json) {
      cli.print(done.map((each): Json => ({ ...each })), () => done.map(describe).join(""));
    }
    if (failures.length > 0) throw join(failures);
  },
};

/** Outcome for one name. */
interface Down {
  readonly name: string;
  /** `IFNAME on NETWORK` of what was removed. */
  readonly detached: string[];
  /** Whether there was a namespace and it is gone. */
  readonly removed: boolean;
}

function describe({ name, detached, removed }: Down): string {
  const parts = [
    detached.length > 0 && `detached ${detached.join(", ")}`,
    removed && "namespace removed",
  ].filter(Boolean);
  return `${name}: ${parts.join(", ") || "nothing is attached"}\n`;
}

async function down(cli: Cli, name: string): Promise<Down> {
  const { path } = namedNetns(name);
  const detached = await detachAll(cli, path);
  const stays = remembered(cli, path).length > 0;
  const isThere = inspectNetns(path).is === "namespace";
  if (isThere && !stays) {
    await new Machine().apply([{
      why: `remove network namespace "${name}"`,
      do: toolCommand("ip", ["netns", "del", name]),
      tolerate: ["missing"],
    }]);
  }
  return { name, detached, removed: isThere && !stays };
}

function remembered(cli: Cli, path: string) {
  return cli.runtime().cache.attachments().filter(({ netns }) => isSameNamespace(netns, path));
}

/** Removes what is remembered of a namespace; without that, what a failed ADD may have left. */
async function detachAll(cli: Cli, path: string): Promise<string[]> {
  const only = cli.parsed.value("network");
  const ifName = cli.parsed.value("ifname");
  const runtime = cli.runtime();
  const known = remembered(cli, path)
    .filter(({ network }) => only === undefined || network === only)
    .filter((other) => ifName === undefined || other.ifName === ifName);
  for (const attachment of known) {
    await runtime.del(networkOf(cli, attachment), attachment, { bestEffort: true });
  }
  if (known.length === 0 && only !== undefined) {
    await runtime.del(chosenNetwork(cli), await attachmentFrom(cli, path), { bestEffort: true });
  }
  return known.map(({ ifName, network }) => `${ifName} on ${network}`);
}
