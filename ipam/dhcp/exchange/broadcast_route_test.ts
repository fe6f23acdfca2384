import { assert, assertEquals, assertRejects } from "@std/assert";
import type { BroadcastRoute, NetnsFacts } from "./broadcast_route.ts";
import type { ExchangeGoal4 } from "./client_message4.ts";
import { spawn } from "../../../host/spawn.ts";
import { hex, ip } from "../codec/testing_message4.ts";
import {
  broadcastRouteScript,
  cleanUpScript,
  factsScript,
  parseFacts,
  planBroadcastRoute,
  setUpFailedStatus,
} from "./broadcast_route.ts";

const address = ip("192.168.1.5");
const server = ip("192.168.1.1");

/** What `lookScript` shows of a container with an interface for the cluster and one without an address. */
const shown = `[{"dst":"default","gateway":"10.9.0.1","dev":"eth0","flags":[]},
{"dst":"255.255.255.255","dev":"net1","protocol":"227","scope":"253","flags":[]},
{"dst":"255.255.255.255","dev":"eth0","protocol":"16","scope":"253","flags":[]},
{"dst":"10.9.0.0/24","dev":"net1","protocol":"227","scope":"253","flags":[]}]
@
2
1
@
[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"link_type":"loopback","address":"00:00:00:00:00:00",
"addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8,"scope":"host"}]},{},
{"ifindex":2,"ifname":"eth0","flags":["UP"],"link_type":"ether","address":"02:00:00:00:00:01",
"addr_info":[{"family":"inet","local":"10.9.0.5","prefixlen":24,"scope":"global"},
{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]},
{"ifindex":3,"ifname":"net1","flags":["BROADCAST"],"link_type":"ether","address":"02:00:00:00:00:02","addr_info":[]},
{"ifindex":4,"ifname":"ib0","flags":["UP"],"link_type":"infiniband",
"address":"80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0e:f0:a1"}]
`;

Deno.test("what a namespace shows is read", () => {
  const { links, stale, filters } = parseFacts(shown);
  assertEquals(filters, { all: 2, dev: 1 });
  // Neither another client's route, nor a route elsewhere.
  assertEquals(stale, [{ dev: "net1", proto: 227 }]);
  assertEquals(Object.fromEntries(links), {
    lo: { index: 1, up: true, addresses: [] },
    eth0: { index: 2, up: true, chaddr: hex("02 0000000001"), addresses: [ip("10.9.0.5")] },
    net1: { index: 3, up: false, chaddr: hex("02 0000000002"), addresses: [] },
    ib0: { index: 4, up: true, addresses: [] },
  });
});

Deno.test("a namespace without routes and without its link is read", () => {
  const { links, stale, filters } = parseFacts("\n@\n0\n0\n@\n[]\n");
  assertEquals([links.size, stale, filters], [0, [], { all: 0, dev: 0 }]);
});

Deno.test("names of interfaces are words of the shell", () => {
  assert(factsScript("a b").includes("'/proc/sys/net/ipv4/conf/a b/rp_filter'"));
});

const bare: NetnsFacts = {
  links: new Map([["eth0", { index: 2, up: true, chaddr: hex("02 0000000001"), addresses: [] }]]),
  stale: [],
  filters: { all: 0, dev: 0 },
};

const eth0 = bare.links.get("eth0")!;

function withLinks(links: Record<string, Partial<typeof eth0>>): NetnsFacts {
  const entries = Object.entries(links).map(([name, it]) => [name, { ...eth0, ...it }] as const);
  return { ...bare, links: new Map(entries) };
}

const configured = withLinks({ eth0: { addresses: [ip("10.0.0.1"), address] } });

const route = (verb: string, proto: number) =>
  verb === "prepend"
    ? `ip route prepend 255.255.255.255 dev eth0 proto ${proto} || fail`
    : `ip route del 255.255.255.255 dev eth0 proto ${proto} 2>/dev/null`;
function set(name: string, value: number): string {
  const path = `/proc/sys/net/ipv4/conf/${name}/rp_filter`;
  const unlessChanged = `read -r filter <${path}; [ "$filter" = 0 ] && `;
  return `{ ${value === 0 ? "" : unlessChanged}echo ${value} >${path}; } 2>/dev/null`;
}
const dropTable = "nft delete table ip denocni-dhcp 2>/dev/null";

