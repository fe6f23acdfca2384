import { assertEquals, assertRejects } from "@std/assert";
import type { Issue } from "../cni/decode.ts";
import { anyObject, decodeForRemoval, decodeOrThrow } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Plugin } from "../cni/plugin.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall, spy, testTraits } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import type { FakeAnswer } from "../ns/testing.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import { configureContainerLink } from "../recipes/container_link.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { planLink, plugin } from "./ipvlan.ts";

const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ip";
const link = testLink({ name: "out0", mac: "02:00:00:00:00:09" });
const facts = { own, netns, ifName: "eth0", mtu: 0 };

function issuesOf(config: JsonObject): string[] {
  const issues: Issue[] = [];
  const conf = plugin.conf.decode(config, "", issues);
  if (conf && issues.length === 0) {
    const traits = conf.ipam.type === "dhcp" ? testTraits.leasing : testTraits.unknown;
    issues.push(...plugin.ipamIssues!(conf, traits));
  }
  return issues.map(({ path, message }) => `${path}: ${message}`);
}

Deno.test("conf has a mode without one", () => {
  for (const keys of [{}, { mode: "" }, { mode: null }]) {
    assertEquals(decodeOrThrow(plugin.conf, keys, "configuration").mode, "l2");
  }
});

const refused: readonly (readonly [JsonObject, string])[] = [
  [{ mode: "l4" }, 'mode: expected "l2" or "l3" or "l3s" or "" but received "l4"'],
  [{ mode: "L2" }, 'mode: expected "l2" or "l3" or "l3s" or "" but received "L2"'],
  [{ master: "a b" }, 'master: expected name of a link but received "a b"'],
  [{ mtu: "1500" }, 'mtu: expected integer -2147483648–2147483647 but received "1500"'],
  [
    { mode: "l3", ipam: { type: "dhcp" } },
    'mode: "l3" carries no broadcasts, which "dhcp" needs: use "l2"',
  ],
  [
    { mode: "l3s", ipam: { type: "dhcp" } },
    'mode: "l3s" carries no broadcasts, which "dhcp" needs: use "l2"',
  ],
];

for (const [config, issue] of refused) {
  Deno.test(`conf refuses ${JSON.stringify(config)}`, () => {
    assertEquals(issuesOf(config), [issue]);
    // A DEL goes on all the same.
    const { ipam } = decodeForRemoval(plugin.conf, config, "configuration");
    assertEquals(ipam, config["ipam"] ?? { type: "" });
  });
}

Deno.test("conf takes dhcp in mode l2, and any other IPAM plugin in every mode", () => {
  assertEquals(issuesOf({ ipam: { type: "dhcp" } }), []);
  for (const mode of ["l2", "l3", "l3s"]) {
    assertEquals(issuesOf({ mode, ipam: { type: "host-local" } }), []);
  }
});

Deno.test("planLink() makes the link on the host and names it in the container", () => {
  const steps = planLink({ mode: "l3s" }, {
    ...facts,
    mtu: 1400,
    master: { link, netns: undefined },
  });
  assertEquals(steps.map(({ do: action }) => describe(action)), [
    `ip link add link out0 name ${own.temporaryName} mtu 1400 netns /run/netns/c1 type ipvlan mode l3s`,
    `${inside} link set dev ${own.temporaryName} name eth0 alias cni:mynet/dummy/eth0`,
  ]);
  assertEquals(steps[0]!.meaning, {
    unsupported: 'the kernel lacks the module for it, or "out0" takes none',
    busy:
      'macvlan links or others take the packets of "out0": choose another master, or the same kind',
    invalid: '"out0" must be an Ethernet link',
  });
});

Deno.test("planLink() makes a link on a master of the container inside it", () => {
  const [create] = planLink({ mode: "l2" }, { ...facts, master: { link, netns } });
  assertEquals(
    describe(create!.do),
    `${inside} link add link out0 name ${own.temporaryName} type ipvlan mode l2`,
  );
});

