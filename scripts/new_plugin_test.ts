import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { root } from "./build.ts";
import type { Order } from "./new_plugin.ts";
import { addRow, checks, fill, kinds, plan, readArguments, register } from "./new_plugin.ts";

Deno.test("readArguments() takes a kind and a type", () => {
  for (const kind of Object.keys(kinds)) {
    assertEquals(readArguments([kind, "my-net"]) as unknown, { kind, type: "my-net" });
  }
});

Deno.test("readArguments() refuses what cannot be made", () => {
  const refused: readonly (readonly [string[], string])[] = [
    [[], "usage: deno task new-plugin <interface|ipam|chained> <type>"],
    [["interface"], "usage:"],
    [["interface", "a", "b"], "usage:"],
    [["plugin", "a"], 'Cannot make a plugin of kind "plugin": no such kind; usage:'],
    [["toString", "a"], 'kind "toString"'],
    [["ipam", "../a"], 'Cannot make plugin "../a": letters, digits'],
    [["ipam", "a b"], 'Cannot make plugin "a b": letters, digits'],
    [["ipam", ".a"], 'Cannot make plugin ".a": letters, digits'],
    [["ipam", "--force"], 'Cannot use "--force": no such option'],
    [["ipam", "cni"], 'Cannot make plugin "cni": the command'],
    [["ipam", "a_test"], 'Cannot make plugin "a_test": its file would be taken for a test'],
    [["ipam", "a.d"], 'Cannot make plugin "a.d": its file would be taken for declarations'],
  ];
  for (const [args, message] of refused) {
    assertThrows(() => readArguments(args), Error, message);
  }
});

Deno.test("fill() gives a template its name and its place", () => {
  assertEquals(
    fill('import a from "../../../cni/a.ts"; import "./example.ts"; // example: examples', "x-$&"),
    'import a from "../cni/a.ts"; import "./x-$&.ts"; // x-$&: examples',
  );
});

/** What plan() reads besides the templates: two small tables, so that no plugin of the project is in the way. */
const tables: Readonly<Record<string, string>> = {
  "registry.ts": `const loaders = {
  "bridge": () => import("./plugins/bridge.ts"),
  "tap": () => import("./plugins/tap.ts"),
  "static": () => import("./ipam/static.ts"),
  "vrf": () => import("./meta/vrf.ts"),
};
`,
  "tests/harness/rows.ts": `export const rows: readonly Row[] = [
  ...bridge,
];
`,
};

/** Reads a tree with the templates and these files. */
function treeOf(files: Readonly<Record<string, string>>) {
  return (path: string): string | undefined =>
    path.startsWith("scripts/templates/") ? Deno.readTextFileSync(`${root}/${path}`) : files[path];
}

Deno.test("register() keeps the order of each folder", () => {
  const types = (folder: string, type: string) =>
    [
      ...register(tables["registry.ts"]!, { folder, type }).matchAll(
        /^ {2}"(.*)": .*\("\.\/(.*)"\),$/gm,
      ),
    ]
      .map(([, type, file]) => `${type} ${file}`).join(", ");
  const [bridge, tap, fixed, vrf] = [
    "bridge plugins/bridge.ts",
    "tap plugins/tap.ts",
    "static ipam/static.ts",
    "vrf meta/vrf.ts",
  ];
  assertEquals(types("plugins", "a"), `a plugins/a.ts, ${bridge}, ${tap}, ${fixed}, ${vrf}`);
  assertEquals(types("plugins", "c"), `${bridge}, c plugins/c.ts, ${tap}, ${fixed}, ${vrf}`);
  assertEquals(types("plugins", "z"), `${bridge}, ${tap}, z plugins/z.ts, ${fixed}, ${vrf}`);
  assertEquals(types("ipam", "a"), `${bridge}, ${tap}, a ipam/a.ts, ${fixed}, ${vrf}`);
});

Deno.test("addRow() puts a row at the end", () => {
  const template = `import type { Row } from "x";
/** A row. */
export const row: Row = {
  name: "a",
  list: [
    1,
  ],
};
`;
  const rows = `export const rows: readonly Row[] = [
  ...loopback,
];

const other = [
];
`;
  assertEquals(
    addRow(rows, template),
    rows.replace(
      "...loopback,\n",
      '...loopback,\n  {\n    name: "a",\n    list: [\n      1,\n    ],\n  },\n',
    ),
  );
  assertThrows(() => addRow("", template), Error, "Cannot add a row");
  assertThrows(() => addRow(rows, ""), Error, "Cannot add a row");
});

for (const [kind, folder] of Object.entries(kinds) as [Order["kind"], string][]) {
  Deno.test(`plan() of kind ${kind} makes three files and names them in two`, () => {
    const { made, changed } = plan({ kind, type: "my-net" }, treeOf(tables));
    assertEquals(made.map(({ path }) => path), [
      `${folder}/my-net.ts`,
      `${folder}/my-net_test.ts`,
      "docs/plugins/my-net.md",
    ]);
    for (const { path, text } of made) assertEquals(text.match(/\bexample\b/), null, path);
    assertMatch(made[0]!.text, /^ {2}type: "my-net",\n {2}about: ".+",\n {2}needs: ".+",$/m);
    assertEquals(changed.map(({ path }) => path), Object.keys(tables));
    const [registry, rows] = changed.map(({ text }) => text);
    assertMatch(registry!, new RegExp(`"my-net": .. => import."./${folder}/my-net.ts".,\n`));
    assertMatch(rows!, /^ {4}type: "my-net",$/m);
    assertMatch(rows!, /^ {4}needs: \[/m);
  });
}

Deno.test("plan() writes over nothing", () => {
  const order = { kind: "ipam", type: "my-pool" } as const;
  for (const there of ["ipam/my-pool.ts", "ipam/my-pool_test.ts", "docs/plugins/my-pool.md"]) {
    assertThrows(
      () => plan(order, treeOf({ ...tables, [there]: "" })),
      Error,
      `Cannot make plugin "my-pool": "${there}" is there already`,
    );
  }
});

Deno.test("plan() makes no second plugin of a type, whatever its kind", () => {
  for (const kind of Object.keys(kinds) as Order["kind"][]) {
    assertThrows(
      () => plan({ kind, type: "static" }, treeOf(tables)),
      Error,
      'Cannot make plugin "static": there is a plugin of this type',
    );
  }
});

Deno.test("CONTRIBUTING.md and the script tell the same commands", () => {
  const page = Deno.readTextFileSync(`${root}/CONTRIBUTING.md`);
  const told = page.split("\n").map((line) => line.replace(/\s+#.*/, ""));
  for (const command of checks("my-net")) assert(told.includes(command), command);
});
