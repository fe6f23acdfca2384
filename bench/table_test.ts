import { assertEquals } from "@std/assert";
import type { Cost } from "./measure.ts";
import { ratio, table } from "./table.ts";

const cost: Cost = { wall: 50, cpu: 40, memory: 45.25, processes: 5, together: 900 };
const half: Cost = { wall: 25, cpu: 4, memory: 10, processes: 0, together: 450 };

Deno.test("a table shows ADD and DEL of each, with ratios to the base", () => {
  const rows = [
    { name: "ours", measurement: { add: cost, del: half } },
    { name: "/usr/lib/cni", measurement: { add: half, del: half } },
  ];
  assertEquals(table(rows, "/usr/lib/cni").split("\n"), [
    "                            ms      CPU ms          MiB  processes  ms for 20 at once",
    "ours          ADD  50.0 (2.0×)  40.0 (10×)  45.3 (4.5×)      5 (–)         900 (2.0×)",
    "              DEL  25.0 (1.0×)  4.0 (1.0×)  10.0 (1.0×)      0 (–)         450 (1.0×)",
    "/usr/lib/cni  ADD  25.0 (1.0×)  4.0 (1.0×)  10.0 (1.0×)      0 (–)         450 (1.0×)",
    "              DEL  25.0 (1.0×)  4.0 (1.0×)  10.0 (1.0×)      0 (–)         450 (1.0×)",
  ]);
});

Deno.test("without a base there are no ratios", () => {
  const text = table([{ name: "ours", measurement: { add: cost, del: half } }], undefined);
  assertEquals(text.split("\n")[1]!.split(/ {2,}/), [
    "ours",
    "ADD",
    "50.0",
    "40.0",
    "45.3",
    "5",
    "900",
  ]);
});

Deno.test("what cannot be measured says why", () => {
  const text = table([{ name: "compiled", missing: "no runtime" }], undefined);
  assertEquals(text.split("\n")[1], "compiled  no runtime");
});

Deno.test("ratio() has two figures", () => {
  assertEquals([ratio(12, 5), ratio(120, 5), ratio(0, 5), ratio(5, 0)], [
    "2.4×",
    "24×",
    "0.0×",
    "–",
  ]);
});
