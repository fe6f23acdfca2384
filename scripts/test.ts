/**
 * `deno task test`: runs every test over one packaging of the plugins, the kernel
 * tests inside private namespaces, and ends with a line `N passed, N failed`.
 *
 *   deno task test [OPTION…] [file.ts… | folder/…] [-- flags of deno test]
 *
 *   --launchers, --multicall, --compiled  how the plugins are packed; launchers when absent
 *   --or-launchers                        test launchers where executables cannot be compiled
 *   --vm                                  those kernel tests alone that the running kernel
 *                                         lacks something for, inside guests (`vm.ts`)
 *
 * `CNI_BIN_DIR` names a folder of plugins to test in place of new ones. A run in which
 * no test ran has failed.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import { inProcessVariable } from "../tests/harness/guest.ts";
import { atOnce } from "./at_once.ts";
import { root } from "./build.ts";
import { readOptions, runTask } from "./command_line.ts";
import { compileEach, CompileError } from "./compile.ts";
import { install } from "./install.ts";
import { ensurePackages, testPackages } from "./packages.ts";
import { names } from "./permissions.ts";
import { pureTestEnv, pureTestWords } from "./pure.ts";
import type { Counts } from "./report.ts";
import { countTests, none, summary, total, whyNoneRan } from "./report.ts";
import type { TestFiles } from "./test_files.ts";
import { chooseTests, findTests, split } from "./test_files.ts";
import { runInGuests } from "./vm.ts";

/** How the plugins under test are packed. */
export const packagings = ["launchers", "multicall", "compiled"] as const;

/** One of {@linkcode packagings}. */
export type Packaging = typeof packagings[number];

/** What the command line asks for. */
export interface Plan {
  /** `undefined` when the command line does not say. */
  readonly packaging: Packaging | undefined;
  /** Test launchers where nothing can be compiled. */
  readonly orLaunchers: boolean;
  /** Run in a guest kernel what the running one lacks something for. */
  readonly vm: boolean;
  /** Test files and folders; all when none is named. */
  readonly paths: readonly string[];
  /** Flags for `deno test`. */
  readonly flags: readonly string[];
}

/** Reads the command line: options of ours and paths, and behind `--` flags of `deno test`. */
export function readArguments(args: readonly string[]): Plan {
  const end = args.includes("--") ? args.indexOf("--") : args.length;
  const flags = args.slice(end + 1);
  const late = flags.find((flag) => /^[^-].*_test\.ts$/.test(flag));
  if (late !== undefined) throw new Error(`Cannot use "${late}": files are named before --`);
  const options = readOptions(args.slice(0, end), {
    boolean: [...packagings, "or-launchers", "vm"],
  });
  const chosen = packagings.filter((it) => options[it]);
  if (chosen.length > 1) throw new Error(`Cannot test: choose one of --${chosen.join(", --")}`);
  const plan = {
    packaging: chosen[0],
    orLaunchers: options["or-launchers"] === true,
    vm: options["vm"] === true,
    paths: options._.map(String),
    flags,
  };
  if (plan.orLaunchers && (plan.packaging ?? "launchers") === "launchers") {
    throw new Error('Cannot use "--or-launchers": launchers are tested anyway');
  }
  return plan;
}

/** Refuses options that the chosen files have no use for. */
export function requireUse({ packaging, vm, paths }: Plan, { kernel, pure }: TestFiles): void {
  const odd = vm && paths.length > 0 ? pure[0] : undefined;
  if (odd) throw new Error(`Cannot test "${odd}" in a guest: it needs no kernel of its own`);
  if (!packaging || kernel.length > 0) return;
  throw new Error(`Cannot use "--${packaging}": none of the tests is about packed plugins`);
}

/** Packs the plugins; gives what tells the tests about them. */
async function pack(packaging: Packaging): Promise<Environment> {
  const dir = `${root}/dist/test-${packaging}`;
  if (packaging === "compiled") await compileEach(names, dir);
  else await install({ dest: dir, names, launchers: packaging === "launchers", force: true });
  return {
    [binDirVariable]: dir,
    ...(packaging === "launchers" && { [inProcessVariable]: "suites" }),
  };
}

/** Packs as asked for, or launchers where that may be and nothing can be compiled. */
async function packOr({ packaging = "launchers", orLaunchers }: Plan): Promise<Environment> {
  try {
    return await pack(packaging);
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    if (!orLaunchers) {
      throw new Error(`${error.message}\nTo test launchers then, add --or-launchers`);
    }
    console.log(`${error.message}\nGOING ON WITH LAUNCHERS: no compiled executable is tested.`);
    return await pack("launchers");
  }
}

