/**
 * Drop-in both ways: what the reference's plugins (here Debian's
 * containernetworking-plugins 1.1.1) ADD our plugins DEL, and the reverse, and
 * nothing is left. They know protocol versions up to 1.0.0 and iptables only.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { JsonObject } from "../cni/types.ts";
import type { Chain } from "./harness/chain.ts";
import { addChain, checkChain, delChain } from "./harness/chain.ts";
import { isListing } from "./harness/guest.ts";
import type { Need } from "./harness/need.ts";
import { kernelTest } from "./harness/need.ts";
import { addressesOf, binDir, callPlugin, peerDir, succeed } from "./harness/plugin.ts";
import type { ResidueId } from "./harness/residue.ts";
import { bridgeName } from "./harness/residue.ts";
import { hostLocal, portMappings } from "./harness/rows.ts";
import type { Sandbox } from "./harness/sandbox.ts";
import { assertSame, snapshot } from "./harness/state.ts";

/** A list of plugins that both sides understand. */
interface Case {
  readonly title: string;
  /** Makes what the host must have before. */
  readonly prepare?: (sandbox: Sandbox) => Promise<unknown>;
  readonly plugins: (sandbox: Sandbox) => readonly JsonObject[];
  readonly needs: readonly Need[];
  readonly residue: readonly ResidueId[];
  /** The reference's CHECK cannot succeed (in layer 2 it wants an IPAM plugin). */
  readonly noPeerCheck?: boolean;
  /** Without the result nobody can tell what belongs to the container. */
  readonly onlyKnown?: boolean;
}

const both = ["10.1.2.0/24", "2001:db8:1::/64"] as const;
const forwarding = ["hostLocal", "forwarding4", "forwarding6"] as const;

function bridge(sandbox: Sandbox, keys: JsonObject, ...subnets: string[]): JsonObject {
  return {
    type: "bridge",
    bridge: bridgeName,
    isGateway: true,
    ...keys,
    ipam: hostLocal(sandbox, ...subnets),
  };
}

function ptp(sandbox: Sandbox, keys: JsonObject, ...subnets: string[]): JsonObject {
  return { type: "ptp", ...keys, ipam: hostLocal(sandbox, ...subnets) };
}

const portmap: JsonObject = { type: "portmap", capabilities: { portMappings: true } };
const tuning: JsonObject = {
  type: "tuning",
  mac: "c2:11:22:33:44:55",
  mtu: 1400,
  promisc: true,
  allmulti: true,
  // Release 1.1.1 does not know IFNAME in CHECK.
  sysctl: { "net.ipv4.conf.eth0.proxy_arp": "1" },
};
const bandwidth: JsonObject = {
  type: "bandwidth",
  ingressRate: 8_000_000,
  ingressBurst: 800_000,
  egressRate: 16_000_000,
  egressBurst: 1_600_000,
};
const bridgeNeeds = ["link:bridge", "plugin:bridge", "plugin:host-local"] as const;
const ptpNeeds = ["link:veth", "plugin:ptp", "plugin:host-local"] as const;

const cases: readonly Case[] = [
  {
    title: "loopback",
    plugins: () => [{ type: "loopback" }],
    needs: ["plugin:loopback"],
    residue: ["loopback"],
  },
  {
    title: "bridge, layer 2",
    plugins: () => [{ type: "bridge", bridge: bridgeName }],
    needs: bridgeNeeds,
    residue: ["bridge"],
    noPeerCheck: true,
  },
  {
    title: "bridge with masquerade",
    plugins: (sandbox) => [bridge(sandbox, { ipMasq: true }, both[0])],
    needs: [...bridgeNeeds, "iptables-nat"],
    residue: ["bridge", "iptablesTables", ...forwarding],
  },
  {
    title: "bridge with masquerade, dual stack",
    plugins: (sandbox) => [bridge(sandbox, { ipMasq: true, hairpinMode: true }, ...both)],
    needs: [...bridgeNeeds, "iptables-nat"],
    residue: ["bridge", "iptablesTables", ...forwarding],
  },
  {
    title: "bridge with MAC spoof check",
    plugins: (sandbox) => [bridge(sandbox, { macspoofchk: true }, both[0])],
    needs: [...bridgeNeeds, "tool:nft"],
    residue: ["bridge", "nftSpoofCheck", ...forwarding],
  },
  {
    title: "ptp with masquerade",
    plugins: (sandbox) => [ptp(sandbox, { ipMasq: true, mtu: 1400 }, both[0])],
    needs: [...ptpNeeds, "iptables-nat"],
    residue: ["iptablesTables", ...forwarding],
  },
  {
    title: "ptp with masquerade, dual stack",
    plugins: (sandbox) => [ptp(sandbox, { ipMasq: true }, ...both)],
    needs: [...ptpNeeds, "iptables-nat"],
    residue: ["iptablesTables", ...forwarding],
  },
  {
    title: "bridge and portmap",
    plugins: (sandbox) => [bridge(sandbox, { ipMasq: true }, ...both), portmap],
    needs: [...bridgeNeeds, "plugin:portmap", "iptables-nat"],
    residue: [
      "bridge",
      "iptablesTables",
      "hostportChains",
      "routeLocalnet",
      "portClaims",
      ...forwarding,
    ],
    // Release 1.1.1 looks for the IPv4 rules of a dual stack container in ip6tables.
    noPeerCheck: true,
  },
  {
    title: "ptp and tuning",
    plugins: (sandbox) => [ptp(sandbox, {}, both[0]), tuning],
    needs: [...ptpNeeds, "plugin:tuning"],
    residue: ["tuningFolders", ...forwarding],
  },
  {
    title: "ptp and sbr, dual stack",
    plugins: (sandbox) => [ptp(sandbox, {}, ...both), { type: "sbr" }],
    needs: [...ptpNeeds, "plugin:sbr"],
    residue: ["sbrFolders", ...forwarding],
    // Their ptp looks for its routes in the main table alone.
    noPeerCheck: true,
  },
];

