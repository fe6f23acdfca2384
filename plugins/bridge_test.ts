import { assert, assertEquals } from "@std/assert";
import { decodeOrThrow } from "../cni/decode.ts";
import type { Result } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { fold, processes } from "../host/fold.ts";
import type { Link } from "../host/ip_link.ts";
import { testLink } from "../ns/testing.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import { planContainer } from "./bridge.ts";
import type { Conf } from "./bridge/conf.ts";
import { conf } from "./bridge/conf.ts";
import type { Facts } from "./bridge/host.ts";
import { planGateways, planHost } from "./bridge/host.ts";

function configuration(keys: Record<string, unknown> = {}): Conf {
  return decodeOrThrow(conf, { bridge: "br0", ...keys }, "network configuration");
}

const facts: Facts = {
  own: {
    hostVeth: "veth00000001",
    temporaryName: "cni000000000001",
    hostMac: "02:00:00:00:00:01",
    containerMac: "02:00:00:00:00:02",
    alias: "cni:net/c1/eth0",
  },
  netns: { path: "/run/netns/c1" },
  ifName: "eth0",
  mac: "02:00:00:00:00:02",
  bridge: undefined,
  bridgeMac: "02:00:00:00:00:03",
  ownMac: "02:00:00:00:00:03",
  vlanGateway: undefined,
};

const bridge = testLink({ name: "br0", kind: "bridge", mac: facts.ownMac });

const dualStack: Result = {
  ...emptyResult(),
  ips: [
    { interface: 2, address: "10.1.0.2/24", gateway: "10.1.0.1" },
    { interface: 2, address: "fd00::2/64", gateway: "fd00::1" },
  ],
  routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }, { dst: "::/0" }],
};

function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) => describe(action));
}

