import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CniError, codes } from "../cni/error.ts";
import type { Request } from "../cni/plugin.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import type { Link } from "../host/ip_link.ts";
import type { KernelRoute } from "../host/ip_route.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost } from "../ns/testing.ts";
import {
  compareContainer,
  compareLink,
  containerEntry,
  containerFacts,
  gatherCheck,
  requirePrevResult,
  throwDifferences,
} from "./check.ts";

const netns = { path: "/run/netns/c1" };
const req = { ifName: "eth0", netns: netns.path };

// What stood in a container right after an ADD of bridge, as iproute2 6.1 printed
// it on Linux 6.18 (keys that nobody reads left out), and the result of that ADD.

const eth0 = {
  ifindex: 2,
  link_index: 3,
  ifname: "eth0",
  flags: ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
  mtu: 1500,
  operstate: "UP",
  address: "02:00:00:00:00:02",
  link_netnsid: 0,
  promiscuity: 0,
  linkinfo: { info_kind: "veth" },
  addr_info: [
    { family: "inet", local: "10.1.0.2", prefixlen: 24, broadcast: "10.1.0.255", scope: "global" },
    { family: "inet6", local: "fd00::2", prefixlen: 64, scope: "global" },
    { family: "inet6", local: "fe80::ff:fe00:2", prefixlen: 64, scope: "link" },
  ],
};

const routes4 = [
  { dst: "10.9.0.0/16", gateway: "10.1.0.1", dev: "eth0", table: "5000", metric: 5, flags: [] },
  { dst: "default", gateway: "10.1.0.1", dev: "eth0", flags: [] },
  { dst: "10.1.0.0/24", dev: "eth0", protocol: "2", scope: "253", prefsrc: "10.1.0.2", flags: [] },
  {
    dst: "10.8.0.0/16",
    flags: [],
    nexthops: [
      { gateway: "10.1.0.1", dev: "eth0", weight: 1, flags: [] },
      { gateway: "10.1.0.3", dev: "eth0", weight: 1, flags: [] },
    ],
  },
  { dst: "10.6.0.6", dev: "eth0", scope: "200", flags: [] },
  { type: "2", dst: "10.1.0.2", dev: "eth0", table: "255", protocol: "2", scope: "254", flags: [] },
];

const routes6 = [
  { dst: "fd00::/64", dev: "eth0", protocol: "2", metric: 256, flags: [], pref: "medium" },
  { dst: "default", gateway: "fd00::1", dev: "eth0", metric: 1024, flags: [], pref: "medium" },
  { type: "5", dst: "ff00::/8", dev: "eth0", table: "255", metric: 256, flags: [] },
];

const result: Result = {
  interfaces: [
    { name: "br0", mac: "02:00:00:00:00:03" },
    { name: "veth1", mac: "02:00:00:00:00:01" },
    { name: "eth0", mac: "02:00:00:00:00:02", sandbox: netns.path },
  ],
  ips: [
    { interface: 2, address: "10.1.0.2/24", gateway: "10.1.0.1" },
    { interface: 2, address: "fd00::2/64", gateway: "fd00::1" },
  ],
  routes: [
    { dst: "0.0.0.0/0", gw: "10.1.0.1" },
    { dst: "::/0" },
    { dst: "10.8.0.0/16", gw: "10.1.0.3" },
    { dst: "10.8.0.0/16", gw: "10.1.0.1" },
    { dst: "10.6.0.6/32", scope: 200 },
    { dst: "10.9.1.2/16", gw: "10.1.0.1", table: 5000, priority: 5 },
  ],
  dns: {},
};

const inside = "nsenter --net=/run/netns/c1";

function container(rest: Record<string, FakeAnswer> = {}): FakeHost {
  return new FakeHost({
    [`${inside} ip -d -j addr show dev eth0`]: [eth0],
    [`${inside} ip -4 -N -j route show table all`]: routes4,
    [`${inside} ip -6 -N -j route show table all`]: routes6,
    ...rest,
  });
}

const facts = await containerFacts(container(), { netns, ifName: "eth0" });

/** What differs after a change of the record, or of what is there. */
function compare(
  change: { result?: Partial<Result>; link?: Partial<Link> | null; routes?: KernelRoute[] } = {},
): string[] {
  const link = change.link === null ? undefined : { ...facts.link!, ...change.link };
  return compareContainer(
    req,
    { ...facts, link, routes: change.routes ?? facts.routes },
    { result: { ...result, ...change.result }, kind: "veth" },
  );
}

