/**
 * vrf on a real kernel: what goes along into a VRF and comes back, which table a VRF
 * gets, several interfaces, many at once in one container, and packets between two
 * networks of the same addresses.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { callPlugin, fail, okJson, succeed } from "./harness/plugin.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const needs = ["link:vrf", "link:dummy", "plugin:vrf"] as const;
const residue = { allow: ["vrfFolders", "vrfRules"] } as const;

interface Options {
  readonly ifname?: string;
  readonly vrf?: string;
  readonly table?: number;
  readonly version?: string;
  readonly containerId?: string;
}

function callOf(netns: string, options: Options = {}) {
  const { ifname = "dummy0", vrf = "red", table, version = "0.3.1" } = options;
  const prevResult: JsonObject = {
    cniVersion: version,
    interfaces: [{ name: ifname }],
    ips: [{
      ...(version < "1.0.0" && { version: "4" }),
      address: "10.0.0.2/24",
      gateway: "10.0.0.1",
      interface: 0,
    }],
    routes: [{ dst: "10.10.10.0/24", gw: "10.0.0.1" }],
    dns: { nameservers: ["10.0.0.9"] },
  };
  return (verb: "ADD" | "CHECK" | "DEL", extra: JsonObject = {}): PluginCall => ({
    type: "vrf",
    verb,
    netns,
    ifname,
    containerId: options.containerId ?? "c1",
    config: {
      name: "routed",
      cniVersion: version,
      vrfName: vrf,
      ...(table !== undefined && { table }),
      ...(verb !== "DEL" && { prevResult }),
      ...extra,
    },
  });
}

/** A container with links that are up, each with these lines of `ip`. */
async function container(
  sandbox: Sandbox,
  links: Readonly<Record<string, readonly string[]>> = { dummy0: [] },
): Promise<string> {
  const netns = await sandbox.container();
  for (const [name, lines] of Object.entries(links)) {
    await sandbox.ip(netns, [`link add ${name} type dummy`, `link set ${name} up`, ...lines]);
  }
  return netns;
}

const plain = [
  "addr add 10.0.0.2/24 dev dummy0",
  "addr add abcd:1234:ffff::cdde/64 dev dummy0",
  "route add 10.10.10.0/24 via 10.0.0.1 dev dummy0 src 10.0.0.2",
  "route add 1111:dddd::/80 via abcd:1234:ffff::1 dev dummy0",
];

interface Shown {
  readonly ifname: string;
  readonly master?: string;
  readonly flags: readonly string[];
  readonly linkinfo?: { readonly info_kind: string; readonly info_data?: { table?: number } };
  readonly addr_info: readonly {
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
    readonly tentative?: boolean;
  }[];
}

/** Links by name. */
async function links(sandbox: Sandbox, netns: string): Promise<ReadonlyMap<string, Shown>> {
  const all = await sandbox.ipJson<Shown>(netns, "addr show");
  return new Map(all.map((link) => [link.ifname, link]));
}

/** Tables of VRFs by name. */
async function vrfs(sandbox: Sandbox, netns: string): Promise<Record<string, number>> {
  const all = [...(await links(sandbox, netns)).values()];
  return Object.fromEntries(
    all.filter(({ linkinfo }) => linkinfo?.info_kind === "vrf")
      .map(({ ifname, linkinfo }) => [ifname, linkinfo!.info_data!.table!]),
  );
}

async function masterOf(sandbox: Sandbox, netns: string, link: string) {
  return (await links(sandbox, netns)).get(link)?.master;
}

async function globals(sandbox: Sandbox, netns: string, link: string): Promise<string[]> {
  const shown = (await links(sandbox, netns)).get(link)!;
  return shown.addr_info.filter(({ scope, tentative }) => scope === "global" && !tentative)
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort();
}

