/**
 * Joins neighbouring steps into as few processes as possible: one `ip -batch`,
 * one `nft -f` or one `iptables-restore` for a run of them, and one `sh` where
 * kernel variables are written (Deno itself opens `/proc` only for a program with
 * every permission, and a namespace's variables only exist inside it).
 *
 * @module
 */
import type { Command, NetnsRef, Tool } from "./command.ts";
import { command, shellQuote } from "./command.ts";
import type { Action, SetSysctl, Step } from "./step.ts";

/** A run of steps that is carried out at once, and how a failure maps back to a step. */
export interface Unit {
  /** The steps it carries out, in order. */
  readonly steps: readonly Step[];
  /** The action to carry out: a command, or a file that this process writes itself. */
  readonly run: Exclude<Action, SetSysctl>;
  /** Whether steps before a failing one have taken effect. */
  readonly atomic: boolean;
  /** Index in `steps` of the step that failed, from the program's stderr. */
  readonly failed: (stderr: string) => number;
}

const batchTools: ReadonlySet<Tool> = new Set<Tool>(["ip", "bridge", "tc"]);
const transactionTools: ReadonlySet<Tool> = new Set<Tool>([
  "nft",
  "iptables-restore",
  "ip6tables-restore",
]);

/** Folds a plan's steps, keeping their order. */
export function fold(steps: readonly Step[]): Unit[] {
  const units: Unit[] = [];
  let rest = steps;
  while (rest.length > 0) {
    const count = runLength(rest);
    units.push(unit(rest.slice(0, count)));
    rest = rest.slice(count);
  }
  return units;
}

/** Number of processes that a plan starts. */
export function processes(steps: readonly Step[]): number {
  return fold(steps).filter((unit) => unit.run.kind === "command").length;
}

/** How many steps from the first on go together. */
function runLength(steps: readonly Step[]): number {
  const first = steps[0]!.do;
  let count = 1;
  if (isScriptable(first)) {
    while (count < steps.length && joinsScript(first, steps[count]!.do)) {
      count++;
    }
  } else if (isTransaction(first)) {
    while (count < steps.length && joinsTransaction(steps[0]!, steps[count]!)) {
      count++;
    }
  }
  return count;
}

type Scriptable = (Command & { stdin?: undefined }) | SetSysctl;

function isScriptable(action: Action): action is Scriptable {
  if (action.kind === "sysctl") return true;
  return action.kind === "command" && batchTools.has(action.tool) &&
    action.stdin === undefined && !lineOf(action)[0]?.startsWith("-") &&
    action.args.every((word) => batchWord.test(word));
}

function isTransaction(action: Action): action is Command {
  return action.kind === "command" && transactionTools.has(action.tool) &&
    action.stdin !== undefined;
}

function joinsScript(first: Scriptable, next: Action): boolean {
  return isScriptable(next) && first.netns?.path === next.netns?.path;
}

/** A step that tolerates failures stays alone: its failure must not take others back. */
function joinsTransaction(first: Step, next: Step): boolean {
  const [a, b] = [first.do, next.do];
  return isTransaction(a) && isTransaction(b) && a.tool === b.tool &&
    a.netns?.path === b.netns?.path &&
    a.args.join("\0") === b.args.join("\0") &&
    !first.tolerate?.length && !next.tolerate?.length;
}

function unit(steps: readonly Step[]): Unit {
  const first = steps[0]!.do;
  if (isTransaction(first) && steps.length > 1) {
    return transaction(first, steps);
  }
  if (steps.length === 1 && first.kind !== "sysctl") {
    return { steps, run: first as Unit["run"], atomic: true, failed: () => 0 };
  }
  const segments = segmentsOf(steps);
  const only = segments[0]!;
  if (segments.length === 1 && only.tool !== "sysctl") {
    return {
      steps,
      run: command(only.tool, batchArgs(only), {
        netns: first.kind === "command" ? first.netns : undefined,
        stdin: batchText(steps),
      }),
      atomic: false,
      failed: (stderr) => batchStep(stderr, steps),
    };
  }
  return script(steps, segments);
}

function transaction(first: Command, steps: readonly Step[]): Unit {
  const texts = steps.map(({ do: action }) => (action as Command).stdin!.replace(/\n?$/, "\n"));
  return {
    steps,
    run: { ...first, stdin: texts.join("") },
    // iptables-restore commits at each COMMIT, so one step after the other.
    atomic: first.tool === "nft",
    failed: (stderr) => transactionStep(stderr, texts),
  };
}

/** nft says `/dev/stdin:3:1-9: Error: …`, iptables-restore `line 3 failed` or `at line: 3`. */
function transactionStep(stderr: string, texts: readonly string[]): number {
  const match = /^\S*?:(\d+):\d+|\bline:? (\d+)/m.exec(stderr);
  let rest = Number(match?.[1] ?? match?.[2] ?? 1);
  const index = texts.findIndex((text) => (rest -= text.split("\n").length - 1) <= 0);
  return index < 0 ? texts.length - 1 : index;
}

/** Neighbouring steps of one tool and family inside a script. */
interface Segment {
  readonly tool: Tool | "sysctl";
  /** `-6`; empty where commands name none. */
  readonly family: string;
  /** Index of its first step. */
  readonly start: number;
  readonly steps: Step[];
}