/** A bridge and firewall behind it. */
function firewallCase(title: string, keys: JsonObject, ...subnets: string[]): Case {
  return {
    title: `bridge and firewall, ${title}`,
    plugins: (sandbox) => [
      bridge(sandbox, {}, ...subnets),
      { type: "firewall", backend: "iptables", ...keys },
    ],
    needs: [...bridgeNeeds, "plugin:firewall", "tool:iptables"],
    residue: ["bridge", "iptablesTables", "firewallChains", "firewallRecords", ...forwarding],
    onlyKnown: true,
  };
}

const firewallCases: readonly Case[] = [
  firewallCase("dual stack", {}, ...both),
  firewallCase("same-bridge", { ingressPolicy: "same-bridge" }, both[0]),
];

/** Links on `out0`. */
function belowCase(
  type: "macvlan" | "ipvlan" | "vlan",
  title: string,
  { keys = {}, subnets = both }: { keys?: JsonObject; subnets?: readonly string[] },
): Case {
  const layer3 = subnets.length > 0;
  return {
    title: `${type}${title}`,
    prepare: (sandbox) => sandbox.outside(),
    plugins: (sandbox) => [{
      type,
      master: "out0",
      ...keys,
      ...(layer3 && { ipam: hostLocal(sandbox, ...subnets) }),
    }],
    needs: [`link:${type}`, `plugin:${type}`, "plugin:host-local"],
    residue: layer3 ? ["hostLocal"] : [],
  };
}

const belowCases: readonly Case[] = [
  belowCase("macvlan", ", layer 2", { keys: { mode: "private", mtu: 1400 }, subnets: [] }),
  belowCase("macvlan", ", dual stack", {}),
  belowCase("ipvlan", ", dual stack", { keys: { mode: "l3", mtu: 1400 } }),
  belowCase("vlan", ", dual stack", { keys: { vlanId: 100, mtu: 1400 } }),
];

/** A card of the host, down and without addresses: the reference's DEL leaves it so. */
function cardCase(title: string, ...subnets: readonly string[]): Case {
  const layer3 = subnets.length > 0;
  return {
    title: `host-device${title}`,
    prepare: async (sandbox) => {
      await sandbox.card("card0", "02:00:00:00:ca:00");
      await sandbox.ip(sandbox.host, ["link set card0-far up"]);
    },
    plugins: (sandbox) => [{
      type: "host-device",
      device: "card0",
      ...(layer3 && { ipam: hostLocal(sandbox, ...subnets) }),
    }],
    needs: ["link:veth", "plugin:host-device", "plugin:host-local"],
    residue: ["deviceRecords", ...layer3 ? ["hostLocal"] as const : []],
  };
}

const cardCases: readonly Case[] = [
  cardCase(", layer 2"),
  cardCase(", dual stack", ...both),
];