/** Routes of a table of both families, but for addresses of the container's own; sorted. */
async function routes(sandbox: Sandbox, netns: string, table: number | "main"): Promise<string[]> {
  const texts = await Promise.all(
    [4, 6].map((family) =>
      sandbox.inside(netns, ["ip", `-${family}`, "route", "show", "table", String(table)])
        .catch(() => "")
    ),
  );
  return texts.join("\n").split("\n").map((line) => line.trim())
    .filter((line) => line && !/^(local|broadcast|anycast|multicast) |fe80::/.test(line))
    .map((line) => line.replace(/ pref medium$/, "")).sort();
}

kernelTest(
  "the result passes, the VRF is made and has the interface",
  { needs },
  async (sandbox) => {
    for (const version of ["0.3.1", "1.0.0", "1.1.0"]) {
      const netns = await container(sandbox, { dummy0: plain });
      const call = callOf(netns, { version });
      const { prevResult } = call("ADD").config as JsonObject;
      assertEquals(await succeed(sandbox, call("ADD")), prevResult as JsonObject);
      const all = await links(sandbox, netns);
      assertEquals(all.get("dummy0")!.master, "red");
      assertEquals(all.get("red")!.linkinfo, {
        ...all.get("red")!.linkinfo,
        info_kind: "vrf",
        info_data: { table: 1 },
      });
      assert(all.get("red")!.flags.includes("UP"));
      await sandbox.removeNetns("a");
      await succeed(sandbox, call("DEL"));
    }
  },
);

