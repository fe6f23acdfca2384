import { assert, assertEquals, assertRejects } from "@std/assert";
import { isOurs } from "../cni/delegate.ts";
import { spawn } from "../host/spawn.ts";
import { install, uninstall } from "./install.ts";
import { readMarker } from "./marker.ts";
import { commandName } from "./permissions.ts";

/** Runs `body` with a new folder that is removed afterwards. */
async function inFolder(body: (dest: string) => Promise<void>): Promise<void> {
  const dest = await Deno.makeTempDir();
  try {
    await body(dest);
  } finally {
    await Deno.remove(dest, { recursive: true });
  }
}

function namesIn(dest: string): string[] {
  return [...Deno.readDirSync(dest)].map(({ name }) => name).sort();
}

/** Launchers of two plugins: enough to see what `install` does to a folder. */
const launchers = { names: ["loopback", "static"], launchers: true };

Deno.test("installed plugins answer with an empty environment, and are known as ours", () =>
  inFolder(async (dest) => {
    await install({ dest, ...launchers });
    for (const name of launchers.names) {
      const env = { CNI_COMMAND: "VERSION", CNI_PATH: "/" };
      const { code, stdout, stderr } = await spawn(`${dest}/${name}`, [], { env });
      assertEquals([code, stderr], [0, ""], name);
      assert(JSON.parse(stdout).supportedVersions.includes("1.1.0"), stdout);
      assert(isOurs(`${dest}/${name}`), name);
    }
    const { bundle } = readMarker(dest);
    assertEquals(namesIn(dest), [".denocni", `${bundle}.js`, `${bundle}.txt`, ...launchers.names]);
  }));

Deno.test("a second installation replaces the first and adds to its marker", () =>
  inFolder(async (dest) => {
    await install({ dest, names: ["static"], launchers: true });
    await install({ dest, ...launchers });
    assertEquals(Object.keys(readMarker(dest).files), launchers.names);
  }));

Deno.test("what does not run is not installed, and nothing is left of it", () =>
  inFolder(async (dest) => {
    await Deno.writeTextFile(`${dest}/static`, "theirs");
    const options = { dest, ...launchers, force: true, deno: "/bin/false" };
    await assertRejects(() => install(options), Error, "Cannot run");
    assertEquals(await Deno.readTextFile(`${dest}/static`), "theirs");
    assertEquals(namesIn(dest), ["static"]);
  }));

Deno.test("files from elsewhere are replaced by request only", () =>
  inFolder(async (dest) => {
    await Deno.writeTextFile(`${dest}/static`, "theirs");
    const options = { dest, ...launchers };
    await assertRejects(() => install(options), Error, "static there come from elsewhere");
    assertEquals(namesIn(dest), ["static"]);
    await install({ ...options, force: true });
    assert(isOurs(`${dest}/static`));
  }));

Deno.test("a file that another has replaced is neither ours nor removed", () =>
  inFolder(async (dest) => {
    await install({ dest, ...launchers });
    await Deno.writeTextFile(`${dest}/static`, "theirs");
    assert(!isOurs(`${dest}/static`));
    assertEquals(uninstall(dest), ["static"]);
    assertEquals(namesIn(dest), ["static"]);
  }));

Deno.test("the command is installed beside the plugins", () =>
  inFolder(async (dest) => {
    await install({ dest, names: [commandName], launchers: true });
    const { code } = await spawn(`${dest}/${commandName}`, ["--help"], { env: {} });
    assertEquals(code, 0);
  }));

Deno.test("uninstalling what was never installed is a success", () =>
  inFolder((dest) => {
    assertEquals(uninstall(dest), []);
    return Promise.resolve();
  }));
