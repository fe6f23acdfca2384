import { assertEquals, assertThrows } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import { CniError } from "../../cni/error.ts";
import type { JsonObject } from "../../cni/types.ts";
import { processes } from "../../host/fold.ts";
import { parseCidr } from "../../host/ip.ts";
import type { RestorableRoute } from "../../host/ip_route_restore.ts";
import type { Rule } from "../../host/ip_rule.ts";
import { describe } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import { addressesOf } from "../../recipes/configure.ts";
import { conf } from "./conf.ts";
import type { SbrFacts } from "./facts.ts";
import type { SbrPlan } from "./plan.ts";
import { emptyPlan, planTables } from "./plan.ts";
import { comparePlan, planSteps, revertSteps, rulesFrom } from "./steps.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ip";

/** A route of `net1` by its words, after which its table may stand. */
function route(text: string, table = 254): RestorableRoute {
  const words = text.split(" ");
  const after = (keyword: string) => {
    const index = words.indexOf(keyword);
    return index < 0 ? undefined : words[index + 1];
  };
  const gateway = after("via");
  const metric = after("metric");
  return {
    family: text.includes(":") ? 6 : 4,
    dst: words[0]!,
    table,
    devs: [after("dev")!],
    gateways: gateway ? [gateway] : [],
    src: after("src"),
    scope: Number(after("scope") ?? 0),
    metric: metric === undefined ? undefined : Number(metric),
    words,
  };
}

function rule(from: string, table: number, plain = true): Rule {
  return { family: from.includes(":") ? 6 : 4, priority: 32765, from, table, plain };
}

const connected = "192.168.1.0/24 dev net1 proto 2 scope 253 src 192.168.1.209";
const more = "192.168.2.0/24 via 192.168.1.2 dev net1 proto 3 scope 0";
const default4 = "0.0.0.0/0 via 192.168.1.1 dev net1 proto 3 scope 0";
const connected6 = "fd00::/64 dev net1 proto 2 metric 256 pref medium";
const linkLocal = "fe80::/64 dev net1 proto 2 metric 256 pref medium";
const default6 = "::/0 via fd00::1 dev net1 proto 3 metric 1024 pref medium";
const ofEth0 = "0.0.0.0/0 via 10.0.0.1 dev eth0 proto 3 scope 0";

const ip4 = { address: "192.168.1.209/24", gateway: "192.168.1.1" };
const ip6 = { address: "fd00::10/64", gateway: "fd00::1" };

function factsOf(
  routes: readonly (string | RestorableRoute)[],
  rules: readonly Rule[] = [],
): SbrFacts {
  return {
    rules: [{ ...rule("0.0.0.0/0", 254), from: undefined }, ...rules],
    routes: routes.map((it) => typeof it === "string" ? route(it) : it),
    link: testLink({ name: "net1" }),
  };
}

const usual = factsOf([ofEth0, more, connected, connected6, linkLocal]);

function plan(
  ips: readonly { address: string; gateway?: string }[],
  { facts = usual, config = {}, known = emptyPlan }: {
    facts?: SbrFacts;
    config?: JsonObject;
    known?: SbrPlan;
  } = {},
): SbrPlan {
  const addresses = addressesOf({ ips: [...ips] });
  const decoded = decodeOrThrow(conf, config, "configuration");
  return planTables({ facts, ifName: "net1", addresses, conf: decoded, known });
}

/** Routes by table, as text. */
function added({ added }: SbrPlan): Record<string, string[]> {
  const groups = Object.groupBy(added, ({ table }) => String(table));
  return Object.fromEntries(
    Object.entries(groups).map(([table, routes]) => [
      table,
      routes!.map(({ words }) => words.join(" ")),
    ]),
  );
}

const moved = ({ moved }: SbrPlan) => moved.map((words) => words.join(" "));

Deno.test("one address: its routes move to the first free table, with a default route", () => {
  const it = plan([ip4]);
  assertEquals(it.rules, [{ from: "192.168.1.209/32", table: 100 }]);
  assertEquals(added(it), { 100: [connected, more, default4] });
  assertEquals(moved(it), [connected, more]);
});

Deno.test("both families: a table each; link-local routes stay in the main table, too", () => {
  const it = plan([ip4, ip6]);
  assertEquals(it.rules.map(({ table }) => table), [100, 101]);
  assertEquals(added(it)[101], [connected6, linkLocal, default6]);
  assertEquals(
    moved(it),
    [connected, connected6, linkLocal, more].filter((it) => it !== linkLocal),
  );
});

Deno.test("a family without an address of ours is left alone", () => {
  assertEquals(moved(plan([ip6])), [connected6]);
});

Deno.test("a default route that is there already is moved, and not added again", () => {
  const own = factsOf([connected, default4]);
  assertEquals(added(plan([ip4], { facts: own })), { 100: [connected, default4] });
  const other = "0.0.0.0/0 via 192.168.1.7 dev net1 proto 3 scope 0";
  assertEquals(added(plan([ip4], { facts: factsOf([connected, other]) })), {
    100: [connected, other],
  });
});

