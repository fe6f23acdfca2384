import { assertEquals, assertRejects } from "@std/assert";
import type { Issue } from "../cni/decode.ts";
import { anyObject, decodeForRemoval, decodeOrThrow } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Plugin } from "../cni/plugin.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall, spy } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import { configureContainerLink } from "../recipes/container_link.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { planLink, plugin } from "./vlan.ts";

const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ip";
const link = testLink({ name: "out0", mac: "02:00:00:00:00:09" });
const facts = { own, netns, ifName: "eth0", mtu: 0 };
const smallest = { master: "out0", ipam: { type: "static" } };

function issuesOf(config: JsonObject): string[] {
  const issues: Issue[] = [];
  plugin.conf.decode(config, "", issues);
  return issues.map(({ path, message }) => `${path}: ${message}`);
}

Deno.test("conf takes VLANs from 0 to 4094, and 0 without one", () => {
  const vlanOf = (keys: JsonObject) =>
    decodeOrThrow(plugin.conf, { ...smallest, ...keys }, "configuration").vlanId;
  assertEquals([{}, { vlanId: 0 }, { VlanID: 1 }, { vlanId: 4094 }].map(vlanOf), [0, 0, 1, 4094]);
});

const refused: readonly (readonly [JsonObject, string])[] = [
  [{ vlanId: -1 }, "vlanId: invalid VLAN ID -1 (must be between 0 and 4094)"],
  [{ vlanId: 4095 }, "vlanId: invalid VLAN ID 4095 (must be between 0 and 4094)"],
  [{ vlanId: "100" }, 'vlanId: expected integer 0–4094 but received "100"'],
  [{ vlanId: 1.5 }, "vlanId: expected integer 0–4094 but received 1.5"],
  [{ master: "" }, 'master: the "master" field is required: name of the link to stand on'],
  [{ master: null }, 'master: the "master" field is required: name of the link to stand on'],
  [{ ipam: {} }, "ipam.type: expected name of an IPAM plugin but received nothing"],
  [{ ipam: null }, "ipam.type: expected name of an IPAM plugin but received nothing"],
];

for (const [keys, issue] of refused) {
  Deno.test(`conf refuses ${JSON.stringify(keys)}, and a DEL goes on all the same`, () => {
    const config = { ...smallest, ...keys };
    assertEquals(issuesOf(config), [issue]);
    const { ipam } = decodeForRemoval(plugin.conf, config, "configuration");
    assertEquals(ipam, keys["ipam"] === undefined ? smallest.ipam : { type: "" });
  });
}

Deno.test("planLink() makes the link on the host and names it in the container", () => {
  const steps = planLink({ vlanId: 100 }, {
    ...facts,
    mtu: 1400,
    master: { link, netns: undefined },
  });
  assertEquals(steps.map(({ do: action }) => describe(action)), [
    `ip link add link out0 name ${own.temporaryName} mtu 1400 netns /run/netns/c1 type vlan id 100`,
    `${inside} link set dev ${own.temporaryName} name eth0 alias cni:mynet/dummy/eth0`,
  ]);
  assertEquals(steps[0]!.meaning, {
    unsupported: 'the kernel lacks the module for it, or "out0" takes none',
    exists:
      '"out0" carries one link for VLAN 100 and no second: choose another vlanId, or share the VLAN by making it on the host and using it as the master of macvlan',
  });
});

Deno.test("planLink() makes a link on a master of the container inside it", () => {
  const [create] = planLink({ vlanId: 0 }, { ...facts, master: { link, netns } });
  assertEquals(
    describe(create!.do),
    `${inside} link add link out0 name ${own.temporaryName} type vlan id 0`,
  );
});

Deno.test("an ADD starts one process on the host and one in the container", () => {
  const ips = [{ address: "10.1.2.2/24", gateway: "10.1.2.1" }, { address: "2001:db8::2/64" }];
  const result = { ...emptyResult(), ips, routes: [{ dst: "0.0.0.0/0" }] };
  const steps = planLink({ vlanId: 100 }, { ...facts, master: { link, netns: undefined } });
  assertEquals(
    processes([...steps, ...configureContainerLink({ netns, ifName: "eth0", dad: true, result })]),
    2,
  );
});

const show = "ip -d -j addr show dev out0";
const master = {
  ifindex: 9,
  ifname: "out0",
  flags: ["UP", "LOWER_UP"],
  mtu: 1500,
  address: link.mac,
  addr_info: [],
};
const sandbox = "/proc/self/ns/net";

/** What an IPAM plugin in process gives. */
const fromIpam = {
  ...emptyResult(),
  ips: [{ address: "10.1.2.2/24" }],
  dns: { nameservers: ["10.1.2.1"] },
};