function segmentsOf(steps: readonly Step[]): Segment[] {
  const segments: Segment[] = [];
  steps.forEach((step, start) => {
    const [tool, family] = step.do.kind === "command"
      ? [step.do.tool, familyOf(step.do)] as const
      : ["sysctl", ""] as const;
    const last = segments.at(-1);
    if (last?.tool === tool && last.family === family) last.steps.push(step);
    else segments.push({ tool, family, start, steps: [step] });
  });
  return segments;
}

/**
 * Words that iproute2's batch reader takes as they are. It cuts a line at `#`
 * even inside quotes, so a command with any other word runs by itself.
 */
const batchWord = /^[^\s"'#\\]+$/;

/** A command's words inside a batch, which shows details and JSON by itself and is for one family. */
function lineOf({ tool, args }: Command): readonly string[] {
  const start = args.findIndex((word) => !/^-[dj46]$/.test(word));
  return tool === "ip" ? args.slice(start) : args;
}

/** `-6` where a command is told its family, which a line of a batch cannot be. */
function familyOf({ tool, args }: Command): string {
  return tool === "ip" ? args.find((word) => word === "-4" || word === "-6") ?? "" : "";
}

function batchText(steps: readonly Step[]): string {
  return steps.map(({ do: action }) => `${lineOf(action as Command).join(" ")}\n`)
    .join("");
}

/** What a batch shows it shows as JSON with details; the other lines print nothing. */
function batchArgs({ tool, family }: Pick<Segment, "tool" | "family">): string[] {
  if (tool !== "ip") return ["-batch", "-"];
  return [...family ? [family] : [], "-d", "-j", "-batch", "-"];
}

/**
 * Index of the step that failed: iproute2 says `Command failed -:3` for the third line. At a
 * word that it cannot read it ends without saying so, and names the word. A shell that was
 * killed or could not start says nothing: then it is the first.
 */
function batchStep(stderr: string, steps: readonly Step[]): number {
  const match = /^Command failed -:(\d+)/m.exec(stderr);
  if (match) return Math.min(Number(match[1]), steps.length) - 1;
  const word = /"([^"]+)"/.exec(stderr)?.[1] ?? "";
  const index = steps.findIndex(({ do: it }) => it.kind === "command" && it.args.includes(word));
  return Math.max(index, 0);
}

/**
 * Writes a variable; one that refuses and is right already is as good. `$1`
 * step, `$2` key, `$3` value, `$4` non-empty when a failure does not matter. It
 * is not read first: the shell's `read` takes one byte at a time, and the kernel
 * gives a number in one piece or not at all.
 */
const setVariable = `w() {
  { printf %s "$3" >"/proc/sys/$2"; } 2>/dev/null && return
  [ "$(cat "/proc/sys/$2" 2>/dev/null)" = "$3" ] && return
  if [ "$4" ]; then
    [ -e "/proc/sys/$2" ] && echo "Step skipped $1" >&2
    return 0
  fi
  printf %s "$3" >"/proc/sys/$2"
  echo "Step failed $1" >&2
  exit 1
}
`;

function script(steps: readonly Step[], segments: readonly Segment[]): Unit {
  const text = segments.map((segment, index) =>
    segment.tool === "sysctl"
      ? sysctlText(segment)
      : batchCall(segment, index === segments.length - 1)
  ).join("");
  const netns = (steps[0]!.do as Command | SetSysctl).netns;
  const needsSetter = segments.some(({ tool }) => tool === "sysctl");
  return {
    steps,
    run: shell(`${needsSetter ? setVariable : ""}${text}`, netns),
    atomic: false,
    failed: (stderr) => failedStep(stderr, segments),
  };
}

function shell(text: string, netns: NetnsRef | undefined): Command {
  return command("sh", ["-c", text], { netns });
}

function sysctlText(segment: Segment): string {
  return segment.steps.map(({ do: action }, index) => {
    const { key, value, optional } = action as SetSysctl;
    const words = [`${segment.start + index}`, key, value, optional ? "y" : ""];
    return `w ${words.map(shellQuote).join(" ")}\n`;
  }).join("");
}

function batchCall(segment: Segment, last: boolean): string {
  const body = `<<'EOF'${
    last ? "" : ` || { echo "Segment failed ${segment.start}" >&2; exit 1; }`
  }\n${batchText(segment.steps)}EOF\n`;
  return `${last ? "exec " : ""}${segment.tool} ${batchArgs(segment).join(" ")} ${body}`;
}

/** Steps of a unit that succeeded which the kernel has refused, and which do not matter for the rest. */
export function skippedSteps({ steps }: Pick<Unit, "steps">, stderr: string): Step[] {
  return [...stderr.matchAll(/^Step skipped (\d+)$/gm)].map(([, index]) => steps[Number(index)]!);
}

function failedStep(stderr: string, segments: readonly Segment[]): number {
  // Nothing has run in a namespace that cannot be entered.
  if (/^nsenter: /.test(stderr)) return 0;
  const direct = /^Step failed (\d+)/m.exec(stderr);
  if (direct) return Number(direct[1]);
  const marked = /^Segment failed (\d+)/m.exec(stderr);
  const segment = marked
    ? segments.find(({ start }) => start === Number(marked[1]))!
    : segments.at(-1)!;
  return segment.start + batchStep(stderr, segment.steps);
}
