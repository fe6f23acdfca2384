/**
 * What the kill suite does to calls of plugins: it kills them at random moments, or
 * stops them in every step. Each function throws when a signal did not come in time.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { Attachment } from "./attachment.ts";
import type { Faults } from "./fault.ts";
import { errorObject, outputOf, startPlugin } from "./plugin.ts";
import type { Running } from "./process.ts";
import { Random } from "./random.ts";
import { inert } from "./residue.ts";
import { countSteps, forget } from "./rollback.ts";
import { assertSame, snapshot } from "./state.ts";

/** A call that is to be killed. */
export interface Victim {
  readonly start: () => Promise<Running> | Running;
  /** Cleans up after it, and throws when something is left. */
  readonly cleanUp: () => Promise<void>;
  /** Milliseconds that it takes by itself. */
  readonly duration: number;
  /** `SIGKILL` when absent. */
  readonly signal?: Deno.Signal;
}

/** Kills a call at random moments of its life, alone or with all that it has started. */
export async function killTimes(
  test: Deno.TestContext,
  victim: Victim,
  { times, seed }: { times: number; seed: number },
): Promise<void> {
  const random = new Random(seed);
  for (let time = 1; time <= times; time++) {
    const moment = random.next() * victim.duration * 1.1;
    const all = random.oneIn(2);
    const title = `kill ${time} of ${times}, seed ${seed}, after ${moment.toFixed(1)} ms`;
    await test.step(title, () => kill(victim, { moment, all }));
  }
}

/** How often a call is started over that was faster than its kill. */
const tries = 6;

/** A call that ends before its kill is cleaned up like any, and the next is killed twice as early. */
async function kill(
  { start, cleanUp, signal = "SIGKILL" }: Victim,
  { moment, all }: { moment: number; all: boolean },
): Promise<void> {
  for (let time = 0; time < tries; time++) {
    const running = await start();
    await new Promise((resolve) => setTimeout(resolve, moment / 2 ** time));
    if (all) running.signalAll(signal);
    else running.signal(signal);
    await running.allGone();
    const end = await running.finished;
    await cleanUp();
    if (end.signal === "SIGKILL") return;
  }
  throw new Error(`Cannot kill a call while it runs: it has ended by itself ${tries} times`);
}

/** Stops an ADD by SIGTERM in every step, or every `stride`th: it must say so and undo what it did. */
export async function stopSteps(
  test: Deno.TestContext,
  attachment: Attachment,
  { faults, stride = 1 }: { faults: Faults; stride?: number },
): Promise<void> {
  const { sandbox, row } = attachment;
  const call = attachment.call("ADD");
  const before = await snapshot(sandbox);
  // The last program of an ADD may be one whose work goes with the link.
  const allow = [...inert(row.residue), ...row.residue.filter((id) => id === "routeLocalnet")];
  const remove = async () => {
    faults.disarm();
    await attachment.del();
    await forget(attachment);
  };
  const run = () => startPlugin(sandbox, call).finished;
  const steps = await countSteps(faults, { type: row.type, run });
  await remove();
  for (const step of faults.each(steps, { stride })) {
    faults.armHold(step);
    const running = startPlugin(sandbox, call);
    if (!await faults.held(running.finished)) continue;
    await test.step(`step ${step} of ${steps}`, async () => {
      const { log } = faults;
      running.signal("SIGTERM");
      await faults.release();
      const output = await outputOf(call, running);
      if (output.code === 0) {
        // It was the last program, or one whose failure does not matter.
        return assertEquals(faults.log, log, "a stopped ADD has started another program");
      }
      assertEquals(errorObject(call, output).code, 111);
      assertSame(before, await snapshot(sandbox), { allow });
    });
    await remove();
  }
}
