import { assertEquals, assertRejects } from "@std/assert";
import type { Issue } from "../cni/decode.ts";
import { anyObject, decodeOrThrow } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Plugin } from "../cni/plugin.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall, spy } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import type { Step } from "../host/step.ts";
import { describe } from "../host/step.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import { configureContainerLink } from "../recipes/container_link.ts";
import type { Master } from "../recipes/master.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { planLink, plugin } from "./macvlan.ts";

const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const netns = { path: "/run/netns/c1" };
const inside = "nsenter --net=/run/netns/c1 ip";
const link = testLink({ name: "out0", mac: "02:00:00:00:00:09" });
const onHost: Master = { link, netns: undefined };
const facts = { own, netns, ifName: "eth0", mtu: 0, master: onHost };

function configuration(keys: JsonObject = {}) {
  return decodeOrThrow(plugin.conf, { master: "out0", ...keys }, "network configuration");
}

function issuesOf(config: JsonObject): string[] {
  const issues: Issue[] = [];
  plugin.conf.decode(config, "", issues);
  return issues.map(({ path, message }) => `${path}: ${message}`);
}

function lines(steps: readonly Step[]): string[] {
  return steps.map(({ do: action }) => describe(action));
}

const adopted = `${inside} link set dev ${own.temporaryName} name eth0 alias cni:mynet/dummy/eth0`;

Deno.test("conf has a mode without one, and takes every key in any case", () => {
  for (const keys of [{}, { mode: "" }, { mode: null }]) {
    assertEquals(configuration(keys).mode, "bridge");
  }
  const whole = {
    Mode: "vepa",
    MTU: 1400,
    BcQueueLen: 7,
    RuntimeConfig: { mac: "02-00-00-00-00-AA" },
  };
  const { mode, mtu, bcqueuelen, runtimeConfig } = configuration(whole);
  assertEquals([mode, mtu, bcqueuelen, runtimeConfig?.mac], ["vepa", 1400, 7, "02:00:00:00:00:aa"]);
});

const refused: readonly (readonly [JsonObject, string])[] = [
  [
    { mode: "source" },
    'mode: expected "bridge" or "private" or "vepa" or "passthru" or "" but received "source"',
  ],
  [{ master: "a/b" }, 'master: expected name of a link but received "a/b"'],
  [{ master: 1 }, "master: expected name of a link but received 1"],
  [{ mtu: "1500" }, 'mtu: expected integer -2147483648–2147483647 but received "1500"'],
  [{ mtu: 1500.5 }, "mtu: expected integer -2147483648–2147483647 but received 1500.5"],
  [{ bcqueuelen: -1 }, "bcqueuelen: expected integer 0–4294967295 but received -1"],
  [{ bcqueuelen: 2 ** 32 }, "bcqueuelen: expected integer 0–4294967295 but received 4294967296"],
  [{ linkInContainer: "yes" }, 'linkInContainer: expected boolean but received "yes"'],
  [
    { mac: "01:00:5e:00:00:01" },
    'mac: expected unicast hardware address like 02:00:00:00:00:01 but received "01:00:5e:00:00:01"',
  ],
  [{ ipam: { type: 7 } }, "ipam.type: expected string but received 7"],
];

for (const [config, issue] of refused) {
  Deno.test(`conf refuses ${JSON.stringify(config)}`, () =>
    assertEquals(issuesOf(config), [issue]));
}

Deno.test("conf gives all issues at once", () => {
  const config = Object.assign({}, ...refused.map(([config]) => config));
  assertEquals(issuesOf(config).length, Object.keys(config).length);
});

Deno.test("planLink() makes the link on the host and names it in the container", () => {
  const steps = planLink(configuration(), { ...facts, mac: undefined });
  assertEquals(lines(steps), [
    `ip link add link out0 name ${own.temporaryName} address ${own.containerMac} netns /run/netns/c1 ` +
    "type macvlan mode bridge",
    adopted,
  ]);
});

Deno.test("planLink() takes a mode, a queue length, an MTU and an address", () => {
  const conf = configuration({ mode: "private", bcqueuelen: 500, mtu: 1400 });
  const [create] = lines(planLink(conf, { ...facts, mtu: 1400, mac: "02:00:00:00:00:07" }));
  assertEquals(
    create,
    `ip link add link out0 name ${own.temporaryName} mtu 1400 address 02:00:00:00:00:07 ` +
      "netns /run/netns/c1 type macvlan mode private bcqueuelen 500",
  );
});

Deno.test("planLink() makes a link on a master of the container inside it", () => {
  const steps = planLink(configuration(), { ...facts, master: { link, netns } });
  assertEquals(lines(steps), [
    `${inside} link add link out0 name ${own.temporaryName} address ${own.containerMac} ` +
    "type macvlan mode bridge",
    adopted,
  ]);
});

Deno.test("planLink() leaves a link in mode passthru the master's address, or sets another after", () => {
  const conf = configuration({ mode: "passthru" });
  const create = `ip link add link out0 name ${own.temporaryName} netns /run/netns/c1 ` +
    "type macvlan mode passthru";
  assertEquals(lines(planLink(conf, facts)), [create, adopted]);
  assertEquals(lines(planLink(conf, { ...facts, mac: "02:00:00:00:00:07" })), [
    create,
    adopted,
    `${inside} link set dev eth0 address 02:00:00:00:00:07`,
  ]);
});

