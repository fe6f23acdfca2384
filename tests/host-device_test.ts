/**
 * The host-device plugin on a real kernel: a device leaves the host, and comes
 * back as it was, whatever has happened to it meanwhile.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { AttachmentOptions } from "./harness/attachment.ts";
import { Attachment } from "./harness/attachment.ts";
import { Faults } from "./harness/fault.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, callPlugin, errorObject, fail, startPlugin } from "./harness/plugin.ts";
import { fails, prints, Recorder } from "./harness/recorder.ts";
import { countSteps } from "./harness/rollback.ts";
import type { Row } from "./harness/rows.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertShape } from "./harness/shape.ts";
import type { State } from "./harness/state.ts";
import { assertSame, snapshot } from "./harness/state.ts";
import { devices, FakeSysfs } from "./harness/sysfs.ts";

const needs: readonly Need[] = ["link:veth", "plugin:host-device", "plugin:static"];
const recordDir = "/run/cni/denocni/devices";
const mac = "02:00:00:00:ca:01";

const row: Row = {
  name: "host-device",
  type: "host-device",
  kind: "interface",
  needs,
  conf: () => ({}),
  residue: ["deviceRecords"],
  damage: [],
};

/** An attachment to be; its interface is `net1`. */
function plan(
  sandbox: Sandbox,
  config: JsonObject,
  options: Omit<AttachmentOptions, "extra"> = {},
): Promise<Attachment> {
  return Attachment.create(sandbox, row, { ifname: "net1", ...options, extra: config });
}

/** Makes a card, sets it up by lines of `ip`, and gives the state with it. */
async function withCard(
  sandbox: Sandbox,
  { name = "dev0", lines = [] }: { name?: string; lines?: readonly string[] } = {},
): Promise<State> {
  await sandbox.container("a");
  await sandbox.card(name, mac);
  await sandbox.ip(sandbox.host, lines);
  return await snapshot(sandbox);
}

interface ShownLink {
  readonly ifname: string;
  readonly ifindex: number;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number }[];
}

/** The link of this name; `undefined` when there is none. */
async function linkOf(
  sandbox: Sandbox,
  netns: string,
  name: string,
): Promise<ShownLink | undefined> {
  const links = await sandbox.ipJson<ShownLink>(netns, "addr show");
  return links.find(({ ifname }) => ifname === name);
}

function isUp(link: ShownLink | undefined): boolean {
  return link?.flags.includes("UP") ?? false;
}