Deno.test("planHost() makes a bridge, its addresses and the pair in one process", () => {
  const steps = planHost(
    configuration({ isDefaultGateway: true, ipam: { type: "host-local" } }),
    { ...facts, result: dualStack },
  );
  assertEquals(lines(steps), [
    "ip link add name br0 address 02:00:00:00:00:03 type bridge",
    "echo 0 > /proc/sys/net/ipv6/conf/br0/accept_ra",
    "echo 0 > /proc/sys/net/ipv6/conf/br0/accept_redirects",
    "echo 0 > /proc/sys/net/ipv4/conf/br0/accept_redirects",
    "echo 0 > /proc/sys/net/ipv6/conf/br0/disable_ipv6",
    "ip link set dev br0 up",
    "ip addr add 10.1.0.1/24 brd + dev br0",
    "ip addr add fd00::1/64 dev br0 nodad",
    "ip link add name veth00000001 address 02:00:00:00:00:01 type veth peer name eth0 " +
    "address 02:00:00:00:00:02 netns /run/netns/c1",
    "ip link set dev veth00000001 alias cni:net/c1/eth0",
    "ip link set dev veth00000001 master br0",
    "ip link set dev veth00000001 type bridge_slave hairpin off isolated off",
    "echo 0 > /proc/sys/net/ipv6/conf/veth00000001/accept_ra",
    "echo 0 > /proc/sys/net/ipv6/conf/veth00000001/accept_redirects",
    "echo 0 > /proc/sys/net/ipv4/conf/veth00000001/accept_redirects",
    "ip link set dev veth00000001 up",
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding",
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("planGateways() adds what planHost() could not know before IPAM was asked", () => {
  const conf = configuration({ isGateway: true });
  const early = lines(planHost(conf, { ...facts, result: emptyResult() }));
  const late = lines(planGateways(conf, { ...facts, result: dualStack }));
  const whole = lines(planHost(conf, { ...facts, result: dualStack }));
  assertEquals([...early, ...late].sort(), whole.sort());
  assertEquals(planGateways(configuration({}), { ...facts, result: dualStack }), []);
});

Deno.test("planHost() on a bridge that is there starts one process", () => {
  const steps = planHost(
    configuration({ isDefaultGateway: true, ipam: { type: "host-local" } }),
    { ...facts, bridge, result: dualStack },
  );
  assertEquals(lines(steps).filter((line) => line.startsWith("ip link add name br0")), []);
  assertEquals(processes(steps), 1);
});

Deno.test("planHost() leaves the hardware address of our own bridge alone and pins another's", () => {
  const pins = (link: Link) =>
    lines(planHost(configuration(), {
      ...facts,
      bridge: link,
      bridgeMac: link.mac,
      result: emptyResult(),
    })).filter((line) => line.startsWith("ip link set dev br0 address"));
  assertEquals(pins(bridge), []);
  assertEquals(pins({ ...bridge, mac: "02:00:00:00:00:99" }), [
    "ip link set dev br0 address 02:00:00:00:00:99",
  ]);
});

Deno.test("planHost() puts the port into its VLANs", () => {
  const vlanLines = (keys: Record<string, unknown>) =>
    lines(planHost(configuration(keys), { ...facts, result: emptyResult() }))
      .filter((line) => line.startsWith("bridge "));
  assertEquals(vlanLines({ vlan: 100 }), [
    "bridge vlan del dev veth00000001 vid 1 master",
    "bridge vlan add dev veth00000001 vid 100 pvid untagged master",
  ]);
  assertEquals(vlanLines({ vlan: 100, preserveDefaultVlan: true }), [
    "bridge vlan add dev veth00000001 vid 100 pvid untagged master",
  ]);
  assertEquals(vlanLines({ vlanTrunk: [{ id: 101 }, { minID: 200, maxID: 201 }] }), [
    "bridge vlan del dev veth00000001 vid 1 master",
    "bridge vlan add dev veth00000001 vid 1 pvid untagged master",
    "bridge vlan add dev veth00000001 vid 101 master",
    "bridge vlan add dev veth00000001 vid 200-201 master",
  ]);
  assertEquals(vlanLines({ vlan: 100, vlanTrunk: [{ id: 101 }] }), [
    "bridge vlan del dev veth00000001 vid 1 master",
    "bridge vlan add dev veth00000001 vid 100 pvid untagged master",
    "bridge vlan add dev veth00000001 vid 101 master",
  ]);
  assertEquals(vlanLines({ vlanTrunk: [] }), []);
});

Deno.test("planHost() leaves the native VLAN untagged where a trunk holds it too", () => {
  const added = (keys: Record<string, unknown>) =>
    lines(planHost(configuration(keys), { ...facts, result: emptyResult() }))
      .filter((line) => line.startsWith("bridge vlan add"));
  assertEquals(added({ vlanTrunk: [{ minID: 1, maxID: 4 }, { id: 9 }] }), [
    "bridge vlan add dev veth00000001 vid 1 pvid untagged master",
    "bridge vlan add dev veth00000001 vid 2-4 master",
    "bridge vlan add dev veth00000001 vid 9 master",
  ]);
  assertEquals(added({ vlan: 3, vlanTrunk: [{ minID: 1, maxID: 4 }] }), [
    "bridge vlan add dev veth00000001 vid 3 pvid untagged master",
    "bridge vlan add dev veth00000001 vid 1-2 master",
    "bridge vlan add dev veth00000001 vid 4 master",
  ]);
});

/** Longest word that the kernel takes on a command line, in bytes (`MAX_ARG_STRLEN`). */
const longestWord = 131_072;

Deno.test("planHost() of any trunk is one process that the kernel can start", () => {
  const odd = Array.from({ length: 2047 }, (_, index) => ({ id: 2 * index + 1 }));
  for (const vlanTrunk of [[{ minID: 1, maxID: 4094 }], odd]) {
    const steps = planHost(configuration({ vlanTrunk }), { ...facts, result: emptyResult() });
    const [unit, ...more] = fold(steps);
    assertEquals(more, []);
    const words = unit!.run.kind === "command" ? unit!.run.args : [];
    assert(words.every((word) => word.length < longestWord));
  }
});

Deno.test("planHost() creates a bridge with VLAN filtering when a VLAN or a trunk is configured", () => {
  const created = (keys: Record<string, unknown>) =>
    lines(planHost(configuration(keys), { ...facts, result: emptyResult() }))[0];
  const plain = "ip link add name br0 address 02:00:00:00:00:03 type bridge";
  assertEquals(created({}), plain);
  assertEquals(created({ vlan: 7 }), `${plain} vlan_filtering 1`);
  assertEquals(created({ vlanTrunk: [] }), `${plain} vlan_filtering 1`);
  assertEquals(
    created({ mtu: 1400 }),
    "ip link add name br0 mtu 1400 address 02:00:00:00:00:03 type bridge",
  );
});

Deno.test("planHost() makes a VLAN's gateway link and gives it the addresses", () => {
  const steps = planHost(
    configuration({ isGateway: true, vlan: 100, ipam: { type: "static" } }),
    {
      ...facts,
      result: { ...dualStack, ips: dualStack.ips.slice(0, 1) },
      vlanGateway: {
        name: "br0.100",
        mac: "02:00:00:00:00:04",
        port: "veth00000002",
        link: undefined,
      },
    },
  );
  const gateway = lines(steps).filter((line) => /br0\.100|veth00000002/.test(line));
  assertEquals(gateway.filter((line) => !line.startsWith("echo")), [
    "ip link add name br0.100 address 02:00:00:00:00:04 type veth peer name veth00000002",
    "ip link set dev veth00000002 master br0",
    "ip link set dev veth00000002 type bridge_slave hairpin off isolated off",
    "bridge vlan del dev veth00000002 vid 1 master",
    "bridge vlan add dev veth00000002 vid 100 pvid untagged master",
    "ip link set dev veth00000002 up",
    "ip link set dev br0.100 up",
    "ip addr add 10.1.0.1/24 brd + dev br0.100",
  ]);
  assertEquals(lines(steps).some((line) => line.endsWith("dev br0")), false);
});

Deno.test("planHost() enables IPv6 on the link that holds the gateway", () => {
  const vlanGateway = {
    name: "br0.100",
    mac: "02:00:00:00:00:04",
    port: "veth00000002",
    link: undefined,
  };
  const enabled = (keys: Record<string, unknown>, more: Partial<Facts>, result = dualStack) =>
    lines(planHost(configuration({ isGateway: true, ipam: { type: "static" }, ...keys }), {
      ...facts,
      ...more,
      result,
    })).filter((line) => line.includes("disable_ipv6"));
  const line = (name: string) => `echo 0 > /proc/sys/net/ipv6/conf/${name}/disable_ipv6`;
  assertEquals(enabled({}, {}), [line("br0")]);
  assertEquals(enabled({}, { bridge }), [line("br0")]);
  assertEquals(enabled({ vlan: 100 }, { vlanGateway }), [line("br0.100")]);
  const there = { ...vlanGateway, link: { ...bridge, name: "br0.100", kind: "veth" } };
  assertEquals(enabled({ vlan: 100 }, { bridge, vlanGateway: there }), [line("br0.100")]);
  assertEquals(enabled({}, {}, { ...dualStack, ips: dualStack.ips.slice(0, 1) }), []);
});

Deno.test("planHost() takes back what it makes, and leaves what others use by now", () => {
  const taken = (more: Partial<Facts>) =>
    planHost(configuration({ isGateway: true, ipam: { type: "static" } }), {
      ...facts,
      ...more,
      result: { ...dualStack, ips: dualStack.ips.slice(0, 1) },
    }).filter(({ undo }) => undo)
      .map(({ undo, keepIf }) => [describe(undo!), keepIf && describe(keepIf)]);
  const ports = "ip -j link show master br0";
  assertEquals(taken({}), [
    ["ip link del dev br0", ports],
    ["ip link del dev veth00000001", undefined],
  ]);
  assertEquals(taken({ bridge }), [
    ["ip addr del 10.1.0.1/24 dev br0", ports],
    ["ip link del dev veth00000001", undefined],
  ]);
});

Deno.test("planContainer() configures the interface in one process", () => {
  const steps = planContainer(configuration({ ipam: { type: "host-local" } }), {
    ...facts,
    result: dualStack,
  });
  const own = lines(steps).filter((line) => line.includes(" ip "));
  assertEquals(own, [
    "nsenter --net=/run/netns/c1 ip addr add 10.1.0.2/24 brd + dev eth0",
    "nsenter --net=/run/netns/c1 ip addr add fd00::2/64 dev eth0 nodad",
    "nsenter --net=/run/netns/c1 ip link set dev eth0 up",
    "nsenter --net=/run/netns/c1 ip route prepend 0.0.0.0/0 via 10.1.0.1 dev eth0 scope global",
    "nsenter --net=/run/netns/c1 ip route prepend ::/0 via fd00::1 dev eth0",
  ]);
  assertEquals(processes(steps), 1);
});

Deno.test("planContainer() without IPAM sets the interface up, or leaves it down when told to", () => {
  const plan = (keys: Record<string, unknown>) =>
    lines(planContainer(configuration(keys), { ...facts, result: emptyResult() }));
  assertEquals(plan({}), ["nsenter --net=/run/netns/c1 ip link set dev eth0 up"]);
  assertEquals(plan({ disableContainerInterface: true }), []);
});
