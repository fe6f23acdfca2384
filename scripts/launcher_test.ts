import { assert, assertEquals } from "@std/assert";
import { spawn } from "../host/spawn.ts";
import { launcherText, starterText } from "./launcher.ts";

const grants = { run: [], read: ["/"], write: [], env: ["CNI_*"], net: false };

Deno.test("a launcher runs its bundle with the plugin's name and permissions", () => {
  const text = launcherText({ name: "bridge", grants, deno: "/usr/bin/deno", starter: "/b.js" });
  assertEquals(text.split("\n")[0], "#!/bin/sh");
  assert(text.includes("--no-prompt --allow-read=/ '--allow-env=CNI_*' /b.js bridge \"$@\""), text);
  assert(!text.includes("--allow-write"), text);
});

Deno.test("a launcher needs no HOME, no cache and no working directory", async () => {
  const dir = await Deno.makeTempDir();
  const starter = `${dir}/it's a starter.js`;
  await Deno.writeTextFile(starter, starterText("bundle.txt"));
  await Deno.writeTextFile(`${dir}/bundle.txt`, "await 1; console.log(Deno.args.join());");
  const launcher = `${dir}/static`;
  const text = launcherText({ name: "static", grants, deno: Deno.execPath(), starter });
  await Deno.writeTextFile(launcher, text, { mode: 0o755 });
  const gone = `mkdir ${dir}/gone && cd ${dir}/gone && rmdir ${dir}/gone && exec "$0" a "b c"`;
  const { code, stdout } = await spawn("/bin/sh", ["-c", gone, launcher], { env: {} });
  await Deno.remove(dir, { recursive: true });
  assertEquals([code, stdout.trim()], [0, "static,a,b c"]);
});

Deno.test("a launcher writes no file", async () => {
  const dir = await Deno.makeTempDir();
  const home = `${dir}/home`;
  await Deno.mkdir(home);
  await Deno.writeTextFile(`${dir}/b.js`, "");
  const text = launcherText({ name: "x", grants, deno: Deno.execPath(), starter: `${dir}/b.js` });
  await Deno.writeTextFile(`${dir}/x`, text, { mode: 0o755 });
  const { code } = await spawn(`${dir}/x`, [], { env: { HOME: home, PATH: "/bin" } });
  const left = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  assertEquals([code, left, [...Deno.readDirSync(home)]], [0, ["b.js", "home", "x"], []]);
  await Deno.remove(dir, { recursive: true });
});
