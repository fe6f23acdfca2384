/**
 * Counts tests from the report that `deno test --junit-path` writes.
 *
 * @module
 */

/** Number of tests; steps within a test do not count. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/**
 * Counts the tests of a report. A run that failed without a failed test (a module
 * that cannot be loaded, an error outside of any test) counts as one failure.
 */
export function countTests(xml: string, exitCode: number): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [suite] of xml.matchAll(/<testsuite .*?<\/testsuite>/gs)) {
    for (const outcome of topLevel(suite)) counts[outcome]++;
  }
  if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Outcomes of the tests of a file. Steps stand behind all tests, named `test > step`. */
function topLevel(suite: string): (keyof Counts)[] {
  const cases = [...suite.matchAll(/<testcase name="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)]
    .map(([, name, body]) => ({ name: name!, body: body! }));
  const names = new Set(cases.map(({ name }) => name));
  return cases.filter(({ name }) => !isStep(name, names)).map(({ body }) =>
    /^\s*<skipped/.test(body) ? "skipped" : /^\s*<failure/.test(body) ? "failed" : "passed"
  );
}

const separator = " &gt; ";

function isStep(name: string, names: ReadonlySet<string>): boolean {
  const parts = name.split(separator);
  return parts.some((_, count) => count > 0 && names.has(parts.slice(0, count).join(separator)));
}

/** Sums several runs up. */
export function total(runs: readonly Counts[]): Counts {
  const sum = (key: keyof Counts) => runs.reduce((all, counts) => all + counts[key], 0);
  return { passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") };
}

/** The last lines of a run. */
export function summary({ passed, failed, skipped }: Counts): string {
  const about = skipped > 0 ? `${skipped} skipped, for the reasons given as SKIP above\n` : "";
  return `\n${about}${passed} passed, ${failed} failed`;
}
