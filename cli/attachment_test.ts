import { assertEquals } from "@std/assert";
import { absolutePath, containerIdOf, parsePairs } from "./attachment.ts";

const ids: readonly [string, string][] = [
  ["/var/run/netns/cnitest", "cnitool-20c433bb2b1d6ede56d6"],
  ["/var/run/netns/testing", "cnitool-77383ca0a0715733ca6f"],
  ["/run/netns/testing", "cnitool-43057b9dcc39fe733071"],
];
for (const [path, id] of ids) {
  Deno.test(`containerIdOf ${path} is cnitool's`, async () => {
    assertEquals(await containerIdOf(path), id);
  });
}

Deno.test("absolutePath cleans the text and does not look at the disk", () => {
  assertEquals(absolutePath("/var/run/../run/netns//x/"), "/var/run/netns/x");
  assertEquals(absolutePath("/"), "/");
  assertEquals(absolutePath("no/such"), `${Deno.cwd()}/no/such`);
  assertEquals(absolutePath("./x/.."), Deno.cwd());
});

Deno.test("parsePairs keeps the order", () => {
  assertEquals(parsePairs("B=1;A=2"), [["B", "1"], ["A", "2"]]);
  assertEquals(parsePairs(""), []);
});
