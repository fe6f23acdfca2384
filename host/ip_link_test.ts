import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import type { Link } from "./ip_link.ts";
import {
  addBridge,
  addLink,
  addVeth,
  deleteLink,
  enableVlanFiltering,
  parseLinks,
  setBridgePort,
  setLink,
  showLink,
  showLinks,
  showPorts,
} from "./ip_link.ts";

const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1";

Deno.test("addBridge()", () => {
  assertEquals(shellLine(addBridge({ name: "br0" })), "ip link add name br0 type bridge");
  assertEquals(
    shellLine(
      addBridge({ name: "br0", mtu: 1400, address: "02:00:00:00:00:03", vlanFiltering: true }),
    ),
    "ip link add name br0 mtu 1400 address 02:00:00:00:00:03 type bridge vlan_filtering 1",
  );
  assertEquals(
    shellLine(addBridge({ name: "br0", mtu: 0, vlanFiltering: false, netns })),
    `${inside} ip link add name br0 type bridge`,
  );
});

Deno.test("addVeth()", () => {
  assertEquals(
    shellLine(addVeth({ end: { name: "a" }, peer: { name: "b" } })),
    "ip link add name a type veth peer name b",
  );
  assertEquals(
    shellLine(addVeth({
      end: { name: "veth1", address: "02:00:00:00:00:01" },
      peer: { name: "eth0", address: "02:00:00:00:00:02", netns },
      mtu: 1400,
    })),
    "ip link add name veth1 mtu 1400 address 02:00:00:00:00:01 " +
      "type veth peer name eth0 mtu 1400 address 02:00:00:00:00:02 netns /run/netns/c1",
  );
  assertEquals(
    shellLine(addVeth({ end: { name: "a" }, peer: { name: "b" }, netns })),
    `${inside} ip link add name a type veth peer name b`,
  );
});

Deno.test("setLink() writes what is to change, and nothing else", () => {
  assertEquals(shellLine(setLink("a", { up: true })), "ip link set dev a up");
  assertEquals(shellLine(setLink("a", { up: false, netns })), `${inside} ip link set dev a down`);
  assertEquals(shellLine(setLink("a", { master: "br0" })), "ip link set dev a master br0");
  assertEquals(shellLine(setLink("a", { nomaster: true })), "ip link set dev a nomaster");
  assertEquals(shellLine(setLink("a", { alias: "" })), "ip link set dev a alias ''");
  assertEquals(
    shellLine(setLink("a", {
      up: true,
      master: "br0",
      address: "02:00:00:00:00:01",
      alias: "cni:net/c1/it's",
      promisc: true,
    })),
    `ip link set dev a address 02:00:00:00:00:01 alias 'cni:net/c1/it'\\''s' ` +
      "promisc on master br0 up",
  );
});

Deno.test("setLink() writes switches that are off, and a queue of length 0", () => {
  assertEquals(
    shellLine(setLink("a", { promisc: false, allmulti: false, txQLen: 0 })),
    "ip link set dev a promisc off allmulticast off txqueuelen 0",
  );
  assertEquals(
    shellLine(setLink("a", { mtu: 1400, allmulti: true, txQLen: 20000 })),
    "ip link set dev a mtu 1400 allmulticast on txqueuelen 20000",
  );
});

Deno.test("parseLinks() reads flags that were set by hand, and the queue's length", () => {
  const link = { ifname: "a", ifindex: 2, mtu: 1500, promiscuity: 1 };
  const [plain, set] = parseLinks(JSON.stringify([
    { ...link, flags: ["UP"] },
    { ...link, flags: ["UP", "PROMISC", "ALLMULTI"], txqlen: 500 },
  ]));
  assertEquals([plain!.promisc, plain!.allmulti, plain!.txQLen], [false, false, 0]);
  assertEquals([set!.promisc, set!.allmulti, set!.txQLen], [true, true, 500]);
});

