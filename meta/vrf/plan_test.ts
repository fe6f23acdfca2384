import { assert, assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../../cni/error.ts";
import { processes } from "../../host/fold.ts";
import { parseCidr } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import { mainTable } from "../../host/ip_route.ts";
import { parseWholeAddresses } from "../../host/ip_whole_addr.ts";
import { parseWholeRoutes } from "../../host/ip_whole_route.ts";
import type { Step } from "../../host/step.ts";
import { describe } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import type { Facts } from "./facts.ts";
import {
  carriedFrom,
  compareMembership,
  freeTable,
  heldAddresses,
  joinSteps,
  lasting,
  leaveSteps,
  requireJoinable,
} from "./plan.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ip ";
const ifName = "eth0";
const where = { netns, ifName };

function vrfLink(name: string, vrfTable: number, fields: Partial<Link> = {}): Link {
  return testLink({ name, kind: "vrf", vrfTable, index: vrfTable, ...fields });
}

const eth0 = testLink({
  kind: "veth",
  addresses: [
    { address: "10.0.0.2", prefix: 24, scope: "0", tentative: false, dadFailed: false },
    { address: "fd00::2", prefix: 64, scope: "0", tentative: false, dadFailed: false },
  ],
});
const inRed = { ...eth0, master: "red" };

const forever = { valid_life_time: 4294967295, preferred_life_time: 4294967295 };
const address = { family: "inet6", prefixlen: 64, scope: "0", ...forever };

/** The newest first, as the kernel lists them. */
const addresses = parseWholeAddresses(
  JSON.stringify([{
    ifname: ifName,
    addr_info: [
      { ...address, local: "fd00:1::2", nodad: true },
      { ...address, local: "fd00::2" },
      { ...address, local: "fd00:9::2", tentative: true },
    ],
  }]),
  ifName,
);

interface Raw {
  readonly dst: string;
  readonly [key: string]: unknown;
}

function facts(
  { links = [eth0], table = "254", more = [] }: {
    links?: readonly Link[];
    table?: string;
    more?: readonly Raw[];
  } = {},
): Facts {
  const plain = { type: "1", dev: ifName, table, protocol: "3", scope: "0", flags: [] };
  const kernel4 = { ...plain, protocol: "2", scope: "253", prefsrc: "10.0.0.2" };
  const routes4 = [
    { ...plain, dst: "default", gateway: "10.0.0.1" },
    { ...kernel4, dst: "10.0.0.0/24" },
    { ...plain, dst: "10.0.0.1", scope: "253" },
    { ...plain, dst: "10.9.0.0/16", gateway: "10.0.0.1", metric: 7, metrics: [{ mtu: 1400 }] },
    { ...kernel4, dst: "10.0.0.2", type: "2", table: table === "254" ? "255" : table },
    { ...plain, dst: "10.8.0.0/16", dev: "eth1" },
    ...more.filter(({ dst }) => !dst.includes(":")).map((route) => ({ ...plain, ...route })),
  ];
  const plain6 = { ...plain, metric: 1024, pref: "medium" };
  const kernel6 = { ...plain6, protocol: "2", metric: 256 };
  const routes6 = [
    { ...kernel6, dst: "fd00::/64" },
    { ...plain6, dst: "default", gateway: "fd00::1" },
    { ...plain6, dst: "fd0a::/64", protocol: "9", expires: 90 },
    { ...kernel6, dst: "fd00::2", type: "2", metric: 0, table: table === "254" ? "255" : table },
    ...more.filter(({ dst }) => dst.includes(":")).map((route) => ({ ...plain6, ...route })),
  ];
  return {
    links,
    addresses,
    rules: [],
    routes: [
      ...parseWholeRoutes(JSON.stringify(routes4), 4),
      ...parseWholeRoutes(JSON.stringify(routes6), 6),
    ],
  };
}

function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) => describe(action).replace(inside, ""));
}

const before = carriedFrom(mainTable, { facts: facts(), ifName });

