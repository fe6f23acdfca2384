/**
 * What macvlan, ipvlan and vlan have in common: links of a container on a master.
 * Each case is a test of the plugin that asks for it.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../../cni/types.ts";
import type { Need } from "./need.ts";
import { kernelTest } from "./need.ts";
import type { PluginCall } from "./plugin.ts";
import { addressesOf, fail, succeed, versions } from "./plugin.ts";
import { fails, prints, Recorder } from "./recorder.ts";
import { hostLocal } from "./rows.ts";
import type { Sandbox } from "./sandbox.ts";
import { assertShape } from "./shape.ts";
import { assertSame, snapshot } from "./state.ts";

/** A plugin under test. */
export interface Below {
  readonly type: "macvlan" | "ipvlan" | "vlan";
  /** Keys that it cannot do without. */
  readonly keys: JsonObject;
  /** It takes the default route's link as master where none is named. */
  readonly choosesMaster: boolean;
  /** Keys that are no good, and must not keep a DEL from its work. */
  readonly invalid: readonly JsonObject[];
}

/** How a call differs from the plain one: network `mynet`, container `c1`, interface `eth0`. */
export type CallChange = Omit<Partial<PluginCall>, "config"> & {
  readonly id?: string;
  readonly config?: JsonObject;
};

/** What the tests of a plugin need. */
export function needsOf({ type }: Pick<Below, "type">): Need[] {
  return [`link:${type}`, `plugin:${type}`, "plugin:host-local"];
}

/** A call of a plugin in a container of its own. */
export async function callOf(
  sandbox: Sandbox,
  { type, keys }: Pick<Below, "type" | "keys">,
  { id = "c1", config = {}, verb = "ADD", ...rest }: CallChange = {},
): Promise<PluginCall> {
  return {
    type,
    verb,
    netns: await sandbox.container(id),
    containerId: id,
    config: { cniVersion: "1.1.0", name: "mynet", type, ...keys, ...config },
    ...rest,
  };
}

/** The call of another verb for what an ADD has given. */
export function followed(add: PluginCall, verb: "CHECK" | "DEL", result?: JsonObject): PluginCall {
  const config = { ...add.config as JsonObject, ...(result && { prevResult: result }) };
  return { ...add, verb, config };
}

/** A link as `ip` shows it. */
export interface ShownLink {
  readonly ifname: string;
  readonly address: string;
  readonly mtu: number;
  readonly operstate: string;
  readonly ifalias?: string;
  readonly linkinfo: {
    readonly info_kind: string;
    readonly info_data: { readonly mode?: string; readonly id?: number };
  };
  readonly addr_info: readonly { readonly family: string; readonly local: string }[];
}

/** A link of a namespace. */
export async function linkOf(sandbox: Sandbox, netns: string, name: string): Promise<ShownLink> {
  const [link] = await sandbox.ipJson<ShownLink>(netns, `addr show dev ${name}`);
  return link!;
}

/** Addresses beyond `out0`, where a client is. */
export function outsidePool(sandbox: Sandbox): JsonObject {
  return {
    type: "host-local",
    dataDir: sandbox.dataDir,
    ranges: [
      [{ subnet: "203.0.113.0/24", rangeStart: "203.0.113.10" }],
      [{ subnet: "2001:db8:ff::/64", rangeStart: "2001:db8:ff::10" }],
    ],
  };
}

/** The addresses of a result without their prefixes. */
export function hostsOf(result: JsonObject): string[] {
  return addressesOf(result).map((address) => address.split("/")[0]!);
}

/** A link `eth1` with a cable inside a container, to be the master. */
export async function masterInside(sandbox: Sandbox, netns: string): Promise<void> {
  await sandbox.ip(netns, [
    "link add eth1 type veth peer name far1",
    "link set eth1 up",
    "link set far1 up",
  ]);
}

const subnet = "10.1.2.0/24";
/** Runs what must change nothing, but for what `host-local` keeps; looks at one part of the state, or all. */
export async function unchanged(
  sandbox: Sandbox,
  body: () => Promise<void>,
  only: RegExp = /^/,
): Promise<void> {
  const before = await snapshot(sandbox);
  await body();
  assertSame(before, await snapshot(sandbox), { allow: ["hostLocal"], only });
}

/** Configurations that are refused, by what is wrong with them, each with code and message. */
export type Refusals = Readonly<Record<string, readonly [JsonObject, number, string]>>;

