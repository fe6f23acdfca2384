/**
 * What tests may need of a kernel: a probe tells whether it is there, and where it is, packets
 * show that it works.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { kernelTest, unmet } from "./harness/need.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";

const { host4, client4 } = outsideNet;

kernelTest("need: a probe finds what this kernel has, and nothing that has no name", {
  needs: ["link:veth", "link:bridge"],
}, () => {
  assertEquals(unmet(["link:veth", "link:bridge", "qdisc:tbf", "qdisc:ingress"]), []);
  assertEquals(unmet(["link:nothing", "qdisc:nothing", "filter:nothing"]), [
    { need: "link:nothing", reason: 'no links of type "nothing"' },
    { need: "qdisc:nothing", reason: 'no queueing discipline "nothing"' },
    { need: "filter:nothing", reason: 'no traffic filter "nothing"' },
  ]);
});

for (const kind of ["gre", "gretap"] as const) {
  kernelTest(`need: a ${kind} tunnel carries packets`, {
    needs: [`link:${kind}`],
  }, async (sandbox) => {
    const outside = await sandbox.outside();
    const end = (local: string, remote: string) => `type ${kind} local ${local} remote ${remote}`;
    await addLink(sandbox, sandbox.host, { type: end(host4, client4), address: "198.51.100.1" });
    await addLink(sandbox, outside, { type: end(client4, host4), address: "198.51.100.2" });
    assert(await sandbox.agent(outside).ping("198.51.100.1"));
  });
}

kernelTest("need: netem delays packets and loses them", {
  needs: ["qdisc:netem"],
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const agent = sandbox.agent(outside);
  assert(await agent.ping(host4));
  await sandbox.inside(outside, ["tc", ..."qdisc add dev eth0 root netem delay 1s".split(" ")]);
  const start = performance.now();
  assert(await agent.ping(host4, 30_000));
  const passed = performance.now() - start;
  assert(passed >= 1000, `an answer after ${passed} ms`);
  await sandbox.inside(outside, ["tc", ..."qdisc change dev eth0 root netem loss 100%".split(" ")]);
  assertEquals(await agent.ping(host4, 1000), false);
});

kernelTest("need: matchall gives every packet to another link", {
  needs: ["filter:matchall", "link:veth"],
}, async (sandbox) => {
  const outside = await sandbox.outside();
  const behind = await sandbox.container();
  await sandbox.ip(sandbox.host, [
    `link add p0 type veth peer name eth0 netns ${behind}`,
    "link set dev p0 up",
  ]);
  await sandbox.ip(behind, ["addr add 203.0.113.9/24 dev eth0", "link set dev eth0 up"]);
  await sandbox.inside(sandbox.host, [
    "sh",
    "-ec",
    `${redirect("out0", "p0")}
${redirect("p0", "out0")}`,
  ]);
  assert(await sandbox.agent(outside).ping("203.0.113.9"));
});

function redirect(from: string, to: string): string {
  return `tc qdisc add dev ${from} ingress
tc filter add dev ${from} ingress protocol all matchall action mirred egress redirect dev ${to}`;
}

kernelTest("need: a bond carries packets over its port", {
  needs: ["link:bond"],
}, async (sandbox) => {
  const outside = await sandbox.outside();
  await sandbox.ip(sandbox.host, [
    "addr flush dev out0",
    "link set dev out0 down",
    "link add bond0 type bond mode active-backup",
    "link set dev out0 master bond0",
    `addr add ${host4}/24 dev bond0`,
    "link set dev bond0 up",
  ]);
  assert(await sandbox.agent(outside).ping(host4));
});

kernelTest("need: a wireguard link comes up and takes nothing from a stranger", {
  needs: ["link:wireguard"],
}, async (sandbox) => {
  const type = "type wireguard";
  await addLink(sandbox, sandbox.host, { type, address: "198.51.100.1" });
  const [link] = await sandbox.ipJson<ShownLink>(sandbox.host, "link show dev x0");
  assertEquals(link!.linkinfo.info_kind, "wireguard");
  assert(link!.flags.includes("UP"));
  const { is } = await sandbox.agent(sandbox.host).call("198.51.100.2", 9);
  assertEquals(is, "unreachable");
});

interface ShownLink {
  readonly flags: readonly string[];
  readonly linkinfo: { readonly info_kind: string };
}

/** Makes a link `x0` with an address, and sets it up. */
async function addLink(
  sandbox: Sandbox,
  netns: string,
  { type, address }: { readonly type: string; readonly address: string },
): Promise<void> {
  await sandbox.ip(netns, [
    `link add x0 ${type}`,
    `addr add ${address}/24 dev x0`,
    "link set dev x0 up",
  ]);
}
