/**
 * Breaks the k-th step of whatever runs next. Shipped code knows nothing of it:
 * the tools are looked for in `/usr/local/sbin` first, and there a wrapper stands
 * over each of them, inside this run's private mount namespace. A step is one
 * program run, or one line of a batch; lines before the broken one are carried
 * out, as the real program would.
 *
 * @module
 */
import type { Tool } from "../../host/command.ts";
import { knownTools } from "../../host/command.ts";
import { must } from "./process.ts";
import { exists } from "./exists.ts";

const wrapperDir = "/usr/local/sbin";
const stateDir = "/run/denocni-fault";

/** What becomes of these is no step of its own: one starts another program, the rest read `/proc`. */
const bare: readonly Tool[] = ["nsenter", "cat", "find", "stat"];

/** The programs that get a wrapper: every other one that shipped code may start. */
const wrapped = knownTools.filter((tool) => !bare.includes(tool));

const wrapper = (real: string) =>
  `#!/bin/sh
# Counts steps in ${stateDir}/seen and breaks number ${stateDir}/target.
state=${stateDir}
[ -e $state/fired ] || [ -e $state/off ] && exec ${real} "$@"
exec 9>>$state/lock
flock 9
read -r seen <$state/seen
read -r target <$state/target
lines=1
batch=
args=$*
# Of a script the first line.
first=\${args%%
*}
case " $* " in
*" -batch - "*)
  batch=$(cat)
  lines=0
  IFS='
'
  set -f
  for _ in $batch; do lines=$((lines + 1)); done
  ;;
esac
echo $((seen + lines)) >$state/seen
printf '%s\\n' "${real} $first" >>$state/log
broken=$((target - seen))
if [ $broken -lt 1 ] || [ $broken -gt $lines ]; then
  exec 9>&-
  [ "$batch" ] || exec ${real} "$@"
  exec ${real} "$@" <<END
$batch
END
fi
: >$state/fired
exec 9>&-
if [ -e $state/hold ]; then
  echo held >$state/held
  read -r _ <$state/go
  [ "$batch" ] || exec ${real} "$@"
  exec ${real} "$@" <<END
$batch
END
fi
if [ "$batch" ]; then
  printf '%s\\n' "$batch" | head -n $((broken - 1)) | ${real} "$@" || exit
  echo "Error: injected fault." >&2
  echo "Command failed -:$broken" >&2
else
  echo "Error: injected fault." >&2
fi
exit 1
`;

/** Stands in the folder where it is prepared for all tests. */
const preparedMark = `${wrapperDir}/.prepared`;

/**
 * Lets every tool be found where its wrapper will be: a process that runs plugins
 * for several tests looks for each tool once.
 */
export async function prepareTools(): Promise<void> {
  if (exists(preparedMark)) return;
  await cover();
  Deno.writeTextFileSync(preparedMark, "");
  for (const [path, real] of realTools()) Deno.symlinkSync(real, path);
}

async function cover(): Promise<void> {
  await must(["mount", "-t", "tmpfs", "-o", "mode=0755", "denocni", wrapperDir]);
}

/** Paths of wrappers and the programs behind them. */
function realTools(): [path: string, real: string][] {
  return wrapped.flatMap((tool) => {
    const real = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
      .map((dir) => `${dir}/${tool}`).find(exists);
    return real ? [[`${wrapperDir}/${tool}`, real]] : [];
  });
}

/** Wrappers over the tools, taken away when disposed of. One at a time. */
export class Faults implements AsyncDisposable {
  private constructor() {}

  /** Puts the wrappers in place; nothing breaks yet. */
  static async install(): Promise<Faults> {
    const prepared = exists(preparedMark);
    if (!prepared) await cover();
    Deno.mkdirSync(stateDir, { recursive: true });
    for (const [path, real] of realTools()) {
      if (prepared) Deno.removeSync(path);
      Deno.writeTextFileSync(path, wrapper(real), { mode: 0o755 });
    }
    for (const name of ["held", "go"]) {
      if (!exists(`${stateDir}/${name}`)) await must(["mkfifo", `${stateDir}/${name}`]);
    }
    const faults = new Faults();
    faults.arm(0);
    return faults;
  }