/** The routes but for those to a destination, and these in their place. */
function without(dst: string, ...others: Partial<KernelRoute>[]): KernelRoute[] {
  const [gone] = facts.routes.filter((route) => route.dst === dst);
  return [
    ...facts.routes.filter((route) => route.dst !== dst),
    ...others.map((other) => ({ ...gone!, ...other })),
  ];
}

Deno.test("compareContainer() holds right after an ADD", () => {
  assertEquals(compare(), []);
});

Deno.test("compareContainer() holds for what the record leaves open", () => {
  const [bridge, port, { mac: _, ...own }] = result.interfaces as [object, object, { mac: string }];
  const interfaces = [bridge, port, own] as Result["interfaces"];
  assertEquals(compare({ result: { interfaces } }), []);
  assertEquals(compare({ result: { ips: [], routes: [] } }), []);
  const ips = result.ips.map(({ interface: _, ...ip }) => ip);
  assertEquals(compare({ result: { ips } }), []);
});

Deno.test("compareContainer() compares values and not texts", () => {
  const interfaces = result.interfaces.map((entry) => ({
    ...entry,
    mac: entry.mac!.toUpperCase(),
  }));
  const ips = [{ interface: 2, address: "FD00:0:0::2/64" }];
  const routes = [{ dst: "0::/0", gw: "fd00:0::1" }, { dst: "10.8.77.1/16" }];
  assertEquals(compare({ result: { interfaces, ips, routes } }), []);
});

Deno.test("compareContainer() leaves alone what others have added", () => {
  const more = { address: "192.168.7.7", prefix: 24, scope: "global" };
  const address = { ...more, tentative: false, dadFailed: false };
  assertEquals(compare({ link: { addresses: [...facts.link!.addresses, address] } }), []);
  assertEquals(
    compare({ routes: without("0.0.0.0/0", { dev: "net1", via: "192.168.7.1" }) }),
    [],
  );
});

Deno.test("compareContainer() checks the addresses of its own interface alone", () => {
  const others = { interface: 1, address: "10.77.0.1/24" };
  assertEquals(compare({ result: { ips: [...result.ips, others] } }), []);
});

Deno.test("compareContainer() takes routes that a later plugin has moved to a table of its own", () => {
  assertEquals(compare({ routes: facts.routes.map((route) => ({ ...route, table: 5000 })) }), []);
});

const differences: readonly (readonly [title: string, Parameters<typeof compare>[0], string])[] = [
  [
    "no interface",
    { link: null },
    'container interface "eth0" is missing',
  ],
  [
    "an interface of another kind",
    { link: { kind: "macvlan" } },
    'container interface "eth0" is of kind macvlan, expected veth',
  ],
  [
    "a plain device",
    { link: { kind: undefined } },
    'container interface "eth0" is of kind none, expected veth',
  ],
  [
    "another hardware address",
    { link: { mac: "02:00:00:00:00:99" } },
    'container interface "eth0" has hardware address 02:00:00:00:00:99, expected 02:00:00:00:00:02',
  ],
  [
    "an address less",
    { link: { addresses: facts.link!.addresses.slice(1) } },
    'container interface "eth0" lacks address 10.1.0.2/24',
  ],
  [
    "an address of another prefix",
    { link: { addresses: facts.link!.addresses.map((it) => ({ ...it, prefix: 64 })) } },
    'container interface "eth0" lacks address 10.1.0.2/24',
  ],
  [
    "no default route",
    { routes: without("0.0.0.0/0") },
    "route 0.0.0.0/0 is missing from table 254",
  ],
  [
    "no IPv6 default route",
    { routes: without("::/0") },
    "route ::/0 is missing from table 254",
  ],
  [
    "a next hop less",
    { routes: without("10.8.0.0/16", { via: "10.1.0.1" }) },
    "route 10.8.0.0/16 via 10.1.0.3 is missing from table 254",
  ],
  [
    "a next hop of the other family",
    { routes: without("10.9.0.0/16", { via: undefined }) },
    "route 10.9.0.0/16 via 10.1.0.1 metric 5 is missing from table 5000",
  ],
  [
    "a route of another table than the one asked for",
    { routes: without("10.9.0.0/16", { table: 254 }) },
    "route 10.9.0.0/16 via 10.1.0.1 metric 5 is missing from table 5000",
  ],
  [
    "a route of another metric than the one asked for",
    { routes: without("10.9.0.0/16", { metric: 6 }) },
    "route 10.9.0.0/16 via 10.1.0.1 metric 5 is missing from table 5000",
  ],
  [
    "a route that throws packets away",
    { routes: without("10.6.0.6/32", { unicast: false }) },
    "route 10.6.0.6/32 is missing from table 254",
  ],
  [
    "a route of another interface in another table",
    { routes: without("10.6.0.6/32", { table: 100, dev: "net1" }) },
    "route 10.6.0.6/32 is missing from table 254",
  ],
  [
    "a record of another container",
    { result: { interfaces: [{ name: "eth0", sandbox: "/run/netns/c2" }] } },
    'no interface "eth0" with sandbox "/run/netns/c1" in prevResult',
  ],
  [
    "a record with a route that is none",
    { result: { routes: [{ dst: "default" }] } },
    'prevResult holds route "default", which is no IP prefix',
  ],
];
for (const [title, change, line] of differences) {
  Deno.test(`compareContainer() tells ${title}`, () => assertEquals(compare(change), [line]));
}

