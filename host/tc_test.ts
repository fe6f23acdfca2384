import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import { parseCidr } from "./ip.ts";
import {
  addFilter,
  addFqCodel,
  addHook,
  addTbf,
  burstTicks,
  deleteHook,
  deleteRoot,
  keysOf,
  parseFilters,
  parseQdiscs,
  showFilters,
  showQdiscs,
} from "./tc.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1";
const cidr = (text: string) => parseCidr(text)!;

Deno.test("addTbf() gives the rate in bits", () => {
  assertEquals(
    shellLine(addTbf("veth0", { rate: 1000, burst: 10, limit: 35 })),
    "tc qdisc add dev veth0 root handle 1: tbf rate 8000bit burst 10b limit 35b",
  );
  assertEquals(
    shellLine(addTbf("eth0", { rate: 2 ** 50, burst: 10, limit: 35 }, { netns })),
    `${inside} tc qdisc add dev eth0 root handle 1: tbf rate 9007199254740992bit burst 10b limit 35b`,
  );
});

Deno.test("addFqCodel(), addHook() and what takes them away", () => {
  assertEquals(
    shellLine(addFqCodel("veth0")),
    "tc qdisc add dev veth0 parent 1:1 handle 10: fq_codel",
  );
  assertEquals(shellLine(addHook("veth0", "ingress")), "tc qdisc add dev veth0 ingress");
  assertEquals(
    shellLine(addHook("eth0", "clsact", { netns })),
    `${inside} tc qdisc add dev eth0 clsact`,
  );
  assertEquals(shellLine(deleteHook("veth0")), "tc qdisc del dev veth0 parent ffff:fff1");
  assertEquals(shellLine(deleteRoot("eth0", { netns })), `${inside} tc qdisc del dev eth0 root`);
});

Deno.test("addFilter() redirects, or lets pass", () => {
  assertEquals(
    shellLine(
      addFilter("v", { hook: "ingress", protocol: "all", priority: 1, redirect: "bwp1" }),
    ),
    "tc filter add dev v ingress protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev bwp1",
  );
  const match = { field: "dst", subnet: cidr("10.1.2.3/8") } as const;
  assertEquals(
    shellLine(addFilter("v", { hook: "egress", protocol: "ip", priority: 16, match })),
    "tc filter add dev v egress protocol ip prio 16 u32 match ip dst 10.0.0.0/8 flowid 1:1",
  );
  const six = { field: "src", subnet: cidr("fd00::/8") } as const;
  assertEquals(
    shellLine(addFilter("v", { hook: "egress", protocol: "ipv6", priority: 15, match: six })),
    "tc filter add dev v egress protocol ipv6 prio 15 u32 match ip6 src fd00::/8 flowid 1:1",
  );
  const all = { field: "src", subnet: cidr("::/0") } as const;
  assertEquals(
    shellLine(
      addFilter("v", { hook: "egress", protocol: "ipv6", priority: 15, match: all }, { netns }),
    ),
    `${inside} tc filter add dev v egress protocol ipv6 prio 15 u32 match u32 0 0 flowid 1:1`,
  );
});

Deno.test("showQdiscs() and showFilters()", () => {
  assertEquals(shellLine(showQdiscs()), "tc -raw -j qdisc show");
  assertEquals(
    shellLine(showFilters("eth0", "egress", { netns })),
    `${inside} tc -j filter show dev eth0 egress`,
  );
});

Deno.test("parseQdiscs() reads a token bucket and its queue", () => {
  const json = '[{"kind":"tbf","handle":"1:","dev":"v0","root":true,"refcnt":3,"options":' +
    '{"rate":1000,"burst":10,"burst_raw":"2625a","lat":25000,"limit":35}},' +
    '{"kind":"fq_codel","handle":"10:","dev":"v0","parent":"1:1","options":{"limit":10240}},' +
    '{"kind":"ingress","handle":"ffff:","dev":"v0","parent":"ffff:fff1","options":{}}]';
  assertEquals(parseQdiscs(json), [
    {
      dev: "v0",
      kind: "tbf",
      handle: "1:",
      parent: undefined,
      root: true,
      tbf: { rate: 1000, ticks: 156250, limit: 35 },
    },
    { dev: "v0", kind: "fq_codel", handle: "10:", parent: "1:1", root: false, tbf: undefined },
    {
      dev: "v0",
      kind: "ingress",
      handle: "ffff:",
      parent: "ffff:fff1",
      root: false,
      tbf: undefined,
    },
  ]);
});

Deno.test("burstTicks() spans what the reference and iproute2 make of a burst", () => {
  assertEquals(burstTicks({ rate: 1000, burst: 10 }), [156249, 156251]);
  assertEquals(burstTicks({ rate: 1, burst: 1 }), [15624999, 15625001]);
  // The reference cuts microseconds, iproute2 does not.
  assertEquals(burstTicks({ rate: 3, burst: 1 }), [5208327, 5208335]);
});

Deno.test("parseFilters() reads every key of a filter, and no hash tables", () => {
  const json = '[{"protocol":"ipv6","pref":15,"kind":"u32","chain":0},' +
    '{"protocol":"ipv6","pref":15,"kind":"u32","chain":0,"options":{"fh":"801:","ht_divisor":1}},' +
    '{"protocol":"ipv6","pref":15,"kind":"u32","chain":0,"options":{"fh":"801::800","order":2048,' +
    '"key_ht":"801","bkt":"0","flowid":"1:1","not_in_hw":true,' +
    '"match":{"value":"fd000db8","mask":"ffffffff","offmask":"","off":24},' +
    '"match":{"value":"abcd1234","mask":"ffffffff","offmask":"","off":28},' +
    '"match":{"value":"e0000000","mask":"f0000000","offmask":"","off":32}}},' +
    '{"protocol":"ip","pref":16,"kind":"u32","chain":0,"options":{"fh":"800::800","flowid":"1:1",' +
    '"match":{"value":"a000000","mask":"ff000000","offmask":"","off":16}}},' +
    '{"protocol":"all","pref":17,"kind":"u32","chain":0,"options":{"fh":"802::800","flowid":"1:1",' +
    '"match":{"value":"0","mask":"0","offmask":"","off":0},"actions":[{"order":1,"kind":"mirred",' +
    '"mirred_action":"redirect","direction":"egress","to_dev":"bwp1","index":1}]}}]';
  const subnets = ["fd00:db8:abcd:1234:e000::/68", "10.0.0.0/8"].map(cidr);
  const [six, four] = subnets.map((subnet) => keysOf({ field: "dst", subnet }));
  assertEquals(six, ["fd000db8/ffffffff@24", "abcd1234/ffffffff@28", "e0000000/f0000000@32"]);
  assertEquals(four, ["0a000000/ff000000@16"]);
  assertEquals(parseFilters(json), [
    { protocol: "ipv6", priority: 15, keys: six!, redirect: undefined },
    { protocol: "ip", priority: 16, keys: four!, redirect: undefined },
    { protocol: "all", priority: 17, keys: [], redirect: "bwp1" },
  ]);
});

Deno.test("keysOf() leaves out words that do not matter", () => {
  assertEquals(keysOf(undefined), []);
  assertEquals(keysOf({ field: "src", subnet: cidr("0.0.0.0/0") }), []);
  assertEquals(keysOf({ field: "src", subnet: cidr("192.0.2.7/32") }), ["c0000207/ffffffff@12"]);
  assertEquals(keysOf({ field: "src", subnet: cidr("2001:db8::1/32") }), [
    "20010db8/ffffffff@8",
  ]);
});
