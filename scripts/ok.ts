/**
 * `deno task ok`, the gate before a commit: independent checks side by side, a line for
 * each when it ends, and before it what a failed one has said.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import { atOnce } from "./at_once.ts";
import { root } from "./build.ts";
import { readOptions, runTask } from "./command_line.ts";
import { pureTestEnv, pureTestWords } from "./pure.ts";
import { findTests, split } from "./test_files.ts";

/** Variables by their names. */
type Environment = Readonly<Record<string, string>>;

/** One part of the gate. */
export interface Check {
  readonly name: string;
  /** Arguments of `deno`. */
  readonly args: readonly string[];
  /** Variables for it alone. */
  readonly env?: Environment;
}

/** How a check ended. */
export interface Outcome {
  readonly name: string;
  readonly passed: boolean;
  /** Everything it said. */
  readonly output: string;
  /** From its start to its end. */
  readonly seconds: number;
}

const script = ["run", "-A", "--no-check"];

/** What the library exports, by topic. */
export const libraryEntries: readonly string[] = [
  "mod.ts",
  ...["host", "plugin", "runtime", "testing"].map((it) => `lib/${it}.ts`),
];

/** Other files with examples that run. */
const examples = ["ns/testing.ts", "cni/testing.ts", "docs/library.md"];

/** What is checked beside the tests, longest first. */
const others: readonly Check[] = [
  { name: "types", args: ["check", "--quiet"] },
  { name: "lint", args: ["lint"] },
  { name: "format", args: ["fmt", "--check"] },
  { name: "generated pages", args: [...script, "scripts/docs.ts", "--check"] },
  { name: "import graph", args: [...script, "scripts/imports.ts"] },
  { name: "documentation", args: ["doc", "--lint", ...libraryEntries] },
  { name: "examples", args: ["test", "-A", "--doc", ...libraryEntries, ...examples] },
];

/** Most processes that share the tests: each loads modules that the others load, too. */
const mostShares = 4;

/** The tests beside the code, dealt out to processes: files of one folder take about the same time. */
export function testChecks(
  files: readonly string[],
  { count, env = {} }: { readonly count: number; readonly env?: Environment },
): Check[] {
  const shares = Math.min(count, mostShares);
  return Array.from({ length: shares }, (_, share) => ({
    name: `pure tests ${share + 1}/${shares}`,
    args: [
      ...["test", "-A", "--no-check"],
      ...pureTestWords(files.filter((_, index) => index % shares === share)),
    ],
    env,
  }));
}

/** How checks are run side by side. */
export interface RunOptions {
  readonly run: (check: Check) => Promise<Outcome>;
  /** Largest number at once. */
  readonly limit: number;
  /** Takes what is to be printed of a check, whole, when it has ended. */
  readonly say: (text: string) => void;
}

/** Runs every check, whatever becomes of the others; gives the outcomes in the order of their ends. */
export async function runChecks(
  checks: readonly Check[],
  { run, limit, say }: RunOptions,
): Promise<Outcome[]> {
  return await atOnce(checks, limit, async (check) => {
    const outcome = await run(check);
    say(reportOf(outcome));
    return outcome;
  });
}

/** What is printed of a check: its line, and before it what a failed one has said but for tests that passed. */
export function reportOf({ name, passed, output, seconds }: Outcome): string {
  const line = `${passed ? "ok" : "FAILED"} ${name} (${seconds.toFixed(1)} s)`;
  const said = output.trimEnd();
  if (!passed) return `\n${withoutPassed(said)}\n\n${line}`;
  const last = said.slice(said.lastIndexOf("\n") + 1);
  return last === "" ? line : `${line}: ${last}`;
}

/** What was said of anything but tests that passed. */
function withoutPassed(said: string): string {
  // deno-lint-ignore no-control-regex -- colours
  return said.split("\n").filter((line) => !/ \.\.\. (\x1b\[\d+m)?ok\b/.test(line)).join("\n");
}

/** The last line. */
export function verdict(outcomes: readonly Outcome[]): string {
  const failed = outcomes.filter(({ passed }) => !passed).map(({ name }) => name);
  return failed.length > 0 ? `The gate is closed: ${failed.join(", ")}` : "The gate is open";
}

async function runDeno({ name, args, env }: Check): Promise<Outcome> {
  const start = performance.now();
  const output = await spawn(Deno.execPath(), args, {
    inherit: true,
    env: { ...env, ...(!Deno.stdout.isTerminal() && { NO_COLOR: "1" }) },
    deadline: 60 * 60_000,
  }).catch((error: Error) => ({ code: 1, stdout: "", stderr: error.message }));
  return {
    name,
    passed: output.code === 0,
    // What it says at last stands on stdout, if it says anything there.
    output: `${output.stderr}${output.stdout}`,
    seconds: (performance.now() - start) / 1000,
  };
}

async function main(): Promise<void> {
  readOptions(Deno.args, {});
  Deno.chdir(root);
  const processors = navigator.hardwareConcurrency;
  const tests = testChecks(split(findTests(root)).pure, { count: processors, env: pureTestEnv() });
  const outcomes = await runChecks([...tests, ...others], {
    run: runDeno,
    // One more than there are processors, because tests wait for each other's programs.
    limit: processors + 1,
    say: console.log,
  });
  console.log(`\n${verdict(outcomes)}`);
  if (outcomes.some(({ passed }) => !passed)) Deno.exit(1);
}

if (import.meta.main) await runTask(main);
