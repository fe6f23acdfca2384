/**
 * Counts tests from the report that `deno test --junit-path` writes.
 *
 * @module
 */

/** Number of tests; steps within a test do not count. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  /** Left out because the machine lacks what they need. */
  readonly skipped: number;
  /** Left out by `--filter`, or by `--fail-fast` after a failure. */
  readonly filtered: number;
}

/** No test at all. */
export const none: Counts = { passed: 0, failed: 0, skipped: 0, filtered: 0 };

/**
 * Counts the tests of a report. A run that failed without a failed test (a module
 * that cannot be loaded, an error outside of any test) counts as one failure.
 */
export function countTests(xml: string, exitCode: number): Counts {
  const counts = { ...none };
  for (const test of casesOf(xml)) counts[outcomeOf(test)]++;
  if (exitCode !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}

/** Names of the tests of a report, without those that were skipped or filtered out. */
export function testsRun(xml: string): Set<string> {
  const ran = casesOf(xml).filter((test) => ["passed", "failed"].includes(outcomeOf(test)));
  return new Set(ran.map(({ name }) => unescape(name)));
}

/** A test as the report has it. */
interface Case {
  readonly name: string;
  readonly attributes: string;
  readonly body: string;
}

/** A report calls filtered tests skipped, too, but has no time for them: their turn never came. */
function outcomeOf({ attributes, body }: Case): keyof Counts {
  if (/^\s*<failure/.test(body)) return "failed";
  if (!/^\s*<skipped/.test(body)) return "passed";
  return / time="/.test(attributes) ? "skipped" : "filtered";
}

/**
 * Tests without their steps, which are named `test > step` and stand in the suite of
 * the file where they are written; a test stands in that of the function that registers it.
 */
function casesOf(xml: string): Case[] {
  const cases = [...xml.matchAll(/<testcase name="([^"]*)"([^>]*)>(.*?)<\/testcase>/gs)]
    .map(([, name, attributes, body]) => ({ name: name!, attributes: attributes!, body: body! }));
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
  return {
    passed: sum("passed"),
    failed: sum("failed"),
    skipped: sum("skipped"),
    filtered: sum("filtered"),
  };
}

/** Why a run in which no test ran cannot count as passed; `undefined` when one ran. */
export function whyNoneRan({ passed, failed, skipped, filtered }: Counts): string | undefined {
  if (passed + failed > 0) return undefined;
  const why = skipped > 0
    ? "what they need is missing"
    : filtered > 0
    ? "the filter matches none"
    : "there are none";
  return `Cannot run any of the tests: ${why}`;
}

/** The last lines of a run. */
export function summary({ passed, failed, skipped, filtered }: Counts): string {
  const about = [
    ...(filtered > 0 ? [`${filtered} filtered out`] : []),
    ...(skipped > 0 ? [`${skipped} skipped, for the reasons given as SKIP above`] : []),
  ];
  return ["", ...about, `${passed} passed, ${failed} failed`].join("\n");
}