Deno.test("a configured gateway comes before both", () => {
  const facts = factsOf([connected, default4]);
  const it = plan([ip4], { facts, config: { gateways: ["192.168.1.254"] } });
  assertEquals(added(it), { 100: [connected, default4.replace(".1 dev", ".254 dev")] });
  assertEquals(moved(it), [connected, default4]);
});

Deno.test("routes go where their source or gateway is, those of nobody everywhere, foreign ones stay", () => {
  const second = "192.168.101.0/24 dev net1 proto 2 scope 253 src 192.168.101.209";
  const nobodys = "198.51.100.0/24 dev net1 proto 3 scope 253";
  const elsewhere = "203.0.113.0/24 via 172.20.0.1 dev net1 onlink proto 3 scope 0";
  const foreign = "172.16.0.0/24 dev net1 proto 2 scope 253 src 172.16.0.9";
  const facts = factsOf([connected, more, second, nobodys, elsewhere, foreign]);
  const ips = [ip4, { address: "192.168.101.209/24", gateway: "192.168.101.1" }];
  const it = plan(ips, { facts });
  assertEquals(added(it), {
    100: [connected, nobodys, more, elsewhere, default4],
    101: [second, nobodys, elsewhere, default4.replace("168.1.1", "168.101.1")],
  });
  assertEquals(moved(it), [connected, second, nobodys, more, elsewhere]);
});

Deno.test("a multipath route over other interfaces stays", () => {
  const shared = { ...route(more), devs: ["net1", "eth0"] };
  assertEquals(moved(plan([ip4], { facts: factsOf([connected, shared]) })), [connected]);
});

Deno.test("tables of rules and of routes alone are taken, in either family", () => {
  const facts = factsOf(
    [connected, route("10.9.0.0/16 dev eth0 proto 3 scope 253", 101)],
    [rule("10.0.0.2/32", 100, false), rule("fd00::9/128", 102)],
  );
  assertEquals(plan([ip4], { facts }).rules, [{ from: "192.168.1.209/32", table: 103 }]);
  const crowded = factsOf(
    [connected],
    Array.from({ length: 153 }, (_, n) => rule("fd00::9/128", 100 + n)),
  );
  // 253 to 255 are the kernel's.
  assertEquals(plan([ip4], { facts: crowded }).rules[0]!.table, 256);
});

Deno.test("a second ADD finds everything done, and mends what is missing", () => {
  const first = plan([ip4, ip6], { config: { addSourceHints: true } });
  const done = (without?: string): SbrFacts => ({
    ...factsOf(
      first.added.map(({ words, table }) => route(words.join(" "), table))
        .concat([route(connected), route(connected6), route(linkLocal)])
        .filter(({ words }) => words.join(" ") !== without),
      first.rules.map(({ from, table }) => rule(from, table)),
    ),
  });
  const config = { addSourceHints: true };
  const second = plan([ip4, ip6], { facts: done(), known: first, config });
  assertEquals(second.rules, first.rules);
  assertEquals(added(second), added(first));
  assertEquals(moved(second), moved(first));
  assertEquals(planSteps(second, { facts: done(), netns }), []);
  const mended = plan([ip4, ip6], { facts: done(default4), known: first, config });
  assertEquals(
    planSteps(mended, { facts: done(default4), netns }).map(({ do: action }) => describe(action)),
    [`${inside} route replace ${default4} table 100`],
  );
});

Deno.test("a table that somebody else uses by now is not taken again", () => {
  const known = plan([ip4]);
  const facts = factsOf([connected], [rule("10.0.0.2/32", 100)]);
  assertEquals(plan([ip4], { facts, known }).rules[0]!.table, 101);
});

Deno.test("no gateway is a sentence, unless none is meant or routes lead on", () => {
  const bare = [{ address: ip4.address }];
  const facts = factsOf([connected]);
  assertThrows(
    () => plan(bare, { facts }),
    CniError,
    'Cannot route from "192.168.1.209/24": no IPv4 gateway is known',
  );
  assertEquals(added(plan(bare, { facts, config: { gateways: [] } })), { 100: [connected] });
  assertEquals(added(plan(bare)), { 100: [connected, more] });
});

Deno.test("source hints: IPv4 keeps routes on the link, IPv6 all without a gateway", () => {
  const config = { addSourceHints: true };
  const further = "2001:db8::/32 via fd00::5 dev net1 proto 3 metric 1024 pref medium";
  const facts = factsOf([connected, more, connected6, linkLocal, further]);
  const it = plan([ip4, ip6], { facts, config });
  assertEquals(moved(it), [more, further]);
  assertEquals(added(it)[254], ["fd00::/64 dev net1 proto 3 src fd00::10 metric 255 pref medium"]);
  const withoutSource = factsOf(["192.168.1.0/24 dev net1 proto 3 scope 253"]);
  assertEquals(added(plan([ip4], { facts: withoutSource, config }))[254], [
    connected.replace("proto 2", "proto 3"),
  ]);
});

