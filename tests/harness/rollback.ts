/**
 * What the rollback suite does to an attachment: it breaks every step that an
 * undisturbed call takes, and makes what is written read-only. Each function throws
 * when nothing was broken.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { startsPrograms } from "./ability.ts";
import { Attachment } from "./attachment.ts";
import type { Faults } from "./fault.ts";
import { execute } from "./process.ts";
import { callPlugin, errorObject, succeed } from "./plugin.ts";
import type { ResidueId } from "./residue.ts";
import { inert, removalOf } from "./residue.ts";
import type { Row } from "./rows.ts";
import type { Sandbox } from "./sandbox.ts";
import type { State } from "./state.ts";
import { assertSame, snapshot } from "./state.ts";

/** Steps of an undisturbed call of a plugin: some where it starts programs, and none where it does not. */
export async function countSteps(
  faults: Faults,
  { type, run }: { type: string; run: () => Promise<unknown> },
): Promise<number> {
  const steps = await faults.count(run);
  if (steps > 0 === await startsPrograms(type)) return steps;
  throw new Error(
    `Cannot break "${type}": ${steps} steps counted, and its permissions say otherwise`,
  );
}

/** How the steps of an ADD are broken. */
export interface BreakOptions {
  readonly faults: Faults;
  /** What may be different after a rollback. */
  readonly allow: readonly ResidueId[];
  /** The host is in use: what an ADD leaves there stays for the next. */
  readonly inUse?: boolean;
  /** Breaks every so many steps. */
  readonly stride?: number;
}

/** Breaks every step of an ADD in turn, or some; after each the state must be as before. */
export async function breakSteps(
  test: Deno.TestContext,
  attachment: Attachment,
  { faults, allow, inUse = false, stride = 1 }: BreakOptions,
): Promise<void> {
  const { sandbox, row } = attachment;
  const call = attachment.call("ADD");
  const remove = async () => {
    faults.disarm();
    await succeed(sandbox, attachment.call("DEL"));
    if (!inUse) await forget(attachment);
  };
  const steps = await countSteps(faults, { type: row.type, run: () => succeed(sandbox, call) });
  await remove();
  let before = await snapshot(sandbox);
  for (const step of faults.each(steps, { stride })) {
    faults.arm(step);
    const output = await callPlugin(sandbox, call);
    const { log } = faults;
    // A step that may fail without harm (a removal, an optional variable) lets the ADD succeed.
    if (output.code === 0) {
      await remove();
      before = await snapshot(sandbox);
      continue;
    }
    await test.step(`step ${step} of ${steps}`, async () => {
      errorObject(call, output);
      assertSame(before, await snapshot(sandbox), {
        allow,
        what: `after a rollback of ${output.stdout} ${log}`,
      });
    });
    await remove();
  }
}

/** Takes away what stays by design: each ADD is one on a new host, and takes the same steps. */
export async function forget({ sandbox, row }: Attachment): Promise<void> {
  const script = removalOf(row.residue);
  if (script) await execute(["nsenter", `--net=${sandbox.host}`, "--", "sh", "-c", script]);
}

/** Breaks every step of a DEL in turn; a second DEL must finish it. */
export async function breakRemoval(
  test: Deno.TestContext,
  { sandbox, row, faults }: { sandbox: Sandbox; row: Row; faults: Faults },
): Promise<void> {
  const before = await snapshot(sandbox);
  const added = async () => {
    const attachment = await Attachment.create(sandbox, row);
    await attachment.add();
    return attachment;
  };
  faults.disarm();
  const first = await added();
  const steps = await countSteps(faults, { type: row.type, run: () => first.del() });
  await first.delBefore();
  for (const step of faults.each(steps)) {
    const attachment = await added();
    faults.arm(step);
    const call = attachment.call("DEL");
    const output = await callPlugin(sandbox, call);
    await test.step(`step ${step} of ${steps}`, async () => {
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
}

/**
 * An ADD while kernel variables are read-only by `block`: it fails for that reason, or it is one
 * that writes no variable that was there before.
 */
export async function addWithoutVariables(
  attachment: Attachment,
  block: () => Promise<AsyncDisposable>,
): Promise<void> {
  const { sandbox, row } = attachment;
  const before = await snapshot(sandbox);
  const call = attachment.call("ADD");
  const output = await (async () => {
    await using _ = await block();
    return await callPlugin(sandbox, call);
  })();
  if (output.code !== 0) {
    assertStringIncludes(errorObject(call, output).msg, "Read-only file system");
    assertSame(before, await snapshot(sandbox), { allow: inert(row.residue) });
    return;
  }
  await attachment.del();
  assertSame(before, await snapshot(sandbox), { allow: row.residue });
  await attachment.add();
  assertEquals(changedVariables(before, await snapshot(sandbox)), []);
  await attachment.del();
}

/** Kernel variables that are in both states with different values. */
function changedVariables(before: State, after: State): string[] {
  const valuesOf = (state: State) =>
    new Map(
      [...state].filter(([section]) => section.endsWith("/sysctls")).flatMap(([section, lines]) =>
        lines.map((line) => `${section}: ${line}`.split("=") as [string, string])
      ),
    );
  const now = valuesOf(after);
  return [...valuesOf(before)].filter(([key, value]) => (now.get(key) ?? value) !== value)
    .map(([key]) => key);
}
