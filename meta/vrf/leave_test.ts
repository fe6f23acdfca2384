import { assert, assertEquals } from "@std/assert";
import { processes } from "../../host/fold.ts";
import type { Link } from "../../host/ip_link.ts";
import { mainTable } from "../../host/ip_route.ts";
import type { Step } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import { joinSteps } from "./join.ts";
import { leaveSteps } from "./leave.ts";
import { interfaceState, permanentState } from "./state.ts";
import type { RawRoute } from "./testing.ts";
import { before, eth0, facts, ifName, inRed, lines, target, vrfLink } from "./testing.ts";

const hop = (dev: string, gateway: string) => ({ dev, gateway, weight: 1, flags: [] });
const own = [hop("eth0", "fd00::1"), hop("eth0", "fd00::5")];
const byBoth = (table: string): RawRoute[] =>
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
  const state = interfaceState(mainTable, { facts: now, ifName });
  const steps = joinSteps({ ...target, name: "red", table: 1, vrf: undefined, state, facts: now });
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
  const found = { ...state, index: eth0.index };
  for (const known of [found, undefined]) {
    const back = leaveSteps({ ...target, name: "red", facts: inVrf, found: known });
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
  const refused = leaveSteps({ ...target, name: "red", facts: facts(), found });
  assertEquals(sharedLines(refused).length, 3);
  const unharmed = leaveSteps({ ...target, name: "red", facts: now, found });
  assertEquals(sharedLines(unharmed), []);
});

Deno.test("the last one leaves a VRF in one process, takes everything along and removes it", () => {
  const now = facts({ links: [inRed, vrfLink("red", 1)], table: "1" });
  const steps = leaveSteps({ ...target, name: "red", facts: now, found: undefined });
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
      ...target,
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
  const leaving = { ...target, name: "red", found };
  const lost = lines(leaveSteps({ ...leaving, facts: bare }));
  const whole = lines(leaveSteps({ ...leaving, facts: facts({ ...bare, table: "1" }) }));
  assertEquals(lost, whole.filter((line) => !line.startsWith("addr del")));
  // After the interface has left, and before it has its routes again.
  const left = lines(leaveSteps({ ...leaving, facts: { ...bare, links: [eth0] } }));
  assertEquals(left, lost.slice(1, -1));
  // Nothing is lost, or it is another interface by now.
  const remembered = { ...permanentState(before), index: eth0.index };
  assertEquals(lines(leaveSteps({ ...leaving, found: remembered, facts: facts() })), []);
  const links = [{ ...eth0, index: eth0.index + 1 }];
  assertEquals(lines(leaveSteps({ ...leaving, facts: { ...bare, links } })), []);
});

Deno.test("a route of another table comes back with its source", () => {
  const route = { dst: "10.7.0.0/16", table: "100" };
  const main = facts({ more: [{ ...route, prefsrc: "10.0.0.2" }] });
  const found = { ...interfaceState(mainTable, { facts: main, ifName }), index: eth0.index };
  const now = facts({ links: [inRed, vrfLink("red", 1)], table: "1", more: [route] });
  const steps = leaveSteps({ ...target, name: "red", facts: now, found });
  assertEquals(lines(steps).filter((line) => line.includes("10.7")), [
    "route append 10.7.0.0/16 dev eth0 proto 3 scope 0 src 10.0.0.2 table 100",
  ]);
});

Deno.test("DEL leaves alone what is somebody else's", () => {
  const leave = (links: readonly Link[]) =>
    lines(leaveSteps({ ...target, name: "red", facts: facts({ links }), found: undefined }));
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
  const steps = leaveSteps({ ...target, name: "red", facts: now, found: undefined });
  assertEquals(lines(steps).filter((line) => line.startsWith("route")), []);
});
