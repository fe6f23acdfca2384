import { assertEquals, assertThrows } from "@std/assert";
import type { LeaseParameters } from "./parameters4.ts";
import { CniError } from "../../../cni/error.ts";
import { decodeMessage4 } from "../codec/message4.ts";
import { golden4, ip, messageOf4, optionsOf4 } from "../codec/testing_message4.ts";
import { hasPrefixLength, leaseParameters4, sameParameters } from "./parameters4.ts";

const mask = { 1: "ffffff00" };
const router = { 3: "c0a80101 c0a80102" };
const ack = (values: Readonly<Record<number, string>>) =>
  messageOf4({ yiaddr: ip("192.168.1.5"), options: optionsOf4({ 53: "05", ...values }) });

const address = "192.168.1.5/24";
const gateway = "192.168.1.1";
const bare: LeaseParameters = { ip: { address }, routes: [], dns: {} };
const plain: LeaseParameters = {
  ip: { address, gateway },
  routes: [{ dst: "0.0.0.0/0", gw: gateway }],
  dns: {},
};

const classful = { 33: "0a000000 0a010203 c0a80100 c0a80203" };
const classfulRoutes = [
  { dst: "10.0.0.0/8", gw: "10.1.2.3" },
  { dst: "192.168.1.0/24", gw: "192.168.2.3" },
];
const classless = "08 0a c0a80109  00 c0a801fe";
const classlessRoutes = [
  { dst: "10.0.0.0/8", gw: "192.168.1.9" },
  { dst: "0.0.0.0/0", gw: "192.168.1.254" },
];
/** A way to the router over the link, and a default route through it. */
const onLink = "20 c0a80101 00000000  00 c0a80101";
const onLinkRoutes = [
  { dst: "192.168.1.1/32", gw: "0.0.0.0", scope: 253 },
  { dst: "0.0.0.0/0", gw: "192.168.1.1" },
];

const table: readonly (readonly [what: string, Record<number, string>, LeaseParameters])[] = [
  ["an address alone", mask, bare],
  ["the first router as gateway and default route", { ...mask, ...router }, plain],
  ["a mask of 20 bits", { 1: "fffff000" }, { ...bare, ip: { address: "192.168.1.5/20" } }],
  ["classful routes", { ...mask, ...classful }, { ...bare, routes: classfulRoutes }],
  ["classful routes, and the default route last", { ...mask, ...classful, ...router }, {
    ...plain,
    routes: [...classfulRoutes, ...plain.routes],
  }],
  ["classful networks by the first octet", {
    ...mask,
    33: "7f010203 0a000001 80010203 0a000001 bf010203 0a000001 c0010203 0a000001 e0010203 0a000001",
  }, {
    ...bare,
    routes: ["127.0.0.0/8", "128.1.0.0/16", "191.1.0.0/16", "192.1.2.0/24", "224.1.2.0/24"]
      .map((dst) => ({ dst, gw: "10.0.0.1" })),
  }],
  ["classful routes without what is left of one", { ...mask, 33: `${classful[33]} ac10` }, {
    ...bare,
    routes: classfulRoutes,
  }],
  ["no classful route to 0.0.0.0 (RFC 2132 section 5.8)", {
    ...mask,
    33: `00000000 0a000001 ${classful[33]}`,
  }, { ...bare, routes: classfulRoutes }],
  ["classless routes before all others, and the gateway all the same", {
    ...mask,
    ...router,
    ...classful,
    121: classless,
  }, { ...plain, routes: classlessRoutes }],
  ["a classless route over the link", { ...mask, 121: onLink }, { ...bare, routes: onLinkRoutes }],
  ["others where the classless ones are malformed", {
    ...mask,
    ...router,
    ...classful,
    121: `${classless} 21`,
  }, { ...plain, routes: [...classfulRoutes, ...plain.routes] }],
  ["others where there is no classless one", { ...mask, ...router, 121: "" }, plain],
  ["Windows' classless routes where there are no others", {
    ...mask,
    ...router,
    ...classful,
    249: classless,
  }, { ...plain, routes: classlessRoutes }],
  ["Windows' classless routes after the others", { ...mask, 121: onLink, 249: classless }, {
    ...bare,
    routes: onLinkRoutes,
  }],
  ["Windows' classless routes where the others are malformed", {
    ...mask,
    121: "21",
    249: classless,
  }, { ...bare, routes: classlessRoutes }],
  ["no gateway from malformed routers", { ...mask, 3: "c0a801" }, bare],
  ["no gateway from addresses that are none", { ...mask, 3: "00000000 ffffffff" }, bare],
  ["the first router that is one", { ...mask, 3: "00000000 c0a80101" }, plain],
  ["name servers, domain and search list", {
    ...mask,
    6: "08080808 00000000 01010101",
    15: "6578616d706c65 2e 6f7267",
    119: "01 61 00 01 62 c000",
  }, {
    ...bare,
    dns: { nameservers: ["8.8.8.8", "1.1.1.1"], domain: "example.org", search: ["a", "b.a"] },
  }],
  ["nothing of names that are none", { ...mask, 6: "080808", 15: "61 0a 62", 119: "c000" }, bare],
  ["the MTU", { ...mask, 26: "05aa" }, { ...bare, mtu: 1450 }],
  ["no MTU below 68", { ...mask, 26: "0043" }, bare],
  ["a host address where classless routes say the rest", { ...router, 121: onLink }, {
    ip: { address: "192.168.1.5/32", gateway },
    routes: onLinkRoutes,
    dns: {},
  }],
];

