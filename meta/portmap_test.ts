import { assertEquals, assertThrows } from "@std/assert";
import { decodeOrThrow } from "../cni/decode.ts";
import { CniError } from "../cni/error.ts";
import type { Interface, IpConfig } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { formatCidr } from "../host/ip.ts";
import { plugin, targetsOf } from "./portmap.ts";

const interfaces: readonly Interface[] = [
  { name: "host" },
  { name: "container", sandbox: "/run/netns/c1" },
  { name: "other", sandbox: "/run/netns/c1" },
];

function targets(ips: readonly IpConfig[], hostIP?: string): string[] {
  const portMappings = [{
    hostPort: 80,
    containerPort: 80,
    protocol: "tcp",
    ...(hostIP && { hostIP }),
  }];
  const conf = decodeOrThrow(plugin.conf, { runtimeConfig: { portMappings } }, "it");
  const result = { ...emptyResult(), interfaces: [...interfaces], ips: [...ips] };
  return targetsOf({ conf, ifName: "container" }, result).map(formatCidr);
}

Deno.test("the container's first address of each family is mapped, with its prefix", () => {
  assertEquals(
    targets([
      { address: "10.0.0.1/24", interface: 0 },
      { address: "2001:db8:1::2/64", interface: 1 },
      { address: "10.0.0.2/24", interface: 1 },
      { address: "10.0.0.3/24", interface: 1 },
      { address: "10.9.0.1/24", interface: 2 },
    ]),
    ["10.0.0.2/24", "2001:db8:1::2/64"],
  );
});

Deno.test("an address without an interface, or with one that is not listed, is the container's", () => {
  assertEquals(targets([{ address: "10.0.0.2/24" }]), ["10.0.0.2/24"]);
  assertEquals(targets([{ address: "10.0.0.2/24", interface: 9 }]), ["10.0.0.2/24"]);
});

Deno.test("a family that no mapping is for is left out", () => {
  const both = [{ address: "10.0.0.2/24" }, { address: "2001:db8::2/64" }];
  assertEquals(targets(both, "0.0.0.0"), ["10.0.0.2/24"]);
  assertEquals(targets(both, "2001:db8::1"), ["2001:db8::2/64"]);
  assertEquals(targets([]), []);
});

Deno.test("an address that is none is refused", () => {
  assertThrows(() => targets([{ address: "10.0.0.2" }]), CniError, "not an IP prefix");
});
