import { assert, assertEquals } from "@std/assert";
import { permanentState } from "./state.ts";
import { addresses, before } from "./testing.ts";

Deno.test("what ends by itself is carried over and not recorded", () => {
  const { routes } = permanentState(before);
  assertEquals(routes.length, before.routes.length - 1);
  assert(routes.every(({ words }) => !words.includes("expires")));
  const dynamic = { ...addresses[0]!, dynamic: true };
  assertEquals(permanentState({ addresses: [dynamic], routes: [] }).addresses, []);
});
