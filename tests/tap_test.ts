/**
 * The tap plugin on a real kernel: what it makes, who may open it, and what
 * frames do there.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, fail, succeed, versions } from "./harness/plugin.ts";
import { Child, must } from "./harness/process.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertShape } from "./harness/shape.ts";
import { assertSame, snapshot } from "./harness/state.ts";
import type { TapReply, TapRequest } from "./harness/tap_program.ts";

const needs: readonly Need[] = ["link:tap", "plugin:tap", "plugin:host-local"];
const subnet4 = "10.1.2.0/24";

async function call(
  sandbox: Sandbox,
  verb: PluginCall["verb"],
  { id = "c1", config = {}, ...rest }: Omit<Partial<PluginCall>, "config"> & {
    id?: string;
    config?: JsonObject;
  } = {},
): Promise<PluginCall> {
  return {
    type: "tap",
    verb,
    netns: await sandbox.container(id),
    containerId: id,
    ifname: "tap0",
    config: { cniVersion: "1.1.0", name: "mynet", type: "tap", ...config },
    ...rest,
  };
}

interface ShownLink {
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
  readonly master?: string;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly linkinfo: { readonly info_kind: string; readonly info_data: JsonObject };
  readonly addr_info: readonly { readonly local: string; readonly tentative?: boolean }[];
}

async function shown(sandbox: Sandbox, { netns, ifname }: PluginCall): Promise<ShownLink> {
  const [link] = await sandbox.ipJson<ShownLink>(netns!, `addr show dev ${ifname}`);
  return link!;
}

/** A program at the other end of the device; it ends with the scope. */
class TapUser implements AsyncDisposable {
  readonly #child: Child;

  constructor(netns: string) {
    const script = new URL("harness/tap_program.ts", import.meta.url).pathname;
    const deno = [Deno.execPath(), "run", "-A", "--quiet", "--no-config", "--no-check", script];
    this.#child = new Child(["nsenter", `--net=${netns}`, "--", ...deno], {});
  }

