/**
 * `deno task test --vm`: the kernel tests that the running kernel lacks something
 * for (a link type, VLAN filtering of bridges), inside User-Mode Linux guests. A
 * kernel that lacks nothing needs none.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import type { ListedTest } from "../tests/harness/guest.ts";
import {
  crashedVariable,
  inProcessVariable,
  listVariable,
  onlyVariable,
  readList,
} from "../tests/harness/guest.ts";
import { root } from "./build.ts";
import { ensurePackages } from "./packages.ts";
import type { Counts } from "./report.ts";
import { countTests, testsFailed, testsRun, total } from "./report.ts";

/**
 * Minutes after which a guest is ended that still says something, unless `DENOCNI_VM_MINUTES`
 * says another number: several times what a machine takes that has nothing else to do. One that
 * hangs is ended by its silence (`uml.sh`).
 */
const minutes = 25;

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

/** Runs the tests that this kernel lacks something for. */
export async function runInGuests(run: GuestRun): Promise<Counts> {
  const tests = await listWaiting(run);
  if (tests.length === 0) {
    console.log("This kernel lacks nothing that the tests need: no guest is started.");
    return { passed: 0, failed: 0, skipped: 0 };
  }
  await ensurePackages(["user-mode-linux"]);
  const processors = parseList(await Deno.readTextFile("/proc/self/status"));
  const shares = share(tests, Math.min(processors.length, Math.ceil(tests.length / testsOfGuest)));
  const guests = shares.length === 1 ? "a guest" : `${shares.length} guests`;
  console.log(`\nIn ${guests}, for ${needsOf(tests).join(", ")}; tests: ${tests.length}`);
  return total(
    await Promise.all(
      shares.map((tests, index) =>
        boot(run, { tests, processor: processors[index]!, prefix: prefixOf(index, shares.length) })
      ),
    ),
  );
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

/** Asks every test for what it lacks here. */
async function listWaiting({ files, flags, env, inside }: GuestRun): Promise<ListedTest[]> {
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
    return readList(await Deno.readTextFile(`${dir}/list`)).filter(({ name }) => chosen.has(name));
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
  /** The processor it stays on. */
  readonly processor: number;
  readonly prefix: string;
}

/** More tests than these during which Deno crashed are no accident of a guest's kernel. */
const mostCrashes = 3;

/**
 * A guest's tests. Deno itself, which knows nothing of such a kernel, crashes there once in some
 * thousand calls of plugins: tests that failed by that run once more, in another guest.
 */
async function boot(run: GuestRun, guest: Guest): Promise<Counts> {
  const { counts, crashed } = await bootOnce(run, guest);
  if (crashed.length === 0 || crashed.length > mostCrashes) return counts;
  console.log(
    `Deno has crashed in the guest; once more: ${crashed.map(({ name }) => name).join()}`,
  );
  const again = await bootOnce(run, { ...guest, tests: crashed });
  return total([{ ...counts, failed: counts.failed - crashed.length }, again.counts]);
}

/** What came of one guest. */
interface Booted {
  readonly counts: Counts;
  /** Tests that failed while Deno itself crashed. */
  readonly crashed: readonly ListedTest[];
}

/** Registers the tests of a guest. */
const givenTests = `${root}/tests/harness/given_tests.ts`;

/** One guest from its start to its end. */
async function bootOnce({ flags, env }: GuestRun, guest: Guest): Promise<Booted> {
  const dir = await Deno.makeTempDir({ prefix: "denocni-vm-" });
  const seconds = 60 * Number(Deno.env.get("DENOCNI_VM_MINUTES") ?? minutes);
  const words = [`${root}/tests/harness/private.sh`, ...denoTest(`${dir}/report.xml`)];
  try {
    await Deno.writeTextFile(`${dir}/crashed`, "");
    await Deno.writeTextFile(
      `${dir}/tests`,
      guest.tests.map((test) => JSON.stringify(test)).join("\n"),
    );
    const { code } = await spawn(`${root}/tests/harness/uml.sh`, [...words, ...flags, givenTests], {
      inherit: true,
      env: {
        ...env,
        [onlyVariable]: `${dir}/tests`,
        [crashedVariable]: `${dir}/crashed`,
        [inProcessVariable]: "all",
        DENOCNI_REQUIRE: requiredOf(guest.tests),
        UML_SHARE: dir,
        UML_LIMIT: String(seconds),
        UML_CPU: String(guest.processor),
        UML_PREFIX: guest.prefix,
      },
      deadline: (seconds + 30) * 1000,
      passThrough: true,
    });
    const report = await Deno.readTextFile(`${dir}/report.xml`).catch(() => "");
    const failed = testsFailed(report);
    return {
      counts: complete(countTests(report, code), guest.tests.length),
      crashed: readList(await Deno.readTextFile(`${dir}/crashed`))
        .filter(({ name }) => failed.has(name)),
    };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Besides what may not be skipped here, a guest must have what it is there for. */
function requiredOf(tests: readonly ListedTest[]): string {
  const given = Deno.env.get("DENOCNI_REQUIRE");
  return [...(given ? [given] : []), "private", ...needsOf(tests)].join(",");
}

/** A test that the guest does not report is a failed one. */
export function complete(counts: Counts, expected: number): Counts {
  const { passed, failed, skipped } = counts;
  const lost = expected - passed - failed - skipped;
  return lost > 0 ? total([counts, { passed: 0, failed: lost, skipped: 0 }]) : counts;
}
