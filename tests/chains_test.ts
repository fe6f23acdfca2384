/**
 * Whole chains as people run them, through `cni`, in one process and with a process
 * for each plugin: what Podman, a node of Kubernetes and Nomad have by default, and
 * a pod with several interfaces. Packets tell whether they work.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { Lab } from "./harness/lab.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf } from "./harness/plugin.ts";
import type { ResidueId } from "./harness/residue.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const { host4, client4 } = outsideNet;

/** A chain of somebody's. */
interface Stack {
  readonly title: string;
  readonly types: readonly string[];
  readonly needs?: readonly Need[];
  readonly prepare: (sandbox: Sandbox) => Promise<unknown>;
  readonly plugins: (sandbox: Sandbox) => readonly JsonObject[];
  readonly capabilityArgs?: JsonObject;
  readonly residue: readonly ResidueId[];
}

const portmap: JsonObject = { type: "portmap", capabilities: { portMappings: true } };

/** A host that forwards nothing, as Docker leaves it; its administrator opens mapped ports. */
function dropForwarded(sandbox: Sandbox, adminChain = "CNI-ADMIN"): Promise<string> {
  return sandbox.inside(sandbox.host, [
    "sh",
    "-ec",
    `iptables -w -P FORWARD DROP
     iptables -w -N ${adminChain}
     iptables -w -A ${adminChain} -m conntrack --ctstate DNAT -j ACCEPT`,
  ]);
}

/** Bits a second from a pod of the Kubernetes node. */
const egressRate = 40_000_000;

const stacks: readonly Stack[] = [
  {
    title: "Podman's default",
    types: ["bridge", "portmap", "firewall", "tuning"],
    prepare: (sandbox) => dropForwarded(sandbox),
    plugins: (sandbox) => [
      {
        type: "bridge",
        bridge: bridgeName,
        isGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: hostLocal(sandbox, "10.88.0.0/16"),
      },
      portmap,
      { type: "firewall" },
      { type: "tuning", capabilities: { mac: true } },
    ],
    capabilityArgs: { mac: "92:d0:c6:0a:29:33" },
    residue: ["firewallChains", "firewallRecords", "tuningFolders"],
  },
  {
    title: "a node of Kubernetes with flannel",
    types: ["flannel", "bridge", "portmap", "bandwidth"],
    needs: ["link:ifb"],
    prepare: (sandbox) =>
      Deno.writeTextFile(
        `${sandbox.dir}/subnet.env`,
        "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.2.1/24\nFLANNEL_MTU=1450\n" +
          "FLANNEL_IPMASQ=false\n",
      ),
    plugins: (sandbox) => [
      {
        type: "flannel",
        subnetFile: `${sandbox.dir}/subnet.env`,
        delegate: { bridge: bridgeName, hairpinMode: true, isDefaultGateway: true },
        ipam: { dataDir: sandbox.dataDir },
      },
      portmap,
      { type: "bandwidth", capabilities: { bandwidth: true } },
    ],
    capabilityArgs: { bandwidth: { egressRate, egressBurst: egressRate / 10 } },
    residue: ["flannelDir"],
  },
  {
    title: "Nomad's bridge",
    types: ["loopback", "bridge", "firewall", "portmap"],
    prepare: (sandbox) => dropForwarded(sandbox, "NOMAD-ADMIN"),
    plugins: (sandbox) => [
      { type: "loopback" },
      {
        type: "bridge",
        bridge: bridgeName,
        ipMasq: true,
        isGateway: true,
        forceAddress: true,
        hairpinMode: true,
        ipam: hostLocal(sandbox, "172.26.64.0/20"),
      },
      { type: "firewall", backend: "iptables", iptablesAdminChainName: "NOMAD-ADMIN" },
      { ...portmap, snat: true },
    ],
    residue: ["firewallChains", "firewallRecords", "loopback"],
  },
];

const shared: readonly ResidueId[] = [
  "bridge",
  "hostLocal",
  "forwarding4",
  "iptablesTables",
  "hostportChains",
  "portClaims",
  "routeLocalnet",
];

for (const { title, types, needs = [], prepare, plugins, capabilityArgs, residue } of stacks) {
  for (const flags of [[], ["--exec"]]) {
    kernelTest(`${title}, ${flags.length > 0 ? "executed" : "in one process"}`, {
      needs: [
        ...["link:bridge", "link:veth", "iptables-nat", "plugin:host-local"] as const,
        ...types.map((type) => `plugin:${type}` as const),
        ...needs,
      ],
    }, async (sandbox) => {
      const outside = await sandbox.outside();
      await prepare(sandbox);
      const lab = new Lab(sandbox).network("pods", plugins(sandbox));
      const names = ["a", "b"] as const;
      const pods = await Promise.all(names.map((name) => sandbox.container(name)));
      const [a, b] = pods as [string, string];
      await lab.done("status", "pods", ...flags);
      const before = await snapshot(sandbox);
      const addresses: string[] = [];
      for (const [index, netns] of pods.entries()) {
        const mac = { ...index > 0 && { mac: "92:d0:c6:0a:29:34" } };
        const portMappings = [{ hostPort: 8080 + index, containerPort: 80, protocol: "tcp" }];
        lab.capabilityArgs = {
          ...capabilityArgs,
          ...capabilityArgs?.["mac"] ? mac : {},
          portMappings,
        };
        const result = await lab.json("add", "pods", netns, ...flags);
        addresses.push(addressesOf(result)[0]!.split("/")[0]!);
        await sandbox.agent(netns).listen("tcp", { port: 80 });
      }
      // What comes is known from the ADD.
      lab.capabilityArgs = {};
      await sandbox.agent(outside).listen("tcp", { port: 80 });
      const asks = async (from: string, address: string, port = 80) => {
        const outcome = await sandbox.agent(from).call(address, port);
        return outcome.is === "answered" ? outcome.from : outcome.is;
      };
      // Who is seen by whoever answers.
      assertEquals(await asks(a, client4), host4);
      assertEquals(await asks(b, addresses[0]!), addresses[1]);
      assertEquals(await asks(outside, host4, 8080), client4);
      assertEquals(await asks(outside, host4, 8081), client4);
      for (const from of [a, b, sandbox.host]) {
        assert(/^\d/.test(await asks(from, host4, 8080)), `${from} does not reach its host's port`);
      }
      assert(/^\d/.test(await asks(sandbox.host, "127.0.0.1", 8081)), "not by 127.0.0.1");
      if (capabilityArgs?.["bandwidth"]) await slow(sandbox, { from: a, address: addresses[0]! });

      for (const netns of pods) await lab.done("check", "pods", netns, ...flags);
      await lab.done("gc", "pods", ...keepAll(await lab.json("list")), ...flags);
      assertEquals(await asks(outside, host4, 8080), client4);
      await lab.done("del", "pods", b, ...flags);
      assertEquals(await asks(outside, host4, 8080), client4);
      await lab.done("del", "pods", a, ...flags);
      assertEquals(lab.attached(), []);
      assertSame(before, await snapshot(sandbox), { allow: [...shared, ...residue] });
    });
  }
}

