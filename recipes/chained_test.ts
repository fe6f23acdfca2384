import { assertEquals, assertThrows } from "@std/assert";
import { CniError } from "../cni/error.ts";
import type { Interface } from "../cni/types.ts";
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

Deno.test("ownAddresses() takes an interface that nobody has marked, where that is asked for", () => {
  const ips = [{ address: "10.0.0.1/24", interface: 0 }, { address: "10.0.0.2/24", interface: 1 }];
  const own = (interfaces: Interface[], unmarked: boolean) =>
    ownAddresses({ ifName: "eth0" }, { interfaces, ips }, { unmarked })
      .map(({ cidr }) => formatCidr(cidr));
  const [plain, other] = [{ name: "eth0" }, { name: "eth1" }];
  const marked = { name: "eth0", sandbox: "/run/netns/c1" };
  assertEquals(own([plain, other], false), []);
  assertEquals(own([plain, other], true), ["10.0.0.1/24"]);
  assertEquals(own([plain, marked], true), ["10.0.0.2/24"]);
});