Deno.test("an interface joins a new VRF in one process, and loses neither address nor route", () => {
  const steps = joinSteps({
    ...where,
    name: "red",
    table: 1,
    vrf: undefined,
    carried: before,
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
  const carried = { addresses: [], routes: [] };
  const plan = { ...where, name: "red", table: 9, carried, facts: { ...facts(), addresses: [] } };
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
  const carried = carriedFrom(mainTable, { facts: now, ifName });
  const steps = joinSteps({ ...where, name: "red", table: 1, vrf: undefined, carried, facts: now });
  assertEquals(lines(steps).filter((line) => /10\.7|fd07|10\.6/.test(line)), [
    "route append 10.7.0.0/16 dev eth0 proto 3 scope 0 table 100",
    "route append 10.6.0.0/16 dev eth0 proto 3 scope 0 src 10.0.0.2 table 1",
    "route append fd07::/64 dev eth0 proto 3 src fd00::2 metric 1024 pref medium table 100",
  ]);
});

const hop = (dev: string, gateway: string) => ({ dev, gateway, weight: 1, flags: [] });
const own = [hop("eth0", "fd00::1"), hop("eth0", "fd00::5")];
const byBoth = (table: string): Raw[] =>
  [
    { dst: "fd05::/64", nexthops: [own[0], hop("eth1", "fd00::3")] },
    { dst: "fd06::/64", nexthops: [...own, hop("eth1", "fd00::3")] },
    { dst: "fd07::/64", nexthops: own },
    { dst: "10.5.0.0/16", nexthops: [hop("eth0", "10.0.0.1"), hop("eth1", "10.0.0.3")] },
  ].map((route) => ({ ...route, dev: undefined, table }));

/** What happens to these routes. */
function sharedLines(steps: readonly Step[]): string[] {
  return lines(steps).filter((line) => /fd0[567]|10\.5|master/.test(line));
}

Deno.test("of an IPv6 route by several links the interface takes its hops along", () => {
  const now = facts({ more: byBoth("254") });
  const carried = carriedFrom(mainTable, { facts: now, ifName });
  const steps = joinSteps({ ...where, name: "red", table: 1, vrf: undefined, carried, facts: now });
  const hops = "nexthop via fd00::1 dev eth0 weight 1 nexthop via fd00::5 dev eth0 weight 1";
  assertEquals(sharedLines(steps), [
    "route del fd05::/64 via fd00::1 dev eth0 proto 3 metric 1024 pref medium table 254",
    "route del fd06::/64 via fd00::1 dev eth0 proto 3 metric 1024 pref medium table 254",
    "route del fd06::/64 via fd00::5 dev eth0 proto 3 metric 1024 pref medium table 254",
    "link set dev eth0 master red",
    "route append fd05::/64 via fd00::1 dev eth0 proto 3 metric 1024 pref medium table 1",
    `route append fd06::/64 proto 3 metric 1024 pref medium table 1 ${hops}`,
    `route append fd07::/64 proto 3 metric 1024 pref medium table 1 ${hops}`,
  ]);
  const links = [inRed, vrfLink("red", 1)];
  const inVrf = facts({ links, table: "1", more: byBoth("1") });
  const found = { ...carried, index: eth0.index };
  for (const known of [found, undefined]) {
    const back = leaveSteps({ ...where, name: "red", facts: inVrf, found: known });
    assertEquals(
      sharedLines(back),
      sharedLines(steps).map((line) =>
        line.startsWith("link")
          ? "link set dev eth0 nomaster"
          : line.replace(/table (\d+)/, (_, table) => `table ${table === "1" ? 254 : 1}`)
      ),
    );
  }
  // The interface could not join: its hops come back.
  const refused = leaveSteps({ ...where, name: "red", facts: facts(), found });
  assertEquals(sharedLines(refused).length, 3);
  const unharmed = leaveSteps({ ...where, name: "red", facts: now, found });
  assertEquals(sharedLines(unharmed), []);
});

Deno.test("what ends by itself is carried over and not remembered", () => {
  const { routes } = lasting(before);
  assertEquals(routes.length, before.routes.length - 1);
  assert(routes.every(({ words }) => !words.includes("expires")));
  const passing = { ...addresses[0]!, passing: true };
  assertEquals(lasting({ addresses: [passing], routes: [] }).addresses, []);
});

Deno.test("the last one leaves a VRF in one process, takes everything along and removes it", () => {
  const now = facts({ links: [inRed, vrfLink("red", 1)], table: "1" });
  const steps = leaveSteps({ ...where, name: "red", facts: now, found: undefined });
  assertEquals(lines(steps), [
    "addr del fd00:1::2/64 dev eth0",
    "addr del fd00::2/64 dev eth0",
    "addr del fd00:9::2/64 dev eth0",
    "link set dev eth0 nomaster",
    "addr replace fd00:9::2/64 dev eth0",
    "addr replace fd00::2/64 nodad dev eth0",
    "addr replace fd00:1::2/64 nodad dev eth0",
    "route append 10.0.0.1/32 dev eth0 proto 3 scope 253 table 254",
    "route append fd0a::/64 dev eth0 proto 9 metric 1024 pref medium expires 90 table 254",
    "route append 0.0.0.0/0 via 10.0.0.1 dev eth0 proto 3 scope 0 table 254",
    "route append 10.9.0.0/16 via 10.0.0.1 dev eth0 proto 3 scope 0 metric 7 mtu 1400 table 254",
    "route append ::/0 via fd00::1 dev eth0 proto 3 metric 1024 pref medium table 254",
    "link del dev red",
  ]);
  assertEquals(processes(steps), 1);
  assert(steps.every(({ tolerate }) => tolerate?.includes("missing")));
});

Deno.test("a VRF with another port stays, and so does one that is to be kept", () => {
  const other = testLink({ name: "eth1", index: 8, master: "red" });
  const links = [inRed, other, vrfLink("red", 1)];
  const del = (plan: { links: readonly Link[]; keepVrf?: boolean }) =>
    lines(leaveSteps({
      ...where,
      name: "red",
      found: undefined,
      facts: facts({ links: plan.links, table: "1" }),
      ...(plan.keepVrf !== undefined && { keepVrf: plan.keepVrf }),
    })).at(-1);
  assert(del({ links })?.startsWith("route append"));
  assert(del({ links: [inRed, vrfLink("red", 1)], keepVrf: true })?.startsWith("route append"));
  assertEquals(del({ links: [inRed, vrfLink("red", 1)], keepVrf: false }), "link del dev red");
});

Deno.test("what a killed ADD has not given again comes back from what it has found", () => {
  const found = { ...before, index: eth0.index };
  const bare = { links: [inRed, vrfLink("red", 1)], addresses: [], routes: [], rules: [] };
  const leaving = { ...where, name: "red", found };
  const lost = lines(leaveSteps({ ...leaving, facts: bare }));
  const whole = lines(leaveSteps({ ...leaving, facts: facts({ ...bare, table: "1" }) }));
  assertEquals(lost, whole.filter((line) => !line.startsWith("addr del")));
  // After the interface has left, and before it has its routes again.
  const left = lines(leaveSteps({ ...leaving, facts: { ...bare, links: [eth0] } }));
  assertEquals(left, lost.slice(1, -1));
  // Nothing is lost, or it is another interface by now.
  const remembered = { ...lasting(before), index: eth0.index };
  assertEquals(lines(leaveSteps({ ...leaving, found: remembered, facts: facts() })), []);
  const links = [{ ...eth0, index: eth0.index + 1 }];
  assertEquals(lines(leaveSteps({ ...leaving, facts: { ...bare, links } })), []);
});

Deno.test("a route of another table comes back with its source", () => {
  const route = { dst: "10.7.0.0/16", table: "100" };
  const main = facts({ more: [{ ...route, prefsrc: "10.0.0.2" }] });
  const found = { ...carriedFrom(mainTable, { facts: main, ifName }), index: eth0.index };
  const now = facts({ links: [inRed, vrfLink("red", 1)], table: "1", more: [route] });
  const steps = leaveSteps({ ...where, name: "red", facts: now, found });
  assertEquals(lines(steps).filter((line) => line.includes("10.7")), [
    "route append 10.7.0.0/16 dev eth0 proto 3 scope 0 src 10.0.0.2 table 100",
  ]);
});

Deno.test("DEL leaves alone what is somebody else's", () => {
  const leave = (links: readonly Link[]) =>
    lines(leaveSteps({ ...where, name: "red", facts: facts({ links }), found: undefined }));
  assertEquals(leave([]), []);
  assertEquals(leave([eth0]), []);
  const bridge = testLink({ name: "red", kind: "bridge" });
  assertEquals(leave([inRed, bridge]), []);
  assertEquals(leave([{ ...eth0, master: "br0" }, testLink({ name: "br0" })]), []);
  assertEquals(leave([{ ...eth0, master: "blue" }, vrfLink("blue", 2), vrfLink("red", 1)]), [
    "link del dev red",
  ]);
  assertEquals(leave([vrfLink("red", 1)]), ["link del dev red"]);
});

Deno.test("a link that is down gets no routes", () => {
  const now = facts({ links: [{ ...inRed, up: false }, vrfLink("red", 1)], table: "1" });
  const steps = leaveSteps({ ...where, name: "red", facts: now, found: undefined });
  assertEquals(lines(steps).filter((line) => line.startsWith("route")), []);
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

Deno.test("CHECK tells every difference", () => {
  const held = heldAddresses(
    eth0,
    ["10.0.0.2/24", "fd00::2/64", "10.0.0.3/24", "10.0.0.2/16"].map((text) => ({
      cidr: parseCidr(text)!,
      gateway: undefined,
    })),
  );
  assertEquals(held, ["10.0.0.2/24", "fd00::2/64"]);
  const found = { ...lasting(before), held };
  const links = [inRed, vrfLink("red", 1)];
  const compare = (now: Facts, table = 0) =>
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
  const found = { ...lasting(before), held: [] };
  const whole = facts({ links, table: "1" });
  const [shared] = parseWholeRoutes(
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