Deno.test("addLink() writes a queue of length 0; parseLinks() reads the queueing discipline", () => {
  assertEquals(
    shellLine(addLink({ name: "i0", type: ["ifb"], mtu: 1400, txQLen: 0 })),
    "ip link add name i0 mtu 1400 txqueuelen 0 type ifb",
  );
  const link = { ifname: "a", ifindex: 2, mtu: 1500, flags: [] };
  const links = parseLinks(JSON.stringify([{ ...link, qdisc: "tbf" }, link]));
  assertEquals(links.map(({ qdisc }) => qdisc), ["tbf", undefined]);
});

Deno.test("setBridgePort() writes both options, off ones too", () => {
  assertEquals(
    shellLine(setBridgePort("a", { hairpin: true, isolated: false })),
    "ip link set dev a type bridge_slave hairpin on isolated off",
  );
  assertEquals(
    shellLine(setBridgePort("a", { hairpin: false, isolated: true, netns })),
    `${inside} ip link set dev a type bridge_slave hairpin off isolated on`,
  );
});

Deno.test("enableVlanFiltering()", () => {
  assertEquals(
    shellLine(enableVlanFiltering("br0")),
    "ip link set dev br0 type bridge vlan_filtering 1",
  );
});

Deno.test("deleteLink()", () => {
  assertEquals(shellLine(deleteLink("a")), "ip link del dev a");
  assertEquals(shellLine(deleteLink("a", { netns })), `${inside} ip link del dev a`);
});

Deno.test("showLinks(), showLink() and showPorts()", () => {
  assertEquals(shellLine(showLinks()), "ip -d -j addr show");
  assertEquals(shellLine(showLinks({ netns })), `${inside} ip -d -j addr show`);
  assertEquals(shellLine(showLink("a")), "ip -d -j addr show dev a");
  assertEquals(shellLine(showLink("a", { netns })), `${inside} ip -d -j addr show dev a`);
  assertEquals(shellLine(showPorts("br0")), "ip -j link show master br0");
});

Deno.test("builders always write the keyword: a link may be called as one", () => {
  assertEquals(
    [
      addBridge({ name: "type" }),
      addVeth({ end: { name: "up" }, peer: { name: "netns" } }),
      setLink("dev", { master: "nomaster" }),
      deleteLink("-a"),
      showLink("up"),
    ].map(shellLine),
    [
      "ip link add name type type bridge",
      "ip link add name up type veth peer name netns",
      "ip link set dev dev master nomaster",
      "ip link del dev -a",
      "ip -d -j addr show dev up",
    ],
  );
});

// What iproute2 6.1 prints on Linux 6.18, keys that nobody reads left out.

const lo = {
  ifindex: 1,
  ifname: "lo",
  flags: ["LOOPBACK", "UP", "LOWER_UP"],
  mtu: 65536,
  operstate: "UNKNOWN",
  address: "00:00:00:00:00:00",
  promiscuity: 0,
  addr_info: [
    { family: "inet", local: "127.0.0.1", prefixlen: 8, scope: "host", label: "lo" },
    { family: "inet6", local: "::1", prefixlen: 128, scope: "host" },
  ],
};

const bridge = {
  ifindex: 2,
  ifname: "br0",
  flags: ["BROADCAST", "MULTICAST", "PROMISC", "UP", "LOWER_UP"],
  mtu: 1500,
  operstate: "UP",
  address: "02:00:00:00:00:03",
  promiscuity: 1,
  linkinfo: {
    info_kind: "bridge",
    info_data: { forward_delay: 1500, vlan_filtering: 1, vlan_default_pvid: 5, gc_timer: 0.07 },
  },
  addr_info: [
    {
      family: "inet",
      local: "10.1.0.1",
      prefixlen: 24,
      broadcast: "10.1.0.255",
      scope: "global",
      label: "br0",
    },
    { family: "inet6", local: "fd00::1", prefixlen: 64, scope: "global", tentative: true },
    {
      family: "inet6",
      local: "fe80::ff:fe00:3",
      prefixlen: 64,
      scope: "link",
      dadfailed: true,
      tentative: true,
    },
  ],
};

