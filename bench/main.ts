/**
 * `deno task bench`: compares our packagings with each other and with other
 * plugins, in one run, in private namespaces.
 *
 *   deno task bench [--peer DIR]… [--quick] [--only TEXT]
 *
 * Ratios are to the first peer, or to the launchers when there is none.
 *
 * @module
 */
import { spawn } from "../host/spawn.ts";
import { root } from "../scripts/build.ts";
import { readOptions, runTask } from "../scripts/command_line.ts";
import { compileEach, CompileError } from "../scripts/compile.ts";
import { install } from "../scripts/install.ts";
import { ensurePackages, testPackages } from "../scripts/packages.ts";
import { names } from "../scripts/permissions.ts";
import type { Scenario } from "./scenario.ts";
import { scenarios } from "./scenario.ts";
import type { Row } from "./table.ts";
import { table } from "./table.ts";

const agentTitle = "dhcp: the lease agent's memory and start";

/** A folder of plugins, or why there is none. */
interface Contender {
  readonly name: string;
  readonly dir?: string;
  readonly missing?: string;
}

async function pack(name: string, make: (dir: string) => Promise<unknown>): Promise<Contender> {
  const dir = `${root}/dist/bench-${name}`;
  try {
    await make(dir);
    return { name, dir };
  } catch (error) {
    if (error instanceof CompileError) return { name, missing: error.message.split("\n")[0]! };
    throw error;
  }
}

async function ourContenders(): Promise<Contender[]> {
  return [
    await pack("launchers", (dest) => install({ dest, names, launchers: true, force: true })),
    await pack("multicall", (dest) => install({ dest, names, force: true })),
    await pack("compiled", (dir) => compileEach(names, dir)),
  ];
}

/** Measures in namespaces of its own, so that nothing is left from the one before. */
async function measure(contender: Contender, scenario: Scenario, rounds: number): Promise<Row> {
  const { name, dir, missing } = contender;
  if (dir === undefined) return { name, missing: missing! };
  const { code, stdout, stderr } = await inPrivate(
    "measure.ts",
    [dir, JSON.stringify(scenario), String(rounds)],
  );
  if (code !== 0) return { name, missing: `failed: ${firstError(stderr)}` };
  return { name, measurement: JSON.parse(stdout) };
}

function inPrivate(script: string, args: readonly string[]): ReturnType<typeof spawn> {
  const deno = [Deno.execPath(), "run", "-A", "--no-check", `${root}/bench/${script}`];
  return spawn(`${root}/tests/harness/private.sh`, [...deno, ...args], {
    inherit: true,
    env: { NO_COLOR: "1" },
    deadline: 900_000,
  });
}

/** Prints what our lease agent costs; other agents cannot be given leases without a server. */
async function measureAgents(contenders: readonly Contender[]): Promise<void> {
  console.log(`\n${agentTitle}`);
  for (const { name, dir, missing } of contenders) {
    const { code, stdout, stderr } = dir === undefined
      ? { code: 1, stdout: "", stderr: `error: ${missing}` }
      : await inPrivate("dhcp_agent.ts", [dir]);
    console.log(`${name}\n${code === 0 ? stdout : firstError(stderr)}`);
  }
}

function firstError(stderr: string): string {
  return /^error: .*$/m.exec(stderr)?.[0] ?? stderr.trim();
}

async function main(): Promise<void> {
  const args = readOptions(Deno.args, {
    boolean: ["quick"],
    string: ["peer", "only"],
    collect: ["peer"],
  });
  await ensurePackages([...testPackages, "strace", "time"]);
  const peers = (args["peer"] as string[] ?? []).map((dir) => ({ name: dir, dir }));
  const own = await ourContenders();
  const contenders = [...own, ...peers];
  const rounds = args["quick"] ? 5 : 20;
  for (const scenario of chosen(args["quick"] === true, args["only"])) {
    const rows: Row[] = [];
    for (const contender of contenders) rows.push(await measure(contender, scenario, rounds));
    console.log(`\n${scenario.name} (${rounds} in turn)`);
    console.log(table(rows, peers[0]?.name ?? "launchers"));
  }
  if (isChosen(agentTitle, args["only"])) await measureAgents(own);
}

function chosen(quick: boolean, only: unknown): Scenario[] {
  return scenarios(quick).filter(({ name }) => isChosen(name, only));
}

function isChosen(title: string, only: unknown): boolean {
  return typeof only !== "string" || title.includes(only);
}

if (import.meta.main) await runTask(main);