function pass(goal: ExchangeGoal4, facts: NetnsFacts): BroadcastRoute {
  return planBroadcastRoute(goal, { dev: "eth0", facts });
}

Deno.test("a client without an address needs a route, and no more where nothing filters", () => {
  for (const goal of [{ kind: "acquire" }, { kind: "reboot", address }] as const) {
    assertEquals(pass(goal, bare), {
      from: undefined,
      before: [route("prepend", 220)],
      after: [route("del", 220)],
    });
  }
});

Deno.test("filters are opened and put back, and the route says what they were", () => {
  const rows: [all: number, dev: number, proto: number][] = [
    [0, 1, 221],
    [0, 2, 222],
    [1, 0, 223],
    [1, 1, 224],
    [1, 2, 225],
    [2, 0, 226],
    [2, 1, 227],
    [2, 2, 228],
    [7, 0, 226],
  ];
  for (const [all, dev, proto] of rows) {
    const { before, after } = pass({ kind: "acquire" }, { ...bare, filters: { all, dev } });
    const changed = [...(all ? ["all"] : []), ...(dev ? ["eth0"] : [])];
    assertEquals(before, [route("prepend", proto), ...changed.map((name) => set(name, 0))]);
    const values = [
      ...(all ? [set("all", Math.min(all, 2))] : []),
      ...(dev ? [set("eth0", dev)] : []),
    ];
    assertEquals(after, [...values, route("del", proto)]);
  }
});

Deno.test("a link that is down is set up for whoever wants an address, and not for others", () => {
  const down = withLinks({ eth0: { up: false, addresses: [address] } });
  const { before } = pass({ kind: "acquire" }, down);
  assertEquals(before.slice(0, 2), ["ip link set dev eth0 up || fail", route("prepend", 220)]);
  for (const goal of [{ kind: "renew", address, server }, { kind: "rebind", address }] as const) {
    assertEquals(pass(goal, down).before, []);
  }
});

Deno.test("an address of any interface is kept out of what must have none", () => {
  const rows: [NetnsFacts, boolean][] = [
    [bare, false],
    [configured, true],
    [withLinks({ eth0: {}, eth1: { addresses: [ip("10.9.0.5")] } }), true],
  ];
  for (const [facts, hidden] of rows) {
    const { before, after } = pass({ kind: "acquire" }, facts);
    assertEquals(after.includes(dropTable), hidden);
    const rule =
      'oifname "eth0" ip daddr 255.255.255.255 udp sport 68 udp dport 67 ip saddr set 0.0.0.0';
    assertEquals(before.some((text) => text.split("\n").includes(rule)), hidden);
  }
});

const names: readonly [name: string, word: string, match: string][] = [
  ["net1@x", "net1@x", 'oifname "net1@x"'],
  ["a#b", "'a#b'", 'oifname "a#b"'],
  ["it's", "'it'\\''s'", `oifname "it's"`],
  ['a"b', `'a"b'`, "oif 7"],
  ["eth*", "'eth*'", "oif 7"],
  ["a\\b", "'a\\b'", "oif 7"],
];

for (const [name, word, match] of names) {
  Deno.test(`no program takes the name ${name} for something else`, () => {
    const facts = withLinks({ [name]: { index: 7, up: false, addresses: [address] } });
    const { before } = planBroadcastRoute({ kind: "acquire" }, { dev: name, facts });
    assertEquals(before.slice(0, 2), [
      `ip link set dev ${word} up || fail`,
      `ip route prepend 255.255.255.255 dev ${word} proto 220 || fail`,
    ]);
    assertEquals(/^oif.* ip daddr/m.exec(before[2]!)?.[0], `${match} ip daddr`);
  });
}

Deno.test("whoever has an address sends from it, and needs no way of its own", () => {
  const goals: ExchangeGoal4[] = [{ kind: "renew", address, server }, { kind: "rebind", address }];
  for (const goal of goals) {
    assertEquals(pass(goal, configured), { from: address, before: [], after: [] });
  }
  const { from, before, after } = pass({ kind: "release", address, server }, configured);
  assertEquals([from, before, after.length], [address, [], 1]);
  assert(after[0]!.includes("ip -4 neigh show dev eth0 nud incomplete"), after[0]);
});