const chainCases: readonly Case[] = [
  {
    title: "bridge and bandwidth",
    plugins: (sandbox) => [bridge(sandbox, {}, both[0]), bandwidth],
    needs: [...bridgeNeeds, "plugin:bandwidth", "link:ifb"],
    residue: ["bridge", ...forwarding],
  },
  {
    title: "ptp and bandwidth",
    plugins: (sandbox) => [ptp(sandbox, {}, ...both), bandwidth],
    needs: [...ptpNeeds, "plugin:bandwidth", "link:ifb"],
    residue: forwarding,
  },
  {
    title: "Podman's chain",
    plugins: (sandbox) => [
      bridge(sandbox, { ipMasq: true, hairpinMode: true }, both[0]),
      portmap,
      { type: "firewall", backend: "iptables" },
      tuning,
    ],
    needs: [
      ...bridgeNeeds,
      ...["plugin:portmap", "plugin:firewall", "plugin:tuning", "iptables-nat"] as const,
    ],
    residue: [
      ...["bridge", "iptablesTables", "hostportChains", "routeLocalnet", "portClaims"] as const,
      ...["firewallChains", "firewallRecords", "tuningFolders"] as const,
      ...forwarding,
    ],
    // As for bridge and portmap.
    noPeerCheck: true,
    onlyKnown: true,
  },
  {
    title: "bridge and vrf",
    // Release 1.1.1 loses routes by a gateway, and its bridge looks for them in the main table.
    plugins: (sandbox) => [
      { ...bridge(sandbox, {}), ipam: { ...hostLocal(sandbox, ...both), routes: [] } },
      { type: "vrf", vrfname: "red" },
    ],
    needs: [...bridgeNeeds, "plugin:vrf", "link:vrf"],
    residue: ["bridge", "vrfFolders", "vrfRules", ...forwarding],
    noPeerCheck: true,
  },
];

function chainOf(plugins: readonly JsonObject[], netns: string): Chain {
  return {
    name: "net1",
    cniVersion: "1.0.0",
    netns,
    containerId: "c1",
    plugins: plugins.map((plugin) => ({ ...plugin })),
    capabilityArgs: { portMappings: portMappings.map((mapping) => ({ ...mapping })) },
  };
}

/** Notes of ours that the reference does not know of; void once what they tell of is gone. */
const unknownToThem: readonly ResidueId[] = [
  "voidFirewallRecords",
  "voidPortClaims",
  "voidIndexEntries",
  "voidDeviceRecord",
  "theirAlias",
  "voidTuningRecord",
  "voidSbrRecord",
  "voidVrfRecord",
];

const directions = [
  { title: "ADD by theirs, DEL by ours", add: () => peerDir, del: binDir },
  { title: "ADD by ours, DEL by theirs", add: binDir, del: () => peerDir },
] as const;

for (
  const { title, prepare, plugins, needs, residue, noPeerCheck, onlyKnown } of [
    ...cases,
    ...firewallCases,
    ...belowCases,
    ...cardCases,
    ...chainCases,
  ]
) {
  const options = { needs: ["peer", ...needs], quickDad: true } as const;
  for (const direction of directions) {
    kernelTest(`${title}: ${direction.title}`, options, async (sandbox) => {
      await prepare?.(sandbox);
      const netns = await sandbox.container();
      const before = await snapshot(sandbox);
      const chain = chainOf(plugins(sandbox), netns);
      const adder = { ...chain, binDir: direction.add() };
      const remover = { ...chain, binDir: direction.del() };
      for (const known of onlyKnown ? [true] : [true, false]) {
        const result = await addChain(sandbox, adder);
        if (known && !(noPeerCheck && remover.binDir === peerDir)) {
          await checkChain(sandbox, remover, result);
        }
        await delChain(sandbox, remover, known ? result : undefined);
        const allow = remover.binDir === peerDir ? [...residue, ...unknownToThem] : residue;
        assertSame(before, await snapshot(sandbox), { allow });
      }
    });
  }

  kernelTest(
    `${title}: DEL by ours of theirs after the container is gone`,
    options,
    async (sandbox) => {
      await prepare?.(sandbox);
      const netns = await sandbox.container("gone");
      const chain = chainOf(plugins(sandbox), netns);
      const before = await snapshot(sandbox);
      const result = await addChain(sandbox, { ...chain, binDir: peerDir });
      await sandbox.removeNetns("gone");
      await delChain(sandbox, { ...chain, binDir: binDir() }, result);
      assertSame(before, await snapshot(sandbox), { allow: residue, only: /^host|^files$/ });
    },
  );

  // In guests that is seen by what our CHECK says of theirs.
  if (isListing()) continue;
  kernelTest(`${title}: the container gets the same from both`, options, async (sandbox) => {
    await prepare?.(sandbox);
    const seen = [];
    for (const dir of [peerDir, binDir()]) {
      const netns = await sandbox.container("same");
      const chain = { ...chainOf(plugins(sandbox), netns), binDir: dir };
      const result = await addChain(sandbox, chain);
      const state = await snapshot(sandbox);
      const { interfaces, ...rest } = result;
      seen.push({
        names: ((interfaces ?? []) as { name: string }[]).map(({ name }) =>
          name.replace(/^veth.*/, "veth")
        ),
        rest: withoutLastDigits(rest),
        addresses: withoutLinkLocal(state.get("same/addresses")!),
        routes: withoutLinkLocal(state.get("same/routes")!),
      });
      await delChain(sandbox, chain, result);
      await sandbox.removeNetns("same");
    }
    assertEquals(seen[1], seen[0]!);
  });
}

