/**
 * `cni up NAME…`.
 *
 * @module
 */
import type { Step } from "../host/step.ts";
import type { Attachment } from "../cni/runtime/chain.ts";
import type { NetworkConfig } from "../cni/runtime/config.ts";
import type { Runtime } from "../cni/runtime/runtime.ts";
import type { JsonObject } from "../cni/types.ts";
import { command as toolCommand } from "../host/command.ts";
import { setLink } from "../host/ip_link.ts";
import { Machine } from "../ns/machine.ts";
import { inspectNetns, namedNetns } from "../ns/netns.ts";
import { CniError, codes, toCniError } from "../cni/error.ts";
import { withUndoFailures } from "../cni/serve.ts";
import type { Cli, Subcommand } from "./cli.ts";
import { attachmentFrom, requireName } from "./attachment.ts";
import { chosenNetwork } from "./networks.ts";
import { runtimeFlags } from "./options.ts";
import { picture } from "./picture.ts";

/** Makes namespaces and attaches them. */
export const command: Subcommand = {
  usage: "up [FLAGS] NAME…",
  text: `
Makes a network namespace for each NAME (as "ip netns add" does, with lo up) and
attaches it to the network of --network, or to the only one of the directory.
A namespace that is there already is attached; one that is attached already stays
as it is. When an attachment fails, a namespace made for it is removed again.`,
  example: "cni up web db --network mynet && ip netns exec web ip addr",
  flags: ["network", "ifname", "json", ...runtimeFlags],
  words: { min: 1, max: Infinity },
  async run(cli) {
    const names = cli.parsed.words;
    names.forEach(requireName);
    const network = chosenNetwork(cli);
    const done: Up[] = [];
    for (const [index, name] of names.entries()) {
      cli.progress(`[${index + 1}/${names.length}] attaching ${name} to ${network.name}`);
      try {
        done.push(await up(cli, { name, network }));
      } finally {
        cli.progress("");
      }
      if (!cli.json) cli.io.stdout(describe(done.at(-1)!));
    }
    cli.print(done.map((each): JsonObject => ({ ...each })), () => "");
  },
};

/** Outcome for one name. */
interface Up {
  readonly name: string;
  readonly network: string;
  readonly netns: string;
  readonly containerId: string;
  readonly ifName: string;
  /** Whether it was attached before. */
  readonly already: boolean;
  readonly result: JsonObject;
}

function describe({ name, network, ifName, netns, already, result }: Up): string {
  const state = already ? "is attached already" : "is attached";
  return `${name} ${state} to ${network} by ${ifName}\n${picture(result, netns)}\n`;
}

async function up(
  cli: Cli,
  { name, network }: { name: string; network: NetworkConfig },
): Promise<Up> {
  const { path } = namedNetns(name);
  const state = inspectNetns(path);
  if (state.is === "foreign") {
    throw new CniError(codes.invalidNetns, `Cannot use namespace "${path}": ${state.what}`);
  }
  const attachment = await attachmentFrom(cli, path);
  const runtime = cli.runtime();
  const { containerId, ifName } = attachment;
  const about = { name, network: network.name, netns: path, containerId, ifName };
  const known = runtime.cache.attachments(containerId)
    .find((other) => other.network === network.name && other.ifName === ifName);
  const isThere = state.is === "namespace";
  if (known && isThere) return { ...about, already: true, result: known.result ?? {} };
  // A namespace that has gone, with the host's last run perhaps, left this behind.
  if (known) await runtime.del(network, known);
  const result = isThere
    ? await runtime.add(network, attachment)
    : await addInNew(cli, { name, network, attachment, runtime });
  return { ...about, already: false, result };
}

interface New {
  readonly name: string;
  readonly network: NetworkConfig;
  readonly attachment: Attachment;
  readonly runtime: Runtime;
}

/** Makes the namespace first, and takes everything back when it cannot be attached. */
async function addInNew(
  cli: Cli,
  { name, network, attachment, runtime }: New,
): Promise<JsonObject> {
  const machine = new Machine();
  try {
    await machine.apply(planNetns(name));
    machine.onRollback(
      `attach "${name}"`,
      // What has stopped the attachment must not stop its removal.
      () => cli.runtime({ signal: undefined }).del(network, attachment, { bestEffort: true }),
    );
    return await runtime.add(network, attachment);
  } catch (error) {
    throw withUndoFailures(toCniError(error), await machine.rollback());
  }
}

/** A namespace as a container has it. */
export function planNetns(name: string): Step[] {
  return [
    {
      why: `make network namespace "${name}"`,
      do: toolCommand("ip", ["netns", "add", name]),
      undo: toolCommand("ip", ["netns", "del", name]),
    },
    {
      why: `set lo up in network namespace "${name}"`,
      do: setLink("lo", { up: true, netns: namedNetns(name) }),
    },
  ];
}
