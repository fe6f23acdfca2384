/**
 * Installed plugins run wherever a runtime starts them, in every packaging.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { types } from "../registry.ts";
import { testWith } from "./harness/need.ts";
import { binDir, errorObject } from "./harness/plugin.ts";
import type { Finished, StartOptions } from "./harness/process.ts";
import { execute } from "./harness/process.ts";

const version = { CNI_COMMAND: "VERSION", CNI_PATH: "/" };

/** Runs a plugin, by words of a shell that end with its path as `$0` when there are any. */
function run(type: string, options: StartOptions, shell?: string): Promise<Finished> {
  const file = `${binDir()}/${type}`;
  return execute(shell === undefined ? [file] : ["sh", "-c", shell, file], options);
}

/** Fails unless this is an answer to VERSION. */
function assertVersions(type: string, { code, stdout, stderr }: Finished): void {
  assertEquals(code, 0, `${type}: ${stdout}${stderr}`);
  assert(JSON.parse(stdout).supportedVersions.includes("1.1.0"), `${type}: ${stdout}`);
}

for (const type of types) {
  const needs = ["private", `plugin:${type}`] as const;

  testWith(`${type}: the environment of the protocol is enough`, needs, async () => {
    const finished = await run(type, { env: version, cwd: "/" });
    assertVersions(type, finished);
    assertEquals(finished.stderr, "");
  });

  testWith(`${type}: a read-only system is enough`, needs, async () => {
    const readOnly = `for mount in / /run /tmp /var/lib/cni; do
      mount --bind $mount $mount && mount -o remount,bind,ro $mount || exit 3
    done
    ! touch /tmp/denocni 2>/dev/null || exit 4
    exec "$0"`;
    const words = ["unshare", "--mount", "sh", "-c", readOnly, `${binDir()}/${type}`];
    assertVersions(type, await execute(words, { env: version, cwd: "/" }));
  });

  testWith(`${type}: nothing is written into the user's folders`, needs, async () => {
    const home = await Deno.makeTempDir();
    assertVersions(type, await run(type, { env: { ...version, HOME: home, TMPDIR: home } }));
    assertEquals([...Deno.readDirSync(home)], []);
    await Deno.remove(home, { recursive: true });
  });

  testWith(`${type}: the working directory does not matter`, needs, async () => {
    for (const cwd of ["/", "/proc/self", "/sys"]) {
      assertVersions(type, await run(type, { env: version, cwd }));
    }
  });

  testWith(`${type}: a closed stdin is an error like any other`, needs, async () => {
    const env = { CNI_COMMAND: "ADD", CNI_PATH: "/", ...attachment };
    const output = await run(type, { env }, 'exec "$0" <&-');
    errorObject({ type, verb: "ADD" }, { ...output, json: JSON.parse(output.stdout) });
  });

  testWith(`${type}: a reader that has gone away does no harm`, needs, async () => {
    const status = await Deno.makeTempFile();
    // The plugin starts when its reader has ended.
    const shell = `{ read -r _ <"$STATUS.fifo"; "$0"; echo $? >"$STATUS"; } |
      { exec <&-; echo >"$STATUS.fifo"; }`;
    const env = { ...version, PATH: "/usr/bin:/bin", STATUS: status };
    await execute(["mkfifo", `${status}.fifo`]);
    const { stderr } = await run(type, { env }, shell);
    assertEquals([await Deno.readTextFile(status), stderr], ["0\n", ""]);
    for (const file of [status, `${status}.fifo`]) await Deno.remove(file);
  });

  testWith(`${type}: called without a verb it says what it is`, needs, async () => {
    const { code, stdout, stderr } = await run(type, { env: {} });
    assertEquals([code, stdout], [0, ""]);
    assertStringIncludes(stderr, `CNI ${type} plugin`);
  });
}

const attachment = { CNI_CONTAINERID: "c1", CNI_NETNS: "/run/netns/none", CNI_IFNAME: "eth0" };
