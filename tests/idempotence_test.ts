/**
 * Calls that come twice, too late, without their ADD, or with a namespace that
 * is gone, wrong or somebody else's; and garbage collection.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { Attachment } from "./harness/attachment.ts";
import { rounds } from "./harness/guest.ts";
import { removeLost, removeTwice } from "./harness/idempotence.ts";
import { suiteTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { callPlugin, errorObject, fail, okJson, succeed } from "./harness/plugin.ts";
import type { Row } from "./harness/rows.ts";
import { inert } from "./harness/residue.ts";
import { alike, distinctRows } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** What CNI_NETNS may hold when the container is not what it was. */
function lostNamespaces(sandbox: Sandbox): Record<string, string> {
  const file = `${sandbox.dir}/plain-file`;
  Deno.writeTextFileSync(file, "");
  return {
    "no namespace": "",
    "a path that is gone": `${sandbox.dir}/gone/netns`,
    "a plain file": file,
    "a folder": sandbox.dir,
    "a process that is gone": "/proc/999999999/ns/net",
  };
}

const rows = distinctRows();
const general = new Set(alike(rows));

for (const row of rows) {
  suiteTest(row, "DEL without ADD succeeds", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    const namespaces = { ...lostNamespaces(sandbox), "its namespace": attachment.netns };
    const before = await snapshot(sandbox);
    for (const [title, netns] of Object.entries(namespaces).slice(-rounds(Infinity, 2))) {
      await test.step(title, async () => {
        for (let time = 1; time <= 2; time++) {
          const call = attachment.call("DEL", { netns });
          const output = await callPlugin(sandbox, call);
          okJson(call, output);
          assertEquals(output.stdout, "");
        }
        assertSame(before, await snapshot(sandbox), {
          allow: inert(row.residue),
        });
      });
    }
  });

  suiteTest(row, "DEL twice, with and without the result of ADD", async (sandbox) => {
    const before = await snapshot(sandbox);
    for (const known of [true, false]) {
      await removeTwice(await Attachment.create(sandbox, row), { known });
      assertSame(before, await snapshot(sandbox), { allow: row.residue });
    }
  });

  suiteTest(row, "DEL after the namespace was lost leaves nothing", async (sandbox, test) => {
    const namespaces = lostNamespaces(sandbox);
    const before = await snapshot(sandbox);
    for (const [title, netns] of Object.entries(namespaces).slice(0, rounds(Infinity, 2))) {
      await test.step(title, async () => {
        await removeLost(sandbox, { row, netns, lose: (name) => sandbox.loseNetns(name) });
        assertSame(before, await snapshot(sandbox), {
          allow: row.residue,
          only: /^host|^files$/,
        });
      });
    }
  });

  suiteTest(
    row,
    "DEL without namespace while the container lives leaves nothing on the host",
    async (sandbox) => {
      const before = await snapshot(sandbox);
      const attachment = await Attachment.create(sandbox, row);
      await attachment.add();
      await attachment.del({ netns: "" });
      await attachment.delBefore();
      const allow = [...row.residue, ...row.held ?? []];
      assertSame(before, await snapshot(sandbox), { allow, only: /^host/ });
    },
  );

  // A container's path may come to name another container's namespace. Loopback owns nothing there.
  if (row.type !== "loopback" && general.has(row)) {
    suiteTest(row, "DEL in somebody else's namespace takes nothing from them", async (sandbox) => {
      const mine = await Attachment.create(sandbox, row, { containerId: "c1", container: "a" });
      await mine.add();
      const theirs = await Attachment.create(sandbox, row, {
        containerId: "c2",
        container: "b",
        extra: row.beside?.(1) ?? {},
      });
      await theirs.add();
      const before = await snapshot(sandbox);
      await sandbox.removeNetns("a");
      await mine.del({ netns: theirs.netns });
      await theirs.check();
      assertSame(before, await snapshot(sandbox), { only: /^b\// });
    });
  }

  suiteTest(row, "a second ADD does no damage", async (sandbox) => {
    const before = await snapshot(sandbox);
    const attachment = await Attachment.create(sandbox, row);
    const result = await attachment.add();
    const after = await snapshot(sandbox);
    const call = attachment.call("ADD");
    if (row.repeatable) assertEquals(await succeed(sandbox, call), result);
    else await fail(sandbox, call);
    assertSame(after, await snapshot(sandbox), {
      allow: ["hostLocal"],
    });
    await attachment.check();
    await attachment.del();
    await attachment.delBefore();
    assertSame(before, await snapshot(sandbox), { allow: row.residue });
  });

  suiteTest(row, "ADD after DEL gives the same again", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    await attachment.add();
    await attachment.del();
    const once = await snapshot(sandbox);
    for (let time = 1; time <= 2; time++) {
      await attachment.add();
      await attachment.check();
      await attachment.del();
    }
    assertSame(once, await snapshot(sandbox), {
      allow: ["hostLocal"],
    });
  });

  suiteTest(row, "CHECK changes nothing and wants the result of ADD", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row);
    await attachment.add();
    const before = await snapshot(sandbox);
    await attachment.check();
    await attachment.check();
    assertSame(before, await snapshot(sandbox));
    // Before ADD there is nothing to confirm.
    const other = { ...attachment.call("CHECK"), containerId: "c9" };
    const output = await callPlugin(sandbox, {
      ...other,
      netns: await sandbox.container("other"),
    });
    if (row.damage.length > 0) errorObject(other, output);
  });

  suiteTest(row, "DEL of one attachment leaves the others", async (sandbox) => {
    const first = await Attachment.create(sandbox, row, { container: "a" });
    const second = await Attachment.create(sandbox, row, {
      containerId: "c2",
      container: "b",
      extra: row.beside?.(1) ?? {},
    });
    await first.add();
    await second.add();
    await first.del();
    await second.check();
    await second.del();
  });

  if (!general.has(row)) continue;
  suiteTest(row, "GC keeps what is listed and removes the rest", async (sandbox, test) => {
    const { kept, stale, keptState } = await two(sandbox, row);
    const listed = { containerID: "c1", ifname: "eth0" };
    for (const [title, call] of Object.entries(gcCalls(kept, [listed]))) {
      await test.step(title, async () => {
        const gone = await stale();
        okJson(call, await callPlugin(sandbox, call));
        await gone.delBefore();
        await kept.check();
        assertSame(keptState, await snapshot(sandbox), {
          allow: ["hostLocal"],
          only: /^host|^files$/,
        });
        await gone.del();
      });
    }
  });

  suiteTest(row, "GC keeps nothing when the list is empty or null", async (sandbox, test) => {
    const before = await snapshot(sandbox);
    for (const valid of [[], null]) {
      await test.step(JSON.stringify(valid), async () => {
        const attachment = await Attachment.create(sandbox, row);
        await attachment.add();
        await succeed(sandbox, attachment.gcCall(valid));
        await attachment.delBefore();
        assertSame(before, await snapshot(sandbox), {
          allow: [...row.residue, ...row.held ?? []],
          only: /^host|^files$/,
        });
        await attachment.del();
      });
    }
  });

  suiteTest(row, "GC does nothing when the list is absent or no list", async (sandbox, test) => {
    const attachment = await Attachment.create(sandbox, row);
    await attachment.add();
    const before = await snapshot(sandbox);
    const calls: Record<string, PluginCall> = {
      absent: attachment.call("GC"),
      text: attachment.gcCall("c1"),
      object: attachment.gcCall({ containerID: "c1", ifname: "eth0" }),
      "list of texts": attachment.gcCall(["c1"]),
      "half an entry": attachment.gcCall([{ containerID: "c1" }]),
    };
    for (const [title, call] of Object.entries(calls)) {
      await test.step(title, async () => {
        assertEquals((await fail(sandbox, call)).code, 7);
        assertSame(before, await snapshot(sandbox));
      });
    }
  });

  suiteTest(row, "GC leaves other networks alone", async (sandbox) => {
    const attachment = await Attachment.create(sandbox, row, { network: "net1" });
    await attachment.add();
    const before = await snapshot(sandbox);
    const call = attachment.gcCall([]);
    const config = { ...call.config as JsonObject, name: "net" };
    await succeed(sandbox, { ...call, config });
    await attachment.check();
    assertSame(before, await snapshot(sandbox), {
      allow: ["hostLocal"],
    });
  });
}

/** The ways to list attachments: by the present name, by the first one, by both. */
function gcCalls(attachment: Attachment, valid: JsonObject[]): Record<string, PluginCall> {
  const call = attachment.call("GC");
  const config = call.config as JsonObject;
  return {
    "both keys": attachment.gcCall(valid),
    "cni.dev/valid-attachments": {
      ...call,
      config: { ...config, "cni.dev/valid-attachments": valid },
    },
    "cni.dev/attachments": { ...call, config: { ...config, "cni.dev/attachments": valid } },
  };
}

/** An attachment that stays, the state with it alone, and one that will be stale. */
async function two(sandbox: Sandbox, row: Row) {
  const kept = await Attachment.create(sandbox, row, { container: "a" });
  await kept.add();
  const keptState = await snapshot(sandbox);
  const stale = async () => {
    const attachment = await Attachment.create(sandbox, row, {
      containerId: "c2",
      container: "b",
      extra: row.beside?.(1) ?? {},
    });
    await attachment.add();
    return attachment;
  };
  return { kept, keptState, stale };
}
