/**
 * Thousands of malformed inputs: each must be answered by one error object with a
 * foreseen code and must change nothing, or be harmless, and then DEL cleans up.
 * Most run inside one process, some as processes of their own. Everything is
 * read-only but the folders of the run, so that no path can do harm.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { Attachment } from "./harness/attachment.ts";
import type { HostileInput } from "./harness/hostile.ts";
import { hostileInput, tripwire } from "./harness/hostile.ts";
import type { InProcessReply } from "./harness/in_process.ts";
import { rounds } from "./harness/guest.ts";
import { kernelTest, unmet } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { errorObject, pluginArgv, pluginEnv } from "./harness/plugin.ts";
import { Child, execute } from "./harness/process.ts";
import { Random, seedOf } from "./harness/random.ts";
import { allResidue, bridgeName } from "./harness/residue.ts";
import type { Row } from "./harness/rows.ts";
import { chosenRows, countTypes } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** Inputs of all plugins together. */
const inProcess = rounds(2000, 300);
const asProcesses = rounds(150, 20);

/** Inputs between two looks at the state. */
const batch = 20;

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

interface Answer {
  readonly code: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Something that can be given inputs. */
type Plugin = (input: HostileInput) => Promise<Answer>;

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
    const plugin = async (input: HostileInput): Promise<Answer> => {
      await child.say(JSON.stringify({ type, env: input.env, stdin: input.stdin }));
      const reply: InProcessReply = JSON.parse(await lineOf(child, input));
      if ("escaped" in reply) throw new Error(`${input.about}: ${reply.escaped}`);
      return { code: reply.exit, signal: null, stdout: reply.stdout, stderr: reply.stderr };
    };
    await feed(sandbox, { rows, plugin, count: share(inProcess), seed: seedOf(1_100) });
  });

  kernelTest(`${type}: ${share(asProcesses)} malformed inputs as processes`, {
    needs,
  }, async (sandbox) => {
    const argv = pluginArgv(sandbox, { type, verb: "ADD" });
    const plugin = ({ env, stdin }: HostileInput) =>
      execute([...readOnlyRoot, ...argv], { env: possible(env), stdin, cwd: "/" });
    await feed(sandbox, { rows, plugin, count: share(asProcesses), seed: seedOf(2_200) });
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

/** The environment as a process can get it: no NUL, whole characters. */
function possible(env: HostileInput["env"]): Record<string, string> {
  const entries = Object.entries(env).map(([name, value]) => [
    name,
    value.replaceAll("\0", "").toWellFormed(),
  ]);
  return Object.fromEntries(entries);
}

/** Gives a plugin `count` inputs and looks at the state every now and then. */
async function feed(
  sandbox: Sandbox,
  { rows, plugin, count, seed }: {
    rows: readonly Row[];
    plugin: Plugin;
    count: number;
    seed: number;
  },
): Promise<void> {
  const random = new Random(seed);
  const goods: ReturnType<typeof goodCall>[] = [];
  for (const [index, row] of rows.entries()) {
    await row.prepare?.(sandbox);
    goods.push(goodCall(
      await Attachment.create(sandbox, row, { containerId: `c${index}`, container: `n${index}` }),
    ));
  }
  const before = await snapshot(sandbox);
  let refused = 0;
  for (let done = 0; done < count; done += batch) {
    const size = Math.min(batch, count - done);
    const inputs = Array.from({ length: size }, () => hostileInput(random, random.pick(goods)));
    for (const input of inputs) if (await give(sandbox, plugin, input)) refused++;
    assertSame(before, await snapshot(sandbox), {
      allow: allResidue,
      what: `(seed ${seed}) after\n${inputs.map(({ about }) => about).join("\n")}\n`,
    });
  }
  assert(refused > count / 4, `only ${refused} of ${count} inputs were refused`);
  let tripped = true;
  try {
    Deno.statSync(tripwire);
  } catch {
    tripped = false;
  }
  assert(!tripped, "a shell has read a text of ours");
}

function goodCall(attachment: Attachment) {
  const call = attachment.call("ADD");
  return { env: pluginEnv(call), config: call.config as JsonObject };
}

/** Gives one input; an ADD that succeeds in spite of it is taken back. Tells whether it was refused. */
async function give(sandbox: Sandbox, plugin: Plugin, input: HostileInput): Promise<boolean> {
  const answer = await plugin(input);
  const verb = input.env["CNI_COMMAND"]!;
  if (answer.code !== 0) {
    refuse(input, answer);
    return true;
  }
  if (verb === "" || verb === "VERSION") return false;
  if (verb !== "ADD") {
    assertEquals(answer.stdout, "", input.about);
    return false;
  }
  JSON.parse(answer.stdout);
  const del = await plugin({ ...input, env: { ...input.env, CNI_COMMAND: "DEL" } });
  assertEquals([del.code, del.stdout], [0, ""], `DEL after ${input.about}`);
  await removeBridges(sandbox);
  removeData(sandbox, input);
  return false;
}

/** Reservations below another folder than the usual one keep their folder, too. */
function removeData({ dir, dataDir }: Sandbox, { stdin }: HostileInput): void {
  const { ipam } = JSON.parse(stdin) as { ipam?: { dataDir?: Json } };
  const other = ipam?.dataDir;
  if (typeof other !== "string" || !other.startsWith(`${dir}/`) || other === dataDir) return;
  const [top] = other.slice(dir.length + 1).split("/");
  if (top && !/^\.*$/.test(top)) Deno.removeSync(`${dir}/${top}`, { recursive: true });
}

function refuse(input: HostileInput, answer: Answer): void {
  const call: PluginCall = { type: "plugin", verb: input.about };
  try {
    errorObject(call, { ...answer, json: JSON.parse(answer.stdout) });
  } catch (cause) {
    throw new Error(`${input.about}: ${answer.stdout}${answer.stderr}`, { cause });
  }
}

/** A bridge of another name stays, as every bridge does, and the gateways of its VLANs. */
async function removeBridges(sandbox: Sandbox): Promise<void> {
  const links = await sandbox.ipJson<{ ifname: string; linkinfo?: { info_kind?: string } }>(
    sandbox.host,
    "link show",
  );
  const others = links.filter(({ ifname, linkinfo }) =>
    linkinfo?.info_kind === "bridge" && ifname !== bridgeName
  ).map(({ ifname }) => ifname);
  // The gateway of a VLAN stands beside its bridge.
  const gateways = links.map(({ ifname }) => ifname)
    .filter((name) => others.some((bridge) => name.startsWith(`${bridge}.`)));
  for (const name of [...others, ...gateways]) {
    await sandbox.inside(sandbox.host, ["ip", "link", "del", "dev", name]);
  }
}

type Json = JsonObject[string];
