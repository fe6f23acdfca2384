/**
 * sbr on a real kernel: which tables and rules come of which result, what the main
 * table keeps, many at once in one container, and packets that leave by the interface
 * their request came in by.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { lockExisting } from "../host/lock.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { fail, okJson, outputOf, startPlugin, succeed } from "./harness/plugin.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:veth", "plugin:sbr"] as const;
const residue = { allow: ["sbrFolders"] } as const;

/** An address of the result before. */
interface IpOf {
  readonly address: string;
  readonly gateway?: string;
  readonly interface?: number;
}

const ip4 = { address: "192.168.1.209/24", gateway: "192.168.1.1", interface: 0 } as const;
const ip6 = { address: "fd00::10/64", gateway: "fd00::1", interface: 0 } as const;

interface Options {
  readonly ips?: readonly IpOf[];
  readonly keys?: JsonObject;
  readonly interfaces?: JsonObject[];
  readonly ifname?: string;
  readonly containerId?: string;
  readonly version?: string;
}

function callOf(netns: string, options: Options = {}) {
  const { ips = [ip4], keys = {}, ifname = "net1", version = "0.4.0" } = options;
  const prevResult: JsonObject = {
    cniVersion: version,
    interfaces: options.interfaces ?? [{ name: ifname }],
    ips: ips.map((ip) => ({
      ...ip,
      ...(version < "1.0.0" && { version: ip.address.includes(":") ? "6" : "4" }),
    })),
  };
  return (verb: "ADD" | "CHECK" | "DEL", extra: Partial<PluginCall> = {}): PluginCall => ({
    type: "sbr",
    verb,
    netns,
    ifname,
    config: {
      name: "routed",
      cniVersion: version,
      ...keys,
      ...(verb !== "DEL" && { prevResult }),
    },
    ...(options.containerId !== undefined && { containerId: options.containerId }),
    ...extra,
  });
}

/** The container of the reference's tests. */
async function container(sandbox: Sandbox, name = "a"): Promise<string> {
  const netns = await sandbox.container(name);
  await sandbox.ip(netns, [
    "link set lo up",
    "link add eth0 type veth peer name peer0",
    "link add net1 type veth peer name peer1",
    ...["eth0", "net1", "peer0", "peer1"].map((link) => `link set ${link} up`),
    "addr add 10.0.0.2/24 dev eth0",
    "route add 10.2.0.0/24 via 10.0.0.5 dev eth0",
    "route add default via 10.0.0.1 dev eth0",
    "addr add 192.168.1.209/24 dev net1",
    "route add 192.168.2.0/24 via 192.168.1.2 dev net1",
  ]);
  return netns;
}

async function addIpv6(sandbox: Sandbox, netns: string): Promise<void> {
  await sandbox.ip(netns, ["addr add fd00::10/64 dev net1 nodad"]);
}

const lines = (text: string) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** Rules that are not the kernel's, the first one first. */
async function rules(sandbox: Sandbox, netns: string, family = 4): Promise<string[]> {
  const text = await sandbox.inside(netns, ["ip", `-${family}`, "rule"]);
  return lines(text).map((line) => line.replace(/^\d+:\s+/, ""))
    .filter((line) => !/^from all lookup (local|main|default)$/.test(line));
}

/** Routes of a table, without link-local ones; sorted. */
async function table(sandbox: Sandbox, netns: string, id: number | "main", family = 4) {
  const text = await sandbox.inside(netns, ["ip", `-${family}`, "route", "show", "table", "all"]);
  return lines(text).map((line) => line.replace(/ pref medium$/, ""))
    .filter((line) => !line.includes("fe80::"))
    .filter((line) =>
      / table /.test(line)
        ? line.includes(` table ${id} `) || line.endsWith(` table ${id}`)
        : id === "main"
    )
    .map((line) => line.replace(/ table \S+/, "")).sort();
}

const connected = "192.168.1.0/24 dev net1 proto kernel scope link src 192.168.1.209";
const more = "192.168.2.0/24 via 192.168.1.2 dev net1";
const via = (gateway: string) => `default via ${gateway} dev net1`;
const ofEth0 = [
  "10.0.0.0/24 dev eth0 proto kernel scope link src 10.0.0.2",
  "10.2.0.0/24 via 10.0.0.5 dev eth0",
  "default via 10.0.0.1 dev eth0",
];

