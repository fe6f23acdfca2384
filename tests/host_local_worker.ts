/**
 * Reserves and releases addresses for ever and says what it has done, one line
 * for each finished call; `host_local_test.ts` kills it.
 *
 *     deno run -A tests/host_local_worker.ts CONFIG PREFIX SEED
 *
 * @module
 */
import { add, call } from "../cni/testing.ts";
import { plugin } from "../ipam/host-local.ts";
import { Random } from "./harness/random.ts";

const [config, prefix, seed] = Deno.args;
const test = { config: JSON.parse(config!) };
const random = new Random(Number(seed));
const held: string[] = [];

function say(...words: string[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${words.join(" ")}\n`));
}

for (let serial = 0;; serial++) {
  if (held.length > 5 || held.length > 0 && random.oneIn(3)) {
    const containerId = held.splice(random.integer(0, held.length - 1), 1)[0]!;
    say("releasing", containerId);
    await call(plugin, "DEL", { ...test, containerId });
    say("released", containerId);
  } else {
    const containerId = `${prefix}-${serial}`;
    say("reserving", containerId);
    const { ips } = await add(plugin, { ...test, containerId });
    say("reserved", containerId, ...ips.map(({ address }) => address.split("/")[0]!));
    held.push(containerId);
  }
}
