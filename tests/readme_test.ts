/**
 * The script of README.md, in a project of its own: it attaches a namespace to a network
 * and detaches it.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { kernelTest } from "./harness/need.ts";
import { OutsideProject } from "./harness/outside.ts";
import { execute } from "./harness/process.ts";

/** The first TypeScript of a section. */
function scriptOf(page: string, heading: string): string {
  const section = page.split(`\n### ${heading}\n`)[1]?.split(/\n##+ /)[0];
  const script = /^```ts\n([\s\S]*?)^```$/m.exec(section ?? "")?.[1];
  assert(script, `Cannot find a script below "${heading}"`);
  return script;
}

kernelTest("README.md: the script attaches a namespace and detaches it", {
  needs: ["link:bridge", "link:veth"],
}, async (sandbox) => {
  const page = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  await using project = await OutsideProject.create({
    "script.ts": scriptOf(page, "From scripts"),
  });
  await project.must("check", "script.ts");
  const deno = [Deno.execPath(), "run", "-A", "--no-check", "script.ts"];
  const inside = ["nsenter", `--net=${sandbox.host}`, "--", ...deno];
  const { code, stdout, stderr } = await execute(inside, { cwd: project.dir, deadline: 300_000 });
  assertEquals(code, 0, stderr);
  assertMatch(stdout, /address: "10\.22\.0\.\d+\/16"/);
  const links = await sandbox.ipJson<{ ifname: string }>(sandbox.host, "link show");
  assertEquals(links.map(({ ifname }) => ifname), ["lo", "cni0"]);
  assertEquals([...Deno.readDirSync("/var/lib/cni/results")], []);
});
