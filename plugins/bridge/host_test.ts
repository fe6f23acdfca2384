import { assertEquals } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import type { Result } from "../../cni/types.ts";
import { emptyResult } from "../../cni/types.ts";
import type { Link } from "../../host/ip_link.ts";
import { testLink } from "../../ns/testing.ts";
import { conf } from "./conf.ts";
import { compareBridge, comparePort } from "./host.ts";

const plain = testLink({
  name: "br0",
  kind: "bridge",
  mac: "02:00:00:00:00:03",
});

const own = {
  hostVeth: "veth00000001",
  passing: "cni000000000001",
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

function portProblems(
  link: Partial<Link> | undefined,
  { keys = {}, container = inside }: { keys?: Record<string, unknown>; container?: Link } = {},
) {
  const links = link ? [plain, { ...port, ...link }] : [plain];
  return comparePort(configuration(keys), { result, links, own, inside: container });
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
