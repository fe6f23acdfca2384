import { assertEquals } from "@std/assert";
import { NetnsWatch } from "./exchange_process.ts";

/** Settles when a signal is given. */
function given(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

Deno.test("a look that fails ends nothing; the next one tells", async () => {
  const looks: boolean[] = [];
  using watch = new NetnsWatch(() => {
    looks.push(watch.gone);
    if (looks.length === 1) throw new Error("too many open files");
    return looks.length < 3;
  }, { interval: 1 });
  await given(watch.signal);
  assertEquals([looks, watch.gone], [[false, false, false], true]);
});

Deno.test("who calls a process off ends it, and its namespace is not gone", async () => {
  const caller = new AbortController();
  using watch = new NetnsWatch(() => true, { signal: caller.signal });
  const ended = given(watch.signal);
  caller.abort();
  await ended;
  assertEquals(watch.gone, false);
});