for (const [what, values, expected] of table) {
  Deno.test(`a lease gives ${what}`, () => {
    assertEquals(leaseParameters4(ack(values)), expected);
    assertEquals(hasPrefixLength(ack(values)), true);
  });
}

Deno.test("the golden DHCPACK gives address, gateway and default route", () => {
  assertEquals(leaseParameters4(decodeMessage4(golden4.ack)!), plain);
});

Deno.test("the priority is on every route, and 0 on none", () => {
  const lease = ack({ ...mask, ...classful, ...router });
  const routes = [...classfulRoutes, ...plain.routes];
  assertEquals(leaseParameters4(lease, { priority: 0 }).routes, routes);
  assertEquals(
    leaseParameters4(lease, { priority: 100 }).routes,
    routes.map((route) => ({ ...route, priority: 100 })),
  );
  assertEquals(
    leaseParameters4(ack({ ...mask, 121: onLink }), { priority: 5 }).routes,
    onLinkRoutes.map((route) => ({ ...route, priority: 5 })),
  );
});

const notFound = "DHCP option Subnet Mask not found in DHCPACK";
const holes = (bytes: string) =>
  `Cannot use the subnet mask "${bytes}" of the DHCPACK: it is not ones before zeros`;
const refused: readonly (readonly [what: string, Record<number, string>, message: string])[] = [
  ["no mask", router, notFound],
  ["no mask, and routes through a router that no route reaches", { 121: classless }, notFound],
  ["no mask and classful routes", classful, notFound],
  ["no mask and malformed classless routes", { 121: `${onLink} 21` }, notFound],
  ["a mask with a hole", { 1: "ff00ff00", 121: onLink }, holes("ff00ff00")],
  ["a mask of nothing", { 1: "00000000" }, holes("00000000")],
  ["half a mask", { 1: "ffff" }, holes("ffff")],
];

for (const [what, values, expected] of refused) {
  Deno.test(`a lease is of no use with ${what}`, () => {
    const error = assertThrows(() => leaseParameters4(ack(values)), CniError);
    assertEquals([error.code, error.msg], [104, expected]);
    assertEquals(hasPrefixLength(ack(values)), false);
  });
}

Deno.test("leases differ by whatever they give", () => {
  const all = { ...mask, ...router, 6: "08080808", 26: "05aa" };
  const first = leaseParameters4(ack(all));
  const others = [{ 1: "ffff0000" }, { 3: "c0a80103" }, { 6: "01010101" }, { 26: "05dc" }, {
    121: onLink,
  }];
  assertEquals(sameParameters(first, leaseParameters4(ack({ ...all, 51: "00000001" }))), true);
  for (const other of others) {
    assertEquals(sameParameters(first, leaseParameters4(ack({ ...all, ...other }))), false);
  }
});

Deno.test("of more routes than any network has, the first are taken", () => {
  const many = Array.from(
    { length: 2000 },
    (_, i) => `18 0a ${i.toString(16).padStart(4, "0")} c0a80109`,
  );
  const { routes } = leaseParameters4(ack({ ...mask, 121: many.join(" ") }));
  assertEquals([routes.length, routes[255]!.dst], [256, "10.0.255.0/24"]);
});
