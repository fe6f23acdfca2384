/**
 * `deno task test --vm`: the kernel tests that the running kernel lacks something
 * for (a link type, VLAN filtering of bridges), inside guests of QEMU. A kernel that
 * lacks nothing needs none.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import type { ListedTest } from "../tests/harness/guest.ts";
import { inProcessVariable, listVariable, onlyVariable, readList } from "../tests/harness/guest.ts";
import { root } from "./build.ts";
import { runInGuest } from "./guest/boot.ts";
import type { GuestKernel } from "./guest/kernel.ts";
import { guestKernel } from "./guest/kernel.ts";
import type { Counts } from "./report.ts";
import { countTests, none, testsRun, total } from "./report.ts";

/**
 * Minutes after which a guest is ended that still says something, unless `DENOCNI_VM_MINUTES`
 * says another number: several times what a machine takes that has nothing else to do. One that
 * hangs is ended by its silence (`guest/boot.ts`).
 */
const minutes = 60;

/** Tests for which starting one more guest is worth its time. */
const testsOfGuest = 8;

/** What is run in guests. */
export interface GuestRun {
  readonly files: readonly string[];
  /** Flags for `deno test`. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Words that enter private namespaces here, to list tests. */
  readonly inside: readonly string[];
}

/** Runs the tests that this kernel lacks something for; gives `undefined` where it lacks nothing. */
export async function runInGuests(run: GuestRun): Promise<Counts | undefined> {
  const { tests, filtered } = await listWaiting(run);
  if (tests.length + filtered === 0) {
    console.log("This kernel lacks nothing that the tests need: no guest is started.");
    return undefined;
  }
  if (tests.length === 0) return { ...none, filtered };
  const kernel = await guestKernel();
  const processors = parseList(await Deno.readTextFile("/proc/self/status"));
  const shares = share(tests, Math.min(processors.length, Math.ceil(tests.length / testsOfGuest)));
  const guests = shares.length === 1 ? "a guest" : `${shares.length} guests`;
  console.log(`\nIn ${guests}, for ${needsOf(tests).join(", ")}; tests: ${tests.length}`);
  const counts = await Promise.all(
    shares.map((tests, index) =>
      boot(run, {
        tests,
        kernel,
        processor: processors[index]!,
        prefix: prefixOf(index, shares.length),
      })
    ),
  );
  return total([...counts, { ...none, filtered }]);
}

function prefixOf(index: number, count: number): string {
  return count > 1 ? `${index + 1}| ` : "";
}

/** What the running kernel lacks for some tests. */
export function needsOf(tests: readonly ListedTest[]): string[] {
  return [...new Set(tests.flatMap(({ lacks }) => lacks))].sort();
}

/** The processors this process may use, from the text of `/proc/self/status`. */
export function parseList(status: string): number[] {
  const [, list = "0"] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status) ?? [];
  return list.split(",").flatMap((range) => {
    const [from = 0, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, index) => from + index);
  });
}

/** Tests that lack something here. */
interface Waiting {
  readonly tests: readonly ListedTest[];
  /** Number of those that the flags leave out. */
  readonly filtered: number;
}

/** Asks every test for what it lacks here. */
async function listWaiting({ files, flags, env, inside }: GuestRun): Promise<Waiting> {
  const dir = await Deno.makeTempDir({ prefix: "denocni-vm-" });
  try {
    await Deno.writeTextFile(`${dir}/list`, "");
    const words = [...inside, ...denoTest(`${dir}/report.xml`), ...flags, ...files];
    const { code, stdout, stderr } = await spawn("/usr/bin/env", words, {
      inherit: true,
      env: { ...env, [listVariable]: `${dir}/list` },
      deadline: 300_000,
    });
    if (code !== 0) throw new Error(`Cannot list tests: ${stdout}${stderr}`);
    // The report knows which of them were filtered out.
    const chosen = testsRun(await Deno.readTextFile(`${dir}/report.xml`));
    const all = readList(await Deno.readTextFile(`${dir}/list`));
    const tests = all.filter(({ name }) => chosen.has(name));
    return { tests, filtered: all.length - tests.length };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function denoTest(report: string): string[] {
  const deno = [Deno.execPath(), "test", "-A", "--no-check", "--permit-no-files"];
  return [...deno, `--junit-path=${report}`];
}

/**
 * Deals tests out to guests. Tests of one title, which take about the same time for
 * every row, are spread evenly.
 */
export function share(tests: readonly ListedTest[], count: number): ListedTest[][] {
  const shares = Array.from({ length: count }, (): ListedTest[] => []);
  const titleOf = ({ name }: ListedTest) => name.slice(name.lastIndexOf(": ") + 1);
  for (const same of Map.groupBy(tests, titleOf).values()) {
    const order = shares.toSorted((a, b) => a.length - b.length);
    same.forEach((test, index) => order[index % count]!.push(test));
  }
  return shares;
}

/** One guest's part. */
interface Guest {
  readonly tests: readonly ListedTest[];
  readonly kernel: GuestKernel;
  /** The processor it stays on. */
  readonly processor: number;
  readonly prefix: string;
}

/** Registers the tests of a guest. */
const givenTests = `${root}/tests/harness/given_tests.ts`;

/** The tests of one guest. */
async function boot({ flags, env }: GuestRun, { tests, ...guest }: Guest): Promise<Counts> {
  const share = await Deno.makeTempDir({ prefix: "denocni-vm-" });
  try {
    const lines = tests.map((test) => JSON.stringify(test));
    await Deno.writeTextFile(`${share}/tests`, lines.join("\n"));
    const inside = `${root}/tests/harness/private.sh`;
    const words = [inside, ...denoTest(`${share}/report.xml`), ...flags, givenTests];
    const code = await runInGuest(oneStream(words), {
      ...guest,
      share,
      env: {
        ...env,
        [onlyVariable]: `${share}/tests`,
        [inProcessVariable]: "all",
        DENOCNI_REQUIRE: requiredOf(tests),
      },
      limit: 60 * Number(Deno.env.get("DENOCNI_VM_MINUTES") ?? minutes),
    }).catch(noStatus);
    const report = await Deno.readTextFile(`${share}/report.xml`).catch(() => "");
    return complete(countTests(report, code), tests.length);
  } finally {
    await Deno.remove(share, { recursive: true });
  }
}

/** Lets what a test says on stderr stand where it was said. */
function oneStream(words: readonly string[]): string[] {
  return ["sh", "-c", 'exec "$0" "$@" 2>&1', ...words];
}

/** Says why a guest has no exit status; its tests have failed. */
function noStatus(error: Error): number {
  console.error(error.message);
  return 1;
}

/** Besides what may not be skipped here, a guest must have what it is there for. */
function requiredOf(tests: readonly ListedTest[]): string {
  const given = Deno.env.get("DENOCNI_REQUIRE");
  return [...(given ? [given] : []), "private", ...needsOf(tests)].join(",");
}

/** A test that the guest does not report, or has not run, is a failed one. */
export function complete(counts: Counts, expected: number): Counts {
  const { passed, failed, skipped } = counts;
  const lost = Math.max(0, expected - passed - failed - skipped);
  return { passed, failed: failed + lost, skipped, filtered: 0 };
}
