/**
 * Measures one scenario with the plugins of one folder, and prints a
 * {@linkcode Measurement} as JSON. `main.ts` starts it in namespaces of its own.
 *
 *     measure.ts FOLDER SCENARIO ROUNDS      (SCENARIO as JSON)
 *
 * @module
 */
import type { JsonObject } from "../cni/types.ts";
import { execute, must } from "../tests/harness/process.ts";
import { fill } from "./host_local.ts";
import type { Scenario } from "./scenario.ts";
import { configuration, crowd, dataDir } from "./scenario.ts";

/** What ADD or DEL of one container costs. */
export interface Cost {
  /** Milliseconds, the median. */
  readonly wall: number;
  /** Milliseconds of processor time, with everything it starts, the mean. */
  readonly cpu: number;
  /** Largest resident size of any of its processes, MiB. */
  readonly memory: number;
  /** Programs that are executed. */
  readonly processes: number;
  /** Milliseconds until all containers of the crowd are done that started at once. */
  readonly together: number;
}

/** Costs of one scenario with one folder of plugins. */
export interface Measurement {
  readonly add: Cost;
  readonly del: Cost;
}

type Verb = "ADD" | "DEL";

/** Words that are put before a plugin's path. */
type Wrap = readonly string[];

class Bench {
  readonly #results = new Map<number, JsonObject>();

  constructor(readonly dir: string, readonly scenario: Scenario) {}

  /** Calls every plugin of the chain for one container. */
  async call(verb: Verb, container: number, wrap: Wrap = []): Promise<void> {
    const plugins = [...this.scenario.plugins];
    if (verb === "DEL") plugins.reverse();
    for (const plugin of plugins) await this.#callOne(verb, { plugin, container, wrap });
  }

  async #callOne(
    verb: Verb,
    { plugin, container, wrap }: { plugin: JsonObject; container: number; wrap: Wrap },
  ): Promise<void> {
    const prevResult = this.#results.get(container);
    const chained = plugin !== this.scenario.plugins[0] || verb === "DEL";
    const config = {
      ...configuration(plugin, container),
      ...(chained && prevResult && { prevResult }),
    };
    const stdout = await must([...wrap, `${this.dir}/${plugin["type"]}`], {
      stdin: JSON.stringify(config),
      env: this.#env(verb, container),
      cwd: "/",
    });
    if (verb === "ADD") this.#results.set(container, JSON.parse(stdout));
  }

  #env(verb: Verb, container: number): Record<string, string> {
    return {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      CNI_COMMAND: verb,
      CNI_CONTAINERID: `bench-${container}`,
      CNI_NETNS: netnsOf(container),
      CNI_IFNAME: "eth0",
      CNI_PATH: this.dir,
    };
  }

  /** One after the other: the median time of each and the mean processor time. */
  async inTurn(verb: Verb, rounds: number): Promise<Pick<Cost, "wall" | "cpu">> {
    const walls: number[] = [];
    const before = processorTime();
    for (let container = 0; container < rounds; container++) {
      walls.push(await timed(() => this.call(verb, container)));
    }
    return { wall: median(walls), cpu: (processorTime() - before) / rounds };
  }

  /** All at once, three times; gives the medians. */
  async together(rounds: number): Promise<Record<Verb, number>> {
    const adds: number[] = [];
    const dels: number[] = [];
    for (let round = 0; round < rounds; round++) {
      adds.push(await timed(() => this.#all("ADD")));
      dels.push(await timed(() => this.#all("DEL")));
    }
    return { ADD: median(adds), DEL: median(dels) };
  }

  async #all(verb: Verb): Promise<void> {
    await Promise.all(Array.from({ length: crowd }, (_, container) => this.call(verb, container)));
  }

  /** Largest resident size, as GNU time tells it. */
  async memory(verb: Verb): Promise<number> {
    const file = await Deno.makeTempFile();
    await this.call(verb, 0, ["/usr/bin/time", "--append", "--output", file, "--format", "%M"]);
    const sizes = (await Deno.readTextFile(file)).trim().split("\n").map(Number);
    await Deno.remove(file);
    return Math.max(...sizes) / 1024;
  }

  /** Programs executed, as strace sees them. */
  async processes(verb: Verb): Promise<number> {
    const file = await Deno.makeTempFile();
    const options = ["--follow-forks", "--output-append-mode", "--quiet=all", "-o", file];
    await this.call(verb, 0, ["strace", ...options, "--trace=execve", "--successful-only"]);
    const lines = (await Deno.readTextFile(file)).split("\n");
    await Deno.remove(file);
    return lines.filter((line) => line.includes("execve")).length;
  }
}

function netnsOf(container: number): string {
  return `/run/netns/bench-${container}`;
}

async function timed(task: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await task();
  return performance.now() - start;
}

/** Milliseconds of processor time of all children so far (proc(5), fields 16 and 17, of 10 ms each). */
function processorTime(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").replace(/^.*\) /s, "").split(" ");
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

/** The middle of a list of numbers. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Measures a scenario. */
export async function measure(bench: Bench, rounds: number): Promise<Measurement> {
  if (bench.scenario.reserved !== undefined) {
    fill(`${dataDir}/bench`, 0, bench.scenario.reserved);
  }
  // Whatever is made once, like a bridge, or an index of reservations.
  await bench.call("ADD", crowd);
  const add = await bench.inTurn("ADD", rounds);
  const del = await bench.inTurn("DEL", rounds);
  const memory = { add: await bench.memory("ADD"), del: await bench.memory("DEL") };
  const processes = { add: await bench.processes("ADD"), del: await bench.processes("DEL") };
  const together = await bench.together(Math.ceil(rounds / 8));
  return {
    add: { ...add, memory: memory.add, processes: processes.add, together: together.ADD },
    del: { ...del, memory: memory.del, processes: processes.del, together: together.DEL },
  };
}

if (import.meta.main) {
  const [dir, scenario, rounds] = Deno.args;
  for (let container = 0; container <= crowd; container++) {
    await execute(["ip", "netns", "add", netnsOf(container).split("/").at(-1)!]);
  }
  const bench = new Bench(dir!, JSON.parse(scenario!));
  const links = (bench.scenario.links ?? []).map((line) => `${line}\n`).join("");
  await must(["ip", "-batch", "-"], { stdin: links });
  console.log(JSON.stringify(await measure(bench, Number(rounds))));
}
