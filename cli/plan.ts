/**
 * `cni plan NETWORK NETNS`.
 *
 * @module
 */
import type { Command } from "../host/command.ts";
import type { QueryOptions } from "../ns/machine.ts";
import type { NetworkConfig } from "../cni/runtime/config.ts";
import type { Json, JsonObject } from "../cni/types.ts";
import { fold, processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import { DryRun } from "../ns/machine.ts";
import { wrap } from "../cni/runtime/errors.ts";
import type { Cli, Subcommand } from "./cli.ts";
import { attachmentFrom, existingAttachment } from "./attachment.ts";
import { runtimeFlags } from "./options.ts";
import { picture } from "./picture.ts";

/** Shows what ADD or DEL would do. */
export const command: Subcommand = {
  usage: "plan [FLAGS] NETWORK NETNS",
  text: `
Goes through ADD (with --del: DEL) of every plugin of NETWORK without changing
anything: shows each step, the commands that would carry them out, how many
processes that takes, and the result. The machine is looked at for real, so NETNS
must be there and root is needed. Plugins that are not ours cannot be planned, nor
one that looks for what a plugin before it would have made.`,
  example: "cni plan mynet /run/netns/web",
  flags: ["del", "ifname", "json", ...runtimeFlags],
  words: { min: 2, max: 2 },
  async run(cli) {
    const network = cli.network(cli.word(0));
    const recorder = new Recorder();
    try {
      const result = await carryOut(cli, { network, recorder });
      cli.print(toJson(cli, { recorder, result }), () => toText(cli, { recorder, result }));
    } catch (error) {
      const begun = recorder.plans.filter(({ host }) => host.steps.length > 0);
      if (!cli.json) cli.io.stdout(begun.map(planText).join("\n"));
      throw wrap("Cannot plan further: ", error);
    }
  },
};

/** A machine that counts how often it was looked at. */
class CountingDryRun extends DryRun {
  queries = 0;

  override query(cmd: Command, options?: QueryOptions): Promise<string | undefined> {
    this.queries++;
    return super.query(cmd, options);
  }
}

interface Plan {
  readonly type: string;
  readonly host: CountingDryRun;
}

/** A machine of its own for every plugin of the chain, so that steps tell whose they are. */
class Recorder {
  readonly plans: Plan[] = [];

  readonly host = (type: string): CountingDryRun => {
    const host = new CountingDryRun();
    this.plans.push({ type, host });
    return host;
  };
}

interface Context {
  readonly network: NetworkConfig;
  readonly recorder: Recorder;
}

async function carryOut(
  cli: Cli,
  { network, recorder }: Context,
): Promise<JsonObject | undefined> {
  const runtime = cli.runtime({ host: recorder.host, dryRun: true });
  if (!cli.parsed.has("del")) {
    return await runtime.add(network, await attachmentFrom(cli, cli.word(1)));
  }
  const where = { cache: runtime.cache, network: network.name, netns: cli.word(1) };
  await runtime.del(network, await existingAttachment(cli, where));
  return undefined;
}

interface Outcome {
  readonly recorder: Recorder;
  readonly result: JsonObject | undefined;
}

function total(plans: readonly Plan[]): number {
  return plans.reduce((sum, { host }) => sum + processes(host.steps), 0);
}

function toJson(cli: Cli, { recorder: { plans }, result }: Outcome): JsonObject {
  return {
    network: cli.word(0),
    verb: cli.parsed.has("del") ? "DEL" : "ADD",
    plugins: plans.map(({ type, host }): Json => ({
      type,
      queries: host.queries,
      steps: host.steps.map(({ why, do: action }): Json => ({ why, do: describe(action) })),
      commands: fold(host.steps).map(({ run }) => describe(run)),
      processes: processes(host.steps),
    })),
    processes: total(plans),
    ...(result && { result }),
  };
}

function toText(cli: Cli, { recorder: { plans }, result }: Outcome): string {
  const count = total(plans);
  const sum = `In all: ${count} ${count === 1 ? "process" : "processes"}; nothing was changed.\n`;
  const drawn = result ? `\nResult:\n${picture(result, cli.word(1))}` : "";
  return `${plans.map(planText).join("\n")}\n${sum}${drawn}`;
}

function planText({ type, host }: Plan): string {
  const { steps } = host;
  if (steps.length === 0) return `${type}: nothing to do\n`;
  const width = String(steps.length).length;
  const reasons = steps.map(({ why }, index) => `  ${`${index + 1}`.padStart(width)}. ${why}\n`);
  const commands = fold(steps).map(({ run }) =>
    `    ${describe(run).replaceAll("\n", "\n    ")}\n`
  );
  const count = processes(steps);
  return `${type}: ${steps.length} steps in ${count} ${count === 1 ? "process" : "processes"}\n${
    reasons.join("")
  }  carried out by\n${commands.join("")}`;
}
