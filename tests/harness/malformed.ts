/**
 * What the malformed suite does to a plugin: it gives it inputs and looks at the state
 * every now and then. Throws when an input is a good one.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { Json, JsonObject } from "../../cni/types.ts";
import { Attachment } from "./attachment.ts";
import type { GoodInput, HostileInput } from "./hostile.ts";
import { isGood, tripwire } from "./hostile.ts";
import type { PluginCall } from "./plugin.ts";
import { errorObject, pluginEnv } from "./plugin.ts";
import { Random } from "./random.ts";
import { allResidue, bridgeName } from "./residue.ts";
import type { Row } from "./rows.ts";
import type { Sandbox } from "./sandbox.ts";
import { assertSame, snapshot } from "./state.ts";

/** Inputs between two looks at the state. */
const batch = 20;

/** What a plugin answers. */
export interface Answer {
  readonly code: number;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Something that can be given inputs. */
export type Plugin = (input: HostileInput) => Promise<Answer>;

/** What a plugin is given. */
export interface Feed {
  readonly rows: readonly Row[];
  readonly plugin: Plugin;
  readonly count: number;
  readonly seed: number;
  /** Makes a malformed input of a good one. */
  readonly spoil: (random: Random, good: GoodInput) => HostileInput;
}

/** Gives a plugin `count` inputs and looks at the state every now and then. */
export async function feed(
  sandbox: Sandbox,
  { rows, plugin, count, seed, spoil }: Feed,
): Promise<void> {
  const random = new Random(seed);
  const goods: GoodInput[] = [];
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
    const inputs = Array.from({ length: size }, () => spoil(random, random.pick(goods)));
    for (const input of inputs) {
      if (isGood(input, goods)) {
        throw new Error(`Cannot call "${input.about}" malformed: it is good`);
      }
      if (await give(sandbox, plugin, input)) refused++;
    }
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

function goodCall(attachment: Attachment): GoodInput {
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