  /** Lets step `step` from now on fail, counted from 1; 0 only counts. */
  arm(step: number): void {
    for (const name of ["fired", "log", "hold", "off"]) {
      if (exists(`${stateDir}/${name}`)) Deno.removeSync(`${stateDir}/${name}`);
    }
    Deno.writeTextFileSync(`${stateDir}/seen`, "0\n");
    Deno.writeTextFileSync(`${stateDir}/target`, `${step}\n`);
  }

  /** Counts the steps of what `run` does when nothing breaks. */
  async count(run: () => Promise<unknown>): Promise<number> {
    this.arm(0);
    await run();
    const { seen } = this;
    this.disarm();
    return seen;
  }

  /**
   * Each step that has been counted, or every `stride`th, to be armed when its time has come.
   * Throws when one has not been reached by the time the next is asked for.
   */
  *each(count: number, { stride = 1 } = {}): Generator<number> {
    for (let step = 1; step <= count; step += stride) {
      this.arm(0);
      this.disarm();
      yield step;
      if (!this.fired) throw new Error(`Cannot break step ${step} of ${count}: it was not reached`);
    }
  }

  /** Lets everything through, until the next {@linkcode arm}. */
  disarm(): void {
    Deno.writeTextFileSync(`${stateDir}/off`, "");
  }

  /** Lets the program run of step `step` wait instead of failing. */
  armHold(step: number): void {
    this.arm(step);
    Deno.writeTextFileSync(`${stateDir}/hold`, "");
  }

  /**
   * Resolves to true when the armed program run waits, or to false when `end`
   * comes without it.
   */
  async held(end: Promise<unknown>): Promise<boolean> {
    const waits = Deno.readTextFile(`${stateDir}/held`).then(() => true);
    const came = await Promise.race([waits, end.then(() => false)]);
    // Nobody will write any more: the reader must not wait for ever.
    if (!came) await Deno.writeTextFile(`${stateDir}/held`, "");
    await waits;
    return came;
  }

  /** Lets the waiting program go on. */
  async release(): Promise<void> {
    await Deno.writeTextFile(`${stateDir}/go`, "go\n");
  }

  /** Steps seen since the last {@linkcode arm}, up to and with the broken one. */
  get seen(): number {
    return Number(Deno.readTextFileSync(`${stateDir}/seen`));
  }

  /** Whether the step has been broken. */
  get fired(): boolean {
    return exists(`${stateDir}/fired`);
  }

  /** The programs run since the last {@linkcode arm}, one a line. */
  get log(): string {
    return exists(`${stateDir}/log`) ? Deno.readTextFileSync(`${stateDir}/log`) : "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!exists(preparedMark)) return void await must(["umount", wrapperDir]);
    for (const [path, real] of realTools()) {
      Deno.removeSync(path);
      Deno.symlinkSync(real, path);
    }
  }
}

/** Makes a folder, with everything mounted there, read-only until disposed of. */
export async function readOnly(dir: string): Promise<AsyncDisposable> {
  await must(["mount", "--bind", dir, dir]);
  await must(["mount", "-o", "remount,bind,ro", dir]);
  if (!isReadOnly(dir)) throw new Error(`Cannot make "${dir}" read-only: it is still writable`);
  return {
    async [Symbol.asyncDispose]() {
      await must(["umount", dir]);
    },
  };
}

/** What the kernel says of the topmost mount at a folder (`man 5 proc`, `mountinfo`). */
function isReadOnly(dir: string): boolean {
  const mounts = Deno.readTextFileSync("/proc/self/mountinfo").split("\n");
  const [, , , , , options] = mounts.map((line) => line.split(" "))
    .findLast(([, , , , point]) => point === dir) ?? [];
  return options?.split(",").includes("ro") ?? false;
}
