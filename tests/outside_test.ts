/**
 * A plugin of a project outside of this one (`tests/outside/`): type-checked with Deno's
 * default options, tested without a kernel, packed, and called as a runtime calls it.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { kernelTest } from "./harness/need.ts";
import { entries, OutsideProject } from "./harness/outside.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, binDir, fail, succeed } from "./harness/plugin.ts";
import { execute, must } from "./harness/process.ts";
import { hostLocal, subnet4 } from "./harness/rows.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const sources = new URL("./outside/", import.meta.url);

/** The files of the plugin, in a project of their own. */
function wireProject(): Promise<OutsideProject> {
  const files = [...Deno.readDirSync(sources)].map(({ name }) =>
    [name, Deno.readTextFileSync(new URL(name, sources))] as const
  );
  return OutsideProject.create(Object.fromEntries(files));
}

Deno.test("outside: every entry and a plugin pass the type check with default options", async () => {
  await using project = await wireProject();
  const lines = entries().map((entry, index) => `import * as e${index} from "${entry}";\n`);
  const uses = entries().map((_, index) => `console.log(Object.keys(e${index}).length > 0);\n`);
  await Deno.writeTextFile(`${project.dir}/entries.ts`, [...lines, ...uses].join(""));
  await project.must("check", "entries.ts", "wire.ts", "wire_test.ts", "flags.ts");
  const shown = await project.must("run", "--no-check", "entries.ts");
  assertEquals(shown, "true\n".repeat(entries().length));
});

Deno.test("outside: a mistake in a plugin does not pass the type check", async () => {
  await using project = await OutsideProject.create({
    "wrong.ts": `import { command } from "@denocni/denocni/host";\ncommand("ethtool", "eth0");\n`,
  });
  const { code, stderr } = await project.deno(["check", "wrong.ts"]);
  assertEquals(code, 1);
  assertMatch(stderr, /TS2345/);
});

Deno.test("outside: the plugin's own test passes, without a kernel", async () => {
  await using project = await wireProject();
  const output = await project.must("test", "--allow-all", "wire_test.ts");
  assertMatch(output, /ok \| 3 passed \| 0 failed/);
});

/** Folder of the packed plugin; private to a run, as all of `/run` is. */
const packedDir = "/run/denocni-outside";

/** Packs the plugin, unless an earlier test of this run has done it. */
async function packOnce(): Promise<void> {
  try {
    await Deno.stat(`${packedDir}/wire`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    await using project = await wireProject();
    await pack(project, packedDir);
  }
}

/**
 * Packs the plugin into `dir/wire`: an executable, or, where Deno has no runtime to embed,
 * a launcher of one bundled file. Both get the permissions that it declares, and no others.
 */
async function pack(project: OutsideProject, dir: string): Promise<void> {
  const flags = (await project.must("run", "--allow-read", "--allow-env", "flags.ts")).trim()
    .split(" ");
  await Deno.mkdir(dir, { recursive: true });
  const [file, bundle] = [`${dir}/wire`, `${dir}/wire.js`];
  await project.must("bundle", "--quiet", "--platform", "deno", "--output", bundle, "wire.ts");
  const words = ["compile", "--quiet", "--no-check", "--no-code-cache", ...flags];
  const compiler = Deno.env.get("DENO_COMPILE") || Deno.execPath();
  const options = { cwd: project.dir, deadline: 300_000 };
  const compiled = await execute([compiler, ...words, "--output", file, bundle], options);
  if (compiled.code === 0) return;
  assert(!Deno.env.get("DENORT_BIN"), compiled.stderr);
  console.log(`NOT COMPILED: ${compiled.stderr.trim().split("\n").at(-1)}`);
  const denoDir = Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`;
  const launcher = [
    "#!/bin/sh",
    `export DENO_DIR='${denoDir}'`,
    `exec '${Deno.execPath()}' run --quiet --no-check ${flags.join(" ")} '${bundle}'`,
  ];
  await Deno.writeTextFile(file, `${launcher.join("\n")}\n`, { mode: 0o755 });
}

function wire(config: JsonObject) {
  return (verb: PluginCall["verb"], rest: Partial<PluginCall> = {}): PluginCall => ({
    type: "wire",
    verb,
    binDir: packedDir,
    env: { CNI_PATH: `${packedDir}:${binDir()}` },
    ...rest,
    config: {
      cniVersion: "1.1.0",
      name: "mynet",
      type: "wire",
      ...config,
      ...rest.config as JsonObject,
    },
  });
}

const needs = ["link:veth", "plugin:host-local"] as const;

kernelTest("outside: a packed plugin attaches, checks, removes and collects", {
  needs,
}, async (sandbox) => {
  await packOnce();
  const netns = await sandbox.container("c1");
  const call = wire({ mtu: 1400, ipam: hostLocal(sandbox, subnet4) });
  const before = await snapshot(sandbox);
  const prevResult = await succeed(sandbox, call("ADD", { netns }));
  const [, inside] = prevResult["interfaces"] as JsonObject[];
  assertEquals(inside!["sandbox"], netns);
  const [address] = addressesOf(prevResult);
  const links = await sandbox.ipJson<{ addr_info: { local: string }[] }>(
    netns,
    "addr show dev eth0",
  );
  assertEquals(links[0]!.addr_info.map(({ local }) => local)[0], address!.split("/")[0]);
  const added = { netns, config: { prevResult } };
  await succeed(sandbox, call("CHECK", added));
  await succeed(sandbox, call("STATUS"));
  await succeed(
    sandbox,
    call("GC", {
      config: { "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] },
    }),
  );
  await succeed(sandbox, call("CHECK", added));
  await sandbox.ip(netns, ["link set dev eth0 mtu 1300", "addr flush dev eth0"]);
  assertEquals((await fail(sandbox, call("CHECK", added))).code, 105);
  await succeed(sandbox, call("DEL", added));
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
});

kernelTest("outside: a packed plugin runs a program that this project does not know", {
  needs: [...needs, "tool:ethtool"],
}, async (sandbox) => {
  await packOnce();
  const netns = await sandbox.container("c1");
  const call = wire({ checksums: true });
  const before = await snapshot(sandbox);
  const prevResult = await succeed(sandbox, call("ADD", { netns }));
  const inside = (...words: string[]) =>
    must(["nsenter", `--net=${netns}`, "--", "ethtool", ...words]);
  assertMatch(await inside("--show-features", "eth0"), /^tx-checksumming: off$/m);
  const added = { netns, config: { prevResult } };
  await succeed(sandbox, call("CHECK", added));
  await inside("--features", "eth0", "tx", "on");
  const { code, msg } = await fail(sandbox, call("CHECK", added));
  assertEquals(code, 105);
  assertMatch(msg, /container interface "eth0" leaves checksums to hardware/);
  await succeed(sandbox, call("DEL", added));
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
});
