import { assertEquals } from "@std/assert";
import { processes } from "../host/fold.ts";
import { planAdd, planDel } from "./loopback.ts";

const netns = { path: "/run/netns/c1" };

Deno.test("planAdd() and planDel() start one process each", () => {
  assertEquals(processes(planAdd(netns)), 1);
  assertEquals(processes(planDel(netns)), 1);
});