/** Each ADD is refused with its sentence, and together they change nothing. */
export async function assertRefused(
  sandbox: Sandbox,
  { test, refusals, call }: {
    readonly test: Deno.TestContext;
    readonly refusals: Refusals;
    readonly call: (config: JsonObject) => Promise<PluginCall>;
  },
): Promise<void> {
  // The container is there before.
  await call({});
  await unchanged(sandbox, async () => {
    for (const [title, [config, code, msg]] of Object.entries(refusals)) {
      await test.step(title, async () => {
        const error = await fail(sandbox, await call(config));
        assertEquals([error.code, error.msg], [code, msg]);
      });
    }
  });
}

/** What is outside of containers. */
export const outsideContainers = /^host|^files$/;

/** Registers every common test. */
export function testBelow(below: Below): void {
  insideEveryVersion(below);
  if (below.choosesMaster) defaultMaster(below);
  mtu(below);
  missingMaster(below);
  sameNameOnHost(below);
  masterGone(below);
  masterGoneWithContainer(below);
  invalidAtDel(below);
  otherIpam(below);
  nameServers(below);
  renamedMaster(below);
}

function insideEveryVersion(below: Below): void {
  const { type } = below;
  kernelTest(`${type}: a master inside the container, in every version`, {
    needs: needsOf(below),
  }, async (sandbox, test) => {
    const netns = await sandbox.container("c1");
    await masterInside(sandbox, netns);
    const master = await linkOf(sandbox, netns, "eth1");
    const ipam = hostLocal(sandbox, subnet);
    const attachAndDetach = async (cniVersion: string) => {
      await test.step(cniVersion, async () => {
        const config = { cniVersion, master: "eth1", linkInContainer: true, ipam };
        const add = await callOf(sandbox, below, { config });
        const result = await succeed(sandbox, add);
        assertShape(result, cniVersion);
        const link = await linkOf(sandbox, netns, "eth0");
        assertEquals([link.linkinfo.info_kind, link.mtu], [type, 1500]);
        assertEquals(link.addr_info.filter(({ family }) => family === "inet").length, 1);
        assertEquals(link.address === master.address, type !== "macvlan");
        if (cniVersion >= "0.3.0") {
          const [entry, ...others] = result["interfaces"] as JsonObject[];
          assertEquals([entry!["name"], entry!["mac"], entry!["sandbox"], others], [
            "eth0",
            link.address,
            netns,
            [],
          ]);
          assertEquals((result["ips"] as JsonObject[]).map((ip) => ip["interface"]), [0]);
        }
        const check = followed(add, "CHECK", result);
        if (cniVersion >= "0.4.0") await succeed(sandbox, check);
        else assertEquals((await fail(sandbox, check)).code, 1);
        await succeed(sandbox, followed(add, "DEL"));
        assert(!await sandbox.hasLink(netns, "eth0"));
      });
    };
    await unchanged(sandbox, async () => {
      for (const version of versions) await attachAndDetach(version);
    });
  });
}

function defaultMaster(below: Below): void {
  const { type } = below;
  kernelTest(`${type}: without "master" the default route's link is it`, {
    needs: needsOf(below),
  }, async (sandbox, test) => {
    await sandbox.outside();
    const config = { ipam: hostLocal(sandbox, subnet) };
    const netns = await sandbox.container("c1");
    await masterInside(sandbox, netns);
    const places = {
      "on this host": { at: sandbox.host, dev: "out0", linkInContainer: false },
      "in the container": { at: netns, dev: "eth1", linkInContainer: true },
    };
    for (const [place, { at, dev, linkInContainer }] of Object.entries(places)) {
      await test.step(place, async () => {
        const add = await callOf(sandbox, below, { config: { ...config, linkInContainer } });
        const { code, msg } = await fail(sandbox, add);
        assertEquals([code, msg], [
          103,
          `Cannot choose a master: there is no default route ${place}, and "master" is not set`,
        ]);
        await sandbox.ip(at, [`route add default dev ${dev}`]);
        const result = await succeed(sandbox, add);
        // What was chosen at ADD stays when the route goes.
        await sandbox.ip(at, [`route del default dev ${dev}`]);
        await succeed(sandbox, followed(add, "CHECK", result));
        await succeed(sandbox, followed(add, "DEL", result));
        assert(!await sandbox.hasLink(netns, "eth0"));
      });
    }
  });
}

