import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import {
  appendRoute,
  deleteRoute,
  parseRestorableRoutes,
  replaceRoute,
} from "./ip_route_restore.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1";
const words = (text: string) => text.split(" ");

Deno.test("replaceRoute(), appendRoute() and deleteRoute() take a route's words", () => {
  const route = words("10.9.0.0/16 via 10.0.0.1 dev eth0");
  assertEquals(
    shellLine(replaceRoute(route, { table: 100, netns })),
    `${inside} ip route replace 10.9.0.0/16 via 10.0.0.1 dev eth0 table 100`,
  );
  assertEquals(
    shellLine(deleteRoute(route, { table: 254 })),
    "ip route del 10.9.0.0/16 via 10.0.0.1 dev eth0 table 254",
  );
  assertEquals(
    shellLine(appendRoute(words("fd09::/64 metric 7 nexthop dev eth0 weight 1"), { table: 9 })),
    "ip route append fd09::/64 metric 7 table 9 nexthop dev eth0 weight 1",
  );
});

Deno.test("parseRestorableRoutes() gives the words that make the same route again", () => {
  const routes = parseRestorableRoutes(
    JSON.stringify([
      {
        type: "1",
        dst: "10.0.0.0/8",
        gateway: "192.168.1.1",
        dev: "net1",
        table: "254",
        protocol: "3",
        scope: "0",
        flags: ["onlink", "linkdown"],
        metrics: [{ mtu: 1400, advmss: 1300 }],
      },
      {
        type: "1",
        dst: "default",
        table: "100",
        protocol: "3",
        scope: "0",
        flags: [],
        nexthops: [
          { gateway: "192.168.1.1", dev: "net1", weight: 2, flags: [] },
          { via: { family: "inet6", host: "fe80::1" }, dev: "net2", weight: 1, flags: [] },
        ],
      },
      {
        type: "1",
        dst: "192.168.1.0/24",
        dev: "net1",
        protocol: "2",
        scope: "253",
        prefsrc: "192.168.1.209",
        flags: [],
      },
      { type: "7", dst: "10.3.0.0/16", protocol: "3", scope: "0", flags: [] },
    ]),
    4,
  );
  assertEquals(routes.map((route) => route.words.join(" ")), [
    "10.0.0.0/8 via 192.168.1.1 dev net1 onlink proto 3 scope 0 mtu 1400 advmss 1300",
    "0.0.0.0/0 proto 3 scope 0 nexthop via 192.168.1.1 dev net1 weight 2 nexthop via inet6 fe80::1 dev net2 weight 1",
    "192.168.1.0/24 dev net1 proto 2 scope 253 src 192.168.1.209",
    "7 10.3.0.0/16 proto 3 scope 0",
  ]);
  assertEquals(routes.map(({ table }) => table), [254, 100, 254, 254]);
  assertEquals(routes.map(({ devs }) => devs), [["net1"], ["net1", "net2"], ["net1"], []]);
  assertEquals(routes[1]!.gateways, ["192.168.1.1", "fe80::1"]);
  assertEquals([routes[2]!.src, routes[2]!.scope], ["192.168.1.209", 253]);
});

Deno.test("parseRestorableRoutes() leaves out what is true of an IPv6 route by itself", () => {
  const [route] = parseRestorableRoutes(
    JSON.stringify([{
      type: "1",
      dst: "default",
      gateway: "fe80::1",
      dev: "net1",
      table: "254",
      protocol: "9",
      scope: "0",
      metric: 1024,
      flags: [],
      expires: 99,
      metrics: [{ hoplimit: 64 }],
      pref: "high",
    }]),
    6,
  );
  assertEquals(
    route!.words,
    words("::/0 via fe80::1 dev net1 proto 9 metric 1024 hoplimit 64 pref high"),
  );
  assertEquals([route!.dst, route!.metric, route!.family], ["::/0", 1024, 6]);
});