Deno.test("planLink() says what the kernel's refusals mean", () => {
  const meanings = (mode: string, master: string | undefined) => {
    const conf = configuration({ mode });
    const [create] = planLink(conf, { ...facts, master: { link: { ...link, master }, netns } });
    return create!.meaning;
  };
  const unsupported = 'the kernel lacks the module for it, or "out0" takes none';
  assertEquals(meanings("bridge", undefined), {
    unsupported,
    busy:
      'ipvlan links or others take the packets of "out0": choose another master, or the same kind',
    invalid: '"out0" must be an Ethernet link without one in mode passthru',
  });
  assertEquals(meanings("passthru", "br0"), {
    unsupported,
    busy: '"out0" is a port of "br0": choose that as the master',
    invalid: '"out0" must be an Ethernet link without other macvlan links',
  });
});

Deno.test("an ADD starts one process on the host and one in the container, of any layer", () => {
  const ips = [{ address: "10.1.2.2/24", gateway: "10.1.2.1" }, { address: "2001:db8::2/64" }];
  const routes = [{ dst: "0.0.0.0/0" }];
  const count = (result: Result, master = onHost) => {
    const steps = planLink(configuration(), { ...facts, master });
    const target = { netns, ifName: "eth0", dad: true };
    return processes([...steps, ...configureContainerLink({ ...target, result })]);
  };
  assertEquals(count({ ...emptyResult(), ips, routes }), 2);
  assertEquals(count(emptyResult()), 2);
  assertEquals(count({ ...emptyResult(), ips, routes }, { link, netns }), 1);
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

/** Calls a verb; its own namespace plays the container, and nothing is done in it. */
async function call(
  verb: Exclude<Verb, "VERSION">,
  config: JsonObject,
  { host = new FakeHost({ [show]: [master] }), args = "" } = {},
): Promise<{ result: Result; host: FakeHost }> {
  const ips = [{ address: "10.1.2.2/24" }];
  const dns = { nameservers: ["10.1.2.1"] };
  const ipam = spy(anyObject(), {
    add: () => Promise.resolve({ ...emptyResult(), ips, dns }),
  });
  const made = { ...makeCall({ config, netns: sandbox, args }), netnsOverride: true };
  const load = () => Promise.resolve(ipam.plugin as Plugin);
  const result = await callPlugin(plugin, verb, made, { host, load, inProcessIfMissing: true });
  return { result: result!, host };
}

const asked = "02:00:00:00:00:07";

const addresses: readonly (readonly [string, JsonObject, string, string])[] = [
  ["the attachment's own", {}, "", own.containerMac],
  ["the configured one", { mac: asked }, "", asked],
  ["that of CNI_ARGS", { mac: link.mac }, `IgnoreUnknown=true;MAC=${asked}`, asked],
  [
    "that of the runtime",
    { mac: link.mac, RuntimeConfig: { mac: asked } },
    `MAC=${link.mac}`,
    asked,
  ],
  ["the master's in mode passthru", { mode: "passthru" }, "", link.mac],
  ["the asked one in mode passthru", { mode: "passthru", mac: asked }, "", asked],
];

for (const [title, keys, args, mac] of addresses) {
  Deno.test(`ADD gives the interface a hardware address: ${title}`, async () => {
    const { result } = await call("ADD", { master: "out0", ...keys }, { args });
    assertEquals(result.interfaces, [{ name: "eth0", mac, mtu: 1500, sandbox }]);
  });
}

Deno.test("ADD keeps the addresses and the name servers of IPAM", async () => {
  const { result } = await call("ADD", { master: "out0", mtu: 1400, ipam: { type: "static" } });
  assertEquals(result, {
    interfaces: [{ name: "eth0", mac: own.containerMac, mtu: 1400, sandbox }],
    ips: [{ address: "10.1.2.2/24", interface: 0 }],
    routes: [],
    dns: { nameservers: ["10.1.2.1"] },
  });
});

Deno.test("ADD refuses before it changes anything", async () => {
  const cases: readonly (readonly [JsonObject, string, number, string])[] = [
    [
      { mtu: 1600 },
      "",
      codes.invalidNetworkConfig,
      "invalid MTU 1600, must be [0, master MTU(1500)]",
    ],
    [
      { mtu: -100 },
      "",
      codes.invalidNetworkConfig,
      "invalid MTU -100, must be [0, master MTU(1500)]",
    ],
    [
      {},
      "MAC=x",
      codes.invalidEnvironment,
      'Cannot use MAC of CNI_ARGS: expected unicast hardware address like 02:00:00:00:00:01 but received "x"',
    ],
  ];
  for (const [keys, args, code, msg] of cases) {
    const host = new FakeHost({ [show]: [master] });
    const error = await assertRejects(
      () => call("ADD", { master: "out0", ...keys }, { host, args }),
      CniError,
    );
    assertEquals([error.code, error.msg, host.steps], [code, msg, []]);
  }
});

Deno.test("ADD says whose hardware address it is when the link cannot be set up", async () => {
  const { host } = await call("ADD", { master: "out0", mac: asked });
  const [{ meaning } = {}] = host.steps.filter(({ why }) => why.endsWith('"eth0" up'));
  assertEquals(meaning, { exists: `another link on "out0" has ${asked}` });
});
