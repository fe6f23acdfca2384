/**
 * `deno task test`: runs every test over one packaging of the plugins, the kernel
 * tests inside private namespaces, and ends with a line `N passed, N failed`.
 *
 *   deno task test [--launchers | --multicall | --compiled] [--vm] [file.ts… | folder/…] [-- flags of deno test]
 *
 * With `--vm`, those kernel tests alone that the running kernel lacks something
 * for, inside a guest kernel (`vm.ts`).
 *
 * `CNI_BIN_DIR` names a folder of plugins to test in place of new ones.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import { inProcessVariable } from "../tests/harness/guest.ts";
import { root } from "./build.ts";
import { runTask } from "./command_line.ts";
import { compileEach, CompileError } from "./compile.ts";
import { install } from "./install.ts";
import { ensurePackages, testPackages } from "./packages.ts";
import { names } from "./permissions.ts";
import type { Counts } from "./report.ts";
import { countTests, summary, total } from "./report.ts";
import { runInGuests } from "./vm.ts";

/** How the plugins under test are packed. */
export const packagings = ["launchers", "multicall", "compiled"] as const;

/** One of {@linkcode packagings}. */
export type Packaging = typeof packagings[number];

/** What the command line asks for. */
export interface Plan {
  readonly packaging: Packaging;
  /** Run in a guest kernel what the running one lacks something for. */
  readonly vm: boolean;
  /** Test files; all when none is named. */
  readonly files: readonly string[];
  /** Flags for `deno test`. */
  readonly flags: readonly string[];
}

/** Reads the command line. What is no flag of ours and no file goes to `deno test`. */
export function readArguments(args: readonly string[]): Plan {
  const chosen = packagings.filter((it) => args.includes(`--${it}`));
  if (chosen.length > 1) throw new Error(`Cannot test: choose one of --${chosen.join(", --")}`);
  const own = ["--", "--vm", ...chosen.map((it) => `--${it}`)];
  const rest = args.filter((arg) => !own.includes(arg));
  return {
    packaging: chosen[0] ?? "launchers",
    vm: args.includes("--vm"),
    files: rest.filter(isTestFile),
    flags: rest.filter((arg) => !isTestFile(arg)),
  };
}

function isTestFile(arg: string): boolean {
  return /(\.ts|\/)$/.test(arg) && !arg.startsWith("-");
}

/** Tests of a run: those that need a kernel of their own, and those beside the code. */
export function split(files: readonly string[]): { kernel: string[]; pure: string[] } {
  const isKernel = (file: string) => /(^|\/)tests\//.test(file);
  return {
    kernel: files.filter(isKernel),
    pure: files.filter((file) => !isKernel(file)),
  };
}

/** Every folder with tests beside the code. */
const pureFolders = [
  "host/",
  "ns/",
  "cni/",
  "recipes/",
  "plugins/",
  "ipam/",
  "meta/",
  "cli/",
  "scripts/",
  "bench/",
];

/** Packs the plugins; gives their folder. */
async function pack(packaging: Packaging): Promise<string> {
  const dir = `${root}/dist/test-${packaging}`;
  try {
    if (packaging === "compiled") await compileEach(names, dir);
    else await install({ dest: dir, names, launchers: packaging === "launchers", force: true });
    return dir;
  } catch (error) {
    if (!(error instanceof CompileError)) throw error;
    console.log(`${error.message}\nGOING ON WITH LAUNCHERS: no compiled executable is tested.`);
    return await pack("launchers");
  }
}

/** How one `deno test` is run. */
interface RunOptions {
  readonly env: Readonly<Record<string, string>>;
  /** Words before it, which enter namespaces. */
  readonly inside?: readonly string[];
  /** Keep its output and print it at the end, because others run beside it. */
  readonly beside?: boolean;
}

/** Runs `deno test` and counts. */
async function run(
  { files, flags }: Pick<Plan, "files" | "flags">,
  { env, inside = [], beside = false }: RunOptions,
): Promise<Counts> {
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  const deno = [Deno.execPath(), "test", "-A", "--no-check", "--permit-no-files"];
  const words = [...inside, ...deno, `--junit-path=${report}`, ...flags, ...files];
  const { code, stdout, stderr } = await spawn("/usr/bin/env", words, {
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

/** What enters private namespaces; without root, as the root of a namespace of users. */
export function insideWords(uid: number | null): string[] {
  const enter = `${root}/tests/harness/private.sh`;
  return uid === 0 ? [enter] : ["unshare", "--user", "--map-root-user", enter];
}

/** The kernel tests, file by file in namespaces of its own, as many at once as keep the processors busy. */
async function runKernel(
  files: readonly string[],
  { flags }: Plan,
  env: Readonly<Record<string, string>>,
): Promise<Counts[]> {
  const waiting = longestFirst(files);
  const counts: Counts[] = [];
  const inside = insideWords(Deno.uid());
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      counts.push(await run({ files: [file], flags }, { env, inside, beside: true }));
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency + 1 }, work));
  return counts;
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

/** Test files with the long ones first; a folder stands for its tests. */
export function longestFirst(files: readonly string[]): string[] {
  const all = files.flatMap((file) =>
    file.endsWith("/")
      ? [...Deno.readDirSync(file)].map(({ name }) => `${file}${name}`)
        .filter((name) => name.endsWith("_test.ts")).sort()
      : [file]
  );
  const rank = (file: string) => {
    const index = long.findIndex((name) => file.includes(`/${name}`));
    return index < 0 ? long.length : index;
  };
  return all.sort((a, b) => rank(a) - rank(b));
}

function sectionsOf({ files }: Plan): { kernel: string[]; pure: string[] } {
  return files.length > 0 ? split(files) : { kernel: ["tests/"], pure: pureFolders };
}

async function runAll(): Promise<Counts> {
  Deno.chdir(root);
  const plan = readArguments(Deno.args);
  await ensurePackages(testPackages);
  const given = Deno.env.get("CNI_BIN_DIR");
  const binDir = given ? Deno.realPathSync(given) : await pack(plan.packaging);
  const env = {
    CNI_BIN_DIR: binDir,
    ...(plan.packaging === "launchers" && !given && { [inProcessVariable]: "suites" }),
  };
  const { kernel, pure } = sectionsOf(plan);
  if (plan.vm) {
    return await runInGuests({ ...plan, files: kernel, env, inside: insideWords(Deno.uid()) });
  }
  const counts: Counts[] = [];
  if (pure.length > 0) counts.push(await run({ files: pure, flags: plan.flags }, { env }));
  if (kernel.length > 0) {
    console.log(`\nKernel tests over ${binDir}, in private namespaces`);
    counts.push(...await runKernel(kernel, plan, env));
  }
  return total(counts);
}

async function main(): Promise<void> {
  const counts = await runAll();
  console.log(summary(counts));
  if (counts.failed > 0) Deno.exit(1);
}

if (import.meta.main) await runTask(main);