function mtu(below: Below): void {
  const { type } = below;
  kernelTest(`${type}: MTU`, { needs: needsOf(below) }, async (sandbox, test) => {
    await sandbox.outside();
    const add = (mtu: number | undefined, ipam = hostLocal(sandbox, subnet)) =>
      callOf(sandbox, below, {
        config: { master: "out0", ipam, ...(mtu !== undefined && { mtu }) },
      });
    for (
      const [mtu, master, expected] of [[undefined, 1500, 1500], [1400, 1500, 1400], [
        0,
        1300,
        1300,
      ]] as const
    ) {
      await test.step(`${mtu} on a master of ${master}`, async () => {
        await sandbox.ip(sandbox.host, [`link set dev out0 mtu ${master}`]);
        const call = await add(mtu);
        const result = await succeed(sandbox, call);
        assertEquals((result["interfaces"] as JsonObject[])[0]!["mtu"], expected);
        assertEquals((await linkOf(sandbox, call.netns!, "eth0")).mtu, expected);
        await succeed(sandbox, followed(call, "CHECK", result));
        await succeed(sandbox, followed(call, "DEL", result));
      });
    }
    await sandbox.ip(sandbox.host, ["link set dev out0 mtu 1500"]);
    const refused = (mtu: number) =>
      [{ mtu }, 7, `invalid MTU ${mtu}, must be [0, master MTU(1500)]`] as const;
    await assertRefused(sandbox, {
      test,
      refusals: { "above the master's": refused(1600), negative: refused(-100) },
      call: ({ mtu }) => add(mtu as number | undefined),
    });
  });
}

function missingMaster(below: Below): void {
  const { type } = below;
  kernelTest(`${type}: a missing master names the links there are`, {
    needs: needsOf(below),
  }, async (sandbox) => {
    await sandbox.outside();
    const ipam = hostLocal(sandbox, subnet);
    const add = await callOf(sandbox, below, { config: { master: "out1", ipam } });
    const msg = 'Cannot use master "out1": no such link on this host; there are: "out0"';
    const onHost = await fail(sandbox, add);
    assertEquals([onHost.code, onHost.msg], [103, msg]);
    const status = await fail(sandbox, { ...add, verb: "STATUS" });
    assertEquals([status.code, status.msg], [50, msg]);
    await masterInside(sandbox, add.netns!);
    const inside = await fail(sandbox, {
      ...add,
      config: { ...add.config as JsonObject, linkInContainer: true },
    });
    assertMatch(
      inside.msg,
      /^Cannot use master "out1": no such link in the container; there are: ("(eth1|far1)"(, |$)){2}/,
    );
  });
}

function sameNameOnHost(below: Below): void {
  kernelTest(`${below.type}: the host may have a link of the container's name`, {
    needs: needsOf(below),
  }, async (sandbox) => {
    await sandbox.outside();
    await sandbox.ip(sandbox.host, ["link add eth0 type veth peer name eth9"]);
    const config = { master: "out0", ipam: hostLocal(sandbox, subnet) };
    const add = await callOf(sandbox, below, { config });
    await unchanged(sandbox, async () => {
      const result = await succeed(sandbox, add);
      await succeed(sandbox, followed(add, "CHECK", result));
      await succeed(sandbox, followed(add, "DEL", result));
    });
  });
}

function masterGone(below: Below): void {
  kernelTest(`${below.type}: DEL when the master is gone`, {
    needs: needsOf(below),
  }, async (sandbox) => {
    await sandbox.outside();
    const config = { master: "out0", ipam: hostLocal(sandbox, subnet) };
    const add = await callOf(sandbox, below, { config });
    await unchanged(sandbox, async () => {
      const result = await succeed(sandbox, add);
      await sandbox.ip(sandbox.host, ["link del dev out0"]);
      const { code, msg } = await fail(sandbox, followed(add, "CHECK", result));
      assertEquals(code, 105);
      assertStringIncludes(msg, 'container interface "eth0" is missing');
      await succeed(sandbox, followed(add, "DEL", result));
      await succeed(sandbox, followed(add, "DEL"));
    }, /^files$/);
  });
}

function masterGoneWithContainer(below: Below): void {
  kernelTest(`${below.type}: DEL when the master is gone with the container`, {
    needs: needsOf(below),
  }, async (sandbox) => {
    const ipam = hostLocal(sandbox, subnet);
    const add = await callOf(sandbox, below, {
      config: { master: "eth1", linkInContainer: true, ipam },
    });
    await masterInside(sandbox, add.netns!);
    await unchanged(sandbox, async () => {
      const result = await succeed(sandbox, add);
      await sandbox.removeNetns("c1");
      await succeed(sandbox, followed(add, "DEL", result));
      await succeed(sandbox, followed(add, "DEL"));
    }, /^host|^files$/);
  });
}