/** The host end of a pair whose peer is in a container. */
const port = {
  ifindex: 3,
  link_index: 2,
  ifname: "veth1",
  flags: ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"],
  mtu: 1400,
  master: "br0",
  operstate: "UP",
  address: "02:00:00:00:00:01",
  link_netnsid: 0,
  promiscuity: 1,
  linkinfo: {
    info_kind: "veth",
    info_slave_kind: "bridge",
    info_slave_data: { state: "forwarding", hairpin: true, isolated: true },
  },
  ifalias: "cni:net/c1/eth0",
  addr_info: [],
};

function veth(ifname: string, { ifindex, link }: { ifindex: number; link: string }) {
  return {
    ifindex,
    link,
    ifname,
    flags: ["BROADCAST", "MULTICAST", "M-DOWN"],
    mtu: 1500,
    operstate: "DOWN",
    address: "96:84:f9:3a:a2:12",
    promiscuity: 0,
    linkinfo: { info_kind: "veth" },
    addr_info: [],
  };
}

const parse = (...links: object[]): Link[] => parseLinks(JSON.stringify(links));

Deno.test("parseLinks() of nothing is nothing", () => {
  assertEquals(parseLinks(""), []);
  assertEquals(parseLinks("[]\n"), []);
});

Deno.test("parseLinks() reads a plain device", () => {
  assertEquals(parse(lo), [{
    name: "lo",
    index: 1,
    kind: undefined,
    mac: "00:00:00:00:00:00",
    permanentMac: undefined,
    mtu: 65536,
    up: true,
    carrier: true,
    master: undefined,
    linkIndex: undefined,
    linkName: undefined,
    promiscuity: 0,
    promisc: false,
    allmulti: false,
    txQLen: 0,
    altNames: [],
    hardware: undefined,
    alias: undefined,
    mode: undefined,
    vlanId: undefined,
    vrfTable: undefined,
    tun: undefined,
    vlanFiltering: false,
    defaultVlan: 1,
    hairpin: false,
    isolated: false,
    addresses: [
      { address: "127.0.0.1", prefix: 8, scope: "host", tentative: false, dadFailed: false },
      { address: "::1", prefix: 128, scope: "host", tentative: false, dadFailed: false },
    ],
  }]);
});

Deno.test("parseLinks() reads a bridge and its addresses", () => {
  const [link] = parse(bridge);
  const { kind, promiscuity, vlanFiltering, defaultVlan, addresses } = link!;
  assertEquals([kind, promiscuity, vlanFiltering, defaultVlan], ["bridge", 1, true, 5]);
  assertEquals(addresses.map(({ tentative, dadFailed }) => [tentative, dadFailed]), [
    [false, false],
    [true, false],
    [true, true],
  ]);
});

Deno.test("parseLinks() reads what real hardware has", () => {
  const [card] = parse({
    ...lo,
    flags: ["BROADCAST", "PROMISC"],
    altnames: ["enp0s3", "enx020000000001"],
    parentbus: "pci",
    parentdev: "0000:00:03.0",
    permaddr: "02:00:00:00:00:09",
  });
  const { promisc, altNames, hardware, permanentMac } = card!;
  assertEquals([promisc, altNames], [true, ["enp0s3", "enx020000000001"]]);
  assertEquals([hardware, permanentMac], ["pci/0000:00:03.0", "02:00:00:00:00:09"]);
});

Deno.test("parseLinks() reads a port whose peer is in another namespace", () => {
  const [link] = parse(port);
  const { kind, linkIndex, master, alias, hairpin, isolated } = link!;
  assertEquals({ kind, linkIndex, master, alias, hairpin, isolated }, {
    kind: "veth",
    linkIndex: 2,
    master: "br0",
    alias: "cni:net/c1/eth0",
    hairpin: true,
    isolated: true,
  });
});

