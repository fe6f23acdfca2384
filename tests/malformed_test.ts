/**
 * Thousands of malformed inputs: each must be answered by one error object with a
 * foreseen code and must change nothing, or be harmless, and then DEL cleans up.
 * Most run inside one process, some as processes of their own. Everything is
 * read-only but the folders of the run, so that no path can do harm.
 *
 * @module
 */
import type { HostileInput } from "./harness/hostile.ts";
import { hostileInput } from "./harness/hostile.ts";
import type { InProcessReply } from "./harness/in_process.ts";
import { rounds } from "./harness/guest.ts";
import type { Feed, Plugin } from "./harness/malformed.ts";
import { feed } from "./harness/malformed.ts";
import { kernelTest, unmet } from "./harness/need.ts";
import { pluginArgv } from "./harness/plugin.ts";
import { Child, execute } from "./harness/process.ts";
import { seedOf } from "./harness/random.ts";
import { chosenRows, countTypes } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";

/** Inputs of all plugins together. */
const inProcess = rounds(2000, 300);
const asProcesses = rounds(150, 20);

/** Enters the host stand-in with a root file system that cannot be written. */
const readOnlyRoot = [
  "unshare",
  "--mount",
  "--propagation",
  // Namespaces that are made later appear inside too.
  "slave",
  "sh",
  "-c",
  'mount -o remount,bind,ro / && exec "$@"',
  "sh",
];

/** The rows of each type; those that lack something here by themselves. */
const groups = Map.groupBy(
  chosenRows(),
  ({ type, needs }) => `${type} ${unmet(["private", ...needs]).length > 0}`,
);

for (const rows of groups.values()) {
  const { type } = rows[0]!;
  const needs = [`plugin:${type}` as const, ...rows.flatMap((row) => row.needs)];
  const share = (count: number) => Math.ceil(count / countTypes());

  kernelTest(`${type}: ${share(inProcess)} malformed inputs in one process`, {
    needs,
  }, async (sandbox) => {
    await using child = startWorker(sandbox);
    const plugin: Plugin = async (input) => {
      await child.say(JSON.stringify({ type, env: input.env, stdin: input.stdin }));
      const reply: InProcessReply = JSON.parse(await lineOf(child, input));
      if ("escaped" in reply) throw new Error(`${input.about}: ${reply.escaped}`);
      return { code: reply.exit, signal: null, stdout: reply.stdout, stderr: reply.stderr };
    };
    await feed(sandbox, {
      rows,
      plugin,
      count: share(inProcess),
      seed: seedOf(1_100),
      spoil: hostileInput,
    });
  });

  kernelTest(`${type}: ${share(asProcesses)} malformed inputs as processes`, {
    needs,
  }, async (sandbox) => {
    const argv = pluginArgv(sandbox, { type, verb: "ADD" });
    const plugin: Plugin = ({ env, stdin }) =>
      execute([...readOnlyRoot, ...argv], { env, stdin, cwd: "/" });
    const spoil: Feed["spoil"] = (random, good) => hostileInput(random, good, { ofProcess: true });
    await feed(sandbox, { rows, plugin, count: share(asProcesses), seed: seedOf(2_200), spoil });
  });
}

function startWorker(sandbox: Sandbox): Child {
  return new Child([
    ...readOnlyRoot,
    "nsenter",
    `--net=${sandbox.host}`,
    "--",
    Deno.execPath(),
    "run",
    "--allow-all",
    "--quiet",
    "--no-check",
    new URL("harness/in_process.ts", import.meta.url).pathname,
  ], {});
}

async function lineOf(child: Child, { about }: HostileInput): Promise<string> {
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  const line = await child.line();
  clearTimeout(timer);
  if (line === undefined) throw new Error(`Cannot go on after ${about}: no answer`);
  return line;
}
