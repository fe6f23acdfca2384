import { assertEquals, assertRejects } from "@std/assert";
import { anyObject } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Plugin } from "../cni/plugin.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall, spy, testTraits } from "../cni/testing.ts";
import type { IpConfig, JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost } from "../ns/testing.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { planAdd, plugin } from "./ptp.ts";

const facts = {
  own: {
    hostVeth: "veth00000001",
    temporaryName: "cni000000000001",
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

Deno.test("planAdd() enables IPv6 on the host's end before it gets the gateway", () => {
  const steps = planAdd({
    ...facts,
    result: { ...emptyResult(), ips: [{ address: "fd00::2/64", gateway: "fd00::1" }] },
  });
  const done = steps.map(({ do: action }) => describe(action));
  const [enabled, added] = [
    "echo 0 > /proc/sys/net/ipv6/conf/veth00000001/disable_ipv6",
    "ip addr add fd00::1/128 dev veth00000001 nodad",
  ].map((line) => done.indexOf(line));
  assertEquals([enabled! >= 0, added! > enabled!], [true, true]);
});

/** An IPAM plugin in process that hands these out. */
function ipamWith(ips: readonly IpConfig[]) {
  const add = () => Promise.resolve({ ...emptyResult(), ips: [...ips] });
  return spy(anyObject(), { ipam: testTraits.local, add });
}

async function call(
  verb: Exclude<Verb, "VERSION">,
  { config = { ipam: { type: "spy" } }, host = new FakeHost(), ipam = ipamWith([]) }: {
    config?: JsonObject;
    host?: FakeHost;
    ipam?: ReturnType<typeof ipamWith>;
  } = {},
): Promise<Result | undefined> {
  const made = { ...makeCall({ config, netns: "/proc/self/ns/net" }), netnsOverride: true };
  const load = () => Promise.resolve(ipam.plugin as Plugin);
  return await callPlugin(plugin, verb, made, { host, load, inProcessIfMissing: true });
}

Deno.test("ADD reports both ends and gives the addresses to the container's", async () => {
  const ips = [{ address: "10.1.1.2/24", gateway: "10.1.1.1" }];
  const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
  const sandbox = "/proc/self/ns/net";
  const config = { ipam: { type: "spy" }, mtu: 1400, dns: { nameservers: ["10.9.9.9"] } };
  assertEquals(await call("ADD", { config, ipam: ipamWith(ips) }), {
    interfaces: [
      { name: own.hostVeth, mac: own.hostMac, mtu: 1400 },
      { name: "eth0", mac: own.containerMac, mtu: 1400, sandbox },
    ],
    ips: [{ ...ips[0]!, interface: 1 }],
    routes: [],
    dns: { nameservers: ["10.9.9.9"] },
  });
});

Deno.test("ADD asks an IPAM plugin that may use the network when both ends are up", async () => {
  const ips = [{ address: "10.1.1.2/24", gateway: "10.1.1.1" }];
  const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
  const inside = "nsenter --net=/proc/self/ns/net ip";
  const host = new FakeHost();
  const before: string[] = [];
  const ipam = spy(anyObject(), {
    ipam: testTraits.unknown,
    add() {
      before.push(...host.lines.filter((line) => line.includes("ip ")));
      return Promise.resolve({ ...emptyResult(), ips });
    },
  });
  await call("ADD", { host, ipam });
  assertEquals(before, [
    `ip link add name ${own.hostVeth} address ${own.hostMac} type veth peer name eth0 ` +
    `address ${own.containerMac} netns /proc/self/ns/net`,
    `ip link set dev ${own.hostVeth} alias ${own.alias}`,
    `ip link set dev ${own.hostVeth} up`,
    `${inside} link set dev eth0 up`,
  ]);
  const whole = new FakeHost();
  await call("ADD", { host: whole, ipam: ipamWith(ips) });
  assertEquals(new Set(host.lines), new Set(whole.lines));
});

Deno.test("ADD refuses what it cannot route before it changes anything", async () => {
  const refused: readonly (readonly [IpConfig[], number, string])[] = [
    [[], codes.noAddress, "IPAM plugin returned missing IP config"],
    [
      [{ address: "10.1.1.2/24", gateway: "10.1.1.1" }, { address: "fd00::2/64" }],
      codes.invalidNetworkConfig,
      'Cannot use address "fd00::2/64": ptp needs a gateway for it',
    ],
  ];
  for (const [ips, code, msg] of refused) {
    const host = new FakeHost();
    const error = await assertRejects(() => call("ADD", { host, ipam: ipamWith(ips) }), CniError);
    assertEquals([error.code, error.msg], [code, msg]);
    assertEquals(host.lines, []);
  }
});

Deno.test("ADD, CHECK and STATUS need an IPAM plugin", async () => {
  for (const verb of ["ADD", "CHECK", "STATUS"] as const) {
    for (const config of [{}, { ipam: {} }, { ipam: { type: "" } }]) {
      const error = await assertRejects(() => call(verb, { config }), CniError);
      assertEquals(
        error.msg,
        "Cannot use network configuration: " +
          "ipam.type: expected name of an IPAM plugin but received nothing",
      );
    }
  }
});

const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const named = `ip -d -j addr show dev ${own.hostVeth}`;
const pair = {
  ifindex: 7,
  ifname: own.hostVeth,
  flags: ["UP"],
  mtu: 1500,
  address: own.hostMac,
  ifalias: own.alias,
  linkinfo: { info_kind: "veth" },
  addr_info: [],
};

const removed = `ip link del dev ${own.hostVeth}`;

Deno.test("DEL and GC remove the pair and release the addresses, in the order of the IPAM plugin", async () => {
  const orders: readonly (readonly [config: JsonObject, order: string[]])[] = [
    [{ ipam: { type: "host-local" } }, [removed, "IPAM"]],
    [{ ipam: { type: "dhcp" } }, ["IPAM", removed]],
    [{}, [removed]],
    [{ ipam: "x" }, [removed]],
  ];
  for (const [config, order] of orders) {
    for (const verb of ["DEL", "GC"] as const) {
      const host = new FakeHost({ [named]: [pair], "ip -d -j addr show": [pair] });
      const before: string[][] = [];
      const note = () => Promise.resolve(void before.push(host.lines));
      const traits = order[0] === "IPAM" ? testTraits.leasing : testTraits.local;
      const ipam = spy(anyObject(), { ipam: traits, del: note, gc: note });
      await call(verb, { config: { ...config, "cni.dev/valid-attachments": [] }, host, ipam });
      const released = before.map((lines) => [...lines, "IPAM"]);
      const events = [...released.flat(), ...host.lines.slice(before[0]?.length ?? 0)];
      assertEquals(events, order, `${verb} ${JSON.stringify(config)}`);
    }
  }
});

Deno.test("DEL releases no address while it cannot see whether a link still has it", async () => {
  const denied: FakeAnswer = { stderr: "RTNETLINK answers: Operation not permitted\n" };
  const host = new FakeHost({ [named]: denied });
  const ipam = ipamWith([]);
  const config = { ipam: { type: "host-local" } };
  const error = await assertRejects(() => call("DEL", { config, host, ipam }), CniError);
  assertEquals(error.code, codes.permissionDenied);
  assertEquals(ipam.seen, []);
});

Deno.test("GC without masquerade looks at links alone", async () => {
  const host = new FakeHost({ "ip -d -j addr show": [pair] });
  const ipam = ipamWith([]);
  const config = { ipam: { type: "spy" }, "cni.dev/valid-attachments": [] };
  await call("GC", { config, host, ipam });
  assertEquals(host.asked, ["ip -d -j addr show"]);
  assertEquals(host.lines, [removed]);
  assertEquals(ipam.seen.map(({ verb }) => verb), ["GC"]);
});
