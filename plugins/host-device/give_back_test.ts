import { assertEquals, assertThrows } from "@std/assert";
import { CniError, codes } from "../../cni/error.ts";
import { processes } from "../../host/fold.ts";
import type { Link } from "../../host/ip_link.ts";
import { describe } from "../../host/step.ts";
import { testLink } from "../../ns/testing.ts";
import type { FoundDevice } from "./give_back.ts";
import { planReturn } from "./give_back.ts";
import type { Device } from "./record.ts";
import { deviceFromLink } from "./record.ts";

const card = testLink({ name: "eth1", index: 3, mac: "02:00:00:00:ca:01" });
const netns = { path: "/run/netns/c1" };
const inside: Link = { ...card, name: "net1", alias: "eth1", index: 7 };
const given = [
  { address: "192.0.2.1", prefix: 24, broadcast: "192.0.2.255", scope: "global" },
  { address: "fd00::1", prefix: 64, scope: "global" },
];

function plan(device: Partial<Device>, found: Partial<FoundDevice> = {}) {
  const steps = planReturn({ ...deviceFromLink(card, []), ...device }, {
    link: inside,
    netns,
    onHost: [testLink({ name: "lo" })],
    ...found,
  });
  const lines = steps.map(({ do: action }) => describe(action).replace(String(Deno.pid), "PID"));
  return { lines, processes: processes(steps) };
}

const move = "nsenter --net=/run/netns/c1 ip link set dev net1 netns /proc/PID/ns/net name eth1";

Deno.test("planReturn() needs one message for everything but addresses and master", () => {
  assertEquals(plan({}), { lines: [`${move} alias '' up`], processes: 1 });
  assertEquals(plan({ up: false }).lines, [`${move} alias ''`]);
  const changed = { ...inside, mtu: 9000, mac: "02:00:00:00:09:09", promisc: true, up: false };
  assertEquals(plan({ alias: "uplink 1" }, { link: changed }).lines, [
    `${move} mtu 1500 address 02:00:00:00:ca:01 alias 'uplink 1' promisc off up`,
  ]);
});

Deno.test("planReturn() gives addresses and master again, then sets the device up", () => {
  const { lines, processes } = plan({ addresses: given, master: "br0" });
  assertEquals(lines, [
    `${move} alias ''`,
    "echo 0 > /proc/sys/net/ipv6/conf/eth1/disable_ipv6",
    "ip addr add 192.0.2.1/24 brd 192.0.2.255 scope global dev eth1",
    "ip addr add fd00::1/64 scope global dev eth1",
    "ip link set dev eth1 master br0",
    "ip link set dev eth1 up",
  ]);
  assertEquals(processes, 2);
  assertEquals(plan({ master: "br0", up: false }).lines, [
    `${move} alias ''`,
    "ip link set dev eth1 master br0",
  ]);
});

Deno.test("planReturn() names a device that the kernel brought back", () => {
  const link = { ...card, name: "dev7", alias: "eth1", up: false };
  const onHost = [testLink({ name: "lo" }), link];
  const returned = { link, onHost, netns: undefined };
  assertEquals(plan({}, returned).lines, ["ip link set dev dev7 name eth1 alias '' up"]);
  assertEquals(plan({ up: false }, returned).lines, ["ip link set dev dev7 name eth1 alias ''"]);
});

Deno.test("planReturn() sets a device down to name it, and gives it back what it loses by that", () => {
  const addresses = [{
    address: "fd00::1",
    prefix: 64,
    scope: "global",
    tentative: false,
    dadFailed: false,
  }];
  const link = { ...card, name: "net1", alias: "eth1", addresses };
  const returned = { link, onHost: [link], netns: undefined };
  assertEquals(plan({ addresses: given.slice(1) }, returned).lines, [
    "ip link set dev net1 down",
    "ip link set dev net1 name eth1 alias ''",
    "echo 0 > /proc/sys/net/ipv6/conf/eth1/disable_ipv6",
    "ip addr add fd00::1/64 scope global dev eth1",
    "ip link set dev eth1 up",
  ]);
});

Deno.test("planReturn() does nothing to a device that is as it was, or does the rest", () => {
  const link = { ...card, alias: "uplink" };
  const still = { link, onHost: [link], netns: undefined };
  assertEquals(plan({ alias: "uplink" }, still), { lines: [], processes: 0 });
  const down = { ...link, up: false };
  const half = { link: down, onHost: [down], netns: undefined };
  assertEquals(plan({ alias: "uplink", addresses: given.slice(0, 1) }, half).lines, [
    "ip addr add 192.0.2.1/24 brd 192.0.2.255 scope global dev eth1",
    "ip link set dev eth1 up",
  ]);
});

Deno.test("planReturn() touches nothing while another link has the name", () => {
  for (const other of [{ name: "eth1" }, { name: "eth5", altNames: ["eth1"] }]) {
    const onHost = [testLink({ ...other, index: 12, mac: "02:00:00:00:00:55" })];
    const error = assertThrows(() => plan({}, { onHost }), CniError);
    assertEquals(error.code, codes.alreadyExists);
    assertEquals(
      error.msg,
      'Cannot give "eth1" back to the host: the host has another link of that name',
    );
    assertEquals(
      error.details,
      "the device stays in the container; the other link has index 12 and hardware address " +
        "02:00:00:00:00:55: remove or rename it and call DEL again",
    );
  }
});
