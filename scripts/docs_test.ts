import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  boolean,
  integer,
  list,
  object,
  oneOf,
  optional,
  required,
  string,
  withDefault,
} from "../cni/decode.ts";
import { loadPlugin, types } from "../registry.ts";
import { fill, mapProblems, options, optionTable, permissionLine, pluginTable } from "./docs.ts";

const decoder = object({
  name: required(string(), "Its name."),
  size: withDefault(integer({ min: 0, max: 9 }), 0, "Its size.", "the kernel's"),
  open: withDefault(boolean(), false, "Open."),
  dns: optional(object({ search: optional(list(string()), "Domains.") }), "Names."),
  ranges: optional(
    list(list(object({ subnet: required(string(), "A subnet.") }))),
    "Sets of ranges.",
  ),
});

Deno.test("nested objects and lists are flattened", () => {
  assertEquals(options(decoder).map(({ key }) => key), [
    "name",
    "size",
    "open",
    "dns",
    "dns.search",
    "ranges",
    "ranges[][].subnet",
  ]);
});

Deno.test("a default is shown as JSON, or in words, or as required", () => {
  assertEquals(options(decoder).map((option) => option.default), [
    "**required**",
    "the kernel's",
    "`false`",
    "",
    "",
    "",
    "**required**",
  ]);
});

Deno.test("a bar does not break a table", () => {
  const table = optionTable(object({ a: optional(oneOf(["x", "y"]), "x | y") }));
  assertEquals(table.split("\n"), [
    "| option | type | default |  |",
    "| --- | --- | --- | --- |",
    '| `a` | "x" or "y" |  | x \\| y |',
  ]);
});

Deno.test("a plugin without options says so", () => {
  assertEquals(optionTable(object({})), "None.");
});

Deno.test("permissions are a sentence", () => {
  assertEquals(
    permissionLine({ run: ["ip", "sh"], read: true, write: [] }),
    "Permissions: runs `ip`, `sh`; reads any file; writes nothing.",
  );
  assertEquals(
    permissionLine({ run: "any", read: ["/a"], write: true }),
    "Permissions: runs any (it executes plugins by name); reads `/a`; writes any file.",
  );
  assertEquals(
    permissionLine({ run: ["sh"], read: true, write: [], env: ["A", "B"], net: true }),
    "Permissions: runs `sh`; reads any file; writes nothing; reads the variables `A`, `B`; opens sockets.",
  );
});

Deno.test("plugins are listed with their pages", () => {
  const plugin = { type: "ptp", about: "a pair", needs: "`veth`" };
  assertEquals(
    pluginTable([plugin as Parameters<typeof pluginTable>[0][number]]).split("\n").at(-1),
    "| [`ptp`](docs/plugins/ptp.md) | a pair | `veth` |",
  );
});

Deno.test("every plugin has the type of the registry, and says what it does and needs", async () => {
  for (const type of types) {
    const plugin = await loadPlugin(type)!;
    assertEquals(plugin.type, type);
    assert(plugin.about, `plugin "${type}" has no \`about\``);
    assert(plugin.needs, `plugin "${type}" has no \`needs\``);
  }
});

Deno.test("fill() replaces between its marks and is idempotent", () => {
  const page = "a\n<!-- options -->\nold\n<!-- /options -->\nb\n";
  const filled = fill(page, "options", "new");
  assertEquals(filled, "a\n<!-- options -->\n\nnew\n\n<!-- /options -->\nb\n");
  assertEquals(fill(filled, "options", "new"), filled);
});

Deno.test("fill() refuses a page without its marks", () => {
  for (const page of ["", "<!-- options -->", "<!-- /options --><!-- options -->"]) {
    assertThrows(() => fill(page, "options", "new"), Error, "no <!-- options -->");
  }
});

Deno.test("mapProblems() names files without a line, with two, and lines without a file", () => {
  const page = "| file | what for |\n| --- | --- |\n| `a.ts` | a |\n| `b.sh` | like `c.ts` |\n";
  assertEquals(mapProblems(page, ["a.ts", "b.sh"]), []);
  assertEquals(mapProblems(`${page}| \`a.ts\` | again |\n`, ["a.ts", "c.ts"]), [
    'no line for "c.ts"',
    'no file "b.sh"',
    'two lines for "a.ts"',
  ]);
});
