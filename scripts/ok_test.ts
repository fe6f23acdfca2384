import { assertEquals } from "@std/assert";
import type { Check, Outcome } from "./ok.ts";
import { reportOf, runChecks, testChecks, verdict } from "./ok.ts";

function outcomeOf(name: string, more: Partial<Outcome> = {}): Outcome {
  return { name, passed: true, output: "", seconds: 1, ...more };
}

/** Checks that end when a test says so. */
class FakeRunner {
  readonly started: string[] = [];
  readonly said: string[] = [];
  readonly #ends = new Map<string, (outcome: Outcome) => void>();

  readonly run = ({ name }: Check): Promise<Outcome> => {
    this.started.push(name);
    return new Promise((resolve) => this.#ends.set(name, resolve));
  };

  /** Ends a check; settles when the next one, if there is one, has started. */
  async end(name: string, more: Partial<Outcome> = {}): Promise<void> {
    this.#ends.get(name)!(outcomeOf(name, more));
    await new Promise((resolve) => setTimeout(resolve));
  }
}

const checks = ["a", "b", "c"].map((name) => ({ name, args: [name] }));

Deno.test("checks run side by side, no more at once than told, and all of them", async () => {
  const fake = new FakeRunner();
  const done = runChecks(checks, { run: fake.run, limit: 2, say: (it) => fake.said.push(it) });
  assertEquals(fake.started, ["a", "b"]);
  await fake.end("b", { passed: false, output: "bad\n" });
  assertEquals(fake.started, ["a", "b", "c"]);
  assertEquals(fake.said, ["\nbad\n\nFAILED b (1.0 s)"]);
  await fake.end("c");
  await fake.end("a");
  assertEquals((await done).map(({ name }) => name), ["b", "c", "a"]);
  assertEquals(fake.said.length, 3);
});

Deno.test("a check that passed has a line, with the last that it said", () => {
  const output = "one ... ok\n\nok | 1 passed\n\n";
  assertEquals(
    reportOf(outcomeOf("tests", { output, seconds: 1.26 })),
    "ok tests (1.3 s): ok | 1 passed",
  );
  assertEquals(reportOf(outcomeOf("types")), "ok types (1.0 s)");
});

Deno.test("a check that failed is shown whole", () => {
  const output = "x.ts:1: no\nx.ts:2: no\n";
  assertEquals(
    reportOf(outcomeOf("imports", { passed: false, output })),
    "\nx.ts:1: no\nx.ts:2: no\n\nFAILED imports (1.0 s)",
  );
});

Deno.test("of tests that passed nothing is shown where others failed", () => {
  const [green, plain] = ["\x1b[32m", "\x1b[0m"];
  const output =
    `a ... ${green}ok${plain} (1ms)\nb ... ok (2ms)\nc ... FAILED (1ms)\nc => x.ts:1:2\n`;
  assertEquals(
    reportOf(outcomeOf("tests", { passed: false, output })),
    "\nc ... FAILED (1ms)\nc => x.ts:1:2\n\nFAILED tests (1.0 s)",
  );
});

Deno.test("the last line names what failed", () => {
  assertEquals(verdict([outcomeOf("a"), outcomeOf("b")]), "The gate is open");
  const failed = [
    outcomeOf("a", { passed: false }),
    outcomeOf("b"),
    outcomeOf("c", { passed: false }),
  ];
  assertEquals(verdict(failed), "The gate is closed: a, c");
});

Deno.test("each test file is in one share, and a share is named by its number", () => {
  const files = ["a_test.ts", "b_test.ts", "c_test.ts"];
  const [first, second, ...more] = testChecks(files, { count: 2 });
  assertEquals([first!.name, second!.name, more], ["pure tests 1/2", "pure tests 2/2", []]);
  assertEquals(first!.args.slice(-3), ["--", "a_test.ts", "c_test.ts"]);
  assertEquals(second!.args.slice(-2), ["--", "b_test.ts"]);
  assertEquals(testChecks(files, { count: 64 }).length, 4);
});