Deno.test("an ADD starts one process on the host and one in the container", () => {
  const ips = [{ address: "10.1.2.2/24", gateway: "10.1.2.1" }, { address: "2001:db8::2/64" }];
  const result = { ...emptyResult(), ips, routes: [{ dst: "0.0.0.0/0" }] };
  const steps = planLink({ mode: "l2" }, { ...facts, master: { link, netns: undefined } });
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
  answers: Record<string, FakeAnswer> = { [show]: [master] },
): Promise<{ result: Result; host: FakeHost; asked: Verb[] }> {
  const host = new FakeHost(answers);
  const ipam = spy(anyObject(), { add: () => Promise.resolve(fromIpam) });
  const made = { ...makeCall({ config, netns: sandbox }), netnsOverride: true };
  const load = () => Promise.resolve(ipam.plugin as Plugin);
  const result = await callPlugin(plugin, verb, made, { host, load, inProcessIfMissing: true });
  return { result: result!, host, asked: ipam.seen.map(({ verb }) => verb) };
}

const chained = {
  interfaces: [{ name: "out0" }],
  ips: [{ address: "10.1.2.7/24", gateway: "10.1.2.1", interface: 0 }],
  routes: [{ dst: "0.0.0.0/0" }],
  dns: { nameservers: ["192.0.2.1"] },
};

Deno.test("ADD gives the master's hardware address, and IPAM's addresses and name servers", async () => {
  const { result, asked } = await call("ADD", { master: "out0", ipam: { type: "static" } });
  assertEquals(result, {
    interfaces: [{ name: "eth0", mac: link.mac, mtu: 1500, sandbox }],
    ips: [{ ...fromIpam.ips[0]!, interface: 0 }],
    routes: [],
    dns: fromIpam.dns,
  });
  assertEquals(asked, ["ADD"]);
});

Deno.test("a chained ADD takes master, addresses, routes and name servers of the previous result", async () => {
  const { result, asked } = await call("ADD", { prevResult: chained });
  assertEquals(result, {
    ...chained,
    interfaces: [{ name: "eth0", mac: link.mac, mtu: 1500, sandbox }],
  });
  assertEquals(asked, []);
});

Deno.test("a chained ADD prefers the IPAM plugin and the master of the configuration", async () => {
  const prevResult = { ...chained, interfaces: [{ name: "a" }, { name: "b" }] };
  const config = { master: "out0", ipam: { type: "static" }, prevResult };
  const { result, asked } = await call("ADD", config);
  assertEquals(result.ips, [{ ...fromIpam.ips[0]!, interface: 0 }]);
  assertEquals([result.dns, asked], [fromIpam.dns, ["ADD"]]);
});

Deno.test("a chained ADD takes the dns of the configuration", async () => {
  const dns = { nameservers: [] };
  assertEquals((await call("ADD", { dns, prevResult: chained })).result.dns, dns);
});

Deno.test("ADD without master takes that of the default route", async () => {
  const { host } = await call("ADD", { ipam: { type: "static" } }, {
    "ip -4 -N -j route show default": [{ dst: "default", dev: "out0" }],
    [show]: [master],
  });
  assertEquals(host.lines[0]!.startsWith("ip link add link out0 "), true);
});

Deno.test("ADD does not read CNI_ARGS", async () => {
  const config = { prevResult: chained };
  const made = makeCall({ config, netns: sandbox, args: "MAC=02:00:00:00:00:77;K" });
  const host = new FakeHost({ [show]: [master] });
  const result = await callPlugin(plugin, "ADD", { ...made, netnsOverride: true }, { host });
  assertEquals(result!.interfaces[0]!.mac, link.mac);
});

const failures: readonly (readonly [string, JsonObject, string])[] = [
  ...[[], [{ name: "a" }, { name: "b" }], [{ name: "" }]].map((interfaces) =>
    [
      `a previous result with ${JSON.stringify(interfaces)}`,
      { prevResult: { ...chained, interfaces } },
      "chained master failure. PrevResult lacks a single named interface",
    ] as const
  ),
  ...[{}, { prevResult: { ...chained, ips: [] } }, { ipam: {} }, { ipam: { type: "" } }].map((
    keys,
  ) =>
    [
      `no addresses: ${JSON.stringify(keys)}`,
      { master: "out0", ...keys },
      "Cannot use network configuration: ipam.type: " +
      "expected name of an IPAM plugin, or a prevResult with addresses, but received nothing",
    ] as const
  ),
  [
    "an MTU above the master's",
    { master: "out0", mtu: 1600, ipam: { type: "static" } },
    "invalid MTU 1600, must be [0, master MTU(1500)]",
  ],
];

for (const [title, config, msg] of failures) {
  Deno.test(`ADD refuses ${title}`, async () => {
    const error = await assertRejects(() => call("ADD", config), CniError);
    assertEquals([error.code, error.msg], [codes.invalidNetworkConfig, msg]);
  });
}

/** What CHECK sees of a link that an ADD has made. */
function answers(rest: JsonObject = {}): Record<string, FakeAnswer> {
  const made = {
    ...master,
    ifindex: 2,
    ifname: "eth0",
    link_index: 9,
    link_netnsid: 0,
    linkinfo: { info_kind: "ipvlan", info_data: { mode: "l2" } },
    addr_info: [{ family: "inet", local: "10.1.2.7", prefixlen: 24, scope: "global" }],
    ...rest,
  };
  const at = `nsenter --net=${sandbox} ip `;
  return {
    [show]: [master],
    [`${at}-d -j addr show dev eth0`]: [made],
    [`${at}-4 -N -j route show table all`]: [{ dst: "default", gateway: "10.1.2.1", dev: "eth0" }],
    [`${at}-6 -N -j route show table all`]: [],
  };
}

Deno.test("CHECK needs no master in the configuration, and asks IPAM where there is one", async () => {
  const { result: prevResult } = await call("ADD", { prevResult: chained });
  const recorded = JSON.parse(JSON.stringify(prevResult));
  for (
    const [keys, expected] of [
      [{}, []],
      [{ master: "out0" }, []],
      [{ ipam: { type: "static" } }, ["CHECK"]],
    ] as const
  ) {
    const { asked } = await call("CHECK", { ...keys, prevResult: recorded }, answers());
    assertEquals(asked, [...expected]);
  }
});

Deno.test("CHECK names every difference", async () => {
  const { result } = await call("ADD", { prevResult: chained });
  const prevResult = JSON.parse(JSON.stringify(result));
  const damaged = answers({
    link_index: 8,
    mtu: 1300,
    address: "02:00:00:00:00:99",
    linkinfo: { info_kind: "ipvlan", info_data: { mode: "l3" } },
  });
  const config = { master: "out0", mtu: 1400, prevResult };
  const error = await assertRejects(() => call("CHECK", config, damaged), CniError);
  assertEquals([error.code, error.msg.split(": ")[1]!.split("; ")], [codes.checkFailed, [
    `container interface "eth0" has hardware address 02:00:00:00:00:99, expected ${link.mac}`,
    'container interface "eth0" is in mode l3, expected l2',
    'container interface "eth0" has MTU 1300, expected 1400',
    'container interface "eth0" does not stand on "out0"',
  ]]);
});

Deno.test("STATUS looks for a master that the configuration names, and no other", async () => {
  const { asked } = await call("STATUS", { master: "out0", ipam: { type: "static" } });
  assertEquals(asked, ["STATUS"]);
  assertEquals((await call("STATUS", {})).host.asked, []);
  const missing = {
    [show]: { stderr: 'Device "out0" does not exist.\n' },
    "ip -d -j addr show": [],
  };
  const error = await assertRejects(() => call("STATUS", { master: "out0" }, missing), CniError);
  assertEquals(error.code, codes.notAvailable);
});
