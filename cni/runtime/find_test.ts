import { assert, assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../error.ts";
import { NoConfigsFoundError, NotFoundError } from "./errors.ts";
import {
  findNetwork,
  findPluginConfig,
  listNetworks,
  loadNetwork,
  loadPluginFile,
} from "./find.ts";

/** A directory of files (text as it is, other values as JSON) that vanishes at the end. */
class ConfigDir implements Disposable {
  readonly dir: string = Deno.makeTempDirSync({ prefix: "net.d-" });

  constructor(files: Record<string, unknown>) {
    for (const [path, content] of Object.entries(files)) {
      const full = `${this.dir}/${path}`;
      Deno.mkdirSync(full.slice(0, full.lastIndexOf("/")), { recursive: true });
      const text = typeof content === "string" ? content : JSON.stringify(content);
      Deno.writeTextFileSync(full, text);
    }
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

const single = { name: "some-plugin", type: "foobar" };
const list = {
  name: "some-list",
  cniVersion: "0.2.0",
  plugins: [{ type: "a" }, { type: "b" }, { type: "c" }],
};

for (const name of ["50-whatever.conf", "50-whatever.json"]) {
  Deno.test(`findPluginConfig finds ${name}`, () => {
    using files = new ConfigDir({ [name]: single });
    const found = findPluginConfig("some-plugin", files.dir);
    assertEquals(found.text, JSON.stringify(single));
  });
}

Deno.test("a missing directory has no configurations", () => {
  for (const find of [findNetwork, findPluginConfig]) {
    const error = assertThrows(() => find("x", "/nowhere/at/all"), NoConfigsFoundError);
    assertEquals(error.dir, "/nowhere/at/all");
    assertEquals(error.msg, "no net configurations found in /nowhere/at/all");
  }
});

Deno.test("a directory that is a file is an error of its own", () => {
  using files = new ConfigDir({ file: "" });
  const dir = `${files.dir}/file`;
  const error = assertThrows(() => findNetwork("x", dir), CniError);
  assertEquals([error.code, error.msg], [5, `open ${dir}: not a directory`]);
});

Deno.test("a name that no file has is not found", () => {
  using singles = new ConfigDir({ "50-whatever.conf": single });
  using lists = new ConfigDir({ "50-whatever.conflist": list });
  for (const { dir } of [singles, lists]) {
    const error = assertThrows(() => findNetwork("other", dir), NotFoundError);
    assertEquals([error.dir, error.network], [dir, "other"]);
    assertEquals(error.msg, `no net configuration with name "other" in ${dir}`);
  }
});

Deno.test("a malformed file that sorts first ends the search", () => {
  using singles = new ConfigDir({ "00-bad.conf": "{", "50-whatever.conf": single });
  using lists = new ConfigDir({ "00-bad.conflist": "{", "50-whatever.conflist": list });
  assertEquals(
    assertThrows(() => findPluginConfig("some-plugin", singles.dir), CniError).msg,
    "error parsing configuration: unexpected end of JSON input",
  );
  const error = assertThrows(() => findNetwork("some-list", lists.dir), CniError);
  assertEquals(error.msg, "error parsing configuration list: unexpected end of JSON input");
  assertEquals(error.details, `file: ${lists.dir}/00-bad.conflist`);
});

Deno.test("a malformed file that sorts later is not opened", () => {
  using files = new ConfigDir({ "50-a.conflist": list, "99-bad.conflist": "{" });
  assertEquals(findNetwork("some-list", files.dir).plugins.length, 3);
});

Deno.test("directories inside are not searched", () => {
  using files = new ConfigDir({
    "10-other.conf": { ...single, name: "other" },
    "sub/50-whatever.conf": single,
    "sub/50-whatever.conflist": "{",
  });
  assertThrows(() => findNetwork("some-plugin", files.dir), NotFoundError);
});

Deno.test("lists win over single plugins, which are the second choice", () => {
  using files = new ConfigDir({
    "00-single.conf": { ...single, name: "some-list" },
    "50-list.conflist": list,
  });
  assertEquals(findNetwork("some-list", files.dir).plugins.length, 3);
  Deno.removeSync(`${files.dir}/50-list.conflist`);
  assertEquals(findNetwork("some-list", files.dir).plugins.map(({ type }) => type), ["foobar"]);
});

Deno.test("extensions count by their case, and a leading dot starts one", () => {
  using files = new ConfigDir({ "50.CONF": "{", ".conf": single });
  assertEquals(findPluginConfig("some-plugin", files.dir).type, "foobar");
});

Deno.test("a single plugin's file without type or access is named", () => {
  using files = new ConfigDir({ "10-x.conf": { name: "x" } });
  assertEquals(
    assertThrows(() => loadPluginFile(`${files.dir}/10-x.conf`), CniError).msg,
    "error parsing configuration: missing 'type'",
  );
  for (const load of [loadPluginFile, loadNetwork]) {
    const path = `${files.dir}/none`;
    assertEquals(
      assertThrows(() => load(path), CniError).msg,
      `error reading ${path}: open ${path}: no such file or directory`,
    );
  }
});

const folders: readonly [
  string,
  Record<string, unknown>,
  Record<string, unknown>,
  string[] | string,
][] = [
  ["only a folder", {}, { "a.conf": single }, ["foobar"]],
  ["neither", {}, {}, "no plugin configs found"],
  ["only inlined", { plugins: [{ type: "a" }] }, {}, ["a"]],
  [
    "both, the folder's last and in byte order",
    { plugins: [{ type: "a" }] },
    { "b.conf": { type: "z" }, "B.conf": { type: "y" } },
    ["a", "y", "z"],
  ],
  [
    "both, and only the inlined wanted",
    { plugins: [{ type: "a" }], loadOnlyInlinedPlugins: true },
    { "a.conf": single },
    ["a"],
  ],
  [
    "an empty list, whatever the folder has",
    { plugins: [] },
    { "a.conf": single },
    "error parsing configuration list: no plugins in list",
  ],
  [
    "other files in the folder",
    { plugins: [{ type: "a" }] },
    { "a.json": "{", "b.conflist": "{", "sub/c.conf": "{" },
    ["a"],
  ],
  [
    "a malformed file in the folder",
    { plugins: [{ type: "a" }] },
    { "a.conf": "{" },
    "error parsing configuration: unexpected end of JSON input",
  ],
];
for (const [name, keys, folder, expected] of folders) {
  Deno.test(`loadNetwork with ${name}`, () => {
    const inside = Object.entries(folder).map(([file, value]) => [`net/${file}`, value]);
    using files = new ConfigDir({
      "50.conflist": { name: "net", cniVersion: "1.0.0", ...keys },
      ...Object.fromEntries(inside),
    });
    const path = `${files.dir}/50.conflist`;
    if (typeof expected === "string") {
      assertEquals(assertThrows(() => loadNetwork(path), CniError).msg, expected);
    } else assertEquals(loadNetwork(path).plugins.map(({ type }) => type), expected);
  });
}

Deno.test("loadNetwork with an empty folder", () => {
  using files = new ConfigDir({ "50.conflist": { ...list, name: "net" } });
  Deno.mkdirSync(`${files.dir}/net`);
  assertEquals(loadNetwork(`${files.dir}/50.conflist`).plugins.length, 3);
});

Deno.test("loadNetwork does not follow a name out of the directory", () => {
  using files = new ConfigDir({
    "d/50.conflist": { ...list, name: "../other" },
    "other/a.conf": single,
  });
  assertEquals(loadNetwork(`${files.dir}/d/50.conflist`).plugins.length, 3);
});

Deno.test("listNetworks goes on after a file that cannot be read", () => {
  using files = new ConfigDir({ "00.conflist": "{", "10.conflist": list, "20.conf": single });
  const found = listNetworks(files.dir);
  assertEquals(found.map(({ network }) => network?.name), [undefined, "some-list", "some-plugin"]);
  assert(found[0]!.error instanceof CniError);
});
