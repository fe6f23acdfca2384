/**
 * Plugins that are killed or stopped in the middle: DEL must be able to clean up
 * after any moment, and SIGTERM must be answered with a rollback.
 *
 * @module
 */
import { recordPath } from "../recipes/record.ts";
import { Attachment } from "./harness/attachment.ts";
import { Faults } from "./harness/fault.ts";
import { isListing, rounds } from "./harness/guest.ts";
import { killTimes, stopSteps } from "./harness/kill.ts";
import { suiteTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { startPlugin } from "./harness/plugin.ts";
import { seedOf } from "./harness/random.ts";
import { alike, distinctRows, firstRows, richRows } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import type { State } from "./harness/state.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** Plugins whose steps are those of the others, too. */
const thorough = new Set(["bridge", "ptp", "host-local", "portmap"]);

/** Plugins that have others work, who are not killed here. */
const brief = new Set(["dhcp"]);

const rows = distinctRows({ plain: true });
const stopped = new Set(isListing() ? alike(rows) : richRows());

/** The kills of each plugin are shared out among the things that it can do. */
const perType = Map.groupBy(rows, ({ type }) => type);

/** Folders of the plugins that keep records. */
const recordKinds: Readonly<Record<string, string>> = {
  "host-device": "devices",
  firewall: "firewall",
  sbr: "sbr",
  tuning: "tuning",
  vrf: "vrf",
};

for (const row of firstRows(({ type }) => type in recordKinds)) {
  suiteTest(row, "DEL removes what is left of a record that was never whole", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const { network, ifname: ifName } = attachment;
    const self = { network, containerId: "c1", ifName };
    const path = await recordPath(recordKinds[row.type]!, self);
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    for (const netns of [attachment.netns, "", `${sandbox.dir}/gone/netns`]) {
      await Deno.writeTextFile(`${path}.tmp`, '{"network":');
      await attachment.del({ netns });
      assertSame(before, await snapshot(sandbox), { allow: row.residue });
    }
  });
}

/** DEL after a kill leaves the state that was there before the call. */
async function removeAfterKill(attachment: Attachment, standing: State): Promise<void> {
  const { sandbox, row } = attachment;
  await attachment.del();
  assertSame(standing, await snapshot(sandbox), { allow: [...row.residue, "temporaryFile"] });
}

/** Milliseconds that a whole ADD or DEL takes here and now. */
async function durationOf(sandbox: Sandbox, call: PluginCall): Promise<number> {
  const start = performance.now();
  await startPlugin(sandbox, call).allGone();
  return performance.now() - start;
}

for (const row of rows) {
  const seed = seedOf(20_260_801);
  const count = perType.get(row.type)!.length;
  const total = thorough.has(row.type) ? 50 : brief.has(row.type) ? 12 : 24;
  const kills = rounds(Math.ceil(total / count), 3);
  const killsOfDel = rounds(Math.ceil(total / 3 / count), 1);

  suiteTest(row, `DEL cleans up after ADD was killed ${kills} times`, async (sandbox, test) => {
    const before = await snapshot(sandbox);
    const attachment = await Attachment.create(sandbox, row);
    const standing = await snapshot(sandbox);
    const duration = await durationOf(sandbox, attachment.call("ADD"));
    await attachment.del();
    const start = () => startPlugin(sandbox, attachment.call("ADD"));
    const cleanUp = () => removeAfterKill(attachment, standing);
    await killTimes(test, { start, cleanUp, duration }, { times: kills, seed });
    await attachment.add();
    await attachment.check();
    await attachment.del();
    await attachment.delBefore();
    assertSame(before, await snapshot(sandbox), { allow: row.residue });
  });

  suiteTest(
    row,
    `DEL cleans up after DEL was killed ${killsOfDel} times`,
    async (sandbox, test) => {
      const before = await snapshot(sandbox);
      const attachment = await Attachment.create(sandbox, row);
      const standing = await snapshot(sandbox);
      await attachment.add();
      const duration = await durationOf(sandbox, attachment.call("DEL"));
      const start = async () => {
        await attachment.add();
        return startPlugin(sandbox, attachment.call("DEL"));
      };
      const cleanUp = () => removeAfterKill(attachment, standing);
      const how = { times: killsOfDel, seed: seed + 1 };
      await killTimes(test, { start, cleanUp, duration }, how);
      await attachment.delBefore();
      assertSame(before, await snapshot(sandbox), { allow: row.residue });
    },
  );

  if (!stopped.has(row)) continue;
  suiteTest(row, "SIGTERM in any step of ADD is answered and undone", async (sandbox, test) => {
    await using faults = await Faults.install();
    const attachment = await Attachment.create(sandbox, row);
    await stopSteps(test, attachment, { faults, stride: rounds(1, 3) });
  });
}
