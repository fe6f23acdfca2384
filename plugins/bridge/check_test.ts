import { assertEquals } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import type { Result } from "../../cni/types.ts";
import { emptyResult } from "../../cni/types.ts";
import type { PortVlan } from "../../host/bridge_vlan.ts";
import type { Link } from "../../host/ip_link.ts";
import { testLink } from "../../ns/testing.ts";
import { conf } from "./conf.ts";
import type { PortVlans } from "./vlan.ts";
import { compareBridge, comparePort, compareVlans } from "./check.ts";

const plain = testLink({
  name: "br0",
  kind: "bridge",
  mac: "02:00:00:00:00:03",
});

const own = {
  hostVeth: "veth00000001",
  temporaryName: "cni000000000001",
  hostMac: "02:00:00:00:00:01",
  containerMac: "02:00:00:00:00:02",
  alias: "cni:net/c1/eth0",
};

const port: Link = {
  ...plain,
  name: own.hostVeth,
  index: 8,
  kind: "veth",
  mac: own.hostMac,
  alias: own.alias,
  master: "br0",
  linkIndex: 2,
};

const inside: Link = { ...plain, name: "eth0", index: 2, kind: "veth", linkIndex: 8 };

const result: Result = {
  ...emptyResult(),
  interfaces: [
    { name: "br0", mac: plain.mac },
    { name: own.hostVeth, mac: own.hostMac },
    { name: "eth0", mac: own.containerMac, sandbox: "/run/netns/c1" },
  ],
};

function configuration(keys: Record<string, unknown> = {}) {
  return decodeOrThrow(conf, { bridge: "br0", ...keys }, "configuration");
}

function bridgeProblems(link: Partial<Link> | undefined, keys: Record<string, unknown> = {}) {
  const links = link ? [port, { ...plain, ...link }] : [port];
  return compareBridge(configuration(keys), { result, links });
}

Deno.test("compareBridge() holds right after an ADD", () => {
  assertEquals(bridgeProblems({}), []);
  assertEquals(bridgeProblems({ promiscuity: 1 }, { promiscMode: true }), []);
});

Deno.test("compareBridge() does not mind somebody who captures packets", () => {
  assertEquals(bridgeProblems({ promiscuity: 1 }), []);
});

Deno.test("compareBridge() tells what differs", () => {
  assertEquals(bridgeProblems(undefined), ['bridge "br0" is missing']);
  assertEquals(bridgeProblems({ kind: "dummy" }), [
    'bridge "br0" is of kind dummy, expected bridge',
  ]);
  assertEquals(bridgeProblems({ mac: "02:00:00:00:00:99" }), [
    'bridge "br0" has hardware address 02:00:00:00:00:99, expected 02:00:00:00:00:03',
  ]);
  assertEquals(bridgeProblems({}, { promiscMode: true }), ['bridge "br0" is not promiscuous']);
});

Deno.test("compareBridge() wants VLANs told apart", () => {
  for (const keys of [{ vlan: 7 }, { vlanTrunk: [] }]) {
    assertEquals(bridgeProblems({}, keys), ['bridge "br0" does not filter VLANs']);
    assertEquals(bridgeProblems({ vlanFiltering: true }, keys), []);
  }
});

Deno.test("compareBridge() wants the gateway of a VLAN to be there and up", () => {
  const keys = { vlan: 7, isGateway: true, ipam: { type: "static" } };
  const bridge = { ...plain, vlanFiltering: true };
  const problems = (...links: Link[]) =>
    compareBridge(configuration(keys), { result, links: [bridge, ...links] });
  const gateway: Link = { ...plain, name: "br0.7", kind: "veth" };
  assertEquals(problems(), ['VLAN gateway link "br0.7" is missing']);
  assertEquals(problems({ ...gateway, up: false }), ['VLAN gateway link "br0.7" is down']);
  assertEquals(problems({ ...gateway, up: true }), []);
});

function portProblems(
  link: Partial<Link> | undefined,
  { keys = {}, container = inside, vlans }: {
    keys?: Record<string, unknown>;
    container?: Link;
    vlans?: readonly PortVlan[];
  } = {},
) {
  const links = link ? [plain, { ...port, ...link }] : [plain];
  return comparePort(configuration(keys), {
    result,
    links,
    own,
    inside: container,
    vlans: vlans && new Map([["vethabcd", vlans], [own.hostVeth, vlans]]),
  });
}

Deno.test("comparePort() holds right after an ADD", () => {
  assertEquals(portProblems({}), []);
  assertEquals(portProblems({ hairpin: true }, { keys: { hairpinMode: true } }), []);
  assertEquals(portProblems({ isolated: true }, { keys: { portIsolation: true } }), []);
});

