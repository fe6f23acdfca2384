import { assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../cni/error.ts";
import { emptyResult } from "../cni/types.ts";
import { formatCidr } from "../host/ip.ts";
import { ownAddresses, requireChained } from "./chained.ts";

Deno.test("requireChained() gives the result of the plugins before", () => {
  const prevResult = emptyResult();
  assertEquals(requireChained({ prevResult }), prevResult);
  const refuse = () => requireChained({ prevResult: undefined });
  assertThrows(refuse, CniError, "must be called as chained plugin");
});

Deno.test("ownAddresses() passes over those of other interfaces", () => {
  const interfaces = [
    { name: "eth0" },
    { name: "eth0", sandbox: "/run/netns/c1" },
    { name: "eth1", sandbox: "/run/netns/c1" },
  ];
  const ips = [
    { address: "10.0.0.1/24", interface: 0 },
    { address: "10.0.0.2/24", interface: 1 },
    { address: "10.0.0.3/24", interface: 2 },
    { address: "10.0.0.4/24" },
    { address: "fd00::5/64", interface: 9 },
  ];
  assertEquals(
    ownAddresses({ ifName: "eth0" }, { interfaces, ips }).map(({ cidr }) => formatCidr(cidr)),
    ["10.0.0.2/24", "10.0.0.4/24", "fd00::5/64"],
  );
});
