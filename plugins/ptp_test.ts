import { assertEquals } from "@std/assert";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import { planAdd } from "./ptp.ts";

const facts = {
  own: {
    hostVeth: "veth00000001",
    hostMac: "02:00:00:00:00:01",
    containerMac: "02:00:00:00:00:02",
    alias: "cni:net/c1/eth0",
  },
  netns: { path: "/run/netns/c1" },
  ifName: "eth0",
  mtu: 0,
};

function lines(
  ips: { address: string; gateway: string }[],
  routes: { dst: string }[] = [],
): string[] {
  return planAdd({ ...facts, result: { ...emptyResult(), ips, routes } })
    .map(({ do: action }) => describe(action))
    .filter((line) => line.includes("ip "));
}

const inside = "nsenter --net=/run/netns/c1 ip";

Deno.test("planAdd() routes a container through its gateway", () => {
  assertEquals(lines([{ address: "10.1.1.2/24", gateway: "10.1.1.1" }], [{ dst: "0.0.0.0/0" }]), [
    "ip link add name veth00000001 address 02:00:00:00:00:01 type veth peer name eth0 " +
    "address 02:00:00:00:00:02 netns /run/netns/c1",
    "ip link set dev veth00000001 alias cni:net/c1/eth0",
    "ip link set dev veth00000001 up",
    "ip addr add 10.1.1.1/32 dev veth00000001",
    "ip route add 10.1.1.2/32 dev veth00000001 scope host",
    `${inside} addr add 10.1.1.2/24 brd + dev eth0 noprefixroute`,
    `${inside} link set dev eth0 up`,
    `${inside} route add 10.1.1.1/32 dev eth0 src 10.1.1.2 scope link`,
    `${inside} route add 10.1.1.0/24 via 10.1.1.1 dev eth0 src 10.1.1.2`,
    `${inside} route prepend 0.0.0.0/0 via 10.1.1.1 dev eth0 scope global`,
  ]);
});

Deno.test("planAdd() starts two processes, of any family", () => {
  const ips = [
    { address: "10.1.1.2/24", gateway: "10.1.1.1" },
    { address: "2001:db8:1::2/66", gateway: "2001:db8:1::1" },
  ];
  assertEquals(processes(planAdd({ ...facts, result: { ...emptyResult(), ips } })), 2);
});

Deno.test("planAdd() sets a gateway that two addresses share once", () => {
  const shared = lines([
    { address: "10.1.1.2/24", gateway: "10.1.1.1" },
    { address: "10.1.1.3/24", gateway: "10.1.1.1" },
  ]);
  assertEquals(shared.filter((line) => line.includes("10.1.1.1/32")).length, 2);
});

Deno.test("planAdd() takes an address of full length", () => {
  assertEquals(
    lines([{ address: "10.1.1.2/32", gateway: "10.1.1.1" }]).filter((line) =>
      line.includes("route")
    ),
    [
      "ip route add 10.1.1.2/32 dev veth00000001 scope host",
      `${inside} addr add 10.1.1.2/32 dev eth0 noprefixroute`,
      `${inside} route add 10.1.1.1/32 dev eth0 src 10.1.1.2 scope link`,
    ],
  );
});
