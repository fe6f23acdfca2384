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
  let top = "";
  let [passed, failed, skipped] = [0, 0, 0];
  for (const [, name, body] of xml.matchAll(/<testcase name="([^"]*)"[^>]*>(.*?)<\/testcase>/gs)) {
    if (top && name!.startsWith(`${top} &gt; `)) continue;
    top = name!;
    if (/^\s*<skipped/.test(body!)) skipped++;
    else if (/^\s*<failure/.test(body!)) failed++;
    else passed++;
  }
  if (exitCode !== 0 && failed === 0) failed = 1;
  return { passed, failed, skipped };
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