Deno.test("parseLinks() reads the table of a VRF, and none of its ports", () => {
  const data = { info_data: { table: 1001 }, info_slave_kind: "vrf" };
  const [vrf, member] = parse(
    { ...lo, ifname: "red", linkinfo: { info_kind: "vrf", ...data } },
    { ...lo, master: "red", linkinfo: { info_kind: "veth", ...data } },
  );
  assertEquals([vrf!.vrfTable, member!.vrfTable, member!.master], [1001, undefined, "red"]);
});

Deno.test("parseLinks() reads what a tap device was made with", () => {
  const tun = (info_data: object) => parse({ ...lo, linkinfo: { info_kind: "tun", info_data } });
  const data = { pi: false, vnet_hdr: true, multi_queue: true, persist: true };
  assertEquals(tun({ ...data, type: "tap", user: "root", group: 1001 })[0]!.tun, {
    type: "tap",
    multiQueue: true,
    owner: "root",
    group: 1001,
  });
  assertEquals(tun({ type: "tun", multi_queue: false })[0]!.tun, {
    type: "tun",
    multiQueue: false,
    owner: undefined,
    group: undefined,
  });
});

Deno.test("parseLinks() finds the index of a peer that is listed by name", () => {
  const [a, b] = [veth("a", { ifindex: 5, link: "b" }), veth("b", { ifindex: 4, link: "a" })];
  assertEquals(parse(b, a).map(({ name, linkIndex }) => [name, linkIndex]), [["b", 5], ["a", 4]]);
  assertEquals(parse(a)[0]!.linkIndex, undefined);
});

Deno.test("parseLinks() reads a link that stands on another, here or in another namespace", () => {
  const standing = (info_kind: string, info_data: object, rest: object) =>
    parse({ ...lo, ifname: "eth0", linkinfo: { info_kind, info_data }, ...rest })
      .map(({ kind, mode, vlanId, linkIndex, linkName }) => [
        kind,
        mode ?? vlanId,
        linkName ?? linkIndex,
      ])[0];
  const far = { link_index: 9, link_netnsid: 0 };
  const macvlan = { mode: "private", bcqueuelen: 500, usedbcqueuelen: 1000 };
  assertEquals(standing("macvlan", macvlan, far), ["macvlan", "private", 9]);
  assertEquals(standing("macvlan", macvlan, { link: "out0" }), ["macvlan", "private", "out0"]);
  assertEquals(standing("ipvlan", { mode: "l3s" }, far), ["ipvlan", "l3s", 9]);
  const vlan = { protocol: "802.1Q", id: 4094, flags: ["REORDER_HDR"] };
  assertEquals(standing("vlan", vlan, { link: "out0" }), ["vlan", 4094, "out0"]);
});

Deno.test("parseLinks() passes over links that a filter left out", () => {
  assertEquals(parse({}, {}, port, {}).map(({ name }) => name), ["veth1"]);
});

Deno.test("parseLinks() reads a link without a hardware address and one without a peer", () => {
  const { address: _, ...tunnel } = lo;
  assertEquals(parse(tunnel)[0]!.mac, "");
  assertEquals(parse({ ...port, link_index: undefined, link: null })[0]!.linkIndex, undefined);
});

Deno.test("parseLinks() reads hostile names", () => {
  const names = ["a'b", 'c"d\\e', "é", "-a", "x\x01y", "a#b", "a%b"];
  assertEquals(parse(...names.map((ifname) => ({ ...lo, ifname }))).map(({ name }) => name), names);
});

Deno.test("parseLinks() tells whether a link is set up, not whether it has a carrier", () => {
  assertEquals(parse({ ...lo, flags: ["NO-CARRIER", "UP"], operstate: "DOWN" })[0]!.up, true);
  assertEquals(parse({ ...lo, flags: ["M-DOWN", "LOWER_UP"] })[0]!.up, false);
});