for (const known of [false, true]) {
  kernelTest(
    `one address ${
      known ? "whose default route is there already" : ""
    }: a rule, a table, and nothing of eth0`,
    { needs },
    async (sandbox) => {
      const netns = await container(sandbox);
      // A second default route needs a metric of its own.
      if (known) {
        await sandbox.ip(netns, [
          "route del default",
          "route add default via 192.168.1.1 dev net1",
        ]);
      }
      const before = await snapshot(sandbox);
      const call = callOf(netns, { version: "0.3.0" });
      const result = await succeed(sandbox, call("ADD"));
      assertEquals((result["ips"] as JsonObject[])[0]!["address"], ip4.address);
      assertEquals(await rules(sandbox, netns), ["from 192.168.1.209 lookup 100"]);
      assertEquals(await table(sandbox, netns, 100), [connected, more, via("192.168.1.1")]);
      assertEquals(await table(sandbox, netns, "main"), known ? ofEth0.slice(0, 2) : ofEth0);
      await succeed(sandbox, call("DEL"));
      assertEquals(await rules(sandbox, netns), []);
      assertSame(before, await snapshot(sandbox), residue);
    },
  );
}

kernelTest("two addresses: a table each, the second rule first", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  await sandbox.ip(netns, [
    "addr add 192.168.101.209/24 dev net1",
    "route add 192.168.102.0/24 via 192.168.101.2 dev net1",
    "route add 198.51.100.0/24 dev net1 scope link",
  ]);
  const before = await snapshot(sandbox);
  const second = { address: "192.168.101.209/24", gateway: "192.168.101.1", interface: 1 };
  const call = callOf(netns, { ips: [ip4, second] });
  await succeed(sandbox, call("ADD"));
  assertEquals(await rules(sandbox, netns), [
    "from 192.168.101.209 lookup 101",
    "from 192.168.1.209 lookup 100",
  ]);
  const everybodys = "198.51.100.0/24 dev net1 scope link";
  assertEquals(
    await table(sandbox, netns, 100),
    [connected, more, everybodys, via("192.168.1.1")].sort(),
  );
  assertEquals(
    await table(sandbox, netns, 101),
    [
      "192.168.101.0/24 dev net1 proto kernel scope link src 192.168.101.209",
      "192.168.102.0/24 via 192.168.101.2 dev net1",
      everybodys,
      via("192.168.101.1"),
    ].sort(),
  );
  assertEquals(await table(sandbox, netns, "main"), ofEth0);
  await succeed(sandbox, call("CHECK"));
  await succeed(sandbox, call("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("two addresses of one subnet both reach their gateway", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  await sandbox.ip(netns, ["addr add 192.168.1.210/24 dev net1"]);
  await succeed(
    sandbox,
    callOf(netns, { ips: [ip4, { ...ip4, address: "192.168.1.210/24" }] })("ADD"),
  );
  assertEquals(await rules(sandbox, netns), [
    "from 192.168.1.210 lookup 101",
    "from 192.168.1.209 lookup 100",
  ]);
  for (const id of [100, 101]) {
    assert((await table(sandbox, netns, id)).includes(via("192.168.1.1")));
  }
});

kernelTest("a fixed table: rules, and no route is touched", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const before = await snapshot(sandbox);
  const second = { address: "192.168.101.209/24", gateway: "192.168.101.1", interface: 0 };
  const keys = { table: 5000, gateways: ["10.0.0.1", "10.0.0.2"] };
  const call = callOf(netns, { ips: [ip4, second, ip6], keys });
  for (const _ of [1, 2]) await succeed(sandbox, call("ADD"));
  assertEquals(await rules(sandbox, netns), [
    "from 192.168.101.209 lookup 5000",
    "from 192.168.1.209 lookup 5000",
  ]);
  assertEquals(await rules(sandbox, netns, 6), ["from fd00::10 lookup 5000"]);
  assertSame(before, await snapshot(sandbox), { ...residue, only: /routes$/ });
  await succeed(sandbox, call("CHECK"));
  await succeed(sandbox, call("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest(
  "gateways come before those of the result, each for its family",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    await addIpv6(sandbox, netns);
    // Also before a default route that the interface has.
    await sandbox.ip(netns, ["route del default", "route add default via 192.168.1.1 dev net1"]);
    const before = await snapshot(sandbox);
    const cases: [string[], IpOf[], string | undefined, string | undefined][] = [
      [["192.168.1.254"], [ip4], "192.168.1.254", undefined],
      [["fd00::1"], [{ address: ip6.address }], undefined, "fd00::1"],
      [["192.168.1.254", "fd00::fe"], [ip4, ip6], "192.168.1.254", "fd00::fe"],
      [["fd00::fe"], [ip4, ip6], "192.168.1.1", "fd00::fe"],
    ];
    for (const [gateways, ips, expected4, expected6] of cases) {
      const call = callOf(netns, { ips, keys: { gateways } });
      await succeed(sandbox, call("ADD"));
      const defaults = async (family: number) =>
        [...await table(sandbox, netns, 100, family), ...await table(sandbox, netns, 101, family)]
          .filter((line) => line.startsWith("default"));
      assertEquals(await defaults(4), expected4 ? [via(expected4)] : []);
      assertEquals(await defaults(6), expected6 ? [`${via(expected6)} metric 1024`] : []);
      await succeed(sandbox, call("DEL"));
      assertSame(before, await snapshot(sandbox), residue);
    }
  },
);

kernelTest("IPv6: a route through a link-local gateway goes along, what is not ours stays", {
  needs,
}, async (sandbox) => {
  const netns = await container(sandbox);
  await addIpv6(sandbox, netns);
  await sandbox.ip(netns, [
    "route add 2001:db8::/32 via fe80::1 dev net1",
    "addr add 172.16.0.9/24 dev net1",
  ]);
  const before = await snapshot(sandbox);
  const call = callOf(netns, { ips: [ip6] });
  await succeed(sandbox, call("ADD"));
  assertEquals(await table(sandbox, netns, 100, 6), [
    `${via("fd00::1")} metric 1024`,
    "fd00::/64 dev net1 proto kernel metric 256",
  ]);
  const all = await sandbox.inside(netns, ["ip", "-6", "route", "show", "table", "100"]);
  assertStringIncludes(all, "2001:db8::/32 via fe80::1 dev net1");
  const main = await sandbox.inside(netns, ["ip", "-6", "route", "show", "table", "main"]);
  assertStringIncludes(main, "fe80::/64 dev net1");
  assert(!main.includes("fd00::"), main);
  // IPv4 of the interface is none of this attachment's.
  assertSame(before, await snapshot(sandbox), { ...residue, only: /sysctls|links/ });
  assertEquals(
    (await table(sandbox, netns, "main")).filter((line) => line.includes("net1")).length,
    3,
  );
  await succeed(sandbox, call("DEL"));
  const both = callOf(netns);
  await succeed(sandbox, both("ADD"));
  assertEquals((await table(sandbox, netns, "main")).filter((line) => line.includes("net1")), [
    "172.16.0.0/24 dev net1 proto kernel scope link src 172.16.0.9",
  ]);
  await succeed(sandbox, both("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest(
  "source hints keep the subnets in the main table, in both families",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    await addIpv6(sandbox, netns);
    const before = await snapshot(sandbox);
    const call = callOf(netns, { ips: [ip4, ip6], keys: { addSourceHints: true } });
    for (const _ of [1, 2]) await succeed(sandbox, call("ADD"));
    assertEquals(await rules(sandbox, netns), ["from 192.168.1.209 lookup 100"]);
    assertEquals(await rules(sandbox, netns, 6), ["from fd00::10 lookup 101"]);
    assertEquals(await table(sandbox, netns, "main"), [...ofEth0, connected].sort());
    assertEquals(await table(sandbox, netns, "main", 6), [
      "fd00::/64 dev net1 proto kernel metric 256",
      "fd00::/64 dev net1 src fd00::10 metric 255",
    ]);
    assertEquals(await table(sandbox, netns, 100), [connected, more, via("192.168.1.1")]);
    await succeed(sandbox, call("CHECK"));
    await succeed(sandbox, call("DEL"));
    assertSame(before, await snapshot(sandbox), residue);
  },
);

kernelTest("what is wrong is a sentence, and changes nothing", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const before = await snapshot(sandbox);
  const bare = { address: ip4.address };
  await sandbox.ip(netns, ["route del 192.168.2.0/24 via 192.168.1.2 dev net1"]);
  const cases: [Options, number, string][] = [
    [
      { keys: { gateways: ["10.0.0.1", "10.0.0.2"] } },
      7,
      "gateways list contains multiple IPv4 addresses: 10.0.0.1 and 10.0.0.2",
    ],
    [
      { keys: { gateways: ["fd00::1", "fd00::2"] } },
      7,
      "gateways list contains multiple IPv6 addresses: fd00::1 and fd00::2",
    ],
    [
      { keys: { gateways: ["1.1.1.1", "fd00::2", "x"] } },
      7,
      "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)",
    ],
    [{ keys: { gateways: ["10.0.0.300"] } }, 7, "invalid static gateway IP address: 10.0.0.300"],
    [{ ips: [] }, 7, "No IP addresses supplied on interface: net1"],
    [{ ips: [bare] }, 7, 'Cannot route from "192.168.1.209/24": no IPv4 gateway is known'],
    [{ ifname: "net9" }, 103, 'Cannot find network interface "net9"'],
    [{ keys: { gateways: ["10.99.0.1"] } }, 100, "add route 0.0.0.0/0 to table 100"],
  ];
  for (const [options, code, message] of cases) {
    const error = await fail(sandbox, callOf(netns, options)("ADD"));
    assertStringIncludes(error.msg, message);
    assertEquals(error.code, code, error.msg);
  }
  const chained = { ...callOf(netns)("ADD"), config: { name: "routed", cniVersion: "0.2.0" } };
  assertStringIncludes((await fail(sandbox, chained)).msg, "must be called as chained plugin");
  await succeed(sandbox, callOf(netns, { ips: [bare], keys: { gateways: [] } })("ADD"));
  assertEquals(await table(sandbox, netns, 100), [connected]);
  await succeed(sandbox, callOf(netns)("DEL"));
  await sandbox.ip(netns, ["route add 192.168.2.0/24 via 192.168.1.2 dev net1"]);
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("addresses of other interfaces touch nothing", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const before = await snapshot(sandbox);
  const interfaces = [{ name: "eth0", sandbox: netns }, { name: "net1", sandbox: netns }];
  const ips = [{ address: "10.0.0.2/24", gateway: "10.0.0.1", interface: 0 }];
  await succeed(sandbox, callOf(netns, { ips, interfaces })("ADD"));
  assertSame(before, await snapshot(sandbox));
});

kernelTest(
  "tables that others use are passed over: by a rule, or by a route alone",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    await addIpv6(sandbox, netns);
    await sandbox.ip(netns, [
      "rule add from 10.0.0.2 table 100",
      "route add 10.9.0.0/16 dev eth0 table 101",
    ]);
    await sandbox.inside(netns, ["ip", "-6", "rule", "add", "from", "fd00::9", "table", "102"]);
    const before = await snapshot(sandbox);
    const call = callOf(netns, { ips: [ip4, ip6] });
    await succeed(sandbox, call("ADD"));
    assertEquals(await rules(sandbox, netns), [
      "from 192.168.1.209 lookup 103",
      "from 10.0.0.2 lookup 100",
    ]);
    assertEquals((await rules(sandbox, netns, 6))[0], "from fd00::10 lookup 104");
    await succeed(sandbox, call("DEL"));
    assertSame(before, await snapshot(sandbox), residue);
  },
);

kernelTest("CHECK tells what is missing", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  const call = callOf(netns);
  await succeed(sandbox, call("ADD"));
  await sandbox.ip(netns, ["route del default table 100", "rule del from 192.168.1.209 table 100"]);
  const { code, msg } = await fail(sandbox, call("CHECK"));
  assertEquals(code, 105);
  assertStringIncludes(msg, "rule from 192.168.1.209/32 to table 100 is missing");
  assertStringIncludes(msg, "route 0.0.0.0/0 via 192.168.1.1");
  await succeed(sandbox, call("ADD"));
  await succeed(sandbox, call("CHECK"));
});

kernelTest(
  "DEL after the interface is gone removes its rules, and no file stands where a namespace was",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    const call = callOf(netns, { ips: [ip4] });
    await succeed(sandbox, call("ADD"));
    await sandbox.ip(netns, ["link del net1"]);
    await succeed(sandbox, call("DEL"));
    assertEquals(await rules(sandbox, netns), []);
    const nowhere = `${sandbox.dir}/netns`;
    for (const path of ["", nowhere]) await succeed(sandbox, call("DEL", { netns: path }));
    assertEquals([...Deno.readDirSync(sandbox.dir)].map(({ name }) => name), []);
  },
);

kernelTest("many at once in one container get tables of their own", { needs }, async (sandbox) => {
  const netns = await sandbox.container("a");
  const count = 8;
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  await sandbox.ip(
    netns,
    numbers.flatMap((n) => [
      `link add net${n} type veth peer name peer${n}`,
      `link set net${n} up`,
      `link set peer${n} up`,
      `addr add 10.77.${n}.2/24 dev net${n}`,
      `addr add fd77:${n}::2/64 dev net${n} nodad`,
    ]),
  );
  const before = await snapshot(sandbox);
  const calls = numbers.map((n) =>
    callOf(netns, {
      ifname: `net${n}`,
      ips: [
        { address: `10.77.${n}.2/24`, gateway: `10.77.${n}.1`, interface: 0 },
        { address: `fd77:${n}::2/64`, gateway: `fd77:${n}::1`, interface: 0 },
      ],
    })
  );
  const all = async (verb: "ADD" | "DEL") => {
    const started = calls.map((call) => ({
      call: call(verb),
      running: startPlugin(sandbox, call(verb)),
    }));
    for (const { call, running } of started) okJson(call, await outputOf(call, running));
  };
  await all("ADD");
  const found = [...await rules(sandbox, netns), ...await rules(sandbox, netns, 6)];
  const tables = found.map((line) => Number(line.split(" ").at(-1))).sort((a, b) => a - b);
  assertEquals(tables, Array.from({ length: 2 * count }, (_, index) => 100 + index));
  for (const call of calls) await succeed(sandbox, call("CHECK"));
  await all("DEL");
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest(
  "an ADD waits for whoever has the lock of the namespace's file",
  { needs },
  async (sandbox) => {
    const netns = await container(sandbox);
    const call = callOf(netns)("ADD");
    const locking = await lockExisting(netns, { deadline: 1000 });
    assert(locking?.is === "locked");
    const running = startPlugin(sandbox, call);
    // Time enough for an ADD that does not wait.
    const first = await Promise.race([
      running.finished.then(() => "ended"),
      new Promise((resolve) => setTimeout(() => resolve("waits"), 1500)),
    ]);
    assertEquals(first, "waits");
    assertEquals(await rules(sandbox, netns), []);
    locking.file.close();
    okJson(call, await outputOf(call, running));
    assertEquals(await rules(sandbox, netns), ["from 192.168.1.209 lookup 100"]);
  },
);

kernelTest(
  "replies leave by the interface that the request came in by",
  { needs },
  async (sandbox) => {
    const netns = await sandbox.container("a");
    // A router of its own behind each interface, and behind both routers the same client's address.
    const sides = [
      { ifname: "eth0", net: 1, client: "one" },
      { ifname: "net1", net: 2, client: "two" },
    ] as const;
    const client4 = "203.0.113.9";
    const client6 = "2001:db8:9::9";
    for (const { ifname, net, client } of sides) {
      const outside = await sandbox.container(client);
      await sandbox.ip(netns, [
        `link add ${ifname} type veth peer name peer netns ${outside}`,
        `addr add 10.66.${net}.2/24 dev ${ifname}`,
        `addr add fd66:${net}::2/64 dev ${ifname} nodad`,
        `link set ${ifname} up`,
      ]);
      await sandbox.ip(outside, [
        "link set lo up",
        `addr add 10.66.${net}.1/24 dev peer`,
        `addr add fd66:${net}::1/64 dev peer nodad`,
        "link set peer up",
        `addr add ${client4}/32 dev lo`,
        `addr add ${client6}/128 dev lo nodad`,
        `route add 10.66.${net}.2/32 dev peer src ${client4}`,
        `route add fd66:${net}::2/128 dev peer src ${client6}`,
      ]);
    }
    await sandbox.ip(netns, [
      "link set lo up",
      "route add default via 10.66.1.1 dev eth0",
      "route add ::/0 via fd66:1::1 dev eth0",
    ]);
    const server = sandbox.agent(netns);
    const port4 = await server.listen("tcp");
    const port6 = await server.listen("tcp", { address: "::" });
    const reaches = async (net: number, client: string) => {
      const agent = sandbox.agent(await sandbox.container(client));
      const v4 = await agent.call(`10.66.${net}.2`, port4);
      const v6 = await agent.call(`fd66:${net}::2`, port6);
      return [v4.is, v6.is];
    };
    assertEquals(await reaches(1, "one"), ["answered", "answered"]);
    const before = await reaches(2, "two");
    assert(!before.includes("answered"), `replies come back without sbr: ${before}`);
    const call = callOf(netns, {
      ips: [
        { address: "10.66.2.2/24", gateway: "10.66.2.1", interface: 0 },
        { address: "fd66:2::2/64", gateway: "fd66:2::1", interface: 0 },
      ],
    });
    await succeed(sandbox, call("ADD"));
    assertEquals(await reaches(1, "one"), ["answered", "answered"]);
    assertEquals(await reaches(2, "two"), ["answered", "answered"]);
    await succeed(sandbox, call("DEL"));
    assert(!(await reaches(2, "two")).includes("answered"));
  },
);
