import { assertEquals } from "@std/assert";
import { parseCidr } from "../../host/ip.ts";
import { parseRestorableRoutes } from "../../host/ip_route_restore.ts";
import type { VrfFacts } from "./facts.ts";
import { compareMembership, presentAddresses } from "./compare.ts";
import { permanentState } from "./state.ts";
import { before, eth0, facts, ifName, inRed, vrfLink } from "./testing.ts";

Deno.test("CHECK tells every difference", () => {
  const held = presentAddresses(
    eth0,
    ["10.0.0.2/24", "fd00::2/64", "10.0.0.3/24", "10.0.0.2/16"].map((text) => ({
      cidr: parseCidr(text)!,
      gateway: undefined,
    })),
  );
  assertEquals(held, ["10.0.0.2/24", "fd00::2/64"]);
  const found = { ...permanentState(before), held };
  const links = [inRed, vrfLink("red", 1)];
  const compare = (now: VrfFacts, table = 0) =>
    compareMembership({ name: "red", table, ifName, found }, now);
  const whole = facts({ links, table: "1" });
  assertEquals(compare(whole), []);
  assertEquals(compare(whole, 1), []);
  assertEquals(compare(whole, 2), ["VRF red already exist with different routing table 1"]);
  assertEquals(compare(facts()), ['VRF "red" is missing']);
  const free = facts({ links: [eth0, vrfLink("red", 1)] });
  assertEquals(compare(free), ["failed to find eth0 associated to vrf red"]);
  const bare = { ...whole, links: [inRed, vrfLink("red", 1, { up: false })], routes: [] };
  assertEquals(compare(bare), [
    'VRF "red" is down',
    'address 10.0.0.2/24 of "eth0" is missing from table 1',
    'address fd00::2/64 of "eth0" is missing from table 1',
    "route 10.0.0.1/32 dev eth0 proto 3 scope 253 is missing from table 1",
    "route 0.0.0.0/0 via 10.0.0.1 dev eth0 proto 3 scope 0 is missing from table 1",
    "route 10.9.0.0/16 via 10.0.0.1 dev eth0 proto 3 scope 0 metric 7 mtu 1400 is missing from table 1",
    "route ::/0 via fd00::1 dev eth0 proto 3 metric 1024 pref medium is missing from table 1",
  ]);
});

Deno.test("CHECK finds a route to which another port has added its hop", () => {
  const links = [inRed, vrfLink("red", 1)];
  const found = { ...permanentState(before), held: [] };
  const whole = facts({ links, table: "1" });
  const [shared] = parseRestorableRoutes(
    JSON.stringify([{
      type: "1",
      dst: "default",
      table: "1",
      protocol: "3",
      scope: "0",
      metric: 1024,
      pref: "medium",
      nexthops: [
        { dev: "eth0", gateway: "fd00::1", weight: 1, flags: [] },
        { dev: "eth1", gateway: "fd00:5::1", weight: 1, flags: [] },
      ],
    }]),
    6,
  );
  const routes = whole.routes.map((route) => route.dst === "::/0" ? shared! : route);
  const expected = { name: "red", table: 0, ifName, found };
  assertEquals(compareMembership(expected, { ...whole, routes }), []);
  const others = routes.filter((route) => route !== shared);
  assertEquals(compareMembership(expected, { ...whole, routes: others }).length, 1);
});

Deno.test("CHECK of what the reference has made looks at the VRF and the interface alone", () => {
  const links = [inRed, vrfLink("red", 1)];
  const expected = { name: "red", table: 0, ifName, found: undefined };
  assertEquals(compareMembership(expected, { ...facts(), links, routes: [] }), []);
});
