/**
 * Every step of every ADD fails once: the host must be as it was before, and the
 * plugin must say so as the protocol demands. A DEL that fails in any step must
 * be repeatable.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { Attachment } from "./harness/attachment.ts";
import { Faults, readOnly } from "./harness/fault.ts";
import { rounds } from "./harness/guest.ts";
import { suiteTest } from "./harness/need.ts";
import { callPlugin, errorObject, succeed } from "./harness/plugin.ts";
import type { ResidueId } from "./harness/residue.ts";
import { inert } from "./harness/residue.ts";
import { alike, distinctRows, richRows } from "./harness/rows.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** Breaks every step of an ADD in turn, or some; after each the state must be as before. */
async function breakSteps(
  test: Deno.TestContext,
  attachment: Attachment,
  { allow, stride = 1 }: { allow: readonly ResidueId[]; stride?: number },
): Promise<void> {
  const { sandbox } = attachment;
  await using faults = await Faults.install();
  const before = await snapshot(sandbox);
  for (let step = 1;; step += stride) {
    faults.arm(step);
    const output = await callPlugin(sandbox, attachment.call("ADD"));
    const { fired, log } = faults;
    if (fired && output.code !== 0) {
      await test.step(`step ${step}`, async () => {
        errorObject(attachment.call("ADD"), output);
        assertSame(before, await snapshot(sandbox), {
          allow,
          what: `after a rollback of ${output.stdout} ${log}`,
        });
      });
    } else assertEquals(output.code, 0, `${output.stdout}${output.stderr}`);
    faults.disarm();
    await succeed(sandbox, attachment.call("DEL"));
    // A step that may fail without harm (a removal, an optional variable) lets the ADD succeed.
    if (!fired) break;
  }
}

for (const row of distinctRows({ plain: true })) {
  suiteTest(row, "a failure in any step of ADD is undone", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    await breakSteps(test, attachment, { allow: inert(row.residue) });
  });

  suiteTest(row, "a DEL that failed in any step can be repeated", async (sandbox, test) => {
    await using faults = await Faults.install();
    const before = await snapshot(sandbox);
    let fired = true;
    for (let step = 1; fired; step++) {
      faults.disarm();
      const attachment = await Attachment.create(sandbox, row);
      await attachment.add();
      faults.arm(step);
      const call = attachment.call("DEL");
      const output = await callPlugin(sandbox, call);
      fired = faults.fired;
      await test.step(`step ${step}`, async () => {
        if (output.code !== 0) errorObject(call, output);
        faults.disarm();
        await succeed(sandbox, call);
        await attachment.delBefore();
        assertSame(before, await snapshot(sandbox), {
          allow: row.residue,
          what: `after ${output.stdout} and a second DEL`,
        });
      });
    }
  });

  suiteTest(row, "kernel variables that cannot be written", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const call = attachment.call("ADD");
    const output = await (async () => {
      await using _ = await readOnly("/proc/sys");
      return await callPlugin(sandbox, call);
    })();
    if (output.code === 0) {
      await succeed(sandbox, attachment.call("DEL"));
      assertSame(before, await snapshot(sandbox), { allow: row.residue });
      return;
    }
    errorObject(call, output);
    assertSame(before, await snapshot(sandbox), { allow: inert(row.residue) });
  });

  if (!row.residue.includes("hostLocal") || row.kind === "chained") continue;
  suiteTest(row, "a disk that cannot be written", async (sandbox) => {
    Deno.mkdirSync(sandbox.dataDir);
    const attachment = await Attachment.create(sandbox, row);
    const before = await snapshot(sandbox);
    const call = attachment.call("ADD");
    const output = await (async () => {
      await using _ = await readOnly(sandbox.dataDir);
      return await callPlugin(sandbox, call);
    })();
    const { msg } = errorObject(call, output);
    assert(msg.includes(sandbox.dataDir), msg);
    assertSame(before, await snapshot(sandbox), {
      allow: inert(row.residue).filter((id) => id !== "hostLocal"),
    });
    await attachment.add();
  });
}

for (const row of alike(richRows())) {
  suiteTest(row, "a failure on a host in use takes nothing from others", async (sandbox, test) => {
    const other = await Attachment.create(sandbox, row, {
      containerId: "other",
      container: "other",
      extra: row.beside?.(1) ?? {},
    });
    await other.add();
    const attachment = await Attachment.create(sandbox, row);
    const allow = row.residue.filter((id) => ["hostLocal", "loopback", "vrfRules"].includes(id));
    await breakSteps(test, attachment, { allow, stride: rounds(1, 3) });
    await other.check();
  });
}
