/**
 * `deno task test --vm`: the kernel tests that the running kernel lacks something
 * for (a link type, VLAN filtering of bridges), inside a User-Mode Linux guest.
 * A kernel that lacks nothing needs no guest.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import type { ListedTest } from "../tests/harness/guest.ts";
import { listVariable, onlyVariable } from "../tests/harness/guest.ts";
import { root } from "./build.ts";
import { ensurePackages } from "./packages.ts";
import type { Counts } from "./report.ts";
import { countTests, testsRun, total } from "./report.ts";

/** Minutes after which a guest is ended, unless `DENOCNI_VM_MINUTES` says another number. */
const minutes = 12;

/** What is run in a guest. */
export interface GuestRun {
  readonly files: readonly string[];
  /** Flags for `deno test`. */
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Words that enter private namespaces here, to list tests. */
  readonly inside: readonly string[];
}

/** What waits for a guest. */
export interface Waiting {
  /** What the running kernel lacks. */
  readonly needs: readonly string[];
  /** Test files with the number of their tests. */
  readonly files: Readonly<Record<string, number>>;
}

/** Runs the tests that this kernel lacks something for. */
export async function runInGuest(run: GuestRun): Promise<Counts> {
  const waiting = await listWaiting(run);
  if (waiting.needs.length === 0) {
    console.log("This kernel lacks nothing that the tests need: no guest is started.");
    return { passed: 0, failed: 0, skipped: 0 };
  }
  const files = Object.keys(waiting.files);
  await ensurePackages(["user-mode-linux"]);
  console.log(`\nIn a guest kernel, for ${waiting.needs.join(", ")}`);
  return await boot({ ...run, files }, waiting);
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
    const list = await Deno.readTextFile(`${dir}/list`);
    return readWaiting(list, await Deno.readTextFile(`${dir}/report.xml`));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Joins the list of waiting tests with a report: it knows which of them were filtered out. */
export function readWaiting(list: string, report: string): Waiting {
  const chosen = testsRun(report);
  const tests = list.split("\n").filter(Boolean).map((line): ListedTest => JSON.parse(line))
    .filter(({ name }) => chosen.has(name));
  return {
    needs: [...new Set(tests.flatMap(({ lacks }) => lacks))].sort(),
    files: Object.fromEntries(
      Map.groupBy(tests, ({ file }) => file).entries().map(([file, all]) => [file, all.length]),
    ),
  };
}

function denoTest(report: string): string[] {
  const deno = [Deno.execPath(), "test", "-A", "--no-check", "--permit-no-files"];
  return [...deno, `--junit-path=${report}`];
}

/** One guest from its start to its end. */
async function boot(
  { files, flags, env }: GuestRun,
  { needs, files: expected }: Waiting,
): Promise<Counts> {
  const share = await Deno.makeTempDir({ prefix: "denocni-vm-" });
  const seconds = 60 * Number(Deno.env.get("DENOCNI_VM_MINUTES") ?? minutes);
  const words = [`${root}/tests/harness/private.sh`, ...denoTest(`${share}/report.xml`)];
  try {
    const { code } = await spawn(`${root}/tests/harness/uml.sh`, [...words, ...flags, ...files], {
      inherit: true,
      env: {
        ...env,
        ...guestEnv(needs),
        UML_SHARE: share,
        UML_LIMIT: String(seconds),
      },
      deadline: (seconds + 30) * 1000,
      passThrough: true,
    });
    const report = await Deno.readTextFile(`${share}/report.xml`).catch(() => "");
    return complete(countTests(report, code), sum(files.map((file) => expected[file] ?? 0)));
  } finally {
    await Deno.remove(share, { recursive: true });
  }
}

/** What tests are told inside: which to register, and that the guest has what it is there for. */
export function guestEnv(needs: readonly string[]): Record<string, string> {
  const required = Deno.env.get("DENOCNI_REQUIRE");
  return {
    [onlyVariable]: needs.join(","),
    DENOCNI_REQUIRE: [...(required ? [required] : []), "private", ...needs].join(","),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0);
}

/** A test that the guest does not report is a failed one. */
export function complete(counts: Counts, expected: number): Counts {
  const { passed, failed, skipped } = counts;
  const lost = expected - passed - failed - skipped;
  return lost > 0 ? total([counts, { passed: 0, failed: lost, skipped: 0 }]) : counts;
}
