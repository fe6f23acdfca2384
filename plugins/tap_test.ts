import { assertEquals, assertRejects } from "@std/assert";
import { decodeOrThrow } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall } from "../cni/testing.ts";
import type { JsonObject, Result, Verb } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { describe } from "../host/step.ts";
import { FakeHost, testLink } from "../ns/testing.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { compareTap, planTap, plugin } from "./tap.ts";

const conf = (config: JsonObject) => decodeOrThrow(plugin.conf, config, "configuration") as Conf;
type Conf = Parameters<typeof planTap>[0];

const facts = {
  own: {
    hostVeth: "veth00000001",
    temporaryName: "cni000000000001",
    hostMac: "02:00:00:00:00:01",
    containerMac: "02:00:00:00:00:02",
    alias: "cni:net/c1/tap0",
  },
  netns: { path: "/run/netns/c1" },
  ifName: "tap0",
  mac: "02:00:00:00:00:02",
};
const inside = "nsenter --net=/run/netns/c1 ip";

function lines(config: JsonObject): string[] {
  return planTap(conf(config), facts).map(({ do: action }) => describe(action));
}

Deno.test("planTap() makes a device with defaults in one process", () => {
  assertEquals(lines({}), [
    `${inside} tuntap add dev tap0 mode tap`,
    `${inside} link set dev tap0 alias cni:net/c1/tap0`,
    `${inside} link set dev tap0 address 02:00:00:00:00:02`,
  ]);
  assertEquals(processes(planTap(conf({}), facts)), 1);
});

Deno.test("planTap() drops no key, in one process", () => {
  const all = { multiQueue: true, mtu: 9000, owner: 0, group: 107, bridge: "br1" };
  assertEquals(lines(all), [
    `${inside} tuntap add dev tap0 mode tap user 0 group 107 multi_queue vnet_hdr`,
    `${inside} link set dev tap0 alias cni:net/c1/tap0`,
    `${inside} link set dev tap0 mtu 9000 address 02:00:00:00:00:02`,
    `${inside} link set dev tap0 master br1`,
  ]);
  assertEquals(processes(planTap(conf(all), facts)), 1);
});

Deno.test("planTap() makes the headers that the reference makes", () => {
  const selinuxContext = "system_u:system_r:container_t:s0";
  const made = (config: JsonObject) =>
    /mode tap ?(.*)$/.exec(lines(config)[0]!.replaceAll(/ (user|group) \d+/g, ""))![1];
  const cases: readonly (readonly [JsonObject, string])[] = [
    [{ owner: 1 }, ""],
    [{ group: 1 }, ""],
    [{ multiQueue: true }, "multi_queue"],
    [{ owner: 1, group: 1 }, "pi vnet_hdr"],
    [{ owner: 1, group: 1, multiQueue: true }, "multi_queue vnet_hdr"],
    [{ owner: 1, group: 1, selinuxContext }, ""],
  ];
  assertEquals(cases.map(([config]) => made(config)), cases.map(([, words]) => words));
});

Deno.test("planTap() makes the device alone under an SELinux context", () => {
  const selinuxContext = "system_u:system_r:container_t:s0";
  const steps = planTap(conf({ selinuxContext, bridge: "br1" }), facts);
  assertEquals(processes(steps), 2);
  const [make, ...others] = steps.map(({ do: action }) => describe(action));
  const words = `sh ${selinuxContext} ip tuntap add dev tap0 mode tap`;
  assertEquals(make!.endsWith(words), true, make);
  assertEquals(others.every((line) => line.startsWith(`${inside} link set`)), true);
});

Deno.test("planTap() takes back the device alone: the rest goes with it", () => {
  const steps = planTap(conf({ bridge: "br1", mtu: 1400 }), facts);
  assertEquals(steps.map(({ undo }) => undo && describe(undo)), [
    `${inside} link del dev tap0`,
    undefined,
    undefined,
    undefined,
  ]);
});

Deno.test("the configuration is checked as a whole", async () => {
  const config = {
    multiQueue: 1,
    mtu: 65522,
    mac: "01:00:00:00:00:01",
    owner: -1,
    group: 2 ** 32 - 1,
    selinuxContext: "a\nb",
    bridge: "a/b",
    args: { cni: { mac: "x" } },
  };
  const { code, msg } = await assertRejects(() => call("ADD", { config }), CniError);
  assertEquals(code, codes.invalidNetworkConfig);
  const paths = msg.replace("Cannot use network configuration: ", "").split("; ")
    .map((issue) => issue.split(":")[0]!);
  assertEquals(paths, Object.keys(config).map((key) => key === "args" ? "args.cni.mac" : key));
});

const sandbox = "/proc/self/ns/net";
const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });
const all = `nsenter --net=${sandbox} ip -d -j addr show`;

