/**
 * Attacks that plugins of this kind have been open to, made for real. Those on port
 * mappings (CVE-2025-67499, CVE-2019-9946, CVE-2020-8558) are in `portmap_test.ts`.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { kernelTest } from "./harness/need.ts";
import { binDir, fail, succeed } from "./harness/plugin.ts";
import { Recorder } from "./harness/recorder.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { Lab } from "./harness/lab.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/**
 * Sends one router advertisement (RFC 4861 section 4.2) to all nodes on `eth0`: a
 * default router, and 2001:db8:bad::/64 for addresses. The kernel adds the checksum.
 */
const advertise = `
my ($index) = map { /^(\\d+): eth0/ ? $1 : () } qx(ip -o link show dev eth0);
socket(my $raw, 10, 3, 58) or die "socket: $!";
setsockopt($raw, 41, 18, pack("i", 255)) or die "hops: $!";
setsockopt($raw, 41, 17, pack("i", $index)) or die "interface: $!";
my $prefix = pack("C C C C N N N", 3, 4, 64, 0xc0, 86400, 14400, 0)
  . pack("H32", "20010db80bad00000000000000000000");
my $message = pack("C C n C C n N N", 134, 0, 0, 64, 0, 1800, 0, 0) . $prefix;
my $all = pack("S n N H32 L", 10, 0, 0, "ff020000000000000000000000000001", $index);
defined send($raw, $message, 0, $all) or die "send: $!";
`;

/** What the host has learned from routers. */
async function learned(sandbox: Sandbox): Promise<string> {
  const show = `ip -6 route show proto ra; ip -6 -o addr show | grep 2001:db8:bad || true`;
  return (await sandbox.inside(sandbox.host, ["sh", "-ec", show])).trim();
}

for (const type of ["bridge", "ptp"]) {
  kernelTest(`${type}: the host does not listen to routers in containers (CVE-2020-10749)`, {
    needs: ["link:veth", "link:bridge", "tool:perl", `plugin:${type}`, "plugin:host-local"],
  }, async (sandbox) => {
    const netns = await sandbox.container();
    const config: JsonObject = {
      cniVersion: "1.1.0",
      name: "rogue",
      type,
      ...(type === "bridge" && { bridge: bridgeName, isGateway: true }),
      ipam: hostLocal(sandbox, "10.1.2.0/24"),
    };
    const result = await succeed(sandbox, { type, verb: "ADD", netns, config });
    const [{ name: link }] = result["interfaces"] as [{ name: string }];
    await linkLocal(sandbox, { netns, dev: "eth0" });
    await linkLocal(sandbox, { netns: sandbox.host, dev: link });
    const attack = async () => {
      await sandbox.inside(netns, ["perl", "-e", advertise]);
      // What is sent later on the same way has been taken in: so has the packet.
      assert(await sandbox.agent(netns).ping("10.1.2.1"));
      return await learned(sandbox);
    };
    assertEquals(await attack(), "");
    // The attack is a real one: a host that listens is taken in.
    await sandbox.inside(sandbox.host, [
      "sh",
      "-c",
      `echo 2 >/proc/sys/net/ipv6/conf/${link}/accept_ra`,
    ]);
    assertStringIncludes(await attack(), "default via fe80:");
    await succeed(sandbox, { type, verb: "DEL", netns, config });
  });
}

/** Waits until a link can send and receive with its own address. */
async function linkLocal(sandbox: Sandbox, { netns, dev }: { netns: string; dev: string }) {
  const found = `ip -6 -o addr show dev ${dev} scope link -tentative | grep -q .`;
  await sandbox.inside(netns, ["sh", "-ec", `until ${found}; do sleep 0.05; done`]);
}

const outsiders = ["../outsider", "../../outsider", "sub/../../outsider", "outsider/../../x"];

kernelTest("only files of CNI_PATH are executed (CVE-2021-20206)", {
  needs: ["link:bridge", "link:veth", "plugin:bridge", "plugin:flannel", "plugin:host-local"],
}, async (sandbox) => {
  using recorder = new Recorder();
  recorder.add("outsider", {});
  const path = `${recorder.dir}/sub/sub`;
  Deno.mkdirSync(path, { recursive: true });
  Deno.copyFileSync(`${recorder.dir}/outsider`, `${recorder.dir}/sub/outsider`);
  const netns = await sandbox.container();
  Deno.writeTextFileSync(
    `${sandbox.dir}/subnet.env`,
    "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n",
  );
  const before = await snapshot(sandbox);
  const absolute = `${recorder.dir}/outsider`;
  const lab = new Lab(sandbox);
  lab.path = `${binDir()}:${path}`;
  for (const name of [...outsiders, absolute]) {
    const bridge = { type: "bridge", bridge: bridgeName, ipam: { type: name } };
    const flannel = {
      type: "flannel",
      delegate: { type: name },
      subnetFile: `${sandbox.dir}/subnet.env`,
    };
    for (const plugin of [bridge, flannel]) {
      const config = { cniVersion: "1.1.0", name: "escape", ...plugin };
      const env = { CNI_PATH: lab.path };
      const { code, msg } = await fail(sandbox, {
        type: plugin.type,
        verb: "ADD",
        netns,
        config,
        env,
      });
      assert(code > 0 && msg.includes(name), `${code}: ${msg}`);
    }
    for (const list of [[{ type: name }], [bridge]]) {
      lab.network("escape", list);
      for (const flags of [[], ["--exec"]]) {
        const { code, stderr } = await lab.cni("add", "escape", netns, ...flags);
        assert(code !== 0 && stderr.includes(name), stderr);
      }
    }
  }
  assertEquals(recorder.log(), []);
  assertSame(before, await snapshot(sandbox), {
    allow: ["linkLocks", "flannelDir"],
    only: /^host|^a\//,
  });
});
