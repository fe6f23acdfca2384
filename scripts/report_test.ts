import { assertEquals } from "@std/assert";
import { spawn } from "../host/spawn.ts";
import { countTests, none, summary, testsRun, total, whyNoneRan } from "./report.ts";

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="2" errors="0" time="0.000">
    <testsuite name="./a_test.ts" tests="7" disabled="1" errors="0" failures="2">
        <testcase name="good" classname="./a_test.ts" time="0.001" line="1" col="6">
        </testcase>
        <testcase name="bad" classname="./a_test.ts" time="0.001" line="1" col="33">
            <failure message="Uncaught Error: x">Error: x &lt;skipped/&gt;</failure>
        </testcase>
        <testcase name="skip" classname="./a_test.ts" time="0.000" line="1" col="84">
            <skipped/>
        </testcase>
        <testcase name="filtered" classname="./a_test.ts" line="1" col="90">
            <skipped/>
        </testcase>
        <testcase name="steps" classname="./a_test.ts" time="0.002" line="2" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="a &gt; b" classname="./a_test.ts" time="0.001" line="3" col="1">
        </testcase>
        <testcase name="steps &gt; s1" classname="./a_test.ts" time="0.000" line="2" col="43">
        </testcase>
        <testcase name="steps &gt; s2" classname="./a_test.ts" time="0.001" line="2" col="73">
            <failure message="Uncaught Error: s">Error: s</failure>
        </testcase>
        <testcase name="steps &gt; s2 &gt; deep" classname="./a_test.ts" time="0.001" line="2" col="73">
        </testcase>
    </testsuite>
    <testsuite name="./b_test.ts" tests="1" disabled="0" errors="0" failures="0">
        <testcase name="steps &gt; s1" classname="./b_test.ts" time="0.001" line="1" col="6">
        </testcase>
    </testsuite>
</testsuites>`;

Deno.test("tests count, their steps do not", () => {
  assertEquals(countTests(report, 1), { passed: 2, failed: 2, skipped: 1, filtered: 1 });
});

Deno.test("what the flags of deno test leave out is filtered, what is ignored is skipped", async () => {
  const dir = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${dir}/a_test.ts`,
    `Deno.test("one", () => {});
     Deno.test({ name: "one skipped", ignore: true, fn() {} });
     Deno.test("two", () => {});
     Deno.test({ name: "two skipped", ignore: true, fn() {} });`,
  );
  const count = async (filter: string) => {
    const flags = ["--no-check", "--no-config", `--junit-path=${dir}/r.xml`, `--filter=${filter}`];
    const words = ["test", ...flags, `${dir}/a_test.ts`];
    const { code } = await spawn(Deno.execPath(), words, { inherit: true, env: {} });
    return countTests(await Deno.readTextFile(`${dir}/r.xml`), code);
  };
  assertEquals(await count("one"), { passed: 1, failed: 0, skipped: 1, filtered: 2 });
  assertEquals(await count("zzznothing"), { passed: 0, failed: 0, skipped: 0, filtered: 4 });
  await Deno.remove(dir, { recursive: true });
});

Deno.test("a run that failed as a whole counts as one failure", () => {
  assertEquals(countTests("", 1), { ...none, failed: 1 });
  assertEquals(countTests("", 0), none);
});

Deno.test("the last line holds the sums and nothing else", () => {
  const counts = total([countTests(report, 1), countTests(report, 1)]);
  assertEquals(summary(counts).split("\n").at(-1), "4 passed, 4 failed");
  assertEquals(summary({ ...none, passed: 1 }), "\n1 passed, 0 failed");
});

Deno.test("skipped and filtered tests are told of apart", () => {
  assertEquals(summary({ passed: 0, failed: 0, skipped: 3, filtered: 4 }).split("\n"), [
    "",
    "4 filtered out",
    "3 skipped, for the reasons given as SKIP above",
    "0 passed, 0 failed",
  ]);
});

Deno.test("a run of nothing says why it is one", () => {
  const reasons = [none, { ...none, filtered: 9 }, { ...none, skipped: 2, filtered: 9 }];
  assertEquals(reasons.map((counts) => whyNoneRan(counts)), [
    "Cannot run any of the tests: there are none",
    "Cannot run any of the tests: the filter matches none",
    "Cannot run any of the tests: what they need is missing",
  ]);
  assertEquals(whyNoneRan({ ...none, passed: 1, skipped: 2 }), undefined);
  assertEquals(whyNoneRan({ ...none, failed: 1, filtered: 2 }), undefined);
});

Deno.test("testsRun() names tests, not steps, and none that was skipped", () => {
  const names = [...testsRun(report)];
  assertEquals(names.slice(0, 3), ["good", "bad", "steps"]);
  assertEquals(
    names.includes("skip") || names.includes("filtered") || names.includes("steps > s2"),
    false,
  );
});
