import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { grantsOfAll, listedEnv, permissionFlags } from "../cni/permissions.ts";
import { loadPlugin, types } from "../registry.ts";
import { grantsFor, names, requireListed, selectNames } from "./permissions.ts";

Deno.test("no plugin is granted all, or what an executable of all is not", async () => {
  const all = grantsOfAll();
  for (const type of types) {
    const grants = await grantsFor(type);
    for (const kind of ["run", "read", "write", "env"] as const) {
      assertEquals(grants[kind].filter((name) => !all[kind].includes(name)), [], type);
    }
    const unbounded = permissionFlags(grants).filter((flag) => /^(-A|--allow-[a-z]+)$/.test(flag));
    assertEquals(unbounded, type === "dhcp" ? ["--allow-net"] : [], type);
  }
});

Deno.test("a listed variable is one that a plugin reads", async () => {
  const plugins = await Promise.all(types.map((type) => loadPlugin(type)));
  const read = new Set(plugins.flatMap((plugin) => plugin!.permissions.env ?? []));
  assertEquals(new Set(listedEnv), read);
});

Deno.test("a listed program, path or variable must be known", () => {
  const permissions = { run: [], read: ["/srv/unknown"], write: [] };
  assertThrows(() => requireListed("x", permissions), Error, "/srv/unknown must stand in");
  const program = { run: ["ip", "ethtool"], read: [], write: [] };
  assertThrows(() => requireListed("x", program), Error, '"x": ethtool must stand in knownTools');
  const variable = { run: [], read: true, write: [], env: ["LISTEN_FDS", "HOME"] } as const;
  assertThrows(() => requireListed("x", variable), Error, '"x": HOME must stand in listedEnv');
});

Deno.test("names are those asked for, or all", async () => {
  assertEquals(selectNames([]), [...names]);
  assertEquals(selectNames(["bridge"]), ["bridge"]);
  // No plugin of the project is named as its file would be taken for a test.
  assertThrows(() => selectNames(["no_test"]), Error, 'Cannot pack "no_test"');
  await assertRejects(() => grantsFor("no_test"), Error, 'Cannot pack "no_test"');
});