  async ask(request: TapRequest): Promise<TapReply> {
    await this.#child.say(JSON.stringify(request));
    return JSON.parse((await this.#child.line())!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}

/** Opens a device as somebody; gives 0 or an error number. */
async function errnoOf(
  { netns, ifname: name = "" }: PluginCall,
  rest: Omit<Extract<TapRequest, { do: "open" }>, "do" | "name">,
): Promise<number> {
  await using user = new TapUser(netns!);
  return (await user.ask({ do: "open", name, ...rest })).errno;
}

const denied = 1;
const invalid = 22;

for (const bridge of [undefined, "br1"]) {
  kernelTest(`tap: every version${bridge ? ", on a bridge" : ""}`, {
    needs: [...needs, "link:bridge"],
  }, async (sandbox, test) => {
    const netns = await sandbox.container("c1");
    // A port gives a bridge without an address of its own another one.
    await sandbox.ip(netns, ["link add br1 address 02:00:00:00:00:b1 type bridge"]);
    // A link of the same name on the host is another one.
    await sandbox.ip(sandbox.host, ["tuntap add dev tap0 mode tap"]);
    const before = await snapshot(sandbox);
    for (const cniVersion of versions) {
      await test.step(cniVersion, async () => {
        const own = { cniVersion, owner: 0, group: 0, ...(bridge !== undefined && { bridge }) };
        const config = { ...own, ipam: hostLocal(sandbox, subnet4) };
        const add = await call(sandbox, "ADD", { config });
        const result = await succeed(sandbox, add);
        assertShape(result, cniVersion);
        const link = await shown(sandbox, add);
        assertEquals([link.linkinfo.info_kind, link.linkinfo.info_data["type"]], ["tun", "tap"]);
        assertEquals([link.master, link.flags.includes("UP")], [bridge, true]);
        if (cniVersion >= "0.3.0") {
          const [made, ...others] = result["interfaces"] as JsonObject[];
          assertEquals(others, []);
          assertEquals([made!["name"], made!["sandbox"]], ["tap0", netns]);
          assertEquals([made!["mac"], made!["mtu"] ?? link.mtu], [link.address, link.mtu]);
          assertEquals((result["ips"] as JsonObject[]).map((ip) => ip["interface"]), [0]);
          assertEquals(addressesOf(result).length, 1);
        }
        const check = await call(sandbox, "CHECK", { config: { ...config, prevResult: result } });
        if (cniVersion >= "0.4.0") await succeed(sandbox, check);
        else {
          const { msg } = await fail(sandbox, check);
          assertEquals(msg, "config version does not allow CHECK");
        }
        for (let time = 1; time <= 2; time++) await succeed(sandbox, { ...add, verb: "DEL" });
        assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
      });
    }
    await succeed(sandbox, await call(sandbox, "STATUS"));
  });
}

kernelTest("tap: all keys together, none is dropped", {
  needs: [...needs, "link:bridge"],
}, async (sandbox) => {
  const netns = await sandbox.container("c1");
  await sandbox.ip(netns, ["link add br1 type bridge"]);
  const add = await call(sandbox, "ADD", {
    args: "IgnoreUnknown=true;MAC=02:00:00:00:01:02",
    config: {
      multiQueue: true,
      mtu: 9000,
      mac: "02:00:00:00:01:01",
      owner: 1234,
      group: 1235,
      bridge: "br1",
      args: { cni: { mac: "02:00:00:00:01:03" } },
      runtimeConfig: { mac: "02:00:00:00:01:04" },
      ipam: hostLocal(sandbox, subnet4),
      dns: { nameservers: ["10.1.2.53"] },
    },
  });
  const result = await succeed(sandbox, add);
  const [made] = result["interfaces"] as JsonObject[];
  assertEquals(made, { name: "tap0", mac: "02:00:00:00:01:04", mtu: 9000, sandbox: netns });
  assertEquals(result["dns"], { nameservers: ["10.1.2.53"] });
  const { address, mtu, master, ifalias, linkinfo: { info_data } } = await shown(sandbox, add);
  assertEquals([address, mtu, master, ifalias], [
    "02:00:00:00:01:04",
    9000,
    "br1",
    "cni:mynet/c1/tap0",
  ]);
  const { user, group, multi_queue, vnet_hdr, pi, persist } = info_data;
  assertEquals([user, group, multi_queue], [1234, 1235, true]);
  assertEquals({ vnet_hdr, pi, persist }, { vnet_hdr: true, pi: false, persist: true });
});

kernelTest("tap: owner and group may open it, and nobody else", { needs }, async (sandbox) => {
  const add = await call(sandbox, "ADD", { config: { owner: 1234, group: 1235 } });
  await succeed(sandbox, add);
  assertEquals(await errnoOf(add, { user: { uid: 1234, gid: 1235 } }), 0);
  assertEquals(await errnoOf(add, { user: { uid: 4321, gid: 4321 } }), denied);
  const queued = await call(sandbox, "ADD", { id: "c2", config: { multiQueue: true } });
  await succeed(sandbox, queued);
  await using first = new TapUser(queued.netns!);
  await using second = new TapUser(queued.netns!);
  for (const user of [first, second]) {
    assertEquals(await user.ask({ do: "open", name: "tap0", multiQueue: true }), { errno: 0 });
  }
  assertEquals(await errnoOf(queued, {}), invalid);
});

kernelTest("tap: it stays when a program ends, and frames reach the container", {
  needs,
}, async (sandbox) => {
  const config = { ipam: hostLocal(sandbox, subnet4) };
  const add = await call(sandbox, "ADD", { config });
  const result = await succeed(sandbox, add);
  const [address] = addressesOf(result).map((text) => text.split("/")[0]!);
  const { address: mac } = await shown(sandbox, add);
  for (let time = 1; time <= 2; time++) {
    assert((await shown(sandbox, add)).flags.includes("NO-CARRIER"));
    await using user = new TapUser(add.netns!);
    assertEquals(await user.ask({ do: "open", name: "tap0" }), { errno: 0 });
    const reply = await user.ask({ do: "ask", address: address!, timeout: 5000 });
    assertEquals(reply, { errno: 0, mac });
  }
  await succeed(
    sandbox,
    await call(sandbox, "CHECK", { config: { ...config, prevResult: result } }),
  );
});

kernelTest("tap: a bridge in the container carries frames to its other ports", {
  needs: [...needs, "link:bridge", "link:veth"],
}, async (sandbox) => {
  const netns = await sandbox.container("c1");
  const other = await sandbox.container("other");
  await sandbox.ip(netns, [
    "link add br1 type bridge",
    "link set br1 up",
    `link add port1 type veth peer name eth0 netns ${other}`,
    "link set port1 master br1 up",
  ]);
  await sandbox.ip(other, [
    "link set eth0 address 02:00:00:00:00:77 up",
    "addr add 10.1.2.77/24 dev eth0",
  ]);
  const add = await call(sandbox, "ADD", { config: { bridge: "br1" } });
  await succeed(sandbox, add);
  await using user = new TapUser(netns);
  assertEquals(await user.ask({ do: "open", name: "tap0" }), { errno: 0 });
  const reply = await user.ask({ do: "ask", address: "10.1.2.77", timeout: 5000 });
  assertEquals(reply, { errno: 0, mac: "02:00:00:00:00:77" });
});

kernelTest("tap: frames begin as with the reference", { needs }, async (sandbox) => {
  // What the reference does by ioctl, in the words of iproute2.
  const reference: readonly (readonly [JsonObject, string])[] = [
    [{}, ""],
    [{ owner: 5 }, "user 5"],
    [{ owner: 5, group: 6 }, "user 5 group 6 pi vnet_hdr"],
    [{ owner: 5, group: 6, multiQueue: true }, "user 5 group 6 multi_queue vnet_hdr"],
  ];
  for (const [index, [config, words]] of reference.entries()) {
    const add = await call(sandbox, "ADD", { id: `c${index}`, config });
    await succeed(sandbox, add);
    await sandbox.ip(add.netns!, [`tuntap add dev theirs mode tap ${words}`]);
    const [ours, theirs] = await Promise.all(
      [add, { ...add, ifname: "theirs" }].map((it) => shown(sandbox, it)),
    );
    assertEquals(ours!.linkinfo, theirs!.linkinfo);
  }
});

kernelTest("tap: IPv6 waits for nobody, and for its program with the addresses", {
  needs,
}, async (sandbox) => {
  const config = { ipam: hostLocal(sandbox, "2001:db8:1::/64") };
  const add = await call(sandbox, "ADD", { config });
  const started = performance.now();
  const result = await succeed(sandbox, add);
  assert(performance.now() - started < 5000, "waited for a carrier");
  const [address] = addressesOf(result).map((text) => text.split("/")[0]!);
  const own = async () => {
    const { addr_info } = await shown(sandbox, add);
    return addr_info.find(({ local }) => local === address)!;
  };
  assertEquals((await own()).tentative, true);
  await using monitor = await hearAddresses(sandbox, add.netns!);
  await using user = new TapUser(add.netns!);
  assertEquals(await user.ask({ do: "open", name: "tap0" }), { errno: 0 });
  await heard(monitor, (line) => line.includes(`${address}/`) && !line.includes("tentative"));
  assertEquals((await own()).tentative, undefined);
});

/** Hears of every change of an address from now on. */
async function hearAddresses(sandbox: Sandbox, netns: string): Promise<Child> {
  const argv = ["nsenter", `--net=${netns}`, "ip", "-o", "monitor", "address"];
  const monitor = new Child(argv, {});
  let done = false;
  const first = heard(monitor, (line) => line.includes("192.0.2.1/"));
  first.then(() => done = true);
  // It does not say when it has begun to listen: make noise until it is heard.
  while (!done) await sandbox.ip(netns, ["addr add 192.0.2.1 dev lo", "addr del 192.0.2.1 dev lo"]);
  return monitor;
}

async function heard(monitor: Child, is: (line: string) => boolean): Promise<void> {
  for (let line = await monitor.line(); line !== undefined; line = await monitor.line()) {
    if (is(line)) return;
  }
  throw new Error("Cannot hear addresses: the monitor has ended");
}

kernelTest("tap: a name that is taken is left alone", { needs }, async (sandbox, test) => {
  const config = { ipam: hostLocal(sandbox, subnet4) };
  const add = await call(sandbox, "ADD", { config });
  for (
    const line of [
      "tuntap add dev tap0 mode tap user 5",
      "link add tap0 type veth peer name p0",
    ]
  ) {
    await test.step(line, async () => {
      await sandbox.ip(add.netns!, [line]);
      const before = await snapshot(sandbox);
      const { code, msg } = await fail(sandbox, add);
      assertEquals(code, 102);
      assertStringIncludes(msg, 'Cannot create container interface "tap0"');
      assertStringIncludes(msg, "the container has an interface of that name already");
      assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
      await sandbox.ip(add.netns!, ["link del tap0"]);
    });
  }
});

kernelTest(
  "tap: what cannot be is refused and leaves nothing",
  { needs },
  async (sandbox, test) => {
    const netns = await sandbox.container("c1");
    await sandbox.ip(netns, ["link add p0 type veth peer name p1"]);
    const before = await snapshot(sandbox);
    // This kernel has no SELinux, or it does not know this context.
    const label = "nobody_u:nobody_r:nobody_t:s0";
    const refused: readonly (readonly [JsonObject, number, RegExp])[] = [
      [
        { selinuxContext: label },
        100,
        new RegExp(`SELinux context "${label}": SELinux is off, or`),
      ],
      [{ bridge: "br7" }, 103, /"br7": no such link in the container; bridges there: none$/],
      [{ bridge: "p0" }, 7, /"p0": it is another kind of link; bridges there: none$/],
      [{ mtu: 10 }, 100, /Cannot set MTU 10 .*less than device minimum/],
      [{ mtu: 70000 }, 7, /mtu: expected integer 0–65521/],
      [{ owner: -1 }, 7, /owner: expected integer/],
      [{ group: 4294967295 }, 7, /group: expected integer/],
      [{ args: [] }, 7, /args: expected object/],
      [{ mac: "02:00" }, 7, /mac: expected unicast hardware address/],
    ];
    for (const [keys, code, message] of refused) {
      await test.step(JSON.stringify(keys), async () => {
        const config = { ...keys, ipam: hostLocal(sandbox, subnet4) };
        const add = await call(sandbox, "ADD", { config });
        const error = await fail(sandbox, add);
        assertEquals(error.code, code);
        assertMatch(error.msg, message);
        assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
        await succeed(sandbox, { ...add, verb: "DEL" });
      });
    }
    await test.step("CNI_ARGS", async () => {
      const add = await call(sandbox, "ADD", { args: "MAC=02:00:00:00:00:01;X=1" });
      assertEquals((await fail(sandbox, add)).code, 4);
      await succeed(sandbox, { ...add, verb: "DEL" });
      assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
    });
  },
);

kernelTest("tap: without /dev/net/tun STATUS and ADD say so", { needs }, async (sandbox) => {
  const add = await call(sandbox, "ADD", { config: { ipam: hostLocal(sandbox, subnet4) } });
  const before = await snapshot(sandbox);
  await must(["mount", "-t", "tmpfs", "denocni", "/dev/net"]);
  try {
    const status = await fail(sandbox, await call(sandbox, "STATUS"));
    assertEquals(status.code, 50);
    assertStringIncludes(status.msg, 'no "/dev/net/tun"');
    const { code, msg } = await fail(sandbox, add);
    assertEquals(code, 106);
    assertStringIncludes(msg, '"/dev/net/tun" cannot be used');
  } finally {
    await must(["umount", "/dev/net"]);
  }
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"] });
});

kernelTest("tap: DEL removes what the reference has made, and nothing of others", {
  needs,
}, async (sandbox, test) => {
  const cases: readonly (readonly [string, readonly string[], boolean])[] = [
    [
      "as the reference leaves it",
      ["tuntap add dev tap0 mode tap user 0 group 0 pi vnet_hdr"],
      true,
    ],
    [
      "another attachment's",
      ["tuntap add dev tap0 mode tap", "link set dev tap0 alias cni:other/c1/tap0"],
      false,
    ],
    ["another kind", ["link add tap0 type veth peer name p0"], false],
    ["another name", ["tuntap add dev tap1 mode tap"], false],
  ];
  for (const [index, [title, lines, gone]] of cases.entries()) {
    await test.step(title, async () => {
      const del = await call(sandbox, "DEL", { id: `c${index}` });
      const empty = await snapshot(sandbox);
      await sandbox.ip(del.netns!, lines);
      const before = gone ? empty : await snapshot(sandbox);
      await succeed(sandbox, del);
      assertSame(before, await snapshot(sandbox));
    });
  }
  await test.step("another hardware address than the record's", async () => {
    const del = await call(sandbox, "DEL", { id: "other" });
    await sandbox.ip(del.netns!, ["tuntap add dev tap0 mode tap"]);
    const recorded = { name: "tap0", mac: "02:00:00:00:00:01", sandbox: del.netns! };
    const prevResult = { cniVersion: "1.1.0", interfaces: [recorded] };
    await succeed(sandbox, { ...del, config: { ...del.config as JsonObject, prevResult } });
    assert(await sandbox.hasLink(del.netns!, "tap0"));
  });
});
