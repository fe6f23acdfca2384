import { assertEquals, assertRejects } from "@std/assert";
import { object, optional, string } from "../decode.ts";
import { CniError } from "../error.ts";
import type { Plugin, Request } from "../plugin.ts";
import { spy } from "../testing.ts";
import type { JsonObject } from "../types.ts";
import { createExecutor } from "./executor.ts";
import { parseNetwork } from "./config.ts";
import { Runtime } from "./runtime.ts";

const attachment = { containerId: "c1", netns: "/run/netns/none", ifName: "eth0" };
const result: JsonObject = { cniVersion: "1.1.0", ips: [{ address: "10.1.2.3/24" }] };
const conf = object({ note: optional(string(), "") });
type Conf = { readonly note: string | undefined };

/** A runtime over plugins in process that remembers one attachment. */
function bench(repairs: Readonly<Record<string, Plugin<Conf>["repair"]>>) {
  const cacheDir = Deno.makeTempDirSync({ prefix: "cache-" });
  const plugins = new Map(
    Object.entries(repairs).map(([type, repair]) => {
      const plugin = { ...spy(conf).plugin, type, ...(repair && { repair }) };
      return [type, plugin as unknown as Plugin];
    }),
  );
  const load = (type: string) => {
    const plugin = plugins.get(type);
    return plugin && Promise.resolve(plugin);
  };
  const executor = createExecutor({ path: [], load, inProcessIfMissing: true });
  const runtime = new Runtime({ executor, cacheDir });
  const text = JSON.stringify({
    name: "net",
    cniVersion: "1.1.0",
    plugins: Object.keys(repairs).map((type) => ({ type, note: `of ${type}` })),
  });
  runtime.cache.write({
    ...attachment,
    network: "net",
    args: [],
    capabilityArgs: {},
    config: text,
    result,
  });
  return {
    runtime,
    network: parseNetwork(text),
    [Symbol.dispose]: () => Deno.removeSync(cacheDir, { recursive: true }),
  };
}

Deno.test("repair tells plugins the remembered result, in order, and gives what was missing", async () => {
  const seen: unknown[] = [];
  const repair = (line?: string) => (req: Request<Conf>) => {
    seen.push([req.conf.note, req.containerId, req.ifName, req.prevResult?.ips]);
    return Promise.resolve(line ? [line] : []);
  };
  using made = bench({ first: repair("a rule"), second: undefined, third: repair() });
  assertEquals(await made.runtime.repair(made.network, attachment), [
    { type: "first", missing: ["a rule"] },
    { type: "second", missing: [] },
    { type: "third", missing: [] },
  ]);
  const told = ["c1", "eth0", [{ address: "10.1.2.3/24" }]];
  assertEquals(seen, [["of first", ...told], ["of third", ...told]]);
});

Deno.test("repair goes on after a failure and takes back what failed", async () => {
  const done: string[] = [];
  using made = bench({
    first: (req) => {
      req.host.onRollback("note it", () => Promise.resolve(void done.push("undone")));
      return Promise.reject(new CniError(77, "banana"));
    },
    second: () => Promise.resolve([done.push("second") > 0 ? "a rule" : ""]),
  });
  const error = await assertRejects(
    () => made.runtime.repair(made.network, attachment),
    CniError,
  );
  assertEquals([error.code, error.msg], [77, 'plugin type="first" failed (repair): banana']);
  assertEquals(done, ["undone", "second"]);
});

Deno.test("repair of what is not remembered is an error", async () => {
  using made = bench({ first: undefined });
  const other = { ...attachment, containerId: "c2" };
  const error = await assertRejects(() => made.runtime.repair(made.network, other), CniError);
  assertEquals(error.code, 3);
});
