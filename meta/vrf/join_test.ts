import { assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../../cni/error.ts";
import { processes } from "../../host/fold.ts";
import type { Link } from "../../host/ip_link.ts";
import { mainTable } from "../../host/ip_route.ts";
import { describe } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import { freeTable, joinSteps, requireJoinable } from "./join.ts";
import { interfaceState } from "./state.ts";
import { before, eth0, facts, ifName, inside, lines, target, vrfLink } from "./testing.ts";

Deno.test("an interface joins a new VRF in one process, and loses neither address nor route", () => {
  const steps = joinSteps({
    ...target,
    name: "red",
    table: 1,
    vrf: undefined,
    state: before,
    facts: facts(),
  });
  assertEquals(lines(steps), [
    "link add name red type vrf table 1",
    "link set dev red up",
    "addr del fd00:1::2/64 dev eth0",
    "addr del fd00::2/64 dev eth0",
    "addr del fd00:9::2/64 dev eth0",
    "link set dev eth0 master red",
    "addr replace fd00:9::2/64 dev eth0",
    "addr replace fd00::2/64 nodad dev eth0",
    "addr replace fd00:1::2/64 nodad dev eth0",
    "route append 10.0.0.1/32 dev eth0 proto 3 scope 253 table 1",
    "route append fd0a::/64 dev eth0 proto 9 metric 1024 pref medium expires 90 table 1",
    "route append 0.0.0.0/0 via 10.0.0.1 dev eth0 proto 3 scope 0 table 1",
    "route append 10.9.0.0/16 via 10.0.0.1 dev eth0 proto 3 scope 0 metric 7 mtu 1400 table 1",
    "route append ::/0 via fd00::1 dev eth0 proto 3 metric 1024 pref medium table 1",
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("a VRF that is there is joined as it is; one that is down is set up", () => {
  const state = { addresses: [], routes: [] };
  const plan = { ...target, name: "red", table: 9, state, facts: { ...facts(), addresses: [] } };
  const joins = "link set dev eth0 master red";
  assertEquals(lines(joinSteps({ ...plan, vrf: vrfLink("red", 9) })), [joins]);
  const steps = joinSteps({ ...plan, vrf: vrfLink("red", 9, { up: false }) });
  assertEquals(lines(steps), ["link set dev red up", joins]);
  assertEquals(describe(steps[0]!.undo!), `${inside}link set dev red down`);
});

Deno.test("routes of other tables stay there, without a source that is in the VRF by then", () => {
  const more = [
    { dst: "10.7.0.0/16", table: "100", prefsrc: "10.0.0.2" },
    { dst: "fd07::/64", table: "100", prefsrc: "fd00::2" },
    { dst: "10.6.0.0/16", table: "1", prefsrc: "10.0.0.2" },
  ];
  const now = facts({ more });
  const state = interfaceState(mainTable, { facts: now, ifName });
  const steps = joinSteps({ ...target, name: "red", table: 1, vrf: undefined, state, facts: now });
  assertEquals(lines(steps).filter((line) => /10\.7|fd07|10\.6/.test(line)), [
    "route append 10.7.0.0/16 dev eth0 proto 3 scope 0 table 100",
    "route append 10.6.0.0/16 dev eth0 proto 3 scope 0 src 10.0.0.2 table 1",
    "route append fd07::/64 dev eth0 proto 3 src fd00::2 metric 1024 pref medium table 100",
  ]);
});

Deno.test("the table is the first that is free", () => {
  const free = (tables: readonly number[], links: readonly Link[] = []) =>
    freeTable({
      links: [...tables.map((table) => vrfLink(`vrf${table}`, table)), ...links],
      routes: [],
      rules: [],
    });
  assertEquals(free([1, 2, 3, 5]), 4);
  assertEquals(free([1, 2, 5], [testLink()]), 3);
  assertEquals(free([]), 1);
  assertEquals(free(Array.from({ length: 999 }, (_, index) => index + 1)), 1000);
  assertEquals(free(Array.from({ length: 252 }, (_, index) => index + 1)), 256);
});

Deno.test("a table that is used for something else is not free", () => {
  const { routes } = facts({ table: "1" });
  const rule = { family: 6 as const, priority: 9, from: undefined, table: 2, plain: true };
  assertEquals(freeTable({ links: [], routes, rules: [rule] }), 3);
});

const joinable = (links: readonly Link[], table = 0) => () =>
  requireJoinable({ links }, { name: "red", table, ifName });

Deno.test("an interface joins a VRF that is not there, or has the table", () => {
  assertEquals(joinable([eth0])(), { link: eth0, vrf: undefined });
  const vrf = vrfLink("red", 1001);
  assertEquals(joinable([eth0, vrf])(), { link: eth0, vrf });
  assertEquals(joinable([eth0, vrf], 1001)(), { link: eth0, vrf });
});

Deno.test("what cannot be joined is told", () => {
  const refused: [readonly Link[], number, string][] = [
    [[eth0, testLink({ name: "red", kind: "bridge" })], 0, "Netlink red is not a VRF"],
    [
      [eth0, vrfLink("red", 1001)],
      1002,
      "VRF red already exist with different routing table 1001",
    ],
    [[vrfLink("red", 1)], 0, "could not get link by name eth0"],
    [
      [{ ...eth0, master: "br0" }, vrfLink("red", 1)],
      0,
      "interface eth0 has already a master set: br0",
    ],
  ];
  for (const [links, table, state] of refused) {
    const error = assertThrows(joinable(links, table), CniError);
    assertEquals(error.msg, `Cannot join VRF "red": ${state}`);
    assertEquals(error.code, state.startsWith("could not") ? 103 : 102);
  }
});
