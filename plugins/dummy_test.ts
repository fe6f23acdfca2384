import { assertEquals, assertRejects } from "@std/assert";
import { anyObject } from "../cni/decode.ts";
import { CniError, codes } from "../cni/error.ts";
import type { Plugin } from "../cni/plugin.ts";
import { callPlugin } from "../cni/request.ts";
import { makeCall, spy, testTraits } from "../cni/testing.ts";
import type { IpConfig, JsonObject, Result, Verb } from "../cni/types.ts";
import { emptyResult } from "../cni/types.ts";
import { processes } from "../host/fold.ts";
import { FakeHost } from "../ns/testing.ts";
import { attachmentNames } from "../recipes/attachment.ts";
import { plugin } from "./dummy.ts";

const sandbox = "/proc/self/ns/net";
const inside = `nsenter --net=${sandbox} ip`;
const own = await attachmentNames({ network: "mynet", containerId: "dummy", ifName: "eth0" });

/** An IPAM plugin in process that hands these out. */
function ipamWith(ips: readonly IpConfig[], type = "host-local") {
  const add = () => Promise.resolve({ ...emptyResult(), ips: [...ips], dns: { domain: "ipam" } });
  const ipam = type === "dhcp" ? testTraits.leasing : testTraits.local;
  return { ...spy(anyObject(), { type, ipam, add }), type };
}

const address = { address: "10.9.9.9/32" };

async function call(
  verb: Exclude<Verb, "VERSION">,
  { config = {}, host = new FakeHost(), ipam = ipamWith([address]), netns = sandbox, args = "" }: {
    config?: JsonObject;
    host?: FakeHost;
    ipam?: ReturnType<typeof ipamWith>;
    netns?: string;
    args?: string;
  } = {},
): Promise<Result | undefined> {
  const whole = { ipam: { type: ipam.type }, ...config };
  const made = { ...makeCall({ config: whole, netns, args }), netnsOverride: true };
  const load = () => Promise.resolve(ipam.plugin as Plugin);
  return await callPlugin(plugin, verb, made, { host, load, inProcessIfMissing: true });
}

Deno.test("ADD makes the link, marks it and gives it the addresses, in one process", async () => {
  const host = new FakeHost();
  assertEquals(await call("ADD", { host }), {
    interfaces: [{ name: "eth0", mac: own.containerMac, mtu: 1500, sandbox }],
    ips: [{ ...address, interface: 0 }],
    routes: [],
    dns: { domain: "ipam" },
  });
  assertEquals(host.lines.filter((line) => line.includes(" ip ")), [
    `${inside} link add name eth0 address ${own.containerMac} type dummy`,
    `${inside} link set dev eth0 alias ${own.alias}`,
    `${inside} addr add 10.9.9.9/32 dev eth0`,
    `${inside} link set dev eth0 up`,
  ]);
  assertEquals([processes(host.steps), host.asked], [1, []]);
});

Deno.test("ADD makes IPv6 addresses usable at once: nobody else is on the link", async () => {
  const host = new FakeHost();
  await call("ADD", { host, ipam: ipamWith([{ address: "fd00::9/128" }]) });
  assertEquals(host.lines.filter((line) => line.includes("addr add")), [
    `${inside} addr add fd00::9/128 dev eth0 nodad`,
  ]);
  assertEquals(host.asked, []);
});

Deno.test("ADD does not read CNI_ARGS", async () => {
  const { interfaces } = (await call("ADD", { args: "MAC=02:00:00:00:00:77;K" }))!;
  assertEquals(interfaces[0]!.mac, own.containerMac);
});

Deno.test("ADD puts the configuration's dns in place of IPAM's", async () => {
  const dns = { nameservers: ["10.9.9.53"] };
  assertEquals((await call("ADD", { config: { dns } }))!.dns, dns);
});

Deno.test("ADD asks an IPAM plugin that may use the network when the link is up", async () => {
  for (const [type, done] of [["dhcp", 3], ["host-local", 0]] as const) {
    const host = new FakeHost();
    let before: number | undefined;
    const ipam = ipamWith([address], type);
    const add = ipam.plugin.add;
    ipam.plugin.add = (req) => {
      before = host.steps.length;
      return add(req);
    };
    await call("ADD", { host, ipam });
    assertEquals(before, done);
  }
});