/** Calls a verb; its own namespace plays the container, and nothing is done in it. */
async function call(
  verb: Exclude<Verb, "VERSION">,
  config: JsonObject,
  { host = new FakeHost({ [show]: [master] }), args = "" } = {},
): Promise<{ result: Result; asked: Verb[] }> {
  const ipam = spy(anyObject(), { add: () => Promise.resolve(fromIpam) });
  const made = { ...makeCall({ config, netns: sandbox, args }), netnsOverride: true };
  const load = () => Promise.resolve(ipam.plugin as Plugin);
  const result = await callPlugin(plugin, verb, made, { host, load, inProcessIfMissing: true });
  return { result: result!, asked: ipam.seen.map(({ verb }) => verb) };
}

Deno.test("ADD gives the master's hardware address and MTU, and what IPAM gives", async () => {
  const { result, asked } = await call("ADD", { ...smallest, vlanId: 100 });
  assertEquals(result, {
    interfaces: [{ name: "eth0", mac: link.mac, mtu: 1500, sandbox }],
    ips: [{ ...fromIpam.ips[0]!, interface: 0 }],
    routes: [],
    dns: fromIpam.dns,
  });
  assertEquals(asked, ["ADD"]);
});

Deno.test("ADD does not read CNI_ARGS", async () => {
  const { result } = await call("ADD", smallest, { args: "MAC=02:00:00:00:00:77;K" });
  assertEquals(result.interfaces[0]!.mac, link.mac);
});

const failures: readonly (readonly [string, JsonObject, JsonObject, number, string])[] = [
  [
    "an MTU above the master's",
    { mtu: 1600 },
    {},
    codes.invalidNetworkConfig,
    "invalid MTU 1600, must be [0, master MTU(1500)]",
  ],
  [
    "a negative MTU",
    { mtu: -100 },
    {},
    codes.invalidNetworkConfig,
    "invalid MTU -100, must be [0, master MTU(1500)]",
  ],
  [
    "a master that is down",
    {},
    { flags: ["BROADCAST"] },
    codes.refused,
    'Cannot use master "out0": it is down; set it up first',
  ],
];

for (const [title, keys, changes, code, msg] of failures) {
  Deno.test(`ADD refuses ${title} before it changes anything`, async () => {
    const host = new FakeHost({ [show]: [{ ...master, ...changes }] });
    const error = await assertRejects(
      () => call("ADD", { ...smallest, ...keys }, { host }),
      CniError,
    );
    assertEquals([error.code, error.msg, host.steps], [code, msg, []]);
  });
}

/** What CHECK sees of a link that an ADD has made. */
function attached(rest: JsonObject = {}): FakeHost {
  const made = {
    ...master,
    ifindex: 2,
    ifname: "eth0",
    link_index: 9,
    link_netnsid: 0,
    linkinfo: { info_kind: "vlan", info_data: { protocol: "802.1Q", id: 100 } },
    addr_info: [{ family: "inet", local: "10.1.2.2", prefixlen: 24, scope: "global" }],
    ...rest,
  };
  const at = `nsenter --net=${sandbox} ip `;
  const answers: Record<string, FakeAnswer> = {
    [show]: [master],
    [`${at}-d -j addr show dev eth0`]: [made],
    [`${at}-4 -N -j route show table all`]: [],
    [`${at}-6 -N -j route show table all`]: [],
  };
  return new FakeHost(answers);
}

Deno.test("CHECK compares VLAN, MTU and master, and asks IPAM", async () => {
  const config = { ...smallest, vlanId: 100, mtu: 1400 };
  const { result } = await call("ADD", config);
  const prevResult = JSON.parse(JSON.stringify(result));
  const { asked } = await call("CHECK", { ...config, prevResult }, {
    host: attached({ mtu: 1400 }),
  });
  assertEquals(asked, ["CHECK"]);
  const damaged = attached({
    link_index: 8,
    linkinfo: { info_kind: "vlan", info_data: { protocol: "802.1Q", id: 101 } },
  });
  const error = await assertRejects(
    () => call("CHECK", { ...config, prevResult }, { host: damaged }),
    CniError,
  );
  assertEquals([error.code, error.msg.split(": ")[1]!.split("; ")], [codes.checkFailed, [
    'container interface "eth0" is of VLAN 101, expected 100',
    'container interface "eth0" has MTU 1500, expected 1400',
    'container interface "eth0" does not stand on "out0"',
  ]]);
});

Deno.test("STATUS looks for the master and asks IPAM", async () => {
  assertEquals((await call("STATUS", smallest)).asked, ["STATUS"]);
  const host = new FakeHost({
    [show]: { stderr: 'Device "out0" does not exist.\n' },
    "ip -d -j addr show": [],
  });
  const error = await assertRejects(() => call("STATUS", smallest, { host }), CniError);
  assertEquals(error.code, codes.notAvailable);
});