Deno.test("comparePort() finds the reference's port as the peer of the container's interface", () => {
  const theirs = { name: "vethabcd", alias: undefined, mac: "02:00:00:00:00:77" };
  assertEquals(portProblems(theirs), []);
  assertEquals(portProblems({ ...theirs, index: 9 }), [
    "the host end of the veth pair is missing",
  ]);
});

Deno.test("comparePort() does not take the container's entry for the port's", () => {
  const sandbox = "/run/netns/c1";
  const interfaces = [{ name: own.hostVeth, mac: "02:00:00:00:00:55", sandbox }];
  const links = [plain, port];
  const problems = comparePort(configuration(), {
    vlans: undefined,
    result: { ...result, interfaces },
    links,
    own,
    inside,
  });
  assertEquals(problems, []);
});

Deno.test("comparePort() tells what differs", () => {
  assertEquals(portProblems(undefined), ["the host end of the veth pair is missing"]);
  assertEquals(portProblems({ master: undefined }), [
    '"veth00000001" is not a port of bridge "br0"',
  ]);
  assertEquals(
    portProblems({ kind: "dummy", mac: "02:00:00:00:00:99", master: "br1", hairpin: true }, {
      keys: { portIsolation: true },
    }),
    [
      'port "veth00000001" is of kind dummy, expected veth',
      'port "veth00000001" has hardware address 02:00:00:00:00:99, expected 02:00:00:00:00:01',
      '"veth00000001" is not a port of bridge "br0"',
      'port "veth00000001" has hairpin on',
      'port "veth00000001" has isolation off',
    ],
  );
});

Deno.test("comparePort() looks at VLANs where there are any", () => {
  const native = [{ vid: 7, pvid: true, untagged: true }];
  assertEquals(portProblems({}, { vlans: native, keys: { vlan: 7 } }), []);
  assertEquals(portProblems({ name: "vethabcd" }, { vlans: native, keys: { vlan: 7 } }), []);
  assertEquals(portProblems({}, { vlans: native, keys: { vlan: 8 } }), [
    'port "veth00000001" is not in VLAN 8, untagged',
    'port "veth00000001" is in VLAN 7, which is not configured',
  ]);
});

const noVlans: PortVlans = { vlan: 0, trunk: [], preserveDefaultVlan: false, defaultVlan: 1 };

/** What is wrong with a port in these VLANs: `7` untagged and native, `7u` untagged, `7t` tagged. */
function vlanProblems(wanted: Partial<PortVlans>, ...present: string[]): string[] {
  return compareVlans("veth1", {
    wanted: { ...noVlans, ...wanted },
    present: present.map((text) => ({
      vid: parseInt(text),
      pvid: /^\d+$/.test(text),
      untagged: !text.endsWith("t"),
    })),
  });
}

Deno.test("compareVlans() holds right after an ADD", () => {
  assertEquals(vlanProblems({ vlan: 100 }, "100"), []);
  assertEquals(vlanProblems({ trunk: [200, 201] }, "1", "200t", "201t"), []);
  assertEquals(vlanProblems({ vlan: 100, trunk: [100, 200] }, "100", "200t"), []);
  assertEquals(vlanProblems({ vlan: 100, preserveDefaultVlan: true }, "1u", "100"), []);
});

Deno.test("compareVlans() does not look at a port without VLANs of its own", () => {
  assertEquals(vlanProblems({}, "1", "7t"), []);
});

Deno.test("compareVlans() tells what is missing, tagged otherwise or too much", () => {
  assertEquals(vlanProblems({ vlan: 100 }), ['port "veth1" is not in VLAN 100, untagged']);
  assertEquals(vlanProblems({ vlan: 100 }, "1", "100u"), [
    'port "veth1" is not in VLAN 100, untagged',
    'port "veth1" is in VLAN 1, which is not configured',
  ]);
  assertEquals(vlanProblems({ trunk: [200, 201, 202, 204] }, "1", "200u", "300t", "301t"), [
    'port "veth1" is not in VLAN 200-202, tagged',
    'port "veth1" is not in VLAN 204, tagged',
    'port "veth1" is in VLAN 300-301, which is not configured',
  ]);
});

Deno.test("compareVlans() allows the default VLAN only where it is preserved", () => {
  const wanted = { vlan: 100, preserveDefaultVlan: true, defaultVlan: 5 };
  assertEquals(vlanProblems(wanted, "5u", "100"), []);
  assertEquals(vlanProblems(wanted, "100"), []);
  assertEquals(vlanProblems({ ...wanted, preserveDefaultVlan: false }, "5u", "100"), [
    'port "veth1" is in VLAN 5, which is not configured',
  ]);
});