Deno.test("ADD and CHECK need an IPAM plugin, before anything else", async () => {
  for (const verb of ["ADD", "CHECK", "STATUS"] as const) {
    for (const config of [{ ipam: null }, { ipam: {} }, { ipam: { type: "" } }]) {
      const error = await assertRejects(() => call(verb, { config, netns: "/none" }), CniError);
      assertEquals([error.code, error.msg], [
        codes.invalidNetworkConfig,
        "Cannot use network configuration: dummy interface requires an IPAM configuration",
      ]);
    }
  }
});

Deno.test("ADD refuses an IPAM plugin that gives no address", async () => {
  const host = new FakeHost();
  const error = await assertRejects(() => call("ADD", { host, ipam: ipamWith([]) }), CniError);
  assertEquals([error.code, host.lines], [codes.noAddress, []]);
});

/** The link as iproute2 shows it. */
const shown = {
  ifindex: 2,
  ifname: "eth0",
  flags: ["BROADCAST", "NOARP", "UP", "LOWER_UP"],
  mtu: 1500,
  address: own.containerMac,
  ifalias: own.alias,
  linkinfo: { info_kind: "dummy" },
  addr_info: [{ family: "inet", local: "10.9.9.9", prefixlen: 32, scope: "global" }],
};

async function check(link: object | undefined, routes: object[] = []): Promise<Result | undefined> {
  const missing = { stderr: 'Device "eth0" does not exist.\n' };
  const host = new FakeHost({
    [`${inside} -d -j addr show dev eth0`]: link ? [link] : missing,
    [`${inside} -4 -N -j route show table all`]: routes,
    [`${inside} -6 -N -j route show table all`]: [],
  });
  const prevResult = {
    cniVersion: "1.1.0",
    interfaces: [{ name: "eth0", mac: own.containerMac, mtu: 1500, sandbox }],
    ips: [{ ...address, interface: 0 }],
    routes: [{ dst: "10.8.0.0/16" }],
  };
  return await call("CHECK", { host, config: { prevResult } });
}

const route = { dst: "10.8.0.0/16", dev: "eth0", protocol: "3", scope: "0" };

Deno.test("CHECK compares kind, address, state, addresses and routes", async () => {
  await check(shown, [route]);
  const damaged: readonly (readonly [object | undefined, object[], string])[] = [
    [undefined, [route], 'container interface "eth0" is missing'],
    [
      { ...shown, linkinfo: { info_kind: "veth" } },
      [route],
      'container interface "eth0" is of kind veth, expected dummy',
    ],
    [
      { ...shown, address: "02:00:00:00:00:09" },
      [route],
      `container interface "eth0" has hardware address 02:00:00:00:00:09, expected ${own.containerMac}`,
    ],
    [{ ...shown, flags: ["NOARP"] }, [route], 'container interface "eth0" is down'],
    [{ ...shown, addr_info: [] }, [route], 'container interface "eth0" lacks address 10.9.9.9/32'],
    [shown, [], "route 10.8.0.0/16 is missing from table 254"],
  ];
  for (const [link, routes, problem] of damaged) {
    const error = await assertRejects(() => check(link, routes), CniError);
    assertEquals([error.code, error.msg], [
      codes.checkFailed,
      `Cannot confirm attachment to network "mynet": ${problem}`,
    ]);
  }
});

Deno.test("DEL without a namespace still releases the addresses", async () => {
  const [host, ipam] = [new FakeHost(), ipamWith([])];
  await call("DEL", { host, ipam, netns: "" });
  assertEquals([host.asked, host.lines, ipam.seen.map(({ verb }) => verb)], [[], [], ["DEL"]]);
});

Deno.test("STATUS and GC are those of the IPAM plugin", async () => {
  const ipam = ipamWith([]);
  const host = new FakeHost();
  await call("STATUS", { host, ipam });
  await call("GC", { host, ipam, config: { "cni.dev/valid-attachments": [] } });
  assertEquals([host.asked, ipam.seen.map(({ verb }) => verb)], [[], ["STATUS", "GC"]]);
});
