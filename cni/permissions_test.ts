import { assert, assertEquals, assertThrows } from "@std/assert";
import { spawn } from "../host/spawn.ts";
import type { Permissions } from "./plugin.ts";
import type { Grants } from "./permissions.ts";
import { grantsOf, grantsOfAll, listedEnv, permissionFlags } from "./permissions.ts";

const nothing: Permissions = { run: [], read: [], write: [] };

Deno.test("a plugin that declares nothing may look where programs are, and at files", () => {
  const { run, read, write, env, net } = grantsOf(nothing);
  assert(run.every((path) => path.endsWith("/stat")), String(run));
  assert(read.includes("/usr/sbin") && !read.includes("/"), String(read));
  assertEquals([write, env, net], [[], ["CNI_*"], false]);
});

Deno.test("every place of a declared program is granted, and no other program", () => {
  const { run } = grantsOf({ ...nothing, run: ["ip"] });
  assertEquals(run.filter((path) => !path.endsWith("/stat")), [
    "/usr/local/sbin/ip",
    "/usr/local/bin/ip",
    "/usr/sbin/ip",
    "/usr/bin/ip",
    "/sbin/ip",
    "/bin/ip",
  ]);
});

Deno.test("a plugin from outside is granted its own program in every place, and no path", () => {
  const { run } = grantsOf({ ...nothing, run: ["ethtool"] });
  assertEquals(run.slice(0, 2), ["/usr/local/sbin/ethtool", "/usr/local/bin/ethtool"]);
  const path = { ...nothing, run: ["/usr/bin/wg"] };
  assertThrows(() => grantsOf(path), TypeError, 'Cannot use program "/usr/bin/wg"');
});

Deno.test("permissionFlags() grants no kind without names", () => {
  const grants = { run: [], read: ["/a", "/b"], write: [], env: ["CNI_*"], net: false };
  const flags = ["--no-prompt", "--allow-read=/a,/b", "--allow-env=CNI_*"];
  assertEquals(permissionFlags(grants), flags);
  assertEquals(permissionFlags({ ...grants, net: true }), [
    ...flags,
    "--allow-net",
    "--unstable-net",
  ]);
});

Deno.test("every plugin's grants are among those of all", () => {
  const all = grantsOfAll();
  const widest = grantsOf({ run: "any", read: true, write: true, env: listedEnv });
  for (const kind of ["run", "read", "write", "env"] as const) {
    assertEquals(widest[kind].filter((name) => !all[kind].includes(name)), [], kind);
  }
});

/** What a process may still do after it has given up what `permissions` does not declare. */
async function afterRevocation(permissions: Permissions): Promise<string[]> {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  const module = import.meta.resolve("./permissions.ts");
  await Deno.writeTextFile(
    script,
    `import { revokeUndeclared } from ${JSON.stringify(module)};
    revokeUndeclared(${JSON.stringify(permissions)});
    const attempts = {
      "read": () => Deno.readTextFileSync("/etc/hostname"),
      "write": () => Deno.removeSync("/nonexistent/file"),
      "run ip": () => new Deno.Command("/bin/ip", { args: ["-V"], clearEnv: true }).outputSync(),
      "run sh": () => new Deno.Command("/bin/sh", { args: ["-c", ":"], clearEnv: true }).outputSync(),
      "run other": () => new Deno.Command("/bin/ls", { clearEnv: true }).outputSync(),
      "env CNI_ARGS": () => Deno.env.get("CNI_ARGS"),
      "env LISTEN_FDS": () => Deno.env.get("LISTEN_FDS"),
      "env CAP_ARGS": () => Deno.env.get("CAP_ARGS"),
      "env HOME": () => Deno.env.get("HOME"),
      "sys": () => Deno.hostname(),
      "net": () => Deno.listen({ port: 0, hostname: "127.0.0.1" }).close(),
    };
    for (const [name, attempt] of Object.entries(attempts)) {
      try {
        attempt();
        console.log(name);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotCapable)) console.log(name);
      }
    }`,
  );
  const { stdout, stderr } = await spawn(Deno.execPath(), [
    "run",
    "--no-prompt",
    "--no-check",
    ...flags(grantsOfAll()),
    script,
  ], { inherit: true, env: {} });
  await Deno.remove(script);
  return stdout.trim() ? stdout.trim().split("\n") : [stderr];
}

function flags({ net, ...grants }: Grants): string[] {
  const named = Object.entries(grants).map(([kind, names]) => `--allow-${kind}=${names}`);
  return [...named, ...(net ? ["--allow-net"] : [])];
}

Deno.test("a bridge-like plugin keeps its programs and files, and nothing else", async () => {
  assertEquals(
    await afterRevocation({ run: ["ip", "sh"], read: true, write: true }),
    ["read", "write", "run ip", "run sh", "env CNI_ARGS"],
  );
});

Deno.test("a plugin that declares nothing keeps nothing", async () => {
  assertEquals(await afterRevocation(nothing), ["env CNI_ARGS"]);
});

Deno.test("a plugin that opens sockets and reads variables may go on doing so", async () => {
  assertEquals(
    await afterRevocation({ ...nothing, env: ["LISTEN_FDS"], net: true }),
    ["env CNI_ARGS", "env LISTEN_FDS", "net"],
  );
});

Deno.test("a plugin that declares some programs loses the others", async () => {
  assertEquals(
    await afterRevocation({ ...nothing, run: ["ip"] }),
    ["run ip", "env CNI_ARGS"],
  );
});