function keepAll({ attachments }: JsonObject): string[] {
  return (attachments as { containerId: string; ifName: string }[])
    .flatMap(({ containerId, ifName }) => ["--keep", `${containerId}/${ifName}`]);
}

/** What a pod sends comes at its rate, and not at that of the wire. */
async function slow(sandbox: Sandbox, { from, address }: { from: string; address: string }) {
  const port = await sandbox.agent(from).pour();
  const { bytes, milliseconds } = await sandbox.agent(sandbox.host).draw(address, port, 2000);
  const rate = bytes * 8000 / milliseconds;
  assert(rate > egressRate / 2 && rate < egressRate * 1.25, `${rate} bit/s`);
}

/** A client in another network than any interface of the pod. */
const far4 = "198.51.100.9";

for (
  const { type, link, keys, routes } of [
    { type: "sbr", link: "veth", keys: {}, routes: [] },
    // A VRF has the routes of its interfaces alone; sbr adds one by the gateway.
    { type: "vrf", link: "vrf", keys: { vrfname: "red" }, routes: [{ dst: "198.51.100.0/24" }] },
  ] as const
) {
  kernelTest(`a pod with a second interface and ${type}`, {
    needs: [
      ...["link:bridge", "link:macvlan", "plugin:bridge", "plugin:macvlan"] as const,
      ...["plugin:host-local", `link:${link}`, `plugin:${type}`] as const,
    ],
  }, async (sandbox) => {
    const outside = await sandbox.outside();
    // What goes by the first interface does not get there.
    await sandbox.ip(sandbox.host, [`route add blackhole ${far4}/32`]);
    const ipam = hostLocal(sandbox, "10.88.0.0/16");
    const pool = { subnet: "203.0.113.0/24", rangeStart: "203.0.113.100", gateway: client4 };
    // The only default route is that of the first interface.
    const macvlan = (routes: JsonObject[]) => ({
      type: "macvlan",
      master: "out0",
      ipam: { type: "host-local", dataDir: sandbox.dataDir, ranges: [[pool]], routes },
    });
    const lab = new Lab(sandbox)
      .network("first", [{ type: "bridge", bridge: bridgeName, isGateway: true, ipam }])
      .network("plain", [macvlan([])])
      .network("second", [macvlan([...routes]), { type, ...keys }]);
    const netns = await sandbox.container("a");
    await sandbox.inside(netns, ["sh", "-c", "echo 1 >/proc/sys/net/ipv4/tcp_l3mdev_accept"])
      .catch(() => {});
    const before = await snapshot(sandbox);
    const gateway = addressesOf(await lab.json("add", "first", netns))[0]!
      .replace(/\d+\/.*/, "1");
    const server = sandbox.agent(netns);
    await server.listen("tcp", { port: 80 });
    /** What becomes of a call from afar to the second interface. */
    const called = async (network: string): Promise<string> => {
      const result = await lab.json("add", network, netns, "--ifname", "net1");
      const [address] = addressesOf(result).map((text) => text.split("/")[0]!);
      await sandbox.ip(outside, [
        `addr replace ${far4}/32 dev lo`,
        `route replace ${address}/32 dev eth0 src ${far4}`,
      ]);
      const { is } = await sandbox.agent(outside).call(address!, 80, { timeout: 1500 });
      return is;
    };
    // The answer goes by the first interface.
    assertEquals(await called("plain"), "timeout");
    await lab.done("del", "plain", netns, "--ifname", "net1");
    assertEquals(await called("second"), "answered");
    await sandbox.agent(sandbox.host).listen("tcp", { port: 81 });
    assertEquals((await server.call(gateway, 81)).is, "answered");
    await lab.done("check", "second", netns, "--ifname", "net1");
    await lab.done("check", "first", netns);
    await lab.done("del", "second", netns, "--ifname", "net1");
    assertEquals((await server.call(gateway, 81)).is, "answered");
    await lab.done("del", "first", netns);
    assertSame(before, await snapshot(sandbox), {
      allow: [
        ...["bridge", "hostLocal", "forwarding4"] as const,
        ...["sbrFolders", "vrfFolders", "vrfRules"] as const,
      ],
      only: /^(host|a)\/|^files$/,
    });
  });
}
