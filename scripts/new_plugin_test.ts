import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { addRow, fill, kinds, plan, readArguments, register } from "./new_plugin.ts";

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
    [["interface", "host-local"], 'Cannot make plugin "host-local": there is a plugin'],
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

const registry = `const loaders = {
  "bridge": () => import("./plugins/bridge.ts"),
  "tap": () => import("./plugins/tap.ts"),
  "static": () => import("./ipam/static.ts"),
};
`;

Deno.test("register() keeps the order of each folder", () => {
  const types = (folder: string, type: string) =>
    [...register(registry, { folder, type }).matchAll(/^ {2}"(.*)": .*\("\.\/(.*)"\),$/gm)]
      .map(([, type, file]) => `${type} ${file}`).join(", ");
  const [bridge, tap, fixed] = [
    "bridge plugins/bridge.ts",
    "tap plugins/tap.ts",
    "static ipam/static.ts",
  ];
  assertEquals(types("plugins", "a"), `a plugins/a.ts, ${bridge}, ${tap}, ${fixed}`);
  assertEquals(types("plugins", "c"), `${bridge}, c plugins/c.ts, ${tap}, ${fixed}`);
  assertEquals(types("plugins", "z"), `${bridge}, ${tap}, z plugins/z.ts, ${fixed}`);
  assertEquals(types("ipam", "a"), `${bridge}, ${tap}, a ipam/a.ts, ${fixed}`);
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

for (const kind of ["interface", "ipam", "chained"] as const) {
  Deno.test(`plan() of kind ${kind} makes three files and names them in two`, () => {
    const { made, changed } = plan({ kind, type: "my-net" });
    const folder = kinds[kind];
    assertEquals(made.map(({ path }) => path), [
      `${folder}/my-net.ts`,
      `${folder}/my-net_test.ts`,
      "docs/plugins/my-net.md",
    ]);
    for (const { path, text } of made) assertEquals(text.match(/\bexample\b/), null, path);
    const [registry, rows] = changed.map(({ text }) => text);
    assertMatch(registry!, new RegExp(`"my-net": .. => import."./${folder}/my-net.ts".,\n`));
    assertMatch(rows!, /^ {4}type: "my-net",$/m);
  });
}

Deno.test("plan() writes over nothing", () => {
  for (const there of ["ipam/my-net.ts", "ipam/my-net_test.ts", "docs/plugins/my-net.md"]) {
    const read = (path: string) =>
      path === there ? "" : path.startsWith("scripts/") ? "text" : undefined;
    assertThrows(
      () => plan({ kind: "ipam", type: "my-net" }, read),
      Error,
      `Cannot make plugin "my-net": "${there}" is there already`,
    );
  }
});
