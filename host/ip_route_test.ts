import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import { parseCidr, parseIp } from "./ip.ts";
import type { KernelRoute } from "./ip_route.ts";
import {
  addRoute,
  getRoute,
  parseRoutes,
  prependRoute,
  removeRoute,
  showDefaultRoutes,
  showRoutes,
} from "./ip_route.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1";
const cidr = (text: string) => parseCidr(text)!;
const ip = (text: string) => parseIp(text)!;

Deno.test("addRoute()", () => {
  assertEquals(
    shellLine(addRoute({ dst: cidr("10.9.0.0/16"), dev: "eth0" })),
    "ip route add 10.9.0.0/16 dev eth0",
  );
  assertEquals(
    shellLine(addRoute({
      dst: cidr("0.0.0.0/0"),
      via: ip("10.1.0.1"),
      dev: "eth0",
      src: ip("10.1.0.2"),
      metric: 5,
      table: 5000,
      scope: "global",
      mtu: 1400,
      advmss: 1300,
      netns,
    })),
    `${inside} ip route add 0.0.0.0/0 via 10.1.0.1 dev eth0 src 10.1.0.2 ` +
      "metric 5 table 5000 scope global mtu 1400 advmss 1300",
  );
});

Deno.test("addRoute() writes zeros: they are values", () => {
  assertEquals(
    shellLine(addRoute({ dst: cidr("::/0"), dev: "eth0", scope: 0, metric: 0 })),
    "ip route add ::/0 dev eth0 metric 0 scope 0",
  );
});

Deno.test("removeRoute() names a route as addRoute() does", () => {
  const spec = { dst: cidr("0.0.0.0/0"), via: ip("10.1.0.1"), dev: "eth0", metric: 5, netns };
  assertEquals(
    shellLine(removeRoute(spec)),
    shellLine(addRoute(spec)).replace(" add ", " del "),
  );
});

Deno.test("prependRoute()", () => {
  assertEquals(
    shellLine(prependRoute({ dst: cidr("::/0"), via: ip("fd00::1"), dev: "eth0", netns })),
    `${inside} ip route prepend ::/0 via fd00::1 dev eth0`,
  );
});

Deno.test("getRoute(), showRoutes() and showDefaultRoutes()", () => {
  assertEquals(shellLine(getRoute(ip("10.1.0.2"))), "ip -N -j route get 10.1.0.2");
  assertEquals(shellLine(showRoutes(4)), "ip -4 -N -j route show table all");
  assertEquals(shellLine(showRoutes(6, { netns })), `${inside} ip -6 -N -j route show table all`);
  assertEquals(shellLine(showDefaultRoutes(4)), "ip -4 -N -j route show default");
  assertEquals(
    shellLine(showDefaultRoutes(6, { netns })),
    `${inside} ip -6 -N -j route show default`,
  );
});

/** What routes of a plain kind have in common. */
const plain = { via: undefined, dev: "eth0", table: 254, metric: undefined, unicast: true };

function parse(family: 4 | 6, ...routes: object[]): KernelRoute[] {
  return parseRoutes(JSON.stringify(routes), family);
}

// What iproute2 6.1 prints on Linux 6.18.

Deno.test("parseRoutes() of nothing is nothing", () => {
  assertEquals(parseRoutes("", 4), []);
  assertEquals(parseRoutes("[ ]\n", 6), []);
});

Deno.test("parseRoutes() reads the default route of each family", () => {
  const route = { dst: "default", gateway: "10.1.0.1", dev: "eth0", flags: [] };
  assertEquals(parse(4, route), [{ ...plain, dst: "0.0.0.0/0", via: "10.1.0.1" }]);
  assertEquals(
    parse(6, { ...route, gateway: "fd00::1", metric: 1024, pref: "medium" }),
    [{ ...plain, dst: "::/0", via: "fd00::1", metric: 1024 }],
  );
});

Deno.test("parseRoutes() reads a route of another table", () => {
  assertEquals(
    parse(4, {
      dst: "10.9.0.0/16",
      gateway: "10.1.0.1",
      dev: "eth0",
      table: "5000",
      metric: 5,
      flags: [],
      metrics: [{ mtu: 1400, advmss: 1300 }],
    }),
    [{ ...plain, dst: "10.9.0.0/16", via: "10.1.0.1", table: 5000, metric: 5 }],
  );
});

Deno.test("parseRoutes() writes a host route with its full prefix", () => {
  assertEquals(
    parse(4, { dst: "10.6.0.6", dev: "eth0", scope: "200", flags: [] }),
    [{ ...plain, dst: "10.6.0.6/32" }],
  );
  assertEquals(
    parse(6, { dst: "2001:db8::7", dev: "eth0", metric: 1024, flags: [] }),
    [{ ...plain, dst: "2001:db8::7/128", metric: 1024 }],
  );
});

Deno.test("parseRoutes() gives one route for each next hop", () => {
  const nexthops = [
    { gateway: "10.1.0.1", dev: "eth0", weight: 1, flags: [] },
    { gateway: "10.1.0.3", dev: "eth1", weight: 1, flags: [] },
  ];
  assertEquals(parse(4, { dst: "10.8.0.0/16", flags: [], nexthops }), [
    { ...plain, dst: "10.8.0.0/16", via: "10.1.0.1" },
    { ...plain, dst: "10.8.0.0/16", via: "10.1.0.3", dev: "eth1" },
  ]);
});

Deno.test("parseRoutes() reads a gateway of the other family as none", () => {
  assertEquals(
    parse(4, {
      dst: "10.5.0.0/16",
      via: { family: "inet6", host: "fd00::1" },
      dev: "eth0",
      flags: [],
    }),
    [{ ...plain, dst: "10.5.0.0/16" }],
  );
});

Deno.test("parseRoutes() tells routes that packets do not leave by", () => {
  const routes = [
    { type: "6", dst: "10.7.0.0/16", flags: [] },
    { type: "2", dst: "10.1.0.2", dev: "eth0", table: "255", protocol: "2", scope: "254" },
  ];
  assertEquals(
    parse(4, ...routes).map(({ dst, dev, table, unicast }) => [dst, dev, table, unicast]),
    [
      ["10.7.0.0/16", undefined, 254, false],
      ["10.1.0.2/32", "eth0", 255, false],
    ],
  );
  assertEquals(parse(4, { type: "1", dst: "10.7.0.0/16", dev: "eth0" })[0]!.unicast, true);
});
