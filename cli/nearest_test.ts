import { assertEquals } from "@std/assert";
import { distance, nearest } from "./nearest.ts";

const pairs: readonly [string, string, number][] = [
  ["", "", 0],
  ["mtu", "mtu", 0],
  ["mtu", "", 3],
  ["mut", "mtu", 1],
  ["isGatway", "isGateway", 1],
  ["kitten", "sitting", 3],
];
for (const [a, b, steps] of pairs) {
  Deno.test(`distance of "${a}" and "${b}" is ${steps}`, () => {
    assertEquals(distance(a, b), steps);
    assertEquals(distance(b, a), steps);
  });
}

Deno.test("nearest finds a near word and leaves far ones alone", () => {
  const known = ["isGateway", "ipMasq", "mtu", "bridge"];
  assertEquals(nearest("isGatway", known), "isGateway");
  assertEquals(nearest("ipmasq", known), "ipMasq");
  assertEquals(nearest("mut", known), "mtu");
  assertEquals(nearest("subnet", known), undefined);
});
