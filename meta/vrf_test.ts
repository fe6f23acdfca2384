import { assertEquals, assertRejects } from "@std/assert";
import { CniError } from "../cni/error.ts";
import type { JsonObject } from "../cni/types.ts";
import { add, call } from "../cni/testing.ts";
import { FakeHost } from "../ns/testing.ts";
import { plugin } from "./vrf.ts";

const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2/24" }] };

async function refused(verb: "ADD" | "CHECK", config: JsonObject): Promise<string> {
  const host = new FakeHost();
  const error = await assertRejects(
    () => call(plugin, verb, { config, host }),
    CniError,
  );
  assertEquals([error.code, host.asked, host.lines], [7, [], []]);
  return error.msg;
}

Deno.test("the name of the VRF is needed, whatever its case", async () => {
  const valid = "configuration is expected to have a valid vrf name";
  for (const verb of ["ADD", "CHECK"] as const) {
    for (const config of [{}, { vrfname: "" }, { vrfname: null }]) {
      assertEquals(
        await refused(verb, { prevResult, ...config }),
        `Cannot use network configuration: ${valid}`,
      );
    }
    // Only what comes after the configuration is wrong here.
    assertEquals(await refused(verb, { vrfName: "red" }), "missing prevResult from earlier plugin");
  }
});

Deno.test("names that no link can have, and tables that are none, are refused", async () => {
  const configs: JsonObject[] = [
    { vrfname: "a/b" },
    { vrfname: "sixteen-letters-" },
    { vrfname: "red%d" },
    { vrfname: 7 },
    { vrfname: "red", table: -1 },
    { vrfname: "red", table: 2 ** 32 },
    { vrfname: "red", table: 1.5 },
    { vrfname: "red", table: "1" },
  ];
  for (const config of configs) await refused("ADD", { prevResult, ...config });
});

Deno.test("DEL succeeds without namespace and whatever the configuration is", async () => {
  for (const config of [{ vrfname: "red" }, {}, { vrfname: 7, table: "x" }, { vrfname: "a/b" }]) {
    const host = new FakeHost();
    await call(plugin, "DEL", { config, host, netns: "" });
    assertEquals([host.asked, host.lines], [[], []]);
  }
});

Deno.test("ADD wants a namespace", async () => {
  const config = { prevResult, vrfname: "red" };
  const error = await assertRejects(() => add(plugin, { config, host: new FakeHost() }), CniError);
  assertEquals(error.code, 8);
});