function records(): string[] {
  try {
    return [...Deno.readDirSync(recordDir)].map(({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The records are lost, or another plugin did the ADD. */
function loseRecords(): void {
  Deno.removeSync(recordDir, { recursive: true });
}

const staticIpam = (...addresses: string[]): JsonObject => ({
  ipam: { type: "static", addresses: addresses.map((address) => ({ address })) },
});

/** The state is as before, but for the folder of records. */
async function assertBack(
  sandbox: Sandbox,
  before: State,
  options: Parameters<typeof assertSame>[2] = {},
): Promise<void> {
  assertSame(before, await snapshot(sandbox), { allow: row.residue, ...options });
}

for (const version of ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
  kernelTest(`host-device ${version}: there and back`, { needs }, async (sandbox) => {
    const before = await withCard(sandbox);
    const attachment = await plan(sandbox, { device: "dev0" }, { version });
    const { netns } = attachment;
    const result = await attachment.add();
    assertShape(result, version);
    assertEquals(result["interfaces"], [{
      name: "net1",
      mac,
      ...(version >= "1.0.0" && { mtu: 1500 }),
      sandbox: netns,
    }]);
    const link = await linkOf(sandbox, netns, "net1");
    assertEquals([link?.address, isUp(link)], [mac, true]);
    assert(!await sandbox.hasLink(sandbox.host, "dev0"));
    if (version >= "0.4.0") await attachment.check();
    await attachment.del();
    await assertBack(sandbox, before);
    await attachment.del();
    await assertBack(sandbox, before);
  });

  kernelTest(`host-device ${version}: addresses of static`, { needs }, async (sandbox) => {
    const before = await withCard(sandbox);
    const config = { device: "dev0", ...staticIpam("10.10.0.1/24") };
    const attachment = await plan(sandbox, config, { version });
    const result = await attachment.add();
    assertShape(result, version);
    assertEquals(addressesOf(result), ["10.10.0.1/24"]);
    assertEquals((result["ips"] as JsonObject[])[0]!["interface"], 0);
    const link = await linkOf(sandbox, attachment.netns, "net1");
    assertEquals(
      link?.addr_info.filter(({ local }) => !local.startsWith("fe80")).map((it) =>
        `${it.local}/${it.prefixlen}`
      ),
      ["10.10.0.1/24"],
    );
    if (version >= "0.4.0") await attachment.check();
    await attachment.del();
    await assertBack(sandbox, before);
  });

  kernelTest(`host-device ${version}: a name that is taken`, { needs }, async (sandbox) => {
    const before = await withCard(sandbox);
    const attachment = await plan(sandbox, { device: "dev0" }, { version });
    await attachment.add();
    await sandbox.ip(sandbox.host, ["link add dev0 type veth peer name dev9"]);
    const taken = await snapshot(sandbox);
    const { code, msg, details } = await fail(sandbox, attachment.call("DEL"));
    assertEquals(code, 102);
    assertEquals(
      msg,
      'Cannot give "dev0" back to the host: the host has another link of that name',
    );
    assertStringIncludes(details!, "the device stays in the container");
    assertSame(taken, await snapshot(sandbox));
    assert(isUp(await linkOf(sandbox, attachment.netns, "net1")));
    await sandbox.ip(sandbox.host, ["link del dev0"]);
    await attachment.del();
    await assertBack(sandbox, before);
  });
}

kernelTest("host-device: another name of a link is taken too", { needs }, async (sandbox) => {
  const before = await withCard(sandbox, {
    lines: ["link add dev7 type veth peer name dev8"],
  });
  const attachment = await plan(sandbox, { device: "dev0", ...staticIpam("10.10.0.1/24") });
  await attachment.add();
  const property = "property add dev dev7 altname dev0";
  await sandbox.ip(sandbox.host, [`link ${property}`]);
  assertEquals((await fail(sandbox, attachment.call("DEL"))).code, 102);
  assert(isUp(await linkOf(sandbox, attachment.netns, "net1")));
  await sandbox.ip(sandbox.host, [`link ${property.replace("add", "del")}`]);
  await attachment.del();
  await assertBack(sandbox, before);
});

kernelTest("host-device: a container with a link of the device's name", {
  needs,
}, async (sandbox) => {
  await sandbox.ip(await sandbox.container("a"), [
    "link add eth0 address 02:00:00:00:00:77 type veth peer name eth9",
    "link set eth0 up",
  ]);
  const before = await withCard(sandbox, { name: "eth0" });
  const attachment = await plan(sandbox, { device: "eth0" });
  await attachment.add();
  const own = await linkOf(sandbox, attachment.netns, "eth0");
  assertEquals([own?.address, isUp(own)], ["02:00:00:00:00:77", true]);
  assertEquals((await linkOf(sandbox, attachment.netns, "net1"))?.address, mac);
  await attachment.del();
  await assertBack(sandbox, before);
});

kernelTest("host-device: a second name that the container has already", {
  needs,
}, async (sandbox) => {
  await sandbox.ip(await sandbox.container("a"), [
    "link add enp9s0 type veth peer name other0",
  ]);
  const before = await withCard(sandbox, {
    lines: ["link property add dev dev0 altname enp9s0", "link set dev0 up"],
  });
  const attachment = await plan(sandbox, { device: "dev0" });
  const { code, msg } = await fail(sandbox, attachment.call("ADD"));
  assertEquals(code, 102);
  assertStringIncludes(msg, "the container has a link with one of its names");
  await assertBack(sandbox, before);
});

/** How a device may be before it is taken. */
const before: Readonly<Record<string, readonly string[]>> = {
  down: [],
  up: ["link set dev0 up"],
  "with an MTU of its own": ["link set dev0 mtu 1400 up"],
  "with an alias": ["link set dev0 alias uplink"],
  promiscuous: ["link set dev0 promisc on up"],
  "with addresses": [
    "addr add 192.0.2.9/24 brd + dev dev0",
    "addr add 192.0.2.10/24 dev dev0 label dev0:1",
    "addr add 198.51.100.1 peer 198.51.100.2/32 dev dev0 scope link",
    "addr add 2001:db8:9::1/64 dev dev0 nodad",
    "link set dev0 up",
  ],
  "with addresses, and down": ["addr add 192.0.2.9/24 brd + dev dev0"],
  "the port of a bridge": [
    "link add br9 address 02:00:00:00:00:b9 type bridge",
    "link set br9 up",
    "link set dev0 master br9 up",
  ],
  "with another name": ["link property add dev dev0 altname enp0s31f6", "link set dev0 up"],
  "with a name of a key word": ["link set dev0 alias dev", "link set dev0 up"],
};

for (const [title, lines] of Object.entries(before)) {
  kernelTest(`host-device: comes back ${title}`, { needs }, async (sandbox) => {
    const state = await withCard(sandbox, { lines });
    const config = { device: "dev0", ...staticIpam("10.10.0.1/24", "2001:db8:1::9/64") };
    for (const known of [true, false]) {
      const attachment = await plan(sandbox, config);
      const result = await attachment.add();
      await attachment.check();
      attachment.result = known ? result : undefined;
      await attachment.del();
      await assertBack(sandbox, state);
    }
  });
}

kernelTest("host-device: comes back with IPv6 to a host that keeps it from new links", {
  needs,
}, async (sandbox) => {
  await withCard(sandbox);
  const ipv6 = "/proc/sys/net/ipv6/conf";
  await sandbox.inside(sandbox.host, ["sh", "-ec", `echo 1 >${ipv6}/default/disable_ipv6`]);
  await sandbox.ip(sandbox.host, ["addr add 2001:db8:9::1/64 dev dev0 nodad", "link set dev0 up"]);
  const state = await snapshot(sandbox);
  const attachment = await plan(sandbox, { device: "dev0" });
  await attachment.add();
  await attachment.del();
  await assertBack(sandbox, state);
});

kernelTest("host-device: altname selects as any name does, and DEL finds the real one", {
  needs,
}, async (sandbox) => {
  const lines = ["link property add dev dev0 altname a-name-longer-than-fifteen"];
  const before = await withCard(sandbox, { lines });
  const attachment = await plan(sandbox, { device: "a-name-longer-than-fifteen" });
  await attachment.add();
  loseRecords();
  await attachment.del();
  await assertBack(sandbox, before);
});

/** What may happen to the device inside. */
const inside: Readonly<Record<string, readonly string[]>> = {
  renamed: ["link set net1 name other0"],
  "marked by somebody else": ["link set net1 alias something-else"],
  "with another hardware address": ["link set net1 address 02:00:00:00:09:09"],
  "with another MTU, promiscuous and down": ["link set net1 mtu 9000 promisc on down"],
  "changed in every way": [
    "link set net1 down",
    "link set net1 name other0 alias other address 02:00:00:00:09:09 mtu 9000",
    "link add net1 type veth peer name net2",
  ],
};

for (const [title, lines] of Object.entries(inside)) {
  kernelTest(`host-device: comes back from a container, ${title}`, { needs }, async (sandbox) => {
    const state = await withCard(sandbox, {
      lines: ["addr add 192.0.2.9/24 dev dev0", "link set dev0 alias uplink up"],
    });
    const attachment = await plan(sandbox, { device: "dev0" });
    await attachment.add();
    await sandbox.ip(attachment.netns, lines);
    await attachment.del();
    await assertBack(sandbox, state, { only: /^host|^files$/ });
    assertEquals(records(), []);
  });
}

for (const name of ["net1", "dev3", "eth0"]) {
  for (const remembered of [true, false]) {
    // A name that somebody gave it says nothing without a record.
    if (name === "eth0" && !remembered) continue;
    const title = remembered ? "with" : "without";
    kernelTest(`host-device: the kernel brought it back as ${name}, ${title} a record`, {
      needs,
    }, async (sandbox) => {
      const lines = remembered
        ? ["addr add 192.0.2.9/24 dev dev0", "link set dev0 mtu 1400 alias uplink up"]
        : [];
      const state = await withCard(sandbox, { lines });
      const attachment = await plan(sandbox, { device: "dev0", ...staticIpam("10.10.0.1/24") });
      await attachment.add();
      const { host } = sandbox;
      await sandbox.ip(attachment.netns, [`link set dev net1 netns ${host} name ${name}`]);
      if (!remembered) loseRecords();
      await attachment.del({ netns: `${sandbox.dir}/gone` });
      await assertBack(sandbox, state);
      assertEquals(remembered ? records() : [], []);
    });
  }
}

kernelTest("host-device: a namespace that ends brings the device back, and DEL or GC its name", {
  needs,
}, async (sandbox, test) => {
  const state = await withCard(sandbox, {
    lines: ["addr add 192.0.2.9/24 dev dev0", "link set dev0 up"],
  });
  for (const verb of ["DEL", "GC"] as const) {
    await test.step(verb, async () => {
      const attachment = await plan(sandbox, { device: "dev0" }, { container: "lost" });
      await attachment.add();
      await sandbox.removeNetns("lost");
      assert(await sandbox.hasLink(sandbox.host, "net1"));
      if (verb === "DEL") await attachment.del();
      else assertEquals((await callPlugin(sandbox, attachment.gcCall([]))).code, 0);
      await assertBack(sandbox, state, { only: /^host|^files$/ });
    });
  }
});

kernelTest("host-device: a virtual device ends with its namespace", { needs }, async (sandbox) => {
  await sandbox.ip(sandbox.host, ["link add dev0 type veth peer name dev9"]);
  const attachment = await plan(sandbox, { device: "dev0" }, { container: "lost" });
  await attachment.add();
  assertEquals(records().length, 1);
  await sandbox.removeNetns("lost");
  await attachment.del();
  assertEquals(records(), []);
  await attachment.del();
});

kernelTest("host-device: a DEL without CNI_NETNS goes where the device was given to", {
  needs: [...needs, "plugin:host-local"],
}, async (sandbox) => {
  const state = await withCard(sandbox, { lines: ["link set dev0 up"] });
  const config = { device: "dev0", ipam: hostLocal(sandbox, "10.1.2.0/24") };
  const attachment = await plan(sandbox, config);
  await attachment.add();
  await attachment.del({ netns: "" });
  await assertBack(sandbox, state, { allow: ["deviceRecords", "hostLocal"] });
});

kernelTest("host-device: what no record and no mark tells of is left alone", {
  needs,
}, async (sandbox) => {
  await withCard(sandbox);
  const attachment = await plan(sandbox, { device: "dev0" });
  await attachment.add();
  await sandbox.ip(attachment.netns, ["link set net1 alias not/a/name"]);
  loseRecords();
  const before = await snapshot(sandbox);
  await attachment.del();
  assertSame(before, await snapshot(sandbox));
  await sandbox.ip(attachment.netns, ["link set net1 alias dev0"]);
  // Somebody else's address: the record of the ADD says that it is another device.
  const [entry] = attachment.result!["interfaces"] as JsonObject[];
  attachment.result = {
    ...attachment.result,
    interfaces: [{ ...entry!, mac: "02:00:00:00:00:78" }],
  };
  const other = await plan(sandbox, { device: "dev1" });
  other.result = attachment.result;
  await other.del();
  assert(await sandbox.hasLink(attachment.netns, "net1"));
  await attachment.del();
  assert(await sandbox.hasLink(sandbox.host, "dev0"));
});

kernelTest("host-device: addresses are released whatever becomes of the device", {
  needs,
}, async (sandbox, test) => {
  const ipamType = "recorded-ipam";
  const address = { cniVersion: "1.1.0", ips: [{ address: "10.77.0.2/24" }] };
  const spoiled: Readonly<Record<string, JsonObject>> = {
    "a device that is gone": { device: "dev7" },
    "no selector": { device: null },
    "selectors of the wrong type": { device: [1], hwaddr: "x", kernelpath: "/etc", pciBusID: 7 },
    "a PCI device that is gone": { device: null, pciBusID: "ffff:ff:1f.7" },
    "a device of the runtime that is gone": { runtimeConfig: { deviceID: "ffff:ff:1f.7" } },
  };
  const state = await withCard(sandbox, { lines: ["link set dev0 up"] });
  for (const [title, keys] of Object.entries(spoiled)) {
    for (const netns of [undefined, "", `${sandbox.dir}/gone`]) {
      await test.step(`${title}, ${netns ?? "its namespace"}`, async () => {
        using recorder = new Recorder();
        recorder.add(ipamType, { ADD: prints(address) });
        const env = { CNI_PATH: recorder.dir };
        const attachment = await plan(sandbox, { device: "dev0", ipam: { type: ipamType } });
        attachment.result = (await callPlugin(sandbox, attachment.call("ADD", { env }))).json;
        const call = attachment.call("DEL", { env, ...(netns !== undefined && { netns }) });
        const config = { ...call.config as JsonObject, ...keys };
        assertEquals((await callPlugin(sandbox, { ...call, config })).code, 0);
        assertEquals(recorder.log(), [`${ipamType} ADD`, `${ipamType} DEL`]);
        await assertBack(sandbox, state);
      });
    }
  }
});

kernelTest("host-device: both failures of a DEL are told, and the device comes back all the same", {
  needs,
}, async (sandbox) => {
  using recorder = new Recorder();
  recorder.add("recorded-ipam", {
    ADD: prints({ cniVersion: "1.1.0", ips: [{ address: "10.77.0.2/24" }] }),
    DEL: fails(11, "not now"),
  });
  const env = { CNI_PATH: recorder.dir };
  const state = await withCard(sandbox);
  const attachment = await plan(sandbox, { device: "dev0", ipam: { type: "recorded-ipam" } });
  attachment.result = (await callPlugin(sandbox, attachment.call("ADD", { env }))).json;
  await sandbox.ip(sandbox.host, ["link add dev0 type veth peer name dev9"]);
  const first = await fail(sandbox, attachment.call("DEL", { env }));
  assertEquals(first.code, 11);
  assertStringIncludes(`${first.msg} ${first.details}`, 'Cannot give "dev0" back to the host');
  await sandbox.ip(sandbox.host, ["link del dev0"]);
  assertEquals((await fail(sandbox, attachment.call("DEL", { env }))).code, 11);
  await assertBack(sandbox, state);
});

kernelTest("host-device: an IPAM plugin that fails gives the device back", {
  needs,
}, async (sandbox, test) => {
  const state = await withCard(sandbox, {
    lines: ["addr add 192.0.2.9/24 dev dev0", "link set dev0 alias uplink up"],
  });
  const answers = {
    fails: fails(104, "no address for you"),
    "gives no address": prints({ cniVersion: "1.1.0" }),
    "gives an address that cannot be": prints({ cniVersion: "1.1.0", ips: [{ address: "::/0" }] }),
  };
  // The one is asked before the device moves, the other when it is there and up.
  for (const type of ["static", "recorded-ipam"]) {
    for (const [title, answer] of Object.entries(answers)) {
      await test.step(`${type} ${title}`, async () => {
        using recorder = new Recorder();
        const look = "ip -br link show net1 2>/dev/null >$d/seen || :";
        recorder.add(type, { ADD: { ...answer, run: `nsenter --net=$CNI_NETNS ${look}` } });
        const attachment = await plan(sandbox, { device: "dev0", ipam: { type } });
        const env = { CNI_PATH: recorder.dir };
        errorObject(
          attachment.call("ADD"),
          await callPlugin(sandbox, attachment.call("ADD", { env })),
        );
        const seen = Deno.readTextFileSync(`${recorder.dir}/${type}.d/seen`);
        assertEquals(/\bUP\b/.test(seen), type !== "static", seen);
        assertEquals(recorder.log(), [`${type} ADD`, `${type} DEL`]);
        await assertBack(sandbox, state);
        assertEquals(records(), []);
      });
    }
  }
});

kernelTest("host-device: GC gives back what no valid attachment has", {
  needs: [...needs, "plugin:host-local"],
}, async (sandbox) => {
  await sandbox.card("dev1", "02:00:00:00:ca:11");
  const state = await withCard(sandbox, { lines: ["link set dev0 up", "link set dev1 up"] });
  const ipam = hostLocal(sandbox, "10.1.2.0/24");
  const kept = await plan(sandbox, { device: "dev0", ipam });
  const stale = await plan(sandbox, { device: "dev1", ipam }, {
    containerId: "c2",
    container: "b",
  });
  await kept.add();
  await stale.add();
  const valid = [{ containerID: "c1", ifname: "net1" }];
  assertEquals((await callPlugin(sandbox, kept.gcCall(valid))).code, 0);
  await kept.check();
  assert(isUp(await linkOf(sandbox, sandbox.host, "dev1")));
  assert(!await sandbox.hasLink(stale.netns, "net1"));
  assertEquals(records().length, 1);
  assertEquals((await callPlugin(sandbox, kept.gcCall([]))).code, 0);
  await assertBack(sandbox, state, {
    allow: ["deviceRecords", "hostLocal"],
    only: /^host|^files$/,
  });
});

kernelTest("host-device: whoever wants a device that a container has is told who has it", {
  needs,
}, async (sandbox) => {
  await withCard(sandbox);
  const first = await plan(sandbox, { device: "dev0" });
  await first.add();
  for (const config of [{ device: "dev0" }, { hwaddr: mac }]) {
    const second = await plan(sandbox, config, { containerId: "c2", container: "b" });
    const { code, msg } = await fail(sandbox, second.call("ADD"));
    assertEquals(code, 103);
    const holder = 'container "c1" (network "net1", interface "net1") has it';
    assertStringIncludes(msg, holder);
    assertStringIncludes(msg, '"dev0-far"');
    await second.del();
    await first.check();
    // It is no defect of the host that the device is in use.
    assertEquals((await callPlugin(sandbox, second.call("STATUS"))).code, 0);
  }
});

/** Starts an ADD, and kills it when it is about to move the device. */
async function killedBeforeMove(sandbox: Sandbox, attachment: Attachment): Promise<void> {
  await using faults = await Faults.install();
  faults.armHold(2);
  const running = startPlugin(sandbox, attachment.call("ADD"));
  assert(await faults.held(running.finished));
  running.signalAll("SIGKILL");
  await running.allGone();
}

kernelTest("host-device: a device that is promised is for its container alone, while that lives", {
  needs,
}, async (sandbox) => {
  const state = await withCard(sandbox, { lines: ["link set dev0 up"] });
  const first = await plan(sandbox, { device: "dev0" }, { container: "lost" });
  await killedBeforeMove(sandbox, first);
  assertEquals(records().length, 1);
  const second = await plan(sandbox, { device: "dev0" }, { containerId: "c2" });
  const { code, msg } = await fail(sandbox, second.call("ADD"));
  assertEquals(code, 11);
  assertStringIncludes(msg, 'it is promised to container "c1" (network "net1", interface "net1")');
  // The same attachment may try again.
  await first.add();
  await first.check();
  await sandbox.removeNetns("lost");
  // Nobody calls DEL for it, and the device is back under another name: the next ADD sees to it.
  assert(await sandbox.hasLink(sandbox.host, "net1"));
  await second.add();
  await second.check();
  assertEquals(records().length, 1);
  await first.del();
  await second.check();
  await second.del();
  await assertBack(sandbox, state, { only: /^(host|a|files)\b/ });
});

kernelTest("host-device: DEL removes what a killed ADD has left of a record", {
  needs,
}, async (sandbox) => {
  await withCard(sandbox);
  const attachment = await plan(sandbox, { device: "dev0" });
  await attachment.add();
  const [name] = records();
  await attachment.del();
  Deno.writeTextFileSync(`${recordDir}/${name}.tmp`, '{"network":');
  await attachment.del();
  assertEquals(records(), []);
});

kernelTest("host-device: what another plugin gave back is not undone by an old record", {
  needs,
}, async (sandbox, test) => {
  await withCard(sandbox, { lines: ["addr add 192.0.2.9/24 dev dev0", "link set dev0 up"] });
  // As the reference's DEL leaves it, and that of its early releases.
  for (const alias of ["", "dev0"]) {
    await test.step(`alias "${alias}"`, async () => {
      const first = await plan(sandbox, { device: "dev0" });
      await first.add();
      await sandbox.ip(first.netns, [`link set dev net1 netns ${sandbox.host} name dev0`]);
      await sandbox.inside(sandbox.host, ["ip", "link", "set", "dev", "dev0", "alias", alias]);
      // Then the host's administrator goes on.
      await sandbox.ip(sandbox.host, ["addr replace 192.0.2.77/24 dev dev0"]);
      const state = await snapshot(sandbox);
      const again = await plan(sandbox, { device: "dev0" });
      await again.add();
      await again.del();
      assertSame(state, await snapshot(sandbox), { only: /^host/ });
      assertEquals(records(), []);
    });
  }
});

kernelTest("host-device: a DEL that was killed half way is finished by the next", {
  needs,
}, async (sandbox, test) => {
  const state = await withCard(sandbox, {
    lines: ["addr add 192.0.2.9/24 dev dev0", "link set dev0 alias uplink mtu 1400 up"],
  });
  const attachment = await plan(sandbox, { device: "dev0" });
  await using faults = await Faults.install();
  faults.disarm();
  await attachment.add();
  const steps = await countSteps(faults, { type: "host-device", run: () => attachment.del() });
  for (const step of faults.each(steps)) {
    await attachment.add();
    faults.armHold(step);
    const running = startPlugin(sandbox, attachment.call("DEL"));
    if (!await faults.held(running.finished)) continue;
    await test.step(`step ${step} of ${steps}`, async () => {
      running.signalAll("SIGKILL");
      await running.allGone();
      faults.disarm();
      await attachment.del();
      await assertBack(sandbox, state);
    });
  }
});

kernelTest("host-device: links that never leave their namespace are refused", {
  needs: [...needs, "link:bridge"],
}, async (sandbox, test) => {
  await sandbox.container("a");
  await sandbox.ip(sandbox.host, ["link add br9 type bridge", "link set br9 up"]);
  const state = await snapshot(sandbox);
  await test.step("loopback", async () => {
    const attachment = await plan(sandbox, { device: "lo" });
    const { code, msg } = await fail(sandbox, attachment.call("ADD"));
    assertEquals(code, 100);
    assertStringIncludes(msg, 'Cannot move "lo" into the container');
    await attachment.del();
    await assertBack(sandbox, state);
  });
});

kernelTest("host-device: STATUS tells whether the device is there", { needs }, async (sandbox) => {
  await withCard(sandbox);
  const good = await plan(sandbox, { device: "dev0" });
  assertEquals((await callPlugin(sandbox, good.call("STATUS"))).code, 0);
  await good.add();
  assertEquals((await callPlugin(sandbox, good.call("STATUS"))).code, 0);
  await good.del();
  const bad = await plan(sandbox, { device: "dev5" });
  const { code, msg } = await fail(sandbox, bad.call("STATUS"));
  assertEquals(code, 50);
  assertEquals(
    msg,
    'failed to find host device: device "dev5": no such link on this host; ' +
      'there are: "dev0-far", "dev0"',
  );
  const runtime = await plan(sandbox, { capabilities: { deviceID: true } });
  assertEquals((await callPlugin(sandbox, runtime.call("STATUS"))).code, 0);
});

kernelTest("host-device: no selector", { needs }, async (sandbox) => {
  const before = await withCard(sandbox);
  const attachment = await plan(sandbox, {});
  for (const verb of ["ADD", "CHECK"] as const) {
    const { code, msg } = await fail(sandbox, attachment.call(verb));
    assertEquals(code, 7);
    assertEquals(msg, 'specify either "device", "hwaddr", "kernelpath" or "pciBusID"');
  }
  await attachment.del();
  assertSame(before, await snapshot(sandbox));
});

kernelTest("host-device: every way to select a device", { needs }, async (sandbox, test) => {
  const before = await withCard(sandbox, { lines: ["link set dev0 up"] });
  await using sysfs = await FakeSysfs.install();
  sysfs.pci("0000:00:03.0", { driver: "e1000", links: ["dev0"] });
  sysfs.pci("0000:00:04.0", { driver: "virtio-pci", links: ["dev0"], virtio: "virtio3" });
  sysfs.pci("0000:00:05.0", { driver: "vfio-pci" });
  sysfs.pci("0000:00:06.0", { driver: "e1000", links: ["dev0-far"] });
  sysfs.auxiliary("mlx5_core.sf.4", ["dev0"]);
  const kernelpath = sysfs.other("card7", ["dev0", "dev9"]);
  const deviceID = (deviceID: string) => ({ runtimeConfig: { deviceID } });
  const ways: readonly (readonly [title: string, config: JsonObject, pciID?: string])[] = [
    ["name", { device: "dev0" }],
    ["hardware address", { hwaddr: mac.toUpperCase() }],
    ["kernel path", { kernelpath }],
    ["PCI address", { pciBusID: "0000:00:03.0" }, "0000:00:03.0"],
    ["PCI address of a virtio device", { pciBusID: "0000:00:04.0" }, "0000:00:04.0"],
    ["deviceID of PCI", deviceID("0000:00:03.0"), "0000:00:03.0"],
    ["deviceID of the auxiliary bus", deviceID("mlx5_core.sf.4")],
    [
      "deviceID in place of a PCI address",
      { pciBusID: "0000:00:05.0", ...deviceID("0000:00:03.0") },
      "0000:00:03.0",
    ],
    [
      "deviceID of the auxiliary bus in place of a PCI address",
      { pciBusID: "0000:00:05.0", ...deviceID("mlx5_core.sf.4") },
    ],
    ["kernel path before a PCI address", { kernelpath, pciBusID: "0000:00:06.0" }],
    ["kernel path before deviceID", { kernelpath, ...deviceID("0000:00:06.0") }],
    ["name before deviceID", { device: "dev0", ...deviceID("mlx5_core.sf.4") }],
  ];
  for (const [title, config, pciID] of ways) {
    await test.step(title, async () => {
      const attachment = await plan(sandbox, config);
      const result = await attachment.add();
      const sandboxOf = attachment.netns;
      assertEquals(result["interfaces"], [{
        name: "net1",
        mac,
        mtu: 1500,
        sandbox: sandboxOf,
        ...(pciID && { pciID }),
      }]);
      await attachment.check();
      assertEquals((await callPlugin(sandbox, attachment.call("STATUS"))).code, 0);
      await attachment.del();
      await assertBack(sandbox, before);
    });
  }
});

kernelTest("host-device: what sysfs does not have is told", { needs }, async (sandbox, test) => {
  const before = await withCard(sandbox);
  await using sysfs = await FakeSysfs.install();
  sysfs.pci("0000:00:03.0", { driver: "e1000", links: [] });
  sysfs.pci("0000:00:04.0", { links: ["dev0"] });
  sysfs.pci("0000:00:06.0", { driver: "e1000" });
  sysfs.pci("0000:00:07.0", { driver: "e1000", links: ["dev7"] });
  const empty = sysfs.other("card7", []);
  const there = '; there are: "dev0-far", "dev0"';
  const cases: readonly (readonly [JsonObject, string])[] = [
    [
      { pciBusID: "0000:00:08.0" },
      'error with host device: PCI device "0000:00:08.0": no such device',
    ],
    [
      { pciBusID: "0000:00:04.0", device: "dev0" },
      'error with host device: PCI device "0000:00:04.0": no driver is bound to it',
    ],
    [
      { pciBusID: "0000:00:03.0" },
      `failed to find host device: pciBusID "0000:00:03.0": it has no link on this host${there}`,
    ],
    [
      { pciBusID: "0000:00:06.0" },
      'failed to find host device: pciBusID "0000:00:06.0": ' +
      `no folder "net" in /sys/bus/pci/devices/0000:00:06.0${there}`,
    ],
    [
      { pciBusID: "0000:00:07.0" },
      'failed to find host device: pciBusID "0000:00:07.0": ' +
      `its link "dev7" is not on this host${there}`,
    ],
    [
      { kernelpath: empty },
      `failed to find host device: kernelpath "${devices}/card7": it has no link on this host${there}`,
    ],
    [
      { runtimeConfig: { deviceID: "mlx5_core.sf.9" } },
      "runtime config DeviceID mlx5_core.sf.9 not found or unsupported",
    ],
  ];
  for (const [config, expected] of cases) {
    await test.step(JSON.stringify(config), async () => {
      const attachment = await plan(sandbox, config);
      for (const [verb, expectedCode] of [["ADD", 103], ["STATUS", 50]] as const) {
        const { code, msg } = await fail(sandbox, attachment.call(verb));
        assertEquals([code, msg], [expectedCode, expected]);
      }
      await attachment.del();
      assertSame(before, await snapshot(sandbox));
    });
  }
});

kernelTest("host-device: an auxiliary device goes and comes", { needs }, async (sandbox) => {
  const before = await withCard(sandbox, { name: "eth0" });
  await using sysfs = await FakeSysfs.install();
  sysfs.auxiliary("mlx5_core.sf.4", ["eth0"]);
  const attachment = await plan(sandbox, { runtimeConfig: { deviceID: "mlx5_core.sf.4" } });
  await attachment.add();
  assertEquals((await linkOf(sandbox, attachment.netns, "net1"))?.address, mac);
  await attachment.del();
  await assertBack(sandbox, before);
});

for (const driver of ["vfio-pci", "uio_pci_generic", "igb_uio"]) {
  kernelTest(`host-device: a device of ${driver} gets addresses and stays where it is`, {
    needs,
  }, async (sandbox, test) => {
    const before = await withCard(sandbox);
    await using sysfs = await FakeSysfs.install();
    sysfs.pci("0000:00:00.1", { driver });
    for (const version of ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
      await test.step(version, async () => {
        const config = { pciBusID: "0000:00:00.1", ...staticIpam("10.10.0.1/24") };
        const attachment = await plan(sandbox, config, { version });
        const result = await attachment.add();
        assertShape(result, version);
        assertEquals(result["interfaces"], [{
          name: "net1",
          sandbox: attachment.netns,
          ...(version >= "1.0.0" && { pciID: "0000:00:00.1" }),
        }]);
        assertEquals(addressesOf(result), ["10.10.0.1/24"]);
        assertSame(before, await snapshot(sandbox));
        if (version >= "0.4.0") {
          await attachment.check();
          const gone = attachment.call("CHECK", { netns: `${sandbox.dir}/gone` });
          assertEquals((await fail(sandbox, gone)).code, 8);
        }
        await attachment.del();
        await attachment.del({ netns: "" });
        assertSame(before, await snapshot(sandbox));
      });
    }
    await test.step("chosen by the runtime", async () => {
      const keys = { pciBusID: "0000:00:00.2", runtimeConfig: { deviceID: "0000:00:00.1" } };
      const attachment = await plan(sandbox, { ...keys, ...staticIpam("10.10.0.1/24") });
      const result = await attachment.add();
      const entry = { name: "net1", sandbox: attachment.netns, pciID: "0000:00:00.1" };
      assertEquals(result["interfaces"], [entry]);
      assertEquals(addressesOf(result), ["10.10.0.1/24"]);
      await attachment.check();
      assertEquals((await callPlugin(sandbox, attachment.call("STATUS"))).code, 0);
      await attachment.del();
      assertSame(before, await snapshot(sandbox));
    });
    await test.step("a name beside it changes nothing", async () => {
      const attachment = await plan(sandbox, { pciBusID: "0000:00:00.1", device: "dev0" });
      await attachment.add();
      assertSame(before, await snapshot(sandbox));
      assertEquals((await callPlugin(sandbox, attachment.call("STATUS"))).code, 0);
    });
  });
}

kernelTest("host-device: a PCI device that was unplugged", { needs }, async (sandbox) => {
  await withCard(sandbox);
  await using sysfs = await FakeSysfs.install();
  sysfs.pci("0000:00:03.0", { driver: "e1000", links: ["dev0"] });
  const attachment = await plan(sandbox, { pciBusID: "0000:00:03.0" });
  await attachment.add();
  sysfs.unplug("0000:00:03.0");
  await sandbox.ip(attachment.netns, ["link del net1"]);
  await attachment.del();
  await attachment.del();
  assertEquals(records(), []);
});

kernelTest("host-device: packets pass, in the container and on the host again", {
  needs: [...needs, "plugin:host-local"],
}, async (sandbox) => {
  const { host } = sandbox;
  const state = await withCard(sandbox, {
    lines: [
      "addr add 192.0.2.1/24 dev dev0",
      "addr add 2001:db8:9::1/64 dev dev0 nodad",
      "link set dev0 up",
      `link set dev dev0-far netns ${await sandbox.container("far")}`,
    ],
  });
  const far = await sandbox.container("far");
  await sandbox.ip(far, [
    "addr add 10.1.2.1/24 dev dev0-far",
    "addr add 192.0.2.2/24 dev dev0-far",
    "addr add 2001:db8:1::1/64 dev dev0-far nodad",
    "addr add 2001:db8:9::2/64 dev dev0-far nodad",
    "link set dev0-far up",
  ]);
  const port = await sandbox.agent(far).listen("tcp", { address: "::" });
  const ipam = hostLocal(sandbox, "10.1.2.0/24", "2001:db8:1::/64");
  const attachment = await plan(sandbox, { device: "dev0", ipam });
  const result = await attachment.add();
  const [own4, own6] = addressesOf(result).map((address) => address.split("/")[0]!);
  const agent = sandbox.agent(attachment.netns);
  // At once: duplicate address detection has ended.
  assertEquals(await agent.call("2001:db8:1::1", port), { is: "answered", from: own6! });
  assertEquals(await agent.call("10.1.2.1", await sandbox.agent(far).listen("tcp")), {
    is: "answered",
    from: own4!,
  });
  await attachment.check();
  await attachment.del();
  assert(await sandbox.agent(host).ping("192.0.2.2"));
  assert(await sandbox.agent(host).ping("2001:db8:9::2"));
  assertSame(state, await snapshot(sandbox), {
    allow: ["deviceRecords", "hostLocal"],
    only: /^host/,
  });
});

kernelTest("host-device: an IPv6 address that is in use gives the device back", {
  needs,
}, async (sandbox) => {
  const far = await sandbox.container("far");
  const state = await withCard(sandbox, {
    lines: [`link set dev dev0-far netns ${far}`, "link set dev0 up"],
  });
  await sandbox.ip(far, ["addr add 2001:db8:1::9/64 dev dev0-far nodad", "link set dev0-far up"]);
  const attachment = await plan(sandbox, { device: "dev0", ...staticIpam("2001:db8:1::9/64") });
  const { msg } = await fail(sandbox, attachment.call("ADD"));
  assertStringIncludes(msg, "2001:db8:1::9 is in use on the link already");
  await assertBack(sandbox, state, { only: /^(host|a|files)\b/ });
});

kernelTest("host-device: CHECK tells a device that is down or another one", {
  needs,
}, async (sandbox, test) => {
  await withCard(sandbox);
  const attachment = await plan(sandbox, { device: "dev0" });
  await attachment.add();
  await test.step("down", async () => {
    await sandbox.ip(attachment.netns, ["link set net1 down"]);
    const { code, msg } = await fail(sandbox, attachment.call("CHECK"));
    assertEquals(code, 105);
    assertStringIncludes(msg, 'container interface "net1" is down');
    await sandbox.ip(attachment.netns, ["link set net1 up"]);
    await attachment.check();
  });
  await test.step("no mark and no record", async () => {
    loseRecords();
    await attachment.check();
    await sandbox.inside(attachment.netns, ["ip", "link", "set", "dev", "net1", "alias", ""]);
    assertStringIncludes((await fail(sandbox, attachment.call("CHECK"))).msg, "lost its alias");
    await sandbox.ip(attachment.netns, ["link set net1 alias dev0"]);
    await attachment.del();
  });
  await test.step("another device", async () => {
    const again = await plan(sandbox, { device: "dev0" });
    await again.add();
    await sandbox.ip(again.netns, [
      "link set net1 name away",
      `link add net1 address ${mac} type bridge`,
      "link set net1 up",
    ]);
    const { msg } = await fail(sandbox, again.call("CHECK"));
    assertStringIncludes(msg, 'container interface "net1" is another device than ADD took');
    await again.del();
    assert(await sandbox.hasLink(sandbox.host, "dev0"));
    assert(await sandbox.hasLink(again.netns, "net1"));
  });
});