kernelTest("addresses and routes go along and come back", { needs }, async (sandbox) => {
  const netns = await container(sandbox, { dummy0: plain });
  const before = await snapshot(sandbox);
  const main = await routes(sandbox, netns, "main");
  const call = callOf(netns);
  await succeed(sandbox, call("ADD"));
  const inside = await routes(sandbox, netns, 1);
  assertEquals(inside, main);
  assert(inside.includes("10.10.10.0/24 via 10.0.0.1 dev dummy0 src 10.0.0.2"));
  assert(inside.includes("1111:dddd::/80 via abcd:1234:ffff::1 dev dummy0 metric 1024"));
  assert(inside.every((line) => line.includes("dev dummy0")));
  assertEquals(await routes(sandbox, netns, "main"), []);
  assertEquals(await globals(sandbox, netns, "dummy0"), [
    "10.0.0.2/24",
    "abcd:1234:ffff::cdde/64",
  ]);
  await succeed(sandbox, call("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

const rich = [
  "addr add 10.0.0.2/24 brd + dev dummy0",
  "addr add 10.0.0.3/24 dev dummy0",
  "addr add 10.5.0.1/32 dev dummy0",
  "addr add fd00::2/64 dev dummy0 nodad",
  // Not marked any more, as if no duplicate had been found.
  "addr add fd00::3/64 dev dummy0 metric 50 nodad",
  "addr replace fd00::3/64 dev dummy0 metric 50",
  "addr add fd00:5::1/128 dev dummy0 noprefixroute nodad",
  "addr add fe80::77/64 dev dummy0 nodad",
  "route add 10.0.9.9 dev dummy0 scope link",
  "route add default via 10.0.9.9 dev dummy0 metric 5",
  "route append default via 10.0.0.1 dev dummy0 metric 5",
  "route add 10.9.0.0/16 via 10.0.0.1 src 10.0.0.3 metric 100 mtu 1400 advmss 1300 proto static",
  "route add 10.8.0.0/16 via 192.0.2.1 dev dummy0 onlink",
  "route add 10.7.0.0/16 via inet6 fd00::1 dev dummy0",
  "route add 10.6.0.0/16 nexthop via 10.0.0.1 weight 2 nexthop via 10.0.0.4 weight 1",
  "route add blackhole 10.4.0.0/16",
  "route add 10.3.0.0/16 via 10.0.0.1 dev dummy0 table 77",
  "route add 10.2.0.0/16 dev dummy0 src 10.0.0.2 table 77",
  "route add default via fe80::1 dev dummy0",
  "route add fd09::/48 via fd00::1 dev dummy0 metric 7 mtu 1400",
  "route add fd08::/48 nexthop via fd00::1 dev dummy0 nexthop via fd00::9 dev dummy0 weight 2",
  "route add fd07::/48 via fd00::1 dev dummy0 table 77",
];

for (const keep of [0, 1]) {
  kernelTest(
    `every attribute stays, with keep_addr_on_down ${keep}`,
    { needs },
    async (sandbox) => {
      const netns = await sandbox.container();
      // Unlike a dummy, a pair looks for duplicates.
      await sandbox.ip(netns, [
        "link add dummy0 type veth peer name far0",
        "link set far0 up",
        "link set dummy0 up",
      ]);
      await sandbox.inside(netns, [
        "sh",
        "-c",
        `cd /proc/sys/net/ipv6/conf/dummy0; echo ${keep} >keep_addr_on_down; echo 1 >accept_dad`,
      ]);
      await sandbox.ip(netns, rich);
      const before = await snapshot(sandbox);
      const [main, other, own] = await Promise.all([
        routes(sandbox, netns, "main"),
        routes(sandbox, netns, 77),
        globals(sandbox, netns, "dummy0"),
      ]);
      const call = callOf(netns);
      await succeed(sandbox, call("ADD"));
      const ofHost = (line: string) => line.startsWith("blackhole");
      assertEquals(await routes(sandbox, netns, 1), main.filter((line) => !ofHost(line)));
      assertEquals(await routes(sandbox, netns, "main"), main.filter(ofHost));
      assertEquals(
        await routes(sandbox, netns, 77),
        other.map((line) => line.replace(" src 10.0.0.2", "")),
      );
      // None of them is being looked for elsewhere.
      assertEquals(await globals(sandbox, netns, "dummy0"), own);
      await succeed(sandbox, callOf(netns, { version: "0.4.0" })("CHECK"));
      await succeed(sandbox, call("DEL"));
      assertEquals(await globals(sandbox, netns, "dummy0"), own);
      assertSame(before, await snapshot(sandbox), residue);
    },
  );
}

kernelTest("only what is the interface's goes along", { needs }, async (sandbox) => {
  const netns = await container(sandbox, {
    dummy0: plain,
    dummy1: [
      "addr add 10.0.0.3/24 dev dummy1 metric 200",
      "addr add abcd:1234:fffe::cdde/64 dev dummy1",
      "route add 10.11.10.0/24 via 10.0.0.1 dev dummy1 metric 100",
      "route add 1111:ddde::/80 via abcd:1234:fffe::1 dev dummy1",
    ],
  });
  const main = await routes(sandbox, netns, "main");
  const isOwn = (line: string) => line.includes("dev dummy1");
  await succeed(sandbox, callOf(netns, { ifname: "dummy1", vrf: "vrf1" })("ADD"));
  const inside = await routes(sandbox, netns, 1);
  assertEquals(inside, main.filter(isOwn));
  assert(inside.includes("10.11.10.0/24 via 10.0.0.1 dev dummy1 metric 100"));
  assert(inside.includes("1111:ddde::/80 via abcd:1234:fffe::1 dev dummy1 metric 1024"));
  assertEquals(await routes(sandbox, netns, "main"), main.filter((line) => !isOwn(line)));
});

kernelTest("what cannot join is refused, and nothing changes", { needs }, async (sandbox, test) => {
  const netns = await container(sandbox, { dummy0: plain, dummy1: [] });
  await sandbox.ip(netns, [
    "link add br0 type bridge",
    "link set dummy1 master br0",
    "link add red type vrf table 1001",
    "link set red up",
  ]);
  const before = await snapshot(sandbox);
  const refused: [string, Options, number, string][] = [
    [
      "a port of a bridge",
      { ifname: "dummy1" },
      102,
      "interface dummy1 has already a master set: br0",
    ],
    ["no VRF", { vrf: "br0" }, 102, "Netlink br0 is not a VRF"],
    ["the interface itself", { vrf: "dummy0" }, 102, "Netlink dummy0 is not a VRF"],
    ["no interface", { ifname: "dummy9" }, 103, "could not get link by name dummy9"],
    [
      "another table",
      { table: 1002 },
      102,
      "VRF red already exist with different routing table 1001",
    ],
    ["what the kernel refuses", { ifname: "lo" }, 100, "Can not enslave loopback device to a VRF"],
  ];
  for (const [title, options, code, text] of refused) {
    await test.step(title, async () => {
      const error = await fail(sandbox, callOf(netns, options)("ADD"));
      assertEquals(error.code, code);
      assertStringIncludes(`${error.msg} ${error.details}`, text);
      assertSame(before, await snapshot(sandbox), residue);
    });
  }
  const call = callOf(netns);
  for (
    const [verb, keys, text] of [
      ["ADD", { prevResult: null }, "missing prevResult from earlier plugin"],
      ["ADD", { vrfName: "" }, "configuration is expected to have a valid vrf name"],
      ["ADD", { table: -1 }, "table"],
    ] as const
  ) {
    const error = await fail(sandbox, call(verb, keys));
    assertEquals(error.code, 7);
    assertStringIncludes(error.msg, text);
  }
  assertEquals((await fail(sandbox, { ...call("ADD"), netns: "/nowhere" })).code, 8);
  assertSame(before, await snapshot(sandbox), residue);
});

const address4 = ["10.0.0.2/24", "10.0.1.2/24"] as const;
const address6 = [
  "2a00:c98:2060:a000:1:0:1d1e:ca75/64",
  "2a00:c98:2060:b000:1:0:1d1e:ca75/64",
] as const;

for (
  const { title, second, same } of [
    { title: "one VRF", second: "red", same: false },
    { title: "two VRFs", second: "blue", same: false },
    { title: "two VRFs, one address", second: "blue", same: true },
  ]
) {
  kernelTest(`two interfaces, ${title}`, { needs }, async (sandbox, test) => {
    const netns = await container(sandbox, { dummy0: [], dummy1: [] });
    const before = await snapshot(sandbox);
    for (const [first, other] of [address4, address6]) {
      await test.step(first, async () => {
        const own = [first, same ? first : other];
        const calls = ["red", second].map((vrf, index) =>
          callOf(netns, { ifname: `dummy${index}`, vrf })
        );
        for (const [index, call] of calls.entries()) {
          await sandbox.ip(netns, [`addr add ${own[index]} dev dummy${index}`]);
          await succeed(sandbox, call("ADD"));
        }
        for (const [index, address] of own.entries()) {
          assertEquals(await globals(sandbox, netns, `dummy${index}`), [address]);
        }
        const tables = Object.values(await vrfs(sandbox, netns));
        assertEquals(tables, second === "red" ? [1] : [1, 2]);
        for (const table of tables) {
          const inside = (await routes(sandbox, netns, table)).join("\n");
          assertEquals(inside.includes("dev dummy0"), table === 1);
          assertEquals(inside.includes("dev dummy1"), table === tables.at(-1));
        }
        for (const call of calls) await succeed(sandbox, call("DEL"));
        for (const [index, address] of own.entries()) {
          await sandbox.ip(netns, [`addr del ${address} dev dummy${index}`]);
        }
        assertSame(before, await snapshot(sandbox), residue);
      });
    }
  });
}

kernelTest("two default routes in one VRF", { needs }, async (sandbox) => {
  const defaults = (index: number) => [
    `addr add 10.0.${index}.2/24 dev dummy${index}`,
    `addr add fd00:${index + 1}::2/64 dev dummy${index} nodad`,
    `route add default via 10.0.${index}.1 dev dummy${index} metric ${100 + index}`,
    `route add default via fd00:${index + 1}::1 dev dummy${index} metric ${100 + index}`,
  ];
  const netns = await container(sandbox, { dummy0: defaults(0), dummy1: defaults(1) });
  // The same metric, which the second one could not have beside the first one in the main table.
  await sandbox.ip(netns, [
    "route add 0.0.0.0/1 via 10.0.0.1 dev dummy0",
    "route append 0.0.0.0/1 via 10.0.1.1 dev dummy1",
    "route add 8000::/1 via fd00:1::1 dev dummy0",
    "route append 8000::/1 via fd00:2::1 dev dummy1",
  ]);
  const before = await snapshot(sandbox);
  const calls = [0, 1].map((index) =>
    callOf(netns, { ifname: `dummy${index}`, version: "0.4.0", containerId: `c${index}` })
  );
  for (const call of calls) await succeed(sandbox, call("ADD"));
  const text = (await routes(sandbox, netns, 1)).join("\n");
  for (const index of [0, 1]) {
    assertStringIncludes(text, `default via 10.0.${index}.1 dev dummy${index}`);
    assertStringIncludes(text, `default via fd00:${index + 1}::1 dev dummy${index}`);
    assertStringIncludes(text, `0.0.0.0/1 via 10.0.${index}.1 dev dummy${index}`);
    await succeed(sandbox, calls[index]!("CHECK"));
  }
  for (const call of calls.toReversed()) await succeed(sandbox, call("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("tables that are configured", { needs }, async (sandbox, test) => {
  const netns = await container(sandbox, { dummy0: [], dummy1: [] });
  const add = (index: number, vrf: string, table: number) =>
    callOf(netns, { ifname: `dummy${index}`, vrf, table });
  for (const second of ["red", "blue"]) {
    await test.step(`1001 for red and ${second}`, async () => {
      const calls = [add(0, "red", 1001), add(1, second, 1001)];
      for (const call of calls) await succeed(sandbox, call("ADD"));
      assertEquals(await vrfs(sandbox, netns), { red: 1001, [second]: 1001 });
      for (const call of calls) await succeed(sandbox, call("DEL"));
    });
  }
  await succeed(sandbox, add(0, "red", 1001)("ADD"));
  const error = await fail(sandbox, add(1, "red", 1002)("ADD"));
  assertStringIncludes(error.msg, "already exist with different routing table");
});

kernelTest("a table that is used by anything is not chosen", { needs }, async (sandbox) => {
  const netns = await container(sandbox);
  await sandbox.ip(netns, [
    "link add other type vrf table 1",
    "route add blackhole 10.4.0.0/16 table 2",
    "route add blackhole fd04::/16 table 3",
    "rule add from 10.4.0.0/16 table 4",
  ]);
  await sandbox.inside(netns, ["ip", "-6", "rule", "add", "from", "fd04::/16", "table", "5"]);
  await succeed(sandbox, callOf(netns)("ADD"));
  assertEquals(await vrfs(sandbox, netns), { other: 1, red: 6 });
});

kernelTest("the last interface takes the VRF with it", { needs }, async (sandbox) => {
  const netns = await container(sandbox, { dummy0: [], dummy1: [] });
  const [first, second] = [0, 1].map((index) => callOf(netns, { ifname: `dummy${index}` }));
  await succeed(sandbox, first!("ADD"));
  await succeed(sandbox, second!("ADD"));
  await succeed(sandbox, first!("DEL"));
  assertEquals(await masterOf(sandbox, netns, "dummy0"), undefined);
  assertEquals(await masterOf(sandbox, netns, "dummy1"), "red");
  await succeed(sandbox, second!("DEL"));
  assertEquals(await vrfs(sandbox, netns), {});
});

kernelTest("ADD, CHECK, DEL; CHECK tells what is missing", { needs }, async (sandbox, test) => {
  for (const version of ["0.4.0", "1.1.0"]) {
    const netns = await container(sandbox, { dummy0: plain });
    const before = await snapshot(sandbox);
    const call = callOf(netns, { version, table: 9 });
    await succeed(sandbox, call("ADD"));
    await succeed(sandbox, call("CHECK"));
    for (
      const [line, back, text] of [
        ["link set red down", "link set red up", 'VRF "red" is down'],
        [
          "route del 10.10.10.0/24 table 9",
          "route add 10.10.10.0/24 via 10.0.0.1 dev dummy0 src 10.0.0.2 table 9",
          "route 10.10.10.0/24 via 10.0.0.1 dev dummy0",
        ],
        [
          "route del 1111:dddd::/80 table 9",
          "route add 1111:dddd::/80 via abcd:1234:ffff::1 dev dummy0 table 9",
          "is missing from table 9",
        ],
        [
          "link set dummy0 nomaster",
          "link set dummy0 master red",
          "failed to find dummy0 associated to vrf red",
        ],
      ] as const
    ) {
      await test.step(`${version}: ${text}`, async () => {
        await sandbox.ip(netns, [line]);
        const { code, msg } = await fail(sandbox, call("CHECK"));
        assertEquals(code, 105);
        assertStringIncludes(msg, text);
        await sandbox.ip(netns, [back]);
        if (line.startsWith("route")) await succeed(sandbox, call("CHECK"));
      });
    }
    const other = await fail(sandbox, call("CHECK", { table: 10 }));
    assertStringIncludes(other.msg, "already exist with different routing table 9");
    const { code, msg } = await fail(sandbox, call("CHECK", { prevResult: null }));
    assertEquals([code, msg], [7, "missing prevResult from earlier plugin"]);
    await succeed(sandbox, call("DEL"));
    assertSame(before, await snapshot(sandbox), residue);
    await sandbox.removeNetns("a");
  }
});

kernelTest("DEL succeeds whatever is gone", { needs }, async (sandbox, test) => {
  const gone: Record<string, (netns: string) => Promise<void>> = {
    "the interface": (netns) => sandbox.ip(netns, ["link del dummy0"]),
    "the VRF": (netns) => sandbox.ip(netns, ["link del red"]),
    "the namespace": () => sandbox.removeNetns("a"),
    "the name in the configuration": () => Promise.resolve(),
  };
  for (const [title, remove] of Object.entries(gone)) {
    await test.step(title, async () => {
      const netns = await container(sandbox, { dummy0: plain });
      const call = callOf(netns);
      await succeed(sandbox, call("ADD"));
      await remove(netns);
      const keys = title.startsWith("the name in") ? { vrfName: 7 } : {};
      for (let time = 1; time <= 2; time++) await succeed(sandbox, call("DEL", keys));
      if (title !== "the namespace") {
        assertEquals(await vrfs(sandbox, netns), {});
        assertEquals(await masterOf(sandbox, netns, "dummy0"), undefined);
        await sandbox.removeNetns("a");
      }
      assertEquals([...Deno.readDirSync("/run/cni/denocni/vrf")], []);
    });
  }
});

kernelTest("DEL of a failed ADD leaves another master alone", { needs }, async (sandbox) => {
  const netns = await container(sandbox, { dummy0: plain });
  await sandbox.ip(netns, ["link add br0 type bridge", "link set dummy0 master br0"]);
  const before = await snapshot(sandbox);
  const call = callOf(netns);
  await fail(sandbox, call("ADD"));
  await succeed(sandbox, call("DEL"));
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("GC takes out of a VRF what is not valid any more", { needs }, async (sandbox) => {
  const netns = await container(sandbox, { dummy0: plain, dummy1: [] });
  const before = await snapshot(sandbox);
  const calls = [0, 1].map((index) =>
    callOf(netns, { ifname: `dummy${index}`, containerId: `c${index}`, version: "1.1.0" })
  );
  for (const call of calls) await succeed(sandbox, call("ADD"));
  const gc = (...valid: JsonObject[]): PluginCall => ({
    type: "vrf",
    verb: "GC",
    containerId: "",
    ifname: "",
    config: {
      name: "routed",
      cniVersion: "1.1.0",
      vrfname: "red",
      "cni.dev/valid-attachments": valid,
    },
  });
  const second = { containerID: "c1", ifname: "dummy1" };
  await succeed(sandbox, gc({ containerID: "c0", ifname: "dummy0" }, second));
  assertEquals(await masterOf(sandbox, netns, "dummy0"), "red");
  await succeed(sandbox, gc(second));
  assertEquals(await masterOf(sandbox, netns, "dummy0"), undefined);
  assertEquals(await masterOf(sandbox, netns, "dummy1"), "red");
  await succeed(sandbox, gc());
  assertSame(before, await snapshot(sandbox), residue);
});

kernelTest("many at once in one container", { needs }, async (sandbox) => {
  const names = Array.from({ length: 6 }, (_, index) => `dummy${index}`);
  const netns = await container(sandbox, Object.fromEntries(names.map((name) => [name, []])));
  const before = await snapshot(sandbox);
  const calls = names.map((ifname, index) =>
    callOf(netns, { ifname, vrf: `vrf${index % 3}`, containerId: `c${index}` })
  );
  const all = async (verb: "ADD" | "DEL") => {
    const outputs = calls.map((call) => callPlugin(sandbox, call(verb)));
    for (const [index, output] of (await Promise.all(outputs)).entries()) {
      okJson(calls[index]!(verb), output);
    }
  };
  await all("ADD");
  const tables = Object.values(await vrfs(sandbox, netns));
  assertEquals(tables.toSorted(), [1, 2, 3]);
  const shown = await links(sandbox, netns);
  assertEquals(
    names.map((name) => shown.get(name)!.master),
    names.map((_, index) => `vrf${index % 3}`),
  );
  await all("DEL");
  assertSame(before, await snapshot(sandbox), residue);
});

/** A namespace behind a link of the container, with the same addresses as the others and one of its own. */
async function peer(sandbox: Sandbox, index: number): Promise<string> {
  const netns = await sandbox.container();
  const path = await sandbox.container(`peer${index}`);
  await sandbox.ip(netns, [
    `link add eth${index} type veth peer name eth0 netns ${path}`,
    `addr add 10.0.0.2/24 dev eth${index}`,
    `addr add fd00::2/64 dev eth${index} nodad`,
    `link set eth${index} up`,
  ]);
  await sandbox.ip(path, [
    "link set lo up",
    "addr add 10.0.0.1/24 dev eth0",
    "addr add fd00::1/64 dev eth0 nodad",
    // Beyond the subnet: who answers needs the default route.
    `addr add 198.51.100.${index + 1}/32 dev lo`,
    `addr add 2001:db8:b::${index + 1}/128 dev lo nodad`,
    "link set eth0 up",
  ]);
  await sandbox.ip(path, [
    `route add 10.0.0.2/32 dev eth0 src 198.51.100.${index + 1}`,
    `route add fd00::2/128 dev eth0 src 2001:db8:b::${index + 1}`,
  ]);
  await sandbox.ip(netns, [
    `route add default via 10.0.0.1 dev eth${index}`,
    `route add default via fd00::1 dev eth${index}`,
  ]);
  return path;
}

kernelTest("two networks of the same addresses do not meet", {
  needs: ["link:veth", "tool:ping", ...needs],
}, async (sandbox) => {
  const netns = await sandbox.container();
  await sandbox.inside(netns, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_l3mdev_accept"]);
  const peers: string[] = [];
  const calls = ["red", "blue"].map((vrf, index) => callOf(netns, { ifname: `eth${index}`, vrf }));
  for (const [index, call] of calls.entries()) {
    peers.push(await peer(sandbox, index));
    await succeed(sandbox, call("ADD"));
  }
  for (
    const { any, own, outside } of [
      { any: "0.0.0.0", own: "10.0.0.2", outside: "198.51.100." },
      { any: "::", own: "fd00::2", outside: "2001:db8:b::" },
    ]
  ) {
    const port = await sandbox.agent(netns).listen("tcp", { address: any });
    for (const [index, path] of peers.entries()) {
      const outcome = await sandbox.agent(path).call(own, port);
      assertEquals(outcome, { is: "answered", from: `${outside}${index + 1}` });
    }
    for (const [index, vrf] of ["red", "blue"].entries()) {
      const ping = (target: string, extra: readonly string[]) =>
        sandbox.inside(netns, ["ping", "-n", "-c1", "-I", vrf, ...extra, target]);
      await ping(`${outside}${index + 1}`, ["-W3"]);
      const missed = await ping(`${outside}${2 - index}`, ["-W1"]).then(() => false, () => true);
      assert(missed, `${vrf} reaches the other network`);
    }
  }
  for (const call of calls) await succeed(sandbox, call("DEL"));
});