function invalidAtDel(below: Below): void {
  kernelTest(`${below.type}: DEL with a configuration that no longer validates`, {
    needs: needsOf(below),
  }, async (sandbox, test) => {
    await sandbox.outside();
    const ipam = hostLocal(sandbox, subnet);
    const add = await callOf(sandbox, below, { config: { master: "out0", ipam } });
    const common = [{ master: 7 }, { master: "gone0" }, { mtu: 9999 }, { mtu: "x" }];
    await unchanged(sandbox, async () => {
      for (const keys of [...common, { linkInContainer: 1 }, ...below.invalid] as JsonObject[]) {
        await test.step(JSON.stringify(keys), async () => {
          await succeed(sandbox, add);
          const config = { ...add.config as JsonObject, ...keys };
          await succeed(sandbox, { ...add, verb: "DEL", config });
          assert(!await sandbox.hasLink(add.netns!, "eth0"));
        });
      }
    });
  });
}

function otherIpam(below: Below): void {
  const { type } = below;
  kernelTest(`${type}: an unknown IPAM plugin is asked when the link is up, and told of failures`, {
    needs: needsOf(below),
  }, async (sandbox, test) => {
    await sandbox.outside();
    const ips = [{ address: "10.1.2.2/24" }];
    const isUp = 'nsenter --net="$CNI_NETNS" ip -o link show dev eth0 up | grep -q . || exit 9';
    const answers = {
      works: { ...prints({ cniVersion: "1.1.0", ips }), run: isUp },
      "gives no address": prints({ cniVersion: "1.1.0", ips: [] }),
      fails: fails(11, "the server does not answer"),
      "gives an address that the kernel refuses": prints({
        cniVersion: "1.1.0",
        ips: [{ address: "0.0.0.0/24" }],
        routes: [{ dst: "10.9.0.0/16", gw: "192.0.2.77" }],
      }),
    };
    for (const [title, answer] of Object.entries(answers)) {
      await test.step(title, async () => {
        using recorder = new Recorder();
        recorder.add("recorded", { ADD: answer });
        const env = { CNI_PATH: recorder.dir };
        const config = { master: "out0", ipam: { type: "recorded" } };
        const add = await callOf(sandbox, below, { config, env });
        if (title === "works") {
          const result = await succeed(sandbox, add);
          assertEquals(addressesOf(result), ["10.1.2.2/24"]);
          await succeed(sandbox, followed(add, "DEL", result));
        } else await fail(sandbox, add);
        assert(!await sandbox.hasLink(add.netns!, "eth0"));
        assertEquals(recorder.log(), ["recorded ADD", "recorded DEL"]);
      });
    }
  });
}

function nameServers(below: Below): void {
  kernelTest(`${below.type}: name servers of IPAM stay unless the configuration has any`, {
    needs: needsOf(below),
  }, async (sandbox) => {
    await sandbox.outside();
    const resolvConf = `${sandbox.dir}/resolv.conf`;
    Deno.writeTextFileSync(resolvConf, "nameserver 10.1.2.123\nsearch search.test\n");
    const ipam = { ...hostLocal(sandbox, subnet), resolvConf };
    const fromIpam = { nameservers: ["10.1.2.123"], search: ["search.test"] };
    const own = { nameservers: ["192.0.2.1"] };
    for (const [dns, expected] of [[undefined, fromIpam], [own, own]] as const) {
      const config = { master: "out0", ipam, ...(dns && { dns }) };
      const add = await callOf(sandbox, below, { config });
      assertEquals((await succeed(sandbox, add))["dns"], expected);
      await succeed(sandbox, followed(add, "DEL"));
    }
  });
}

function renamedMaster(below: Below): void {
  kernelTest(`${below.type}: CHECK notices that another link is the master`, {
    needs: needsOf(below),
  }, async (sandbox) => {
    await sandbox.outside();
    const config = { master: "out0", ipam: hostLocal(sandbox, subnet) };
    const add = await callOf(sandbox, below, { config });
    const result = await succeed(sandbox, add);
    const check = followed(add, "CHECK", result);
    await sandbox.ip(sandbox.host, ["link set dev out0 down", "link set dev out0 name out9"]);
    const missing = await fail(sandbox, check);
    assertEquals(missing.code, 105);
    assertStringIncludes(missing.msg, 'master "out0" is missing on this host');
    await sandbox.ip(sandbox.host, ["link add out0 type veth peer name far0"]);
    const other = await fail(sandbox, check);
    assertEquals(other.code, 105);
    assertStringIncludes(other.msg, 'container interface "eth0" does not stand on "out0"');
    await succeed(sandbox, followed(add, "DEL", result));
    assert(!await sandbox.hasLink(add.netns!, "eth0"));
  });
}
