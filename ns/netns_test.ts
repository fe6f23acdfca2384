import { assert, assertEquals } from "@std/assert";
import { currentNetns, inspectNetns, namedNetns, netnsDir, ownNetns, sameNetns } from "./netns.ts";

Deno.test("inspectNetns() finds this process's own namespace", () => {
  const state = inspectNetns("/proc/self/ns/net");
  assert(state.is === "namespace");
  assertEquals(state.netns, { path: "/proc/self/ns/net" });
  assert(sameNetns(state.identity, currentNetns()));
});

Deno.test("ownNetns() names this process's namespace for others", () => {
  const state = inspectNetns(ownNetns().path);
  assert(state.is === "namespace");
  assert(sameNetns(state.identity, currentNetns()));
  assert(!ownNetns().path.includes("self"));
});

Deno.test("inspectNetns() gives a path that iproute2 does not take for a name", () => {
  const dir = Deno.cwd();
  Deno.chdir("/proc/self/ns");
  try {
    const state = inspectNetns("net");
    assert(state.is === "namespace");
    assertEquals(state.netns, { path: "./net" });
  } finally {
    Deno.chdir(dir);
  }
});

Deno.test("inspectNetns() says what is missing", () => {
  for (const path of ["/nowhere/at/all", "", "/proc/self/stat/x"]) {
    assertEquals(inspectNetns(path), { is: "missing", path });
  }
});

Deno.test("inspectNetns() refuses what is not a namespace", () => {
  const file = Deno.makeTempFileSync();
  try {
    for (const path of [file, "/", "/dev/null", "/proc/self/stat"]) {
      const state = inspectNetns(path);
      assertEquals(state.is, "foreign", path);
      assert(state.is === "foreign" && state.what !== "");
    }
  } finally {
    Deno.removeSync(file);
  }
});

Deno.test("inspectNetns() does not fail on a path that no file can have", () => {
  for (const path of ["a\0b", "x".repeat(5000)]) {
    const { is } = inspectNetns(path);
    assert(is === "foreign" || is === "missing", path.slice(0, 10));
  }
});

Deno.test("sameNetns() compares device and inode", () => {
  assert(sameNetns({ dev: 4, ino: 7 }, { dev: 4, ino: 7 }));
  assert(!sameNetns({ dev: 4, ino: 7 }, { dev: 4, ino: 8 }));
  assert(!sameNetns({ dev: 4, ino: 7 }, { dev: 5, ino: 7 }));
});

Deno.test("namedNetns() gives the path that `ip netns` uses", () => {
  assertEquals(namedNetns("blue"), { path: `${netnsDir}/blue` });
});
