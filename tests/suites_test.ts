/**
 * The suites themselves: each fails when what it sets out to break stays whole, so
 * that none can pass without trying.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { Attachment } from "./harness/attachment.ts";
import { noticeDamage } from "./harness/damage.ts";
import { Faults } from "./harness/fault.ts";
import type { GoodInput } from "./harness/hostile.ts";
import { hostileInput, isGood } from "./harness/hostile.ts";
import { removeLost, removeTwice } from "./harness/idempotence.ts";
import { killTimes, stopSteps } from "./harness/kill.ts";
import { feed } from "./harness/malformed.ts";
import { suiteTest } from "./harness/need.ts";
import { callPlugin, startPlugin } from "./harness/plugin.ts";
import { Random } from "./harness/random.ts";
import { addWithoutVariables, breakRemoval, breakSteps } from "./harness/rollback.ts";
import { rows } from "./harness/rows.ts";

const loopback = rows.find(({ name }) => name === "loopback")!;
const forwarding = rows.find(({ name }) => name === "ptp: IPv4")!;
const harmless = rows.find(({ type }) => type === "static")!;

/** A test whose steps are no steps of their own: what they throw can be expected. */
const stepless = {
  step: async (_title: string, body: () => unknown) => (await body(), true),
} as Deno.TestContext;

/** Wrappers that nobody finds any more, as where another folder is searched first. */
async function offPath(): Promise<Faults> {
  const faults = await Faults.install();
  await faults[Symbol.asyncDispose]();
  return faults;
}

/** Nothing becomes read-only. */
const writable = (): Promise<AsyncDisposable> =>
  Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() });

suiteTest(loopback, "rollback notices that no step breaks", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, loopback);
  const faults = await offPath();
  const nothing = 'Cannot break "loopback": 0 steps counted, and its permissions say otherwise';
  await assertRejects(
    () => breakSteps(stepless, attachment, { faults, allow: loopback.residue }),
    Error,
    nothing,
  );
  await assertRejects(
    () => breakRemoval(stepless, { sandbox, row: loopback, faults }),
    Error,
    nothing,
  );
});

suiteTest(loopback, "rollback notices that a step is not reached", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, loopback);
  await using faults = await Faults.install();
  const add = () => callPlugin(sandbox, attachment.call("ADD"));
  const steps = await faults.count(add);
  const reached: number[] = [];
  await assertRejects(
    async () => {
      for (const step of faults.each(steps + 1)) {
        faults.arm(step);
        await add();
        reached.push(step);
      }
    },
    Error,
    `Cannot break step ${steps + 1} of ${steps + 1}: it was not reached`,
  );
  assertEquals(reached, Array.from({ length: steps + 1 }, (_, index) => index + 1));
});

suiteTest(forwarding, "rollback notices that variables can be written", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, forwarding);
  await assertRejects(
    () => addWithoutVariables(attachment, writable),
    Error,
    "net/ipv4/ip_forward",
  );
});

suiteTest(loopback, "kill notices that nobody is killed", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, loopback);
  const victim = {
    start: () => startPlugin(sandbox, attachment.call("ADD")),
    cleanUp: () => attachment.del(),
    duration: 100,
    signal: "SIGCONT",
  } as const;
  await assertRejects(
    () => killTimes(stepless, victim, { times: 1, seed: 1 }),
    Error,
    "Cannot kill a call while it runs",
  );
});

suiteTest(loopback, "kill notices that no step is stopped", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, loopback);
  const faults = await offPath();
  await assertRejects(
    () => stopSteps(stepless, attachment, { faults }),
    Error,
    'Cannot break "loopback": 0 steps counted',
  );
});

suiteTest(loopback, "idempotence notices that there is nothing to remove", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, loopback);
  // Loopback has all that an ADD would give it.
  await sandbox.ip(attachment.netns, ["link set dev lo up"]);
  await assertRejects(
    () => removeTwice(attachment, { known: true }),
    Error,
    `Cannot remove what "loopback" made: its ADD has changed nothing`,
  );
});

suiteTest(loopback, "idempotence notices that no namespace is lost", async (sandbox) => {
  const lose = () => Promise.resolve(() => Promise.resolve());
  await assertRejects(
    () => removeLost(sandbox, { row: loopback, netns: "", lose }),
    Error,
    "Cannot remove after a loss of",
  );
});

suiteTest(loopback, "malformed notices that an input is good", async (sandbox) => {
  const plugin = () => Promise.resolve({ code: 1, signal: null, stdout: "{}", stderr: "" });
  const spoil = (_: Random, { env, config }: GoodInput) => ({
    env,
    stdin: JSON.stringify(config),
    about: "nothing",
  });
  await assertRejects(
    () => feed(sandbox, { rows: [loopback], plugin, count: 1, seed: 1, spoil }),
    Error,
    'Cannot call "nothing" malformed: it is good',
  );
});

Deno.test("an input is good with any verb, and with nothing else that is different", () => {
  const env = { CNI_COMMAND: "ADD", CNI_ARGS: "" };
  const good = { env, config: { name: "net1" } };
  const isGoodWith = (more: Record<string, string>, stdin = '{"name":"net1"}') =>
    isGood({ env: { ...env, ...more }, stdin, about: "" }, [good]);
  assertEquals([isGoodWith({}), isGoodWith({ CNI_COMMAND: "DEL" })], [true, true]);
  assertEquals([isGoodWith({ CNI_COMMAND: "add" }), isGoodWith({ CNI_ARGS: "K=V" })], [
    false,
    false,
  ]);
  assertEquals([isGoodWith({ CNI_NETNS_OVERRIDE: "1" }), isGoodWith({}, "{}")], [false, false]);
  const random = new Random(1);
  for (let time = 0; time < 1000; time++) {
    assertEquals(isGood(hostileInput(random, good, { ofProcess: time % 2 > 0 }), [good]), false);
  }
});

suiteTest(loopback, "conformance notices that nothing is damaged", async (sandbox) => {
  const damage = [{ name: "nothing", inflict: () => Promise.resolve() }];
  await assertRejects(
    () => noticeDamage(stepless, sandbox, { ...loopback, damage }),
    Error,
    "loopback CHECK",
  );
  await assertRejects(
    () => noticeDamage(stepless, sandbox, { ...loopback, damage: [] }),
    Error,
    'Cannot damage "loopback": its row does not say how',
  );
});

suiteTest(harmless, "a plugin that can do nothing has nothing to break", async (sandbox) => {
  const attachment = await Attachment.create(sandbox, harmless);
  await using faults = await Faults.install();
  await breakSteps(stepless, attachment, { faults, allow: [] });
  await removeTwice(attachment, { known: true });
  await noticeDamage(stepless, sandbox, harmless);
});
