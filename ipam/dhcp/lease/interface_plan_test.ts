import { assertEquals } from "@std/assert";
import type { IpConfig, Route } from "../../../cni/types.ts";
import type { Step } from "../../../host/step.ts";
import { processes } from "../../../host/fold.ts";
import { describe } from "../../../host/step.ts";
import { decodeMessage4 } from "../codec/message4.ts";
import { golden4, ip, messageOf4, optionsOf4 } from "../codec/testing_message4.ts";
import { leaseResult4, planInterfaceChange, planInterfaceWithdrawal } from "./interface_plan.ts";

const place = { netns: { path: "/run/netns/c1" }, ifName: "eth0" };

function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) =>
    describe(action).replace("nsenter --net=/run/netns/c1 ", "").replace(/^sh -c '(.*)'$/, "$1")
  );
}

function standing(address: string, ...routes: Route[]) {
  const ips: IpConfig[] = [{ address }];
  return { ips, routes };
}

const home = (gw: string): Route => ({ dst: "0.0.0.0/0", gw });
const promote = "echo 1 > /proc/sys/net/ipv4/conf/eth0/promote_secondaries";

Deno.test("resultOf() gives address, gateway and routes", () => {
  assertEquals(leaseResult4(decodeMessage4(golden4.ack)!, { priority: 0 }), {
    interfaces: [],
    ips: [{ address: "192.168.1.5/24", gateway: "192.168.1.1" }],
    routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1" }],
    dns: {},
  });
});

Deno.test("resultOf() gives DNS, the metric, and the MTU along the routes", () => {
  const options = optionsOf4({
    1: "ffffff00",
    3: "c0a80101",
    6: "c0a80102 c0a80103",
    15: "6578616d706c65",
    26: "0578",
    119: "03 6c6162 00",
  });
  assertEquals(leaseResult4(messageOf4({ yiaddr: ip("192.168.1.5"), options }), { priority: 50 }), {
    interfaces: [],
    ips: [{ address: "192.168.1.5/24", gateway: "192.168.1.1" }],
    routes: [{ dst: "0.0.0.0/0", gw: "192.168.1.1", priority: 50, mtu: 1400 }],
    dns: { nameservers: ["192.168.1.2", "192.168.1.3"], domain: "example", search: ["lab"] },
  });
});

Deno.test("another address of the subnet is on before the old one goes, and stays", () => {
  const steps = planInterfaceChange(place, {
    before: [standing("192.168.1.5/24", home("192.168.1.1"))],
    after: standing("192.168.1.6/24", home("192.168.1.1")),
  });
  assertEquals(lines(steps), [
    promote,
    "ip addr add 192.168.1.6/24 brd + dev eth0",
    "ip route prepend 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
    "ip addr del 192.168.1.5/24 dev eth0",
    "ip route prepend 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("an address of another subnet needs no promotion", () => {
  const steps = planInterfaceChange(place, {
    before: [standing("192.168.1.5/24", home("192.168.1.1"))],
    after: standing("10.0.0.5/8", home("10.0.0.1")),
  });
  assertEquals(lines(steps), [
    "ip addr add 10.0.0.5/8 brd + dev eth0",
    "ip route prepend 0.0.0.0/0 via 10.0.0.1 dev eth0 scope global",
    "ip route del 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
    "ip addr del 192.168.1.5/24 dev eth0",
    "ip route prepend 0.0.0.0/0 via 10.0.0.1 dev eth0 scope global",
  ]);
});

Deno.test("other routes alone leave the address alone", () => {
  const kept = { dst: "10.2.0.0/16", gw: "192.168.1.9" };
  const steps = planInterfaceChange(place, {
    before: [standing("192.168.1.5/24", kept, home("192.168.1.1"))],
    after: standing("192.168.1.5/24", kept, home("192.168.1.2")),
  });
  assertEquals(lines(steps), [
    "ip addr add 192.168.1.5/24 brd + dev eth0",
    "ip route prepend 10.2.0.0/16 via 192.168.1.9 dev eth0 scope global",
    "ip route prepend 0.0.0.0/0 via 192.168.1.2 dev eth0 scope global",
    "ip route del 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
  ]);
});

Deno.test("a change takes what several leases before have left", () => {
  const steps = planInterfaceChange(place, {
    before: [standing("192.168.1.5/24"), standing("192.168.1.6/24"), standing("192.168.1.7/24")],
    after: standing("192.168.1.7/24"),
  });
  assertEquals(lines(steps), [
    promote,
    "ip addr add 192.168.1.7/24 brd + dev eth0",
    "ip addr del 192.168.1.5/24 dev eth0",
    "ip addr del 192.168.1.6/24 dev eth0",
  ]);
});

Deno.test("what is there already or gone already is no failure of a change", () => {
  const steps = planInterfaceChange(place, {
    before: [standing("192.168.1.5/24", home("192.168.1.1"))],
    after: standing("192.168.1.6/24", home("192.168.1.2")),
  });
  const forgiven = Object.fromEntries(
    steps.map((step) => [describe(step.do).split(" ").slice(3, 5).join(" "), step.tolerate]),
  );
  assertEquals(forgiven, {
    "-c 'echo": undefined,
    "addr add": ["exists"],
    "route prepend": ["exists"],
    "route del": ["missing"],
    "addr del": ["missing"],
  });
});

Deno.test("an ended lease takes address and routes, and leaves the link up", () => {
  const steps = planInterfaceWithdrawal(place, [standing("192.168.1.5/24", home("192.168.1.1"))]);
  assertEquals(lines(steps), [
    "ip route del 0.0.0.0/0 via 192.168.1.1 dev eth0 scope global",
    "ip addr del 192.168.1.5/24 dev eth0",
  ]);
  assertEquals(steps.map(({ tolerate }) => tolerate), [["missing"], ["missing"]]);
});