/** The pool goes on to the next address: what is compared is everything else. */
function withoutLastDigits({ dns = {}, ...rest }: JsonObject): string {
  const sorted = (_: string, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort())
      : value;
  return JSON.stringify({ dns, ...rest }, sorted).replace(
    /(10\.1\.2\.|2001:db8:1::)[2-9]\b/g,
    "$1N",
  );
}

function withoutLinkLocal(lines: readonly string[]): string[] {
  return lines.filter((line) => !line.includes("fe80::"))
    .map((line) => line.replace(/(10\.1\.2\.|2001:db8:1::)[2-9]\b/g, "$1N"));
}

kernelTest("host-local: both sides share one pool and its files", {
  needs: ["peer", "plugin:host-local"],
}, async (sandbox) => {
  const config: JsonObject = {
    cniVersion: "1.0.0",
    name: "pool",
    type: "bridge",
    ipam: hostLocal(sandbox, "10.9.0.0/29"),
  };
  const call = (verb: "ADD" | "CHECK" | "DEL", containerId: string, dir: string) => ({
    type: "host-local",
    verb,
    config,
    containerId,
    netns: "/run/netns/none",
    binDir: dir,
  });
  const sides = [peerDir, binDir()] as const;
  const given: string[] = [];
  for (let index = 0; index < 5; index++) {
    const result = await succeed(sandbox, call("ADD", `c${index}`, sides[index % 2]!));
    given.push(...addressesOf(result));
  }
  assertEquals(given, [2, 3, 4, 5, 6].map((n) => `10.9.0.${n}/29`));
  for (const side of sides) {
    const full = await callPlugin(sandbox, call("ADD", "c9", side));
    assert(full.code !== 0, "a full pool gave an address");
  }
  for (let index = 0; index < 5; index++) {
    await succeed(sandbox, call("CHECK", `c${index}`, sides[(index + 1) % 2]!));
    await succeed(sandbox, call("DEL", `c${index}`, sides[(index + 1) % 2]!));
  }
  const left = [...Deno.readDirSync(`${sandbox.dataDir}/pool`)].map(({ name }) => name).sort();
  assertEquals(left, ["last_reserved_ip.0", "lock"]);
});

kernelTest("a plugin of one side works with the IPAM plugin of the other", {
  needs: ["peer", ...bridgeNeeds],
}, async (sandbox) => {
  const [bin, dirs] = [binDir(), [peerDir, binDir()]];
  const netns = await sandbox.container();
  const before = await snapshot(sandbox);
  for (const dir of dirs) {
    const ipamDir = `${sandbox.dir}/ipam-of-${dir === bin ? "theirs" : "ours"}`;
    Deno.mkdirSync(ipamDir);
    Deno.symlinkSync(
      `${dir === bin ? peerDir : bin}/host-local`,
      `${ipamDir}/host-local`,
    );
    const config = {
      cniVersion: "1.0.0",
      name: "mixed",
      ...bridge(sandbox, {}, "10.1.2.0/24"),
    };
    const call = (verb: "ADD" | "CHECK" | "DEL", prevResult?: JsonObject) => ({
      type: "bridge",
      verb,
      netns,
      binDir: dir,
      env: { CNI_PATH: ipamDir },
      config: { ...config, ...(prevResult && { prevResult }) },
    });
    const result = await succeed(sandbox, call("ADD"));
    const files = [...Deno.readDirSync(`${sandbox.dataDir}/mixed`)].map(({ name }) => name);
    assertEquals(files.filter((name) => name.startsWith("10.")).length, 1);
    await succeed(sandbox, call("CHECK", result));
    await succeed(sandbox, call("DEL", result));
    Deno.removeSync(ipamDir, { recursive: true });
  }
  assertSame(before, await snapshot(sandbox), {
    allow: ["bridge", "forwarding4", "hostLocal"],
  });
});