/** Variables that tell tests what they test. */
type Environment = Readonly<Record<string, string>>;

const binDirVariable = "CNI_BIN_DIR";

/** What kernel tests need: programs, and plugins that are given or packed now. */
async function prepare(plan: Plan): Promise<Environment> {
  await ensurePackages(testPackages);
  const given = Deno.env.get(binDirVariable);
  if (!given) return await packOr(plan);
  if (plan.packaging) {
    throw new Error(`Cannot use "--${plan.packaging}": ${binDirVariable} names the plugins`);
  }
  return { [binDirVariable]: realFolder(given) };
}

function realFolder(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`Cannot test the plugins in "${path}": there is no such folder`);
  }
}

/** How one `deno test` is run. */
interface RunOptions {
  /** Flags, files and arguments. */
  readonly words: readonly string[];
  readonly env?: Environment;
  /** Words before it, which enter namespaces. */
  readonly inside?: readonly string[];
  /** Keep its output and print it at the end, because others run beside it. */
  readonly beside?: boolean;
}

/** Runs `deno test` and counts. */
async function run(
  { words, env = {}, inside = [], beside = false }: RunOptions,
): Promise<Counts> {
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  const deno = [Deno.execPath(), "test", "-A", "--no-check", `--junit-path=${report}`];
  const { code, stdout, stderr } = await spawn("/usr/bin/env", [...inside, ...deno, ...words], {
    inherit: true,
    env,
    deadline: 60 * 60_000,
    passThrough: !beside,
  });
  if (beside) console.log(`${stdout}${stderr}`);
  const counts = countTests(await Deno.readTextFile(report), code);
  await Deno.remove(report);
  return counts;
}

/** The pure tests, in one process. */
async function runPure(files: readonly string[], { flags }: Plan): Promise<Counts> {
  return await run({ words: [...flags, ...pureTestWords(files)], env: pureTestEnv() });
}

/** What enters private namespaces; without root, as the root of a namespace of users. */
export function insideWords(uid: number | null): string[] {
  const enter = `${root}/tests/harness/private.sh`;
  return uid === 0 ? [enter] : ["unshare", "--user", "--map-root-user", enter];
}

/** The kernel tests, file by file in namespaces of its own, as many at once as keep the processors busy. */
async function runKernel(
  files: readonly string[],
  { flags }: Plan,
  env: Environment,
): Promise<Counts> {
  console.log(`\nKernel tests over ${env[binDirVariable]}, in private namespaces`);
  const inside = insideWords(Deno.uid());
  const limit = navigator.hardwareConcurrency + 1;
  return total(
    await atOnce(
      longestFirst(files),
      limit,
      (file) => run({ words: [...flags, file], env, inside, beside: true }),
    ),
  );
}

/** Files of a long duration, which must not start last. */
const long = [
  "kill",
  "conformance",
  "new_plugin",
  "idempotence",
  "rollback",
  "firewall",
  "peer",
  "portmap",
  "host-device",
  "delegation",
  "malformed",
  "concurrency",
];

/** Test files with the long ones first. */
export function longestFirst(files: readonly string[]): string[] {
  const rank = (file: string) => {
    const index = long.findIndex((name) => file.includes(`/${name}`));
    return index < 0 ? long.length : index;
  };
  return files.toSorted((a, b) => rank(a) - rank(b));
}

/** Runs what is asked for; gives `undefined` when a guest has nothing to test. */
async function runAll(plan: Plan): Promise<Counts | undefined> {
  const files = split(chooseTests(findTests(root), plan.paths));
  requireUse(plan, files);
  const env = files.kernel.length > 0 ? await prepare(plan) : {};
  if (plan.vm) {
    const inside = insideWords(Deno.uid());
    return await runInGuests({ files: files.kernel, flags: plan.flags, env, inside });
  }
  return total([
    files.pure.length > 0 ? await runPure(files.pure, plan) : none,
    files.kernel.length > 0 ? await runKernel(files.kernel, plan, env) : none,
  ]);
}

async function main(): Promise<void> {
  Deno.chdir(root);
  const counts = await runAll(readArguments(Deno.args));
  const complaint = counts && whyNoneRan(counts);
  if (complaint) console.error(`\n${complaint}`);
  console.log(summary(counts ?? none));
  if (complaint || (counts?.failed ?? 0) > 0) Deno.exit(1);
}

if (import.meta.main) await runTask(main);
