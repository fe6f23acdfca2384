import { assertEquals } from "@std/assert";
import { isForGuest, isGuestNeed, onlyVariable } from "../tests/harness/guest.ts";
import { complete, guestEnv, readWaiting } from "./vm.ts";

const cases = (...names: string[]) =>
  names.map((name) => `<testcase name="${name}" classname="x"></testcase>`).join("");

Deno.test("readWaiting() gives the files and what they wait for", () => {
  const list = [
    { file: "/p/tests/a_test.ts", name: "a & b", lacks: ["link:vlan", "link:dummy"] },
    { file: "/p/tests/a_test.ts", name: "b", lacks: ["link:dummy"] },
    { file: "/p/tests/b_test.ts", name: "c", lacks: ["bridge-vlan"] },
    { file: "/p/tests/c_test.ts", name: "filtered out", lacks: ["link:vrf"] },
  ].map((line) => `${JSON.stringify(line)}\n`).join("");
  const report = cases("a &amp; b", "b", "c") +
    `<testcase name="filtered out"> <skipped/></testcase>`;
  assertEquals(readWaiting(list, report), {
    needs: ["bridge-vlan", "link:dummy", "link:vlan"],
    files: { "/p/tests/a_test.ts": 2, "/p/tests/b_test.ts": 1 },
  });
});

Deno.test("readWaiting() finds nothing where nothing waits", () => {
  assertEquals(readWaiting("", cases("a")), { needs: [], files: {} });
});

Deno.test("a test that the guest does not report counts as failed", () => {
  const counts = { passed: 2, failed: 1, skipped: 1 };
  assertEquals(complete(counts, 4), counts);
  assertEquals(complete(counts, 6), { passed: 2, failed: 3, skipped: 1 });
});

Deno.test("the guest must have what it is started for", () => {
  const { DENOCNI_REQUIRE, ...rest } = guestEnv(["link:vlan"]);
  assertEquals(rest, { [onlyVariable]: "link:vlan" });
  assertEquals(DENOCNI_REQUIRE!.split(",").slice(-2), ["private", "link:vlan"]);
});

Deno.test("in a guest those tests alone are registered that it is there for", () => {
  assertEquals(isForGuest([]), true);
  Deno.env.set(onlyVariable, "link:vlan,bridge-vlan");
  try {
    assertEquals(isForGuest(["private", "bridge-vlan"]), true);
    assertEquals(isForGuest(["private", "link:veth"]), false);
  } finally {
    Deno.env.delete(onlyVariable);
  }
});

Deno.test("no guest helps against a missing program", () => {
  const needs = ["link:vlan", "tool:nft", "plugin:vlan", "peer", "private", "nft-nat"];
  assertEquals(needs.filter(isGuestNeed), ["link:vlan", "nft-nat"]);
});
