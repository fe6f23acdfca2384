import { assert } from "@std/assert";
import { MonitorProcess } from "./monitor.ts";
import { toolPath } from "./spawn.ts";

const never = new AbortController().signal;

Deno.test("MonitorProcess hears what is said, and waits no longer than it should", async () => {
  await using monitor = new MonitorProcess(toolPath("sh"), ["-c", "echo one; read -r _"]);
  await monitor.heard(60_000, never);
  await monitor.heard(1, never);
  const calling = new AbortController();
  const waiting = monitor.heard(60_000, calling.signal);
  calling.abort();
  await waiting;
});

Deno.test("MonitorProcess ends a program by its stdin", async () => {
  const path = await Deno.makeTempFile();
  const script = `read -r _; echo over >${path}`;
  await new MonitorProcess(toolPath("sh"), ["-c", script])[Symbol.asyncDispose]();
  assert(Deno.readTextFileSync(path) === "over\n");
  Deno.removeSync(path);
});