Deno.test("compareContainer() tells everything at once", () => {
  assertEquals(
    compare({ link: { kind: "dummy", mac: "02:00:00:00:00:99", addresses: [] }, routes: [] })
      .length,
    2 + result.ips.length + result.routes.length,
  );
});

Deno.test("compareLink() compares an address that is recorded", () => {
  const link = facts.link!;
  assertEquals(compareLink(link, { kind: "veth", where: "port" }), []);
  assertEquals(compareLink(link, { kind: "veth", mac: link.mac.toUpperCase(), where: "port" }), []);
});

Deno.test("containerEntry() gives the last entry of that name and sandbox", () => {
  const wanted = { name: "eth0", mac: "02:00:00:00:00:09", sandbox: netns.path };
  const interfaces = [
    ...result.interfaces,
    wanted,
    { name: "eth0" },
    { name: "eth1", sandbox: netns.path },
  ];
  assertEquals(containerEntry({ ...result, interfaces }, req), wanted);
  assertEquals(containerEntry(emptyResult(), req), undefined);
});

Deno.test("containerFacts() sees a container without IPv6 and one without the interface", async () => {
  const host = container({
    [`${inside} ip -d -j addr show dev eth0`]: { stderr: 'Device "eth0" does not exist.\n' },
    [`${inside} ip -6 -N -j route show table all`]: {
      stderr: "RTNETLINK answers: Operation not supported\nDump terminated\n",
    },
  });
  const { link, routes } = await containerFacts(host, { netns, ifName: "eth0" });
  assertEquals(link, undefined);
  assertEquals(new Set(routes.map(({ dst }) => dst.includes(":"))), new Set([false]));
});

Deno.test("containerFacts() fails where it may not look", async () => {
  const host = container({
    [`${inside} ip -4 -N -j route show table all`]: {
      stderr: "nsenter: reassociate to namespace failed: Operation not permitted\n",
    },
  });
  await assertRejects(
    () => containerFacts(host, { netns, ifName: "eth0" }),
    Error,
    "Cannot look at routes in the container: nsenter: ",
  );
});

Deno.test("requirePrevResult() wants what the ADD has recorded", () => {
  assertEquals(requirePrevResult({ prevResult: result }), result);
  const error = assertThrows(() => requirePrevResult({ prevResult: undefined }), CniError);
  assertEquals(error.toJson(), {
    code: codes.invalidNetworkConfig,
    msg: "Required prevResult missing",
  });
});

Deno.test("throwDifferences() throws every difference at once, if there is one", () => {
  throwDifferences("net", []);
  const error = assertThrows(
    () => throwDifferences("net", ["a is missing", "b is down"]),
    CniError,
  );
  assertEquals(error.toJson(), {
    code: codes.checkFailed,
    msg: 'Cannot confirm attachment to network "net": a is missing; b is down',
  });
});

function request(rest: Partial<Request<unknown>>): Request<unknown> {
  return {
    ...req,
    sandbox: { is: "namespace", netns, identity: { dev: 4, ino: 1 } },
    prevResult: result,
    host: container(),
    ...rest,
  } as Request<unknown>;
}

Deno.test("gatherCheck() gives the record and what is there", async () => {
  assertEquals(await gatherCheck(request({})), { result, facts });
});

Deno.test("gatherCheck() wants a namespace, then a record, before it looks", async () => {
  const host = new FakeHost();
  const missing = request({
    sandbox: { is: "missing", path: netns.path },
    prevResult: undefined,
    host,
  });
  const gone = await assertRejects(() => gatherCheck(missing), CniError);
  assertEquals(gone.code, codes.invalidNetns);
  const unrecorded = request({ prevResult: undefined, host });
  await assertRejects(() => gatherCheck(unrecorded), CniError, "Required prevResult missing");
  assertEquals(host.asked, []);
});
