import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CniError } from "../../cni/error.ts";
import { emptyResult } from "../../cni/types.ts";
import { parseCidr } from "../../host/ip.ts";
import type { Link } from "../../host/ip_link.ts";
import { describe } from "../../host/step.ts";
import { holdGateways, withDefaultRoutes, withGateways } from "./gateway.ts";

const cidr = (text: string) => parseCidr(text)!;

/** What is done to a bridge that has `present` so that it holds `wanted`. */
function hold(present: string[], wanted: string[], forceAddress = false): string[] {
  const link = {
    addresses: present.map((text) => {
      const [address = "", prefix] = text.split("/");
      return {
        address,
        prefix: Number(prefix),
        scope: "global",
        tentative: false,
        dadFailed: false,
      };
    }),
  } as unknown as Link;
  return holdGateways({ name: "br0", bridge: "br0", link, forceAddress }, wanted.map(cidr))
    .map(({ do: action }) => describe(action));
}

Deno.test("holdGateways() adds what is missing and leaves what is there", () => {
  assertEquals(hold([], ["10.0.0.1/8"]), ["ip addr add 10.0.0.1/8 brd + dev br0"]);
  assertEquals(hold(["10.0.0.1/8"], ["10.0.0.1/8"]), []);
});

Deno.test("holdGateways() refuses another IPv4 address unless forced", () => {
  const error = assertThrows(() => hold(["10.0.0.1/8"], ["10.1.2.3/16"]), CniError);
  assertEquals(error.code, 102);
  assertStringIncludes(error.msg, "already has an IP address different from 10.1.2.3/16");
  assertEquals(hold(["10.0.0.1/8"], ["10.1.2.3/16"], true), [
    "ip addr del 10.0.0.1/8 dev br0",
    "ip addr add 10.1.2.3/16 brd + dev br0",
  ]);
});

Deno.test("holdGateways() refuses an overlapping IPv6 subnet and takes a disjoint one", () => {
  assertThrows(() => hold(["2001:db8:1::1/48"], ["2001:db8:1:2::1/64"]), CniError);
  assertEquals(hold(["2001:db8:1::1/48"], ["2001:db8:1:2::1/64"], true), [
    "ip addr del 2001:db8:1::1/48 dev br0",
    "ip addr add 2001:db8:1:2::1/64 dev br0 nodad",
  ]);
  for (const force of [false, true]) {
    assertEquals(hold(["2001:db8:1:2::1/64", "fe80::1/64"], ["fd00:1234::1/64"], force), [
      "ip addr add fd00:1234::1/64 dev br0 nodad",
    ]);
  }
});

Deno.test("holdGateways() lets several gateways of one result stand together", () => {
  assertEquals(hold(["10.1.0.1/24"], ["10.1.0.1/24", "10.2.0.1/24"]), [
    "ip addr add 10.2.0.1/24 brd + dev br0",
  ]);
});

Deno.test("withGateways() takes the subnet's first address where IPAM names none", () => {
  const ips = [{ address: "10.1.2.7/24" }, { address: "fd00::7/64", gateway: "fd00::ff" }];
  const gateways = (isGateway: boolean) =>
    withGateways(ips, { isGateway, isDefaultGateway: false }).map(({ gateway }) => gateway);
  assertEquals(gateways(true), ["10.1.2.1", "fd00::ff"]);
  assertEquals(gateways(false), [undefined, "fd00::ff"]);
});

Deno.test("withDefaultRoutes() adds one default route a family, unless there is one", () => {
  const ips = [
    { address: "10.1.2.7/24", gateway: "10.1.2.1" },
    { address: "fd00::7/64", gateway: "fd00::1" },
    { address: "fd01::7/64", gateway: "fd01::1" },
  ];
  const conf = { isGateway: true, isDefaultGateway: true };
  assertEquals(withDefaultRoutes({ ...emptyResult(), ips }, conf), [
    { dst: "0.0.0.0/0", gw: "10.1.2.1" },
    { dst: "::/0", gw: "fd00::1" },
  ]);
  const routes = [{ dst: "0.0.0.0/0" }];
  assertEquals(withDefaultRoutes({ ...emptyResult(), ips, routes }, conf), [
    { dst: "0.0.0.0/0" },
    { dst: "::/0", gw: "fd00::1" },
  ]);
});
