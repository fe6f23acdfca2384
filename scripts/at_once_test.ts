import { assertEquals } from "@std/assert";
import { atOnce } from "./at_once.ts";

Deno.test("atOnce() works on everything, and on no more at once than told", async () => {
  let running = 0;
  let most = 0;
  const results = await atOnce([1, 2, 3, 4, 5], 2, async (item) => {
    most = Math.max(most, ++running);
    await Promise.resolve();
    running--;
    return item;
  });
  assertEquals([most, results.toSorted()], [2, [1, 2, 3, 4, 5]]);
  assertEquals(await atOnce([], 3, () => Promise.resolve(1)), []);
});
