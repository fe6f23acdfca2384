/**
 * The `cni` command against a real kernel: namespaces made and attached, packets
 * between them, plans that change nothing, and nothing left at the end.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { kernelTest } from "./harness/need.ts";
import { Lab } from "./harness/lab.ts";
import { must } from "./harness/process.ts";
import { fails, Recorder } from "./harness/recorder.ts";
import type { ResidueId } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["plugin:bridge", "plugin:host-local"] as const;
const scaffold: readonly ResidueId[] = ["bridge", "forwarding4", "hostLocal"];

/** A lab with the network `mynet`: a bridge, and what comes after it. */
function labOf(sandbox: Sandbox, plugins: JsonObject[] = []): Lab {
  const ipam = hostLocal(sandbox, "10.88.0.0/24");
  const bridge = { type: "bridge", bridge: "bridge0", isGateway: true, ipam };
  return new Lab(sandbox).network("mynet", [bridge, ...plugins]);
}

async function namespaces(): Promise<string> {
  return await must(["ip", "netns", "list"]);
}

async function states(lab: Lab): Promise<unknown[]> {
  const { attachments } = await lab.json("list");
  return (attachments as JsonObject[]).map(({ state }) => state);
}

kernelTest("cni up, list, plan, check, down", { needs }, async (sandbox, test) => {
  const lab = labOf(sandbox);
  const [web, db] = [lab.name("web"), lab.name("db")];
  const before = await snapshot(sandbox);
  const listed = await namespaces();
  let up: JsonObject[] = [];

  await test.step("up makes namespaces and attaches them", async () => {
    up = await lab.json<JsonObject[]>("up", web, db);
    assertEquals(up.map(({ name, already }) => [name, already]), [[web, false], [db, false]]);
    assertEquals(lab.attached().length, 2);
  });

  await test.step("packets go from one to the other", async () => {
    const [a, b] = up.map(({ netns }) => sandbox.agent(String(netns)));
    const port = await b!.listen("tcp");
    const { ips } = up[1]!.result as { ips: { address: string }[] } & JsonObject;
    const outcome = await a!.call(ips[0]!.address.split("/")[0]!, port);
    assertEquals(outcome, { is: "answered", from: "10.88.0.2" });
  });

  await test.step("up again changes nothing", async () => {
    const state = await snapshot(sandbox);
    const [again] = await lab.json<JsonObject[]>("up", web);
    assertEquals([again!.already, again!.result], [true, up[0]!.result]);
    assertSame(state, await snapshot(sandbox));
  });

  await test.step("list knows both, and people can read it", async () => {
    assertEquals(await states(lab), ["ok", "ok"]);
    const { stdout } = await lab.cni("list");
    assertMatch(stdout, /^mynet +eth0 +10\.88\.0\.2\/24 /m);
  });

  await test.step("check finds both as they were made", async () => {
    for (const { netns } of up) {
      const { code, stdout, stderr } = await lab.cni("check", "mynet", String(netns));
      assertEquals([code, stdout, stderr], [0, "", ""]);
    }
  });

  await test.step("plan of the removal changes nothing", async () => {
    const state = await snapshot(sandbox);
    const plan = await lab.json("plan", "mynet", String(up[0]!.netns), "--del");
    const [bridge] = plan.plugins as JsonObject[];
    assertStringIncludes(JSON.stringify(bridge!.steps), "remove veth");
    assertSame(state, await snapshot(sandbox));
  });

  await test.step("down removes everything", async () => {
    const down = await lab.json<JsonObject[]>("down", web, db);
    assertEquals(
      down,
      [web, db].map((name) => ({
        name,
        detached: ["eth0 on mynet"],
        removed: true,
      })),
    );
    assertEquals(lab.attached(), []);
    assertEquals(await namespaces(), listed);
    assertSame(before, await snapshot(sandbox), { allow: scaffold });
    const { code, stdout } = await lab.cni("down", web);
    assertEquals([code, stdout], [0, `${web}: nothing is attached\n`]);
  });
});

kernelTest("cni plan shows what add would do and changes nothing", { needs }, async (sandbox) => {
  const lab = labOf(sandbox);
  const netns = await sandbox.container();
  const before = await snapshot(sandbox);
  const plan = await lab.json("plan", "mynet", netns);
  assertSame(before, await snapshot(sandbox));
  const [bridge] = plan.plugins as JsonObject[];
  const { steps, commands, processes } = bridge as {
    steps: JsonObject[];
    commands: string[];
    processes: number;
  } & JsonObject;
  assertEquals(steps.some(({ why }) => why === 'create bridge "bridge0"'), true);
  assert(Number(processes) <= steps.length && commands.length <= steps.length);
  const planned = plan.result as JsonObject;
  const { stdout } = await lab.cni("plan", "mynet", netns);
  assertStringIncludes(stdout, 'create bridge "bridge0"');
  assertStringIncludes(stdout, "nothing was changed");
  const added = await lab.json("add", "mynet", netns);
  assertEquals(planned.ips, added.ips);
  assertEquals((await lab.cni("del", "mynet", netns)).code, 0);
  assertSame(before, await snapshot(sandbox), { allow: scaffold });
});

kernelTest("cni up that fails leaves nothing", { needs }, async (sandbox) => {
  using recorder = new Recorder();
  recorder.add("refuser", { ADD: fails(77, "banana") });
  const lab = labOf(sandbox, [{ type: "refuser" }]);
  lab.path += `:${recorder.dir}`;
  const before = await snapshot(sandbox);
  const listed = await namespaces();
  const { code, stderr } = await lab.cni("up", lab.name("web"));
  assertEquals(code, 1);
  assertStringIncludes(stderr, 'Error: plugin type="refuser" failed (add): banana\n  code: 77\n');
  assertEquals(recorder.log(), ["refuser ADD", "refuser DEL"]);
  assertEquals(await namespaces(), listed);
  assertEquals(lab.attached(), []);
  assertSame(before, await snapshot(sandbox), { allow: scaffold });
});

kernelTest("cni cleans up after a namespace that has gone", { needs }, async (sandbox) => {
  const lab = labOf(sandbox);
  const [web, db] = [lab.name("web"), lab.name("db")];
  const before = await snapshot(sandbox);
  await lab.json("up", web, db);
  for (const name of [web, db]) await must(["ip", "netns", "del", name]);
  assertEquals(await states(lab), ["netns gone", "netns gone"]);
  const [again] = await lab.json<JsonObject[]>("up", web);
  assertEquals(again!.already, false);
  assertEquals((await states(lab)).sort(), ["netns gone", "ok"]);
  const keep = `${again!.containerId}/eth0`;
  assertEquals((await lab.cni("gc", "mynet", "--keep", keep)).code, 0);
  assertEquals(await states(lab), ["ok"]);
  assertEquals((await lab.cni("down", web)).code, 0);
  assertSame(before, await snapshot(sandbox), { allow: scaffold });
});

kernelTest("cni --exec gives the same result as in process", { needs }, async (sandbox) => {
  const lab = labOf(sandbox);
  const netns = await sandbox.container();
  const before = await snapshot(sandbox);
  const results: JsonObject[] = [];
  for (const flags of [[], ["--exec"]]) {
    results.push(await lab.json("add", "mynet", netns, ...flags));
    assertEquals((await lab.cni("del", "mynet", netns, ...flags)).code, 0);
    assertSame(before, await snapshot(sandbox), { allow: scaffold });
  }
  const names = results.map(({ interfaces }) =>
    (interfaces as JsonObject[]).map(({ name }) => name)
  );
  assertEquals(names[0], names[1]);
});
