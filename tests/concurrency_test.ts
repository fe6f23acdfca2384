/**
 * A hundred containers at once on one bridge, and fifty with a whole chain.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import { Lab } from "./harness/lab.ts";
import { LinkMonitor } from "./harness/monitor.ts";
import { kernelTest } from "./harness/need.ts";
import type { PluginCall } from "./harness/plugin.ts";
import { addressesOf, callPlugin, errorObject, okJson, succeed } from "./harness/plugin.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal } from "./harness/rows.ts";
import { outsideNet } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

const count = 100;

kernelTest(`${count} ADDs at once on one bridge, then ${count} DELs`, {
  needs: ["link:bridge", "link:veth", "iptables-nat", "plugin:bridge", "plugin:host-local"],
}, async (sandbox) => {
  const before = await snapshot(sandbox);
  const config: JsonObject = {
    cniVersion: "1.1.0",
    name: "crowd",
    type: "bridge",
    bridge: bridgeName,
    isDefaultGateway: true,
    ipMasq: true,
    ipam: hostLocal(sandbox, "10.1.0.0/20", "2001:db8:1::/64"),
  };
  const names = Array.from({ length: count }, (_, index) => `n${index}`);
  const calls = await Promise.all(names.map(async (name): Promise<PluginCall> => ({
    type: "bridge",
    verb: "ADD",
    config,
    containerId: name,
    netns: await sandbox.container(name),
    deadline: 300_000,
  })));

  await using monitor = await LinkMonitor.start(sandbox, sandbox.host);
  const results = await Promise.all(calls.map((call) => succeed(sandbox, call)));
  const events = await monitor.stop();

  const addresses = results.flatMap(addressesOf);
  assertEquals(addresses.length, 2 * count);
  assertEquals(new Set(addresses).size, 2 * count);
  const created = await sandbox.ipJson<{ ifname: string; address: string }>(
    sandbox.host,
    "link show type bridge",
  );
  assertEquals(created.map(({ ifname }) => ifname), [bridgeName]);
  assertEquals(macsOf(events, bridgeName), new Set([created[0]!.address]));
  for (const result of results) {
    const [bridge] = result["interfaces"] as { mac: string }[];
    assertEquals(bridge!.mac, created[0]!.address);
  }
  const ports = await sandbox.ipJson(sandbox.host, `link show master ${bridgeName}`);
  assertEquals(ports.length, count);

  await Promise.all(calls.map((call, index) =>
    succeed(sandbox, {
      ...call,
      verb: "CHECK",
      config: { ...config, prevResult: results[index]! },
    })
  ));
  await Promise.all(calls.map((call, index) =>
    succeed(sandbox, {
      ...call,
      verb: "DEL",
      config: { ...config, prevResult: results[index]! },
    })
  ));
  assertSame(before, await snapshot(sandbox), {
    allow: ["bridge", "hostLocal", "forwarding4", "forwarding6", "iptablesTables"],
    only: /^host|^files$/,
  });
});

/** Every hardware address a link ever had. */
function macsOf(events: readonly string[], name: string): Set<string> {
  const own = events.filter((line) => line.includes(` ${name}:`) && !line.startsWith("Deleted"));
  const macs = own.map((line) => /link\/ether ([0-9a-f:]{17})/.exec(line)?.[1]);
  assert(macs.length > 0 && !macs.includes(undefined), own.join("\n"));
  return new Set(macs as string[]);
}

kernelTest("ADDs that fail do not harm those beside them on a new bridge", {
  needs: ["link:bridge", "link:veth", "plugin:bridge", "plugin:host-local"],
}, async (sandbox) => {
  const config: JsonObject = {
    cniVersion: "1.1.0",
    name: "crowd",
    type: "bridge",
    bridge: bridgeName,
    isDefaultGateway: true,
    ipam: hostLocal(sandbox, "10.1.0.0/20"),
  };
  for (let round = 0; round < 5; round++) {
    const calls: PluginCall[] = [];
    for (let index = 0; index < 12; index++) {
      const id = `r${round}n${index}`;
      const netns = await sandbox.container(id);
      // The name is taken in every other container: its ADD fails late and is undone.
      if (index % 2 === 0) {
        await sandbox.ip(netns, ["link add name eth0 type veth peer name p0"]);
      }
      calls.push({ type: "bridge", verb: "ADD", config, containerId: id, netns });
    }
    const outputs = await Promise.all(calls.map((call) => callPlugin(sandbox, call)));
    for (const [index, output] of outputs.entries()) {
      if (index % 2 === 0) errorObject(calls[index]!, output);
      else okJson(calls[index]!, output);
    }
    const ports = await sandbox.ipJson(sandbox.host, `link show master ${bridgeName}`);
    assertEquals(ports.length, 6);
    for (const call of calls) await succeed(sandbox, { ...call, verb: "DEL" });
    await sandbox.ip(sandbox.host, [`link del dev ${bridgeName}`]);
  }
});

const chains = 50;

kernelTest(`${chains} chains of Podman's at once, in one process each, then their removal`, {
  needs: [
    ...["link:bridge", "link:veth", "iptables-nat", "plugin:bridge", "plugin:host-local"] as const,
    ...["plugin:portmap", "plugin:firewall", "plugin:tuning"] as const,
  ],
}, async (sandbox) => {
  const lab = new Lab(sandbox).network("crowd", [
    {
      type: "bridge",
      bridge: bridgeName,
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: hostLocal(sandbox, "10.88.0.0/16"),
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall" },
    { type: "tuning", sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1" } },
  ]);
  const containers: string[] = [];
  for (let index = 0; index < chains; index++) {
    containers.push(await sandbox.container(`n${index}`));
  }
  const outside = await sandbox.outside();
  const before = await snapshot(sandbox);
  const added = await Promise.all(containers.map((netns, index) => {
    // Read when the process is started.
    lab.capabilityArgs = {
      portMappings: [{ hostPort: 20_000 + index, containerPort: 80, protocol: "tcp" }],
    };
    return lab.json("add", "crowd", netns);
  }));
  lab.capabilityArgs = {};
  assertEquals(new Set(added.flatMap(addressesOf)).size, chains);
  for (const index of [0, chains - 1]) {
    await sandbox.agent(containers[index]!).listen("tcp", { port: 80 });
    const outcome = await sandbox.agent(outside).call(outsideNet.host4, 20_000 + index);
    assertEquals(outcome, { is: "answered", from: outsideNet.client4 });
  }
  await Promise.all(containers.map((netns) => lab.done("check", "crowd", netns)));
  await Promise.all(containers.map((netns) => lab.done("del", "crowd", netns)));
  assertEquals(lab.attached(), []);
  assertSame(before, await snapshot(sandbox), {
    allow: [
      ...["bridge", "hostLocal", "forwarding4", "iptablesTables", "hostportChains"] as const,
      ...["portClaims", "routeLocalnet"] as const,
      ...["firewallChains", "firewallRecords", "tuningFolders"] as const,
    ],
  });
});
