/**
 * What an ADD and a DEL of host-local cost when 10, 1,000, 10,000 and 65,000
 * addresses are reserved: medians over calls in this process, without the time a
 * process takes to start. The reservations are written in the reference's format
 * and indexed by the plugin when it first sees them; the last line shows what one
 * look at the whole directory costs.
 *
 *     deno run -A bench/host_local.ts [CALLS]
 *
 * @module
 */
import { callPlugin } from "../cni/request.ts";
import { plugin } from "../ipam/host-local.ts";
import { Machine } from "../ns/machine.ts";
import type { JsonObject } from "../cni/types.ts";

const sizes = [10, 1_000, 10_000, 65_000] as const;
const calls = Number(Deno.args[0] ?? 200);

/** Median times in milliseconds. */
interface Times {
  readonly add: number;
  readonly del: number;
}

async function main(): Promise<void> {
  const dataDir = await Deno.makeTempDir({ prefix: "host-local-bench" });
  try {
    await measureAll(dataDir);
  } finally {
    await Deno.remove(dataDir, { recursive: true });
  }
}

async function measureAll(dataDir: string): Promise<void> {
  const config: JsonObject = {
    cniVersion: "1.1.0",
    name: "bench",
    ipam: { type: "host-local", dataDir, ranges: [[{ subnet: "10.0.0.0/15" }]] },
  };
  let reserved = 0;
  let base: Times | undefined;
  console.log(
    "reserved       ADD       DEL    (median of %d calls, ratio to the first line)",
    calls,
  );
  for (const size of sizes) {
    fill(`${dataDir}/bench`, reserved, size);
    reserved = size;
    await verb("DEL", config, "unknown");
    const times = await measure(config);
    base ??= times;
    console.log(line(String(size), times, base));
  }
  const start = performance.now();
  Deno.writeTextFileSync(`${dataDir}/bench/10.1.255.1`, "other\r\neth0");
  await verb("DEL", config, "other");
  const whole = (performance.now() - start).toFixed(0);
  console.log(`one DEL after another program made a reservation among ${reserved}: ${whole} ms`);
}

/** Reserves the addresses from number `from` up to `to`, as the reference's plugin would. */
export function fill(dir: string, from: number, to: number): void {
  Deno.mkdirSync(dir, { recursive: true });
  const address = (n: number) => `10.${n >> 16}.${n >> 8 & 255}.${n & 255}`;
  for (let n = from; n < to; n++) {
    Deno.writeTextFileSync(`${dir}/${address(n + 2)}`, `fill-${n}\r\neth0`);
  }
  Deno.writeTextFileSync(`${dir}/last_reserved_ip.0`, address(to + 1));
}

function line(title: string, { add, del }: Times, base: Times): string {
  const cell = (time: number, first: number) =>
    `${time.toFixed(2)} ms`.padStart(10) + ` (${(time / first).toFixed(2)})`;
  return `${title.padStart(8)}${cell(add, base.add)}${cell(del, base.del)}`;
}

/** Each call adds one attachment to those that are there, and takes it away again. */
async function measure(config: JsonObject): Promise<Times> {
  const [adds, dels]: [number[], number[]] = [[], []];
  for (let call = 0; call < calls; call++) {
    adds.push(await timed(() => verb("ADD", config, `bench-${call}`)));
    dels.push(await timed(() => verb("DEL", config, `bench-${call}`)));
  }
  return { add: median(adds), del: median(dels) };
}

async function verb(name: "ADD" | "DEL", config: JsonObject, containerId: string): Promise<void> {
  const call = {
    containerId,
    ifName: "eth0",
    netns: "/run/netns/none",
    args: "",
    path: [],
    config,
    cniVersion: "1.1.0",
  };
  await callPlugin(plugin, name, call, { host: new Machine() });
}

async function timed(task: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await task();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

if (import.meta.main) await main();