Deno.test("source hints: a subnet behind a gateway, as ptp has it, is left as it is", () => {
  const config = { addSourceHints: true };
  const behind = "192.168.1.0/24 via 192.168.1.1 dev net1 proto 3 scope 0 src 192.168.1.209";
  const gateway = "192.168.1.1/32 dev net1 proto 3 scope 253 src 192.168.1.209";
  const it = plan([ip4], { facts: factsOf([behind, gateway, more]), config });
  assertEquals(moved(it), [more]);
  assertEquals(added(it), { 100: [gateway, behind, more, default4] });
});

Deno.test("an address that stands twice in the result is one", () => {
  assertEquals(plan([ip4, ip4]), plan([ip4]));
});

Deno.test("a fixed table gets rules alone", () => {
  const it = plan([ip4, ip6, { address: "10.0.0.9/8" }], { config: { table: 5000 } });
  assertEquals(it, {
    rules: ["192.168.1.209/32", "fd00::10/128", "10.0.0.9/32"].map((from) => ({
      from,
      table: 5000,
    })),
    added: [],
    moved: [],
  });
});

Deno.test("steps: rules, then routes of the tables, then what leaves; each with its undo, in one process", () => {
  const steps = planSteps(plan([ip4]), { facts: usual, netns });
  assertEquals(steps.map((step) => [describe(step.do), describe(step.undo!)]), [
    [
      `${inside} rule add from 192.168.1.209/32 table 100`,
      `${inside} rule del from 192.168.1.209/32 table 100`,
    ],
    [
      `${inside} route replace ${connected} table 100`,
      `${inside} route del ${connected} table 100`,
    ],
    [`${inside} route replace ${more} table 100`, `${inside} route del ${more} table 100`],
    [`${inside} route replace ${default4} table 100`, `${inside} route del ${default4} table 100`],
    [`${inside} route del ${more} table 254`, `${inside} route replace ${more} table 254`],
    [
      `${inside} route del ${connected} table 254`,
      `${inside} route replace ${connected} table 254`,
    ],
  ]);
  assertEquals(processes(steps), 1);
  assertEquals(processes(planSteps(plan([ip4, ip6, ip4]), { facts: usual, netns })), 1);
});

Deno.test("a route in the place of another one gives it back", () => {
  const config = { addSourceHints: true };
  const plain = "192.168.1.0/24 dev net1 proto 3 scope 253";
  const facts = factsOf([plain]);
  const step = planSteps(plan([ip4], { facts, config }), { facts, netns })
    .find(({ why }) => why.endsWith("to table 254"));
  assertEquals(describe(step!.undo!), `${inside} route replace ${plain} table 254`);
});

Deno.test("the way back: rules, routes of the main table with those on the link first, tables", () => {
  const it = plan([ip4]);
  const facts = factsOf(
    [ofEth0, ...it.added.map(({ words, table }) => route(words.join(" "), table))],
    [rule("192.168.1.209/32", 100)],
  );
  const back = (facts: SbrFacts) =>
    revertSteps(it, { facts, netns }).map(({ do: action }) => describe(action));
  assertEquals(back(facts), [
    `${inside} rule del from 192.168.1.209/32 table 100`,
    `${inside} route replace ${connected} table 254`,
    `${inside} route replace ${more} table 254`,
    `${inside} route del ${connected} table 100`,
    `${inside} route del ${more} table 100`,
    `${inside} route del ${default4} table 100`,
  ]);
  assertEquals(processes(revertSteps(it, { facts, netns })), 1);
  const gone = { ...facts, routes: [], link: undefined };
  assertEquals(back(gone), [`${inside} rule del from 192.168.1.209/32 table 100`]);
  assertEquals(back({ ...factsOf([connected, more]) }), []);
});

Deno.test("CHECK compares rules and routes", () => {
  const it = plan([ip4]);
  assertEquals(comparePlan(it, factsOf([route(connected, 100), route(more, 100)])), [
    "rule from 192.168.1.209/32 to table 100 is missing",
    `route ${default4} is missing from table 100`,
  ]);
});

Deno.test("rulesFrom() compares addresses and passes over rules with more to them", () => {
  const facts = factsOf([], [
    rule("192.168.1.209/32", 100),
    rule("192.168.1.0/24", 101),
    rule("192.168.1.209/32", 102, false),
    rule("fd00::10/128", 103),
  ]);
  assertEquals(rulesFrom(facts, [parseCidr("192.168.1.209/24")!]), [
    { from: "192.168.1.209/32", table: 100 },
  ]);
  assertEquals(rulesFrom(facts, [parseCidr("fd00::10/64")!]).map(({ table }) => table), [103]);
});
