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
  for (const { body } of casesOf(xml)) counts[outcomeOf(body)]++;
  if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Names of the tests of a report, without those that were skipped or filtered out. */
export function testsRun(xml: string): Set<string> {
  const run = casesOf(xml).filter(({ body }) => outcomeOf(body) !== "skipped");
  return new Set(run.map(({ name }) => unescape(name)));
}

function outcomeOf(body: string): keyof Counts {
  return /^\s*<skipped/.test(body) ? "skipped" : /^\s*<failure/.test(body) ? "failed" : "passed";
}

/**
 * Tests without their steps, which are named `test > step` and stand in the suite of
 * the file where they are written; a test stands in that of the function that registers it.
 */
function casesOf(xml: string): { name: string; body: string }[] {
  const cases = [...xml.matchAll(/<testcase name="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)]
    .map(([, name, body]) => ({ name: name!, body: body! }));
  const names = new Set(cases.map(({ name }) => name));
  return cases.filter(({ name }) => !isStep(name, names));
}

function unescape(text: string): string {
  const characters: Record<string, string> = { quot: '"', apos: "'", lt: "<", gt: ">", amp: "&" };
  return text.replace(/&(quot|apos|lt|gt|amp);/g, (_, name) => characters[name]!);
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
