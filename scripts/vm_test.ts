import { assertEquals } from "@std/assert";
import type { ListedTest } from "../tests/harness/guest.ts";
import { isGuestNeed } from "../tests/harness/guest.ts";
import { complete, needsOf, parseList, share } from "./vm.ts";

function listed(name: string, ...lacks: string[]): ListedTest {
  return { file: "/p/tests/a_test.ts", name, lacks };
}

Deno.test("needsOf() names each need once", () => {
  const tests = [listed("a", "link:vlan", "link:dummy"), listed("b", "bridge-vlan", "link:vlan")];
  assertEquals(needsOf(tests), ["bridge-vlan", "link:dummy", "link:vlan"]);
});

Deno.test("share() spreads tests of one title", () => {
  const rows = ["a: x: ADD", "a: x: DEL", "a: x: kill", "a: y: ADD", "a: y: DEL", "a: y: kill"];
  const names = share([...rows, "other", "another"].map((name) => listed(name)), 2)
    .map((tests) => tests.map(({ name }) => name));
  assertEquals(names, [
    ["a: x: ADD", "a: x: DEL", "a: x: kill", "other"],
    ["a: y: ADD", "a: y: DEL", "a: y: kill", "another"],
  ]);
});

Deno.test("share() leaves nothing out", () => {
  const tests = ["a: ADD", "b: ADD", "c: ADD", "d"].map((name) => listed(name));
  assertEquals(share(tests, 1), [tests]);
  assertEquals(share(tests, 3).map(({ length }) => length), [2, 1, 1]);
});

Deno.test("parseList() reads ranges of processors", () => {
  assertEquals(parseList("Name:\tdeno\nCpus_allowed_list:\t0-2,5\nMems_allowed_list:\t0\n"), [
    0,
    1,
    2,
    5,
  ]);
  assertEquals(parseList("Cpus_allowed_list:\t3\n"), [3]);
});

Deno.test("a test that the guest does not report counts as failed", () => {
  const counts = { passed: 2, failed: 1, skipped: 1, filtered: 0 };
  assertEquals(complete(counts, 4), counts);
  assertEquals(complete(counts, 6), { ...counts, failed: 3 });
});

Deno.test("a test that was left out in the guest counts as failed", () => {
  const counts = { passed: 2, failed: 0, skipped: 0, filtered: 3 };
  assertEquals(complete(counts, 5), { passed: 2, failed: 3, skipped: 0, filtered: 0 });
});

Deno.test("no guest helps against a missing program", () => {
  const guests = ["link:gretap", "qdisc:netem", "filter:matchall", "bridge-vlan", "nft-nat"];
  const others = ["tool:nft", "plugin:vlan", "peer", "private"];
  assertEquals([...others, ...guests].filter(isGuestNeed), guests);
});
