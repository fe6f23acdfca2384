import { assert, assertEquals, assertThrows } from "@std/assert";
import type { RunningProcess } from "./self_exec.ts";
import { exchangeProgramOf } from "./self_exec.ts";

const running: RunningProcess = {
  execPath: "/opt/cni/bin/dhcp",
  standalone: true,
  mainModule: "file:///somewhere/denocni.js",
  env: (name) => name === "HOME" ? "/root" : undefined,
  isMissing: () => false,
};
const deno = { ...running, execPath: "/usr/bin/deno", standalone: false };

Deno.test("an executable starts itself, or dhcp beside it", () => {
  const rows: [execPath: string, isMissing: boolean, started: string][] = [
    ["/opt/cni/bin/dhcp", false, "/opt/cni/bin/dhcp"],
    ["/opt/cni/bin/bridge", false, "/opt/cni/bin/dhcp"],
    ["/opt/cni/bin/bridge", true, "/opt/cni/bin/bridge"],
    ["/usr/local/bin/cni", true, "/usr/local/bin/cni"],
    // The kernel's words for a file that was replaced.
    ["/opt/cni/bin/dhcp (deleted)", false, "/opt/cni/bin/dhcp"],
    ["/opt/cni/bin/renamed (deleted)", true, "/opt/cni/bin/renamed"],
  ];
  for (const [execPath, isMissing, started] of rows) {
    const { argv, env } = exchangeProgramOf({ ...running, execPath, isMissing: () => isMissing });
    assertEquals(argv, [started, "dhcp", "exchange"]);
    assertEquals(env, {});
  }
});

Deno.test("a launcher's bundle is run as launchers run it, with sockets alone", () => {
  const mainModule = "file:///opt/cni/bin/.denocni-0123456789ab.js";
  const { argv, env } = exchangeProgramOf({ ...deno, mainModule });
  assertEquals(argv.slice(0, 2), ["/usr/bin/deno", "run"]);
  assertEquals(argv.slice(-3), [mainModule, "dhcp", "exchange"]);
  assertEquals(argv.filter((word) => word.startsWith("--allow-")), ["--allow-net"]);
  for (const word of ["--no-prompt", "--unstable-net", "--no-config", "--no-npm"]) {
    assert(argv.includes(word), word);
  }
  assertEquals(env, { DENO_DIR: "/dev/null/deno", DENO_NO_UPDATE_CHECK: "1" });
});

Deno.test("a launcher stands in for its bundle when that is gone", () => {
  const mainModule = "file:///opt/cni%20bin/.denocni-0123456789ab.js";
  const isMissing = (path: string) => path === "/opt/cni bin/.denocni-0123456789ab.js";
  const program = exchangeProgramOf({ ...deno, mainModule, isMissing });
  assertEquals(program, { argv: ["/opt/cni bin/dhcp", "dhcp", "exchange"], env: {} });
});

Deno.test("sources are run with their configuration and caches", () => {
  const mainModule = "file:///src/denocni/main.ts";
  const { argv, env } = exchangeProgramOf({ ...deno, mainModule });
  assertEquals(argv.slice(-3), [mainModule, "dhcp", "exchange"]);
  assertEquals(argv.filter((word) => word.startsWith("--allow-")), ["--allow-net"]);
  assert(!argv.includes("--no-config"));
  assertEquals(env, { HOME: "/root" });
});

Deno.test("a program of somebody else has to say what to start", () => {
  assertThrows(
    () => exchangeProgramOf({ ...deno, mainModule: "file:///src/agent.ts" }),
    Error,
    'Cannot start "file:///src/agent.ts" again: it is not a program of denocni',
  );
});