Deno.test("an address that the interface has lost is nobody's source", () => {
  const unicast = pass({ kind: "renew", address, server }, bare);
  assertEquals(unicast, { from: undefined, before: [], after: [] });
  assertEquals(pass({ kind: "rebind", address }, bare).before, [route("prepend", 220)]);
});

Deno.test("what a killed exchange left is taken away first, whatever comes now", () => {
  const stale = [{ dev: "eth0", proto: 227 }];
  const swept = [dropTable, set("all", 2), set("eth0", 1), route("del", 227)];
  const renewal = pass({ kind: "renew", address, server }, { ...configured, stale });
  assertEquals(renewal.before, swept);
  assertEquals(renewal.after, []);
  // The kernel shows what that exchange has made of the filters.
  const { before, after } = pass({ kind: "acquire" }, { ...bare, stale });
  assertEquals(before, [...swept, route("prepend", 227), set("all", 0), set("eth0", 0)]);
  assertEquals(after, swept.slice(1));
});

Deno.test("what was left on another interface tells of the common filter alone", () => {
  const facts = { ...bare, stale: [{ dev: "eth1", proto: 224 }], filters: { all: 0, dev: 2 } };
  const { before } = pass({ kind: "acquire" }, facts);
  const swept = [
    dropTable,
    set("all", 1),
    set("eth1", 1),
    "ip route del 255.255.255.255 dev eth1 proto 224 2>/dev/null",
  ];
  assertEquals(before, [...swept, route("prepend", 225), set("all", 0), set("eth0", 0)]);
});

async function runScript(passage: Omit<BroadcastRoute, "from">, program: string) {
  const script = broadcastRouteScript(passage);
  const { code, stdout } = await spawn("/bin/sh", ["-c", script, "sh", "/bin/sh", "-c", program]);
  return [code, stdout];
}

Deno.test("the script puts everything back, and ends as its program does", async () => {
  const passage = { before: ["echo before"], after: ["echo after", "false"] };
  assertEquals(await runScript(passage, "echo in; exit 7"), [7, "before\nin\nafter\n"]);
  assertEquals(await runScript({ before: [], after: [] }, "echo in"), [0, "in\n"]);
  // A signal that ends both ends the program alone.
  const kills = "kill -TERM $PPID; kill -TERM $$";
  assertEquals(await runScript(passage, kills), [143, "before\nafter\n"]);
});

Deno.test("a way that cannot be prepared is put back, and nothing is run on it", async () => {
  const passage = { before: ["false || fail", "echo more"], after: ["echo after"] };
  assertEquals(await runScript(passage, "echo in"), [setUpFailedStatus, "after\n"]);
});

Deno.test("the file of a lock goes with the script, unless somebody has it", async () => {
  const lock = await Deno.makeTempFile();
  const script = broadcastRouteScript({ before: [], after: [] }, lock);
  const run = () => spawn("/bin/sh", ["-c", script, "sh", "true"]);
  const file = await Deno.open(lock, { write: true });
  await file.lock(true);
  assertEquals((await run()).code, 0);
  assert((await Deno.stat(lock)).isFile);
  file.close();
  assertEquals((await run()).code, 0);
  await assertRejects(() => Deno.stat(lock), Deno.errors.NotFound);
  assertEquals(await run(), { code: 0, signal: null, stdout: "", stderr: "" });
  await assertRejects(() => Deno.stat(lock), Deno.errors.NotFound);
});

Deno.test("what was left by several is put back in one go", () => {
  const stale = [{ dev: "eth0", proto: 220 }, { dev: "eth1", proto: 226 }];
  const routes = [
    route("del", 220),
    "ip route del 255.255.255.255 dev eth1 proto 226 2>/dev/null",
  ];
  const lines = [dropTable, routes[0], dropTable, set("all", 2), routes[1], ":"];
  assertEquals(cleanUpScript({ ...bare, stale }), lines.join("\n"));
});