/** A link as iproute2 shows it. */
function shown(ifname: string, info_kind: string, rest: object = {}): object {
  return { ifindex: 5, ifname, flags: ["UP"], mtu: 1500, linkinfo: { info_kind }, ...rest };
}

function call(
  verb: Exclude<Verb, "VERSION">,
  { config, host = new FakeHost(), args }: { config: JsonObject; host?: FakeHost; args?: string },
): Promise<Result | undefined> {
  const test = { config, netns: sandbox, ...(args !== undefined && { args }) };
  return callPlugin(plugin, verb, { ...makeCall(test), netnsOverride: true }, { host });
}

Deno.test("ADD reports address and MTU and sets the device up", async () => {
  const host = new FakeHost();
  const dns = { domain: "example.com" };
  assertEquals(await call("ADD", { config: { dns }, host }), {
    interfaces: [{ name: "eth0", mac: own.containerMac, mtu: 1500, sandbox }],
    ips: [],
    routes: [],
    dns,
  });
  assertEquals(host.lines.at(-1), `nsenter --net=${sandbox} ip link set dev eth0 up`);
  assertEquals([processes(host.steps), host.asked], [1, []]);
});

Deno.test("ADD takes the address from the strongest source", async () => {
  const config = { mac: "02:00:00:00:01:01", mtu: 1400, owner: 0, group: 0 };
  const args = "IgnoreUnknown=1;MAC=02:00:00:00:01:02";
  const inArgs = { args: { cni: { mac: "02:00:00:00:01:03" } } };
  const runtimeConfig = { mac: "02:00:00:00:01:04" };
  const calls = [
    { config },
    { config, args },
    { config: { ...config, ...inArgs }, args },
    { config: { ...config, ...inArgs, runtimeConfig }, args },
  ];
  const results = await Promise.all(calls.map((it) => call("ADD", it)));
  assertEquals(
    results.map((result) => result!.interfaces[0]),
    [1, 2, 3, 4].map((n) => ({ name: "eth0", mac: `02:00:00:00:01:0${n}`, mtu: 1400, sandbox })),
  );
});

Deno.test("ADD looks for the bridge before it changes anything", async () => {
  const links = [shown("lo", "x", { linkinfo: {} }), shown("p0", "veth"), shown("br1", "bridge")];
  const host = new FakeHost({ [all]: links });
  await call("ADD", { config: { bridge: "br1" }, host });
  assertEquals([host.asked, processes(host.steps)], [[all], 1]);
  const refused = [
    ["br0", codes.objectMissing, "no such link in the container"],
    ["p0", codes.invalidNetworkConfig, "it is another kind of link"],
  ] as const;
  for (const [bridge, code, state] of refused) {
    const host = new FakeHost({ [all]: links });
    const error = await assertRejects(() => call("ADD", { config: { bridge }, host }), CniError);
    assertEquals([error.code, error.msg, host.lines], [
      code,
      `Cannot use bridge "${bridge}": ${state}; bridges there: "br1"`,
      [],
    ]);
  }
});

const made = { type: "tap", multiQueue: false, owner: undefined, group: undefined } as const;

function problems(config: JsonObject, link: Parameters<typeof testLink>[0]): string[] {
  return compareTap(testLink({ kind: "tun", tun: made, ...link }), conf(config))
    .map((line) => line.replace('container interface "eth0" has ', ""));
}

Deno.test("compareTap() finds a device as it was made", () => {
  assertEquals(problems({}, {}), []);
  assertEquals(problems({}, { mtu: 9000, master: "br1" }), []);
  const config = { multiQueue: true, mtu: 9000, owner: 0, group: 4_000_000_000, bridge: "br1" };
  const tun = { ...made, multiQueue: true, owner: "root", group: 4_000_000_000 };
  assertEquals(problems(config, { tun, mtu: 9000, master: "br1" }), []);
});

Deno.test("compareTap() names every difference", () => {
  const config = { multiQueue: true, mtu: 9000, owner: 1, bridge: "br1" };
  const tun = { type: "tun", multiQueue: false, owner: "root", group: 7 } as const;
  assertEquals(problems(config, { tun, master: "br2" }), [
    "type tun, expected tap",
    "multiQueue false, expected true",
    "owner 0, expected 1",
    "group 7, expected none",
    "MTU 1500, expected 9000",
    "bridge br2, expected br1",
  ]);
  assertEquals(problems({ bridge: "br1" }, {}), ["bridge none, expected br1"]);
});

Deno.test("compareTap() believes a name that no file of this host has", () => {
  const tun = { ...made, owner: "somebody of a directory service" };
  assertEquals(problems({ owner: 70_000 }, { tun }), []);
  assertEquals(problems({}, { tun }), [`owner ${tun.owner}, expected none`]);
});

Deno.test("compareTap() leaves a link of another kind to the comparison of kinds", () => {
  assertEquals(problems({ owner: 1 }, { kind: "veth", tun: undefined }), []);
});
