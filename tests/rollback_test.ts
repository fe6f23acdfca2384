/**
 * Every step of every ADD fails once: the host must be as it was before, and the
 * plugin must say so as the protocol demands. A DEL that fails in any step must
 * be repeatable.
 *
 * @module
 */
import { assert } from "@std/assert";
import { Attachment } from "./harness/attachment.ts";
import { Faults, readOnly } from "./harness/fault.ts";
import { rounds } from "./harness/guest.ts";
import { suiteTest } from "./harness/need.ts";
import { callPlugin, errorObject } from "./harness/plugin.ts";
import { inert } from "./harness/residue.ts";
import { addWithoutVariables, breakRemoval, breakSteps } from "./harness/rollback.ts";
import { alike, distinctRows, richRows } from "./harness/rows.ts";
import { assertSame, snapshot } from "./harness/state.ts";

for (const row of distinctRows({ plain: true })) {
  suiteTest(row, "a failure in any step of ADD is undone", async (sandbox, test) => {
    await using faults = await Faults.install();
    const attachment = await Attachment.create(sandbox, row);
    await breakSteps(test, attachment, { faults, allow: inert(row.residue) });
  });

  suiteTest(row, "a DEL that failed in any step can be repeated", async (sandbox, test) => {
    await using faults = await Faults.install();
    await breakRemoval(test, { sandbox, row, faults });
  });

  suiteTest(row, "kernel variables that cannot be written", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    await addWithoutVariables(attachment, () => readOnly("/proc/sys"));
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
    await using faults = await Faults.install();
    faults.disarm();
    const attachment = await Attachment.create(sandbox, row);
    const allow = row.residue.filter((id) => ["hostLocal", "loopback", "vrfRules"].includes(id));
    await breakSteps(test, attachment, { faults, allow, inUse: true, stride: rounds(1, 3) });
    await other.check();
  });
}
