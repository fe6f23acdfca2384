/**
 * Every plugin in several configurations. The suites in `tests/` run over these
 * rows: a new plugin adds rows here and is covered by all of them.
 *
 * @module
 */
import type { JsonObject } from "../../cni/types.ts";
import type { Attachment, AttachmentRow } from "./attachment.ts";
import { dhcp } from "./dhcp_row.ts";
import { isForHere, isGuest, isListing } from "./guest.ts";
import { Firewalld } from "./firewalld.ts";
import type { Need, TestRow } from "./need.ts";
import { unmet } from "./need.ts";
import type { ResidueId } from "./residue.ts";
import { administratorsChain, bridgeName } from "./residue.ts";
import type { Sandbox } from "./sandbox.ts";

/** One plugin in one configuration. */
export interface Row extends AttachmentRow, TestRow {
  /** An IPAM plugin gives addresses only; a chained one works on a `prevResult`. */
  readonly kind: "interface" | "ipam" | "chained";
  /** Keys with which an attachment stands beside others of the row: it cannot share a host port, a VLAN. */
  readonly beside?: (index: number) => JsonObject;
  /** What stays after the last DEL, by design. */
  readonly residue: readonly ResidueId[];
  /** What is different on the host as long as a container lives that a DEL or GC cannot enter. */
  readonly held?: readonly ResidueId[];
  /** Its result has no address, which versions before 0.3.0 cannot express. */
  readonly addressless?: boolean;
  /** The first version that can express what it needs of the result before. */
  readonly since?: string;
  /** What makes its CHECK fail; none for a plugin that keeps no state. */
  readonly damage: readonly Damage[];
  /** It hands the addresses to an IPAM plugin. */
  readonly delegates?: boolean;
  /** Its result is not the one before it, by design. */
  readonly changesResult?: boolean;
  /** A second ADD of one attachment succeeds and changes nothing. */
  readonly repeatable?: boolean;
}

/** Something that happens to an attachment behind the plugin's back. */
export interface Damage {
  readonly name: string;
  readonly inflict: (attachment: Attachment) => Promise<void>;
}

/** Addresses from a pool; state in the test's own folder. */
export function hostLocal(sandbox: Sandbox, ...subnets: string[]): JsonObject {
  return {
    type: "host-local",
    dataDir: sandbox.dataDir,
    ranges: subnets.map((subnet) => [{ subnet }]),
    routes: subnets.map((subnet) => ({
      dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0",
    })),
  };
}

/** The subnet of most rows. */
export const subnet4 = "10.1.2.0/24";
const subnet6 = "2001:db8:1::/64";

/** Damage to the container's interface, its address and its default route. */
export function interfaceDamage(...families: readonly (4 | 6)[]): Damage[] {
  return [
    {
      name: "interface removed",
      inflict: ({ sandbox, netns, ifname }) => sandbox.ip(netns, [`link del ${ifname}`]),
    },
    ...families.flatMap((family): Damage[] => [
      {
        name: `IPv${family} address removed`,
        inflict: ({ sandbox, netns, ifname }) =>
          sandbox.inside(netns, [
            "ip",
            `-${family}`,
            "address",
            "flush",
            "dev",
            ifname,
            "scope",
            "global",
          ]).then(() => {}),
      },
      {
        name: `IPv${family} default route removed`,
        inflict: ({ sandbox, netns }) =>
          sandbox.inside(netns, ["ip", `-${family}`, "route", "del", "default"]).then(() => {}),
      },
    ]),
  ];
}

function familiesOf(subnets: readonly string[]): (4 | 6)[] {
  return ([4, 6] as const).filter((family) =>
    subnets.some((subnet) => subnet.includes(":") === (family === 6))
  );
}

/** How a row differs from the plain one of its plugin. */
interface RowOptions {
  readonly keys?: JsonObject;
  readonly subnets?: readonly string[];
  readonly needs?: readonly Need[];
  readonly residue?: readonly ResidueId[];
  readonly damage?: readonly Damage[];
}

/** Damage done by a shell line on the host. */
function onHost(name: string, line: string): Damage {
  return {
    name,
    inflict: ({ sandbox }) => sandbox.inside(sandbox.host, ["sh", "-ec", line]).then(() => {}),
  };
}

/** Damage done by a shell line to each veth on the host, `$port`, but for the gateway of a VLAN. */
function onEachPort(name: string, line: string): Damage {
  const veths = "ip -o link show type veth | " +
    `sed -n '/${bridgeName}[.]/!s/^[0-9]*: \\([^@]*\\)@.*/\\1/p'`;
  return onHost(name, `for port in $(${veths}); do ${line}; done`);
}

const noIptables = onHost(
  "iptables rules removed",
  "iptables -w -t nat -F; ip6tables -w -t nat -F",
);
const noNftables = onHost("nftables rules removed", "nft flush ruleset");

const loopback: readonly Row[] = [{
  name: "loopback",
  type: "loopback",
  kind: "interface",
  needs: [],
  conf: () => ({}),
  residue: ["loopback"],
  repeatable: true,
  damage: [{
    name: "lo set down",
    inflict: ({ sandbox, netns }) => sandbox.ip(netns, ["link set lo down"]),
  }],
}];

const bridgeNeeds: readonly Need[] = ["link:bridge", "link:veth"];

/** A bridge with addresses of both or one family. */
function bridgeRow(
  name: string,
  { keys = {}, subnets = [subnet4], needs = [], residue = [], damage = [] }: RowOptions,
): Row {
  const families = familiesOf(subnets);
  return {
    name: `bridge: ${name}`,
    type: "bridge",
    kind: "interface",
    delegates: true,
    needs: [...bridgeNeeds, "plugin:host-local", ...needs],
    conf: (sandbox) => ({
      bridge: bridgeName,
      isDefaultGateway: true,
      ...keys,
      ipam: hostLocal(sandbox, ...subnets),
    }),
    residue: [
      "bridge",
      "hostLocal",
      ...families.map((family) => `forwarding${family}` as const),
      ...residue,
    ],
    damage: [
      ...interfaceDamage(...families),
      onEachPort("port taken off the bridge", 'ip link set dev "$port" nomaster'),
      onEachPort("port set down", 'ip link set dev "$port" down'),
      ...damage,
    ],
  };
}

const bridge: readonly Row[] = [
  {
    name: "bridge: layer 2",
    type: "bridge",
    kind: "interface",
    needs: bridgeNeeds,
    conf: () => ({ bridge: bridgeName }),
    residue: ["bridge"],
    addressless: true,
    damage: interfaceDamage(),
  },
  {
    name: "bridge: isolated port, layer 2",
    type: "bridge",
    kind: "interface",
    needs: bridgeNeeds,
    conf: () => ({ bridge: bridgeName, portIsolation: true, mtu: 1400 }),
    residue: ["bridge"],
    addressless: true,
    damage: [
      ...interfaceDamage(),
      onEachPort("isolation switched off", 'bridge link set dev "$port" isolated off'),
    ],
  },
  bridgeRow("gateway and default route", {}),
  bridgeRow("IPv6", { subnets: [subnet6] }),
  bridgeRow("dual stack", { subnets: [subnet4, subnet6] }),
  bridgeRow("promiscuous", {
    keys: { promiscMode: true },
    damage: [onHost("promiscuous mode switched off", `ip link set dev ${bridgeName} promisc off`)],
  }),
  bridgeRow("hairpin", {
    keys: { hairpinMode: true },
    damage: [onEachPort("hairpin switched off", 'bridge link set dev "$port" hairpin off')],
  }),
  bridgeRow("masquerade by iptables, dual stack", {
    keys: { ipMasq: true, ipMasqBackend: "iptables" },
    subnets: [subnet4, subnet6],
    needs: ["iptables-nat"],
    residue: ["iptablesTables"],
    damage: [noIptables],
  }),
  bridgeRow("masquerade by nftables, dual stack", {
    keys: { ipMasq: true, ipMasqBackend: "nftables" },
    subnets: [subnet4, subnet6],
    needs: ["nft-nat"],
    residue: ["nftMasquerade"],
    damage: [noNftables],
  }),
  bridgeRow("MAC spoof check", {
    keys: { macspoofchk: true },
    needs: ["tool:nft"],
    residue: ["nftSpoofCheck"],
    damage: [noNftables],
  }),
  {
    name: "bridge: VLAN and trunk, layer 2",
    type: "bridge",
    kind: "interface",
    needs: [...bridgeNeeds, "bridge-vlan"],
    conf: () => ({ bridge: bridgeName, vlan: 100, vlanTrunk: [{ minID: 200, maxID: 203 }] }),
    residue: ["bridge"],
    addressless: true,
    damage: [
      ...interfaceDamage(),
      onEachPort("port taken out of its VLAN", 'bridge vlan del dev "$port" vid 100'),
      onEachPort("port taken out of its trunk", 'bridge vlan del dev "$port" vid 201-202'),
      onEachPort("port put into another VLAN", 'bridge vlan add dev "$port" vid 300'),
      onHost(
        "VLAN filtering switched off",
        `ip link set dev ${bridgeName} type bridge vlan_filtering 0`,
      ),
    ],
  },
  bridgeRow("gateway of a VLAN", {
    keys: { vlan: 100 },
    needs: ["bridge-vlan"],
    residue: ["vlanGateway"],
    damage: [onHost("gateway link removed", `ip link del dev ${bridgeName}.100`)],
  }),
];

/** Routed pairs; every address has its gateway on the host. */
function ptpRow(
  name: string,
  { keys = {}, subnets = [subnet4], needs = [], residue = [], damage = [] }: RowOptions,
): Row {
  const families = familiesOf(subnets);
  return {
    name: `ptp: ${name}`,
    type: "ptp",
    kind: "interface",
    delegates: true,
    needs: ["link:veth", "plugin:host-local", ...needs],
    conf: (sandbox) => ({ ...keys, ipam: hostLocal(sandbox, ...subnets) }),
    residue: [
      "hostLocal",
      ...families.map((family) => `forwarding${family}` as const),
      ...residue,
    ],
    damage: [
      ...interfaceDamage(...families),
      onEachPort("host end set down", 'ip link set dev "$port" down'),
      ...damage,
    ],
  };
}

const ptp: readonly Row[] = [
  ptpRow("IPv4", {}),
  ptpRow("dual stack", { subnets: [subnet4, subnet6] }),
  ptpRow("masquerade by iptables, dual stack", {
    keys: { ipMasq: true, ipMasqBackend: "iptables", mtu: 1400 },
    subnets: [subnet4, subnet6],
    needs: ["iptables-nat"],
    residue: ["iptablesTables"],
    damage: [noIptables],
  }),
  ptpRow("masquerade by nftables", {
    keys: { ipMasq: true, ipMasqBackend: "nftables" },
    needs: ["nft-nat"],
    residue: ["nftMasquerade"],
    damage: [noNftables],
  }),
];

/** Damage done by a line of `ip` inside the container, with `IFNAME` for its interface. */
export function inside(name: string, line: string): Damage {
  return {
    name,
    inflict: ({ sandbox, netns, ifname }) => sandbox.ip(netns, [line.replace("IFNAME", ifname)]),
  };
}

/** A link to stand on inside a container, with a cable. */
async function masterInside(sandbox: Sandbox, netns: string): Promise<void> {
  if (await sandbox.hasLink(netns, "up0")) return;
  await sandbox.ip(netns, [
    "link add up0 type veth peer name up1",
    "link set up0 up",
    "link set up1 up",
  ]);
}

/** Links on `out0`, beyond which a client is, or on a link of the container. */
function belowRow(
  type: "macvlan" | "ipvlan" | "vlan",
  name: string,
  { keys = {}, subnets = [subnet4], damage = [] }: RowOptions,
): Row {
  const layer3 = subnets.length > 0;
  const families = familiesOf(subnets);
  return {
    name: `${type}: ${name}`,
    type,
    kind: "interface",
    delegates: layer3,
    addressless: !layer3,
    needs: [`link:${type}`, ...layer3 ? ["plugin:host-local"] as const : []],
    ...(keys["linkInContainer"]
      ? {
        prepare: async (sandbox) => masterInside(sandbox, await sandbox.container("a")),
        furnish: masterInside,
      }
      : { prepare: (sandbox) => sandbox.outside() }),
    conf: (sandbox) => ({
      master: "out0",
      ...keys,
      ...(layer3 && { ipam: hostLocal(sandbox, ...subnets) }),
    }),
    // The kernel makes one link of a VLAN on a master.
    ...(type === "vlan" && { beside: (index) => ({ vlanId: 200 + index }) }),
    residue: layer3 ? ["hostLocal"] : [],
    held: type === "macvlan" ? ["promiscuousMaster"] : [],
    damage: [...interfaceDamage(...families), ...damage],
  };
}

const macvlan: readonly Row[] = [
  belowRow("macvlan", "layer 2", { keys: { mode: "vepa", mtu: 1400 }, subnets: [] }),
  belowRow("macvlan", "IPv4", {
    damage: [inside("mode changed", "link set dev IFNAME type macvlan mode private")],
  }),
  belowRow("macvlan", "dual stack", {
    keys: { bcqueuelen: 500, mtu: 1400 },
    subnets: [subnet4, subnet6],
    damage: [inside("MTU changed", "link set dev IFNAME mtu 1399")],
  }),
];

const ipvlan: readonly Row[] = [
  belowRow("ipvlan", "IPv4", {
    damage: [inside("mode changed", "link set dev IFNAME type ipvlan mode l3")],
  }),
  belowRow("ipvlan", "dual stack", {
    keys: { mode: "l3s", mtu: 1400 },
    subnets: [subnet4, subnet6],
    damage: [inside("MTU changed", "link set dev IFNAME mtu 1399")],
  }),
];

const vlan: readonly Row[] = [
  belowRow("vlan", "IPv4", { keys: { vlanId: 100 }, needs: ["link:veth"] }),
  belowRow("vlan", "dual stack on a master inside the container", {
    keys: { master: "up0", linkInContainer: true, vlanId: 4094, mtu: 1400 },
    subnets: [subnet4, subnet6],
    damage: [inside("MTU changed", "link set dev IFNAME mtu 1399")],
  }),
];

/** Links inside the container that stand on nothing. */
function standaloneRow(
  type: "dummy" | "tap",
  name: string,
  { keys = {}, subnets = [], needs = [], damage = [] }: RowOptions,
): Row {
  const layer3 = subnets.length > 0;
  return {
    name: `${type}: ${name}`,
    type,
    kind: "interface",
    delegates: layer3,
    addressless: !layer3,
    needs: [`link:${type}`, ...layer3 ? ["plugin:host-local"] as const : [], ...needs],
    conf: (sandbox) => ({ ...keys, ...(layer3 && { ipam: hostLocal(sandbox, ...subnets) }) }),
    residue: layer3 ? ["hostLocal"] : [],
    damage: [
      ...interfaceDamage(...familiesOf(subnets)),
      inside("set down", "link set dev IFNAME down"),
      ...damage,
    ],
  };
}

const dummy: readonly Row[] = [
  standaloneRow("dummy", "dual stack", { subnets: [subnet4, subnet6] }),
];

/** A bridge inside a container. */
async function bridgeInside(sandbox: Sandbox, netns: string): Promise<void> {
  if (await sandbox.hasLink(netns, "br1")) return;
  await sandbox.ip(netns, [
    "link add br1 address 02:00:00:00:00:b1 type bridge",
    "link set br1 up",
  ]);
}

/** Another tap device in the place of the plugin's, like it but for these words. */
function replaced(name: string, words: string): Damage {
  return {
    name,
    async inflict({ sandbox, netns, ifname, result }) {
      const [{ mac, mtu }] = result!["interfaces"] as [{ mac: string; mtu: number }];
      await sandbox.ip(netns, [
        `link del dev ${ifname}`,
        `tuntap add dev ${ifname} mode tap ${words}`,
        `link set dev ${ifname} mtu ${mtu} address ${mac} up`,
      ]);
    },
  };
}

const tap: readonly Row[] = [
  standaloneRow("tap", "every key, layer 2", {
    keys: { owner: 107, group: 0, multiQueue: true, mtu: 1400 },
    damage: [
      inside("MTU changed", "link set dev IFNAME mtu 1399"),
      inside("hardware address changed", "link set dev IFNAME address 02:00:00:00:09:09"),
      replaced("made for another user", "user 108 group 0 multi_queue"),
      replaced("made for another group", "user 107 group 1 multi_queue"),
      replaced("made for nobody", "multi_queue"),
      replaced("made with one queue", "user 107 group 0"),
    ],
  }),
  {
    ...standaloneRow("tap", "on a bridge of the container, IPv4", {
      keys: { bridge: "br1" },
      subnets: [subnet4],
      needs: ["link:bridge"],
      damage: [inside("taken off the bridge", "link set dev IFNAME nomaster")],
    }),
    prepare: async (sandbox) => bridgeInside(sandbox, await sandbox.container("a")),
    furnish: bridgeInside,
  },
  standaloneRow("tap", "dual stack", { subnets: [subnet4, subnet6] }),
];

/** Cards of the host, each with everything that it loses when it moves. */
async function cards(sandbox: Sandbox): Promise<void> {
  for (let index = 0; index < 8; index++) {
    const name = `card${index}`;
    if (await sandbox.hasLink(sandbox.host, name)) continue;
    await sandbox.card(name, `02:00:00:00:ca:0${index}`);
    await sandbox.ip(sandbox.host, [
      `link set dev ${name} mtu 1400 alias slot-${index}`,
      `addr add 192.0.2.${index + 1}/32 dev ${name}`,
      `addr add 2001:db8:ca::${index + 1}/128 dev ${name}`,
      `link set dev ${name} up`,
    ]);
  }
}

function hostDeviceRow(name: string, ...subnets: string[]): Row {
  const layer3 = subnets.length > 0;
  const gone = "interface removed";
  return {
    name: `host-device: ${name}`,
    type: "host-device",
    kind: "interface",
    delegates: layer3,
    addressless: !layer3,
    needs: ["link:veth", ...layer3 ? ["plugin:host-local"] as const : []],
    prepare: cards,
    conf: (sandbox) => ({
      device: "card0",
      ...(layer3 && { ipam: hostLocal(sandbox, ...subnets) }),
    }),
    beside: (index) => ({ device: `card${index}` }),
    residue: ["deviceRecords", ...layer3 ? ["hostLocal"] as const : []],
    damage: [
      // A card does not go; what is done to it here DEL has to undo.
      ...interfaceDamage(...familiesOf(subnets)).filter(({ name }) => name !== gone),
      inside("renamed", "link set dev IFNAME name other0"),
      inside("set down", "link set dev IFNAME down"),
      inside("hardware address changed", "link set dev IFNAME address 02:00:00:00:09:09"),
    ],
  };
}

const hostDevice: readonly Row[] = [
  hostDeviceRow("layer 2"),
  hostDeviceRow("IPv4", subnet4),
  hostDeviceRow("dual stack", subnet4, subnet6),
];

function hostLocalRow(name: string, ...subnets: string[]): Row {
  return {
    name: `host-local: ${name}`,
    type: "host-local",
    kind: "ipam",
    needs: [],
    conf: (sandbox) => ({ ipam: hostLocal(sandbox, ...subnets) }),
    residue: ["hostLocal"],
    repeatable: true,
    damage: [{
      name: "reservation removed",
      inflict: ({ sandbox, network }) => {
        for (const { name } of [...Deno.readDirSync(`${sandbox.dataDir}/${network}`)]) {
          if (/^[0-9a-f]+[.:]/.test(name)) {
            Deno.removeSync(`${sandbox.dataDir}/${network}/${name}`);
          }
        }
        return Promise.resolve();
      },
    }],
  };
}

const ipam: readonly Row[] = [
  hostLocalRow("IPv4", subnet4),
  hostLocalRow("dual stack", subnet4, subnet6),
  {
    name: "static: dual stack",
    type: "static",
    kind: "ipam",
    needs: [],
    conf: () => ({
      ipam: {
        type: "static",
        addresses: [
          { address: "10.1.2.9/24", gateway: "10.1.2.1" },
          { address: "2001:db8:1::9/64", gateway: "2001:db8:1::1" },
        ],
        routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
        dns: { nameservers: ["10.1.2.1"] },
      },
    }),
    residue: [],
    repeatable: true,
    damage: [],
  },
];

/** flannel with a bridge, from a file as flanneld writes it. */
const flannel: readonly Row[] = [{
  name: "flannel: bridge, dual stack",
  type: "flannel",
  kind: "interface",
  needs: [...bridgeNeeds, "plugin:bridge", "plugin:host-local", "nft-nat"],
  prepare: (sandbox) =>
    Deno.writeTextFile(
      `${sandbox.dir}/subnet.env`,
      `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.2.1/24
FLANNEL_IPV6_NETWORK=2001:db8:1::/56
FLANNEL_IPV6_SUBNET=2001:db8:1::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
`,
    ),
  conf: (sandbox) => ({
    subnetFile: `${sandbox.dir}/subnet.env`,
    delegate: { bridge: bridgeName, isDefaultGateway: true, ipMasqBackend: "nftables" },
    ipam: { dataDir: sandbox.dataDir },
  }),
  residue: [
    "bridge",
    "hostLocal",
    "forwarding4",
    "forwarding6",
    "nftMasquerade",
    "flannelDir",
  ],
  damage: [...interfaceDamage(4, 6), noNftables],
}];

/** Host ports of the port-map rows. */
export const portMappings = [
  { hostPort: 8080, containerPort: 80, protocol: "tcp" },
  { hostPort: 8053, containerPort: 53, protocol: "udp" },
];

function portmapRow(
  backend: "iptables" | "nftables",
  { subnets, needs, residue }: {
    subnets: readonly string[];
    needs: readonly Need[];
    residue: readonly ResidueId[];
  },
): Row {
  const families = subnets.some((subnet) => subnet.includes(":")) ? "dual stack" : "IPv4";
  return {
    name: `portmap: ${backend}, ${families}`,
    type: "portmap",
    kind: "chained",
    needs: ["link:veth", "plugin:ptp", "plugin:host-local", ...needs],
    before: (sandbox) => [{ type: "ptp", ipam: hostLocal(sandbox, ...subnets) }],
    conf: () => ({ backend, capabilities: { portMappings: true } }),
    capabilityArgs: { portMappings },
    beside: (index) => ({
      capabilities: {},
      runtimeConfig: {
        portMappings: [{ hostPort: 9000 + index, containerPort: 80, protocol: "tcp" }],
      },
    }),
    residue: [
      "hostLocal",
      "forwarding4",
      "forwarding6",
      "routeLocalnet",
      "portClaims",
      ...residue,
    ],
    repeatable: true,
    damage: [backend === "nftables" ? noNftables : noIptables],
  };
}

const portmap: readonly Row[] = [
  portmapRow("iptables", {
    subnets: [subnet4],
    needs: ["iptables-nat"],
    residue: ["iptablesTables", "hostportChains"],
  }),
  portmapRow("iptables", {
    subnets: [subnet4, subnet6],
    needs: ["iptables-nat"],
    residue: ["iptablesTables", "hostportChains"],
  }),
  portmapRow("nftables", {
    subnets: [subnet4, subnet6],
    needs: ["nft-nat"],
    residue: ["nftHostports"],
  }),
];

const noFilter = onHost("iptables rules removed", "iptables -w -F; ip6tables -w -F");

/** Behind a bridge, whose containers a policy can be for. */
function firewallRow(
  name: string,
  { keys = {}, subnets = [subnet4], needs = [], residue = [], damage = [], prepare }:
    & RowOptions
    & Pick<Row, "prepare">,
): Row {
  return {
    name: `firewall: ${name}`,
    type: "firewall",
    kind: "chained",
    needs: [...bridgeNeeds, "plugin:bridge", "plugin:host-local", ...needs],
    before: (sandbox) => [{
      type: "bridge",
      bridge: bridgeName,
      isDefaultGateway: true,
      ipam: hostLocal(sandbox, ...subnets),
    }],
    conf: () => keys,
    // Older results have no interfaces, which a policy needs to know the bridge.
    ...("ingressPolicy" in keys && { since: "0.3.0" }),
    ...(prepare && { prepare }),
    residue: [
      "hostLocal",
      "bridge",
      "forwarding4",
      "forwarding6",
      "firewallRecords",
      ...residue,
    ],
    repeatable: true,
    damage,
  };
}

const firewall: readonly Row[] = [
  firewallRow("iptables, IPv4", {
    keys: { backend: "iptables" },
    needs: ["tool:iptables"],
    residue: ["iptablesTables", "firewallChains"],
    damage: [noFilter],
  }),
  firewallRow("iptables, dual stack, isolated", {
    keys: { backend: "iptables", ingressPolicy: "isolated" },
    subnets: [subnet4, subnet6],
    needs: ["tool:iptables"],
    residue: ["iptablesTables", "firewallChains"],
    damage: [
      noFilter,
      onHost("the way to the policies removed", "iptables -w -D FORWARD 1"),
      onHost("a policy's rule removed", "ip6tables -w -F CNI-ISOLATION-STAGE-2"),
      onHost(
        "packets let pass before the policies",
        `set -- $(iptables -w -S FORWARD 2 | cut -d" " -f3-)
         iptables -w -I FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD`,
      ),
    ],
  }),
  firewallRow("firewalld, dual stack", {
    keys: { backend: "firewalld" },
    subnets: [subnet4, subnet6],
    needs: ["tool:firewalld", "tool:dbus-daemon", "tool:busctl"],
    prepare: async (sandbox) => sandbox.keep(await Firewalld.start(sandbox)),
    damage: [
      onHost(
        "firewalld told to reload",
        `name=org.fedoraproject.FirewallD1
         busctl --system call $name /org/fedoraproject/FirewallD1 $name reload`,
      ),
    ],
  }),
  firewallRow("nftables, IPv4", {
    keys: { backend: "nftables" },
    needs: ["tool:nft"],
    residue: ["nftFirewall"],
    damage: [noNftables],
  }),
  firewallRow("nftables, dual stack, isolated, with mark and jump", {
    keys: {
      backend: "nftables",
      ingressPolicy: "isolated",
      mark: 0x100000,
      insertInto: { family: "inet", table: "filter", chain: "forward" },
    },
    subnets: [subnet4, subnet6],
    needs: ["tool:nft"],
    prepare: (sandbox) => sandbox.inside(sandbox.host, ["nft", administratorsChain]),
    residue: ["nftFirewall", "nftEntry"],
    damage: [
      onHost("the jump removed", "nft flush chain inet filter forward"),
      onHost("the bridge's table removed", "nft delete table bridge denocni_firewall"),
      onHost("marks removed", "nft flush chain inet denocni_firewall mark_0x00100000"),
      // The administrator's table goes, too.
      noNftables,
    ],
  }),
];

/** Damage done by a shell line inside the container, with `$link` its interface. */
function inContainer(name: string, line: string): Damage {
  return {
    name,
    inflict: ({ sandbox, netns, ifname }) =>
      sandbox.inside(netns, ["sh", "-ec", `link=${ifname}; ${line}`]).then(() => {}),
  };
}

/** The shell's word for an ifb device. */
const device = "$(ip -o link show type ifb | sed 's/^[0-9]*: \\([^:]*\\):.*/\\1/' | head -n 1)";

/** Behind a plugin that makes a pair, or a link without an end on the host. */
function bandwidthRow(
  name: string,
  { keys = {}, subnets = [subnet4], needs = [], damage = [], before }: RowOptions & {
    readonly before: "ptp" | "macvlan";
  },
): Row {
  const families = before === "ptp" ? familiesOf(subnets) : [];
  return {
    name: `bandwidth: ${name}`,
    type: "bandwidth",
    kind: "chained",
    changesResult: true,
    needs: [`link:${before === "ptp" ? "veth" : before}`, "link:ifb", ...needs],
    ...(before === "macvlan" && { prepare: (sandbox) => sandbox.outside() }),
    before: (sandbox) => [{
      type: before,
      ...(before === "macvlan" && { master: "out0" }),
      ipam: hostLocal(sandbox, ...subnets),
    }],
    conf: () => keys,
    // Older results have no interfaces, and what is shaped must be one of them.
    since: "0.3.0",
    residue: ["hostLocal", ...families.map((family) => `forwarding${family}` as const)],
    repeatable: true,
    damage,
  };
}

const rates = { ingressRate: 8e6, ingressBurst: 8e5, egressRate: 16e6, egressBurst: 16e5 };
const tbf = "root handle 1: tbf";

const bandwidth: readonly Row[] = [
  bandwidthRow("both directions", {
    before: "ptp",
    keys: rates,
    damage: [
      onHost("device removed", `ip link del dev ${device}`),
      onHost("device set down", `ip link set dev ${device} down`),
      onHost("device's limit lifted", `tc qdisc del dev ${device} root`),
      onEachPort("redirection removed", 'tc filter del dev "$port" ingress'),
      onEachPort("limit lifted", 'tc qdisc del dev "$port" root'),
      onEachPort(
        "rate changed",
        `tc qdisc change dev "$port" ${tbf} rate 9mbit burst 100000b limit 125000b`,
      ),
      onEachPort(
        "queue's length changed",
        `tc qdisc change dev "$port" ${tbf} rate 8mbit burst 100000b limit 125001b`,
      ),
      onEachPort(
        "burst changed",
        `tc qdisc change dev "$port" ${tbf} rate 8mbit burst 100001b limit 125000b`,
      ),
    ],
  }),
  bandwidthRow("all but subnets, dual stack", {
    before: "ptp",
    subnets: [subnet4, subnet6],
    keys: {
      ingressRate: 8e6,
      egressRate: 16e6,
      unshapedSubnets: ["203.0.113.0/24", "198.51.100.0/24", "2001:db8:ff::/64"],
    },
    damage: [
      onHost("device removed", `ip link del dev ${device}`),
      onEachPort("filters of one direction removed", 'tc filter del dev "$port" egress'),
      onEachPort("subnets forgotten", 'tc filter del dev "$port" ingress prio 15'),
    ],
  }),
  bandwidthRow("inside the container", {
    before: "macvlan",
    keys: rates,
    damage: [
      inContainer("device removed", `ip link del dev ${device}`),
      inContainer("redirection removed", 'tc filter del dev "$link" ingress'),
      inContainer("limit lifted", 'tc qdisc del dev "$link" root'),
    ],
  }),
  bandwidthRow("a queue for each flow", {
    before: "ptp",
    needs: ["qdisc:fq_codel"],
    keys: { ...rates, queue: "fq_codel" },
    damage: [onEachPort("queue removed", 'tc qdisc del dev "$port" parent 1:1')],
  }),
];

function tuningRow(name: string, conf: JsonObject, damage: readonly Damage[]): Row {
  return {
    changesResult: conf["mac"] !== undefined,
    name: `tuning: ${name}`,
    type: "tuning",
    kind: "chained",
    needs: ["link:veth", "plugin:ptp", "plugin:host-local"],
    before: (sandbox) => [{ type: "ptp", ipam: hostLocal(sandbox, subnet4) }],
    conf: () => conf,
    residue: ["hostLocal", "forwarding4", "tuningFolders"],
    repeatable: true,
    damage,
  };
}

const tuning: readonly Row[] = [
  tuningRow("kernel variables", {
    sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1", "net/ipv4/conf/IFNAME/rp_filter": "2" },
  }, [
    inContainer("variable changed", 'echo 0 >"/proc/sys/net/ipv4/conf/$link/proxy_arp"'),
  ]),
  tuningRow("attributes and a kernel variable", {
    sysctl: { "net.ipv4.conf.IFNAME.proxy_arp": "1" },
    mac: "c2:11:22:33:44:55",
    mtu: 1400,
    promisc: true,
    allmulti: true,
    txQLen: 500,
  }, [
    inContainer("interface removed", 'ip link del dev "$link"'),
    inContainer("hardware address changed", 'ip link set dev "$link" address c2:11:22:33:44:66'),
    inContainer("MTU changed", 'ip link set dev "$link" mtu 1300'),
    inContainer("promiscuous mode switched off", 'ip link set dev "$link" promisc off'),
    inContainer("all-multicast mode switched off", 'ip link set dev "$link" allmulticast off'),
    inContainer("queue's length changed", 'ip link set dev "$link" txqueuelen 400'),
    inContainer("variable changed", 'echo 0 >"/proc/sys/net/ipv4/conf/$link/proxy_arp"'),
  ]),
];

function sbrRow(name: string, conf: JsonObject, ...subnets: string[]): Row {
  const inTables = conf["table"] === undefined;
  return {
    name: `sbr: ${name}`,
    type: "sbr",
    kind: "chained",
    needs: ["link:veth", "plugin:ptp", "plugin:host-local"],
    before: (sandbox) => [{ type: "ptp", ipam: hostLocal(sandbox, ...subnets) }],
    conf: () => conf,
    residue: [
      "hostLocal",
      ...familiesOf(subnets).map((family) => `forwarding${family}` as const),
      "sbrFolders",
    ],
    repeatable: true,
    damage: [
      inContainer("interface removed", 'ip link del dev "$link"'),
      ...familiesOf(subnets).flatMap((family) => [
        inContainer(`IPv${family} rule removed`, `ip -${family} rule del priority 32765`),
        ...inTables
          ? [
            inContainer(
              `IPv${family} table emptied`,
              `ip -${family} route flush table 100 || ip -${family} route flush table 101`,
            ),
          ]
          : [],
      ]),
    ],
  };
}

const sbr: readonly Row[] = [
  sbrRow("IPv4", {}, subnet4),
  sbrRow("dual stack", {}, subnet4, subnet6),
  sbrRow("dual stack with source hints", { addSourceHints: true }, subnet4, subnet6),
  sbrRow("fixed table", { table: 5000 }, subnet4),
];

function vrfRow(name: string, ...subnets: string[]): Row {
  return {
    name: `vrf: ${name}`,
    type: "vrf",
    kind: "chained",
    needs: ["link:vrf", "link:veth", "plugin:ptp", "plugin:host-local"],
    before: (sandbox) => [{ type: "ptp", ipam: hostLocal(sandbox, ...subnets) }],
    conf: () => ({ vrfname: "red" }),
    residue: [
      "hostLocal",
      ...familiesOf(subnets).map((family) => `forwarding${family}` as const),
      "vrfFolders",
      "vrfRules",
    ],
    damage: [
      inContainer("interface removed", 'ip link del dev "$link"'),
      inContainer("taken out of the VRF", 'ip link set dev "$link" nomaster'),
      inContainer("VRF removed", "ip link del dev red"),
      inContainer("VRF set down", "ip link set dev red down"),
      ...familiesOf(subnets).flatMap((family) => [
        inContainer(
          `IPv${family} address removed`,
          `ip -${family} addr flush dev "$link" scope global`,
        ),
        inContainer(
          `IPv${family} default route removed`,
          `ip -${family} route del default vrf red`,
        ),
      ]),
    ],
  };
}

const vrf: readonly Row[] = [vrfRow("IPv4", subnet4), vrfRow("dual stack", subnet4, subnet6)];

/** All rows. */
export const rows: readonly Row[] = [
  ...loopback,
  ...bridge,
  ...ptp,
  ...macvlan,
  ...hostDevice,
  ...ipvlan,
  ...vlan,
  ...dummy,
  ...tap,
  ...ipam,
  ...dhcp,
  ...flannel,
  ...portmap,
  ...bandwidth,
  ...tuning,
  ...sbr,
  ...firewall,
  ...vrf,
];

/** Rows to run: all, or those whose name contains `DENOCNI_ROWS`; in a guest kernel, those that need what it is there for. */
export function chosenRows(): readonly Row[] {
  return namedRows().filter(({ needs }) => isForHere(needs));
}

function namedRows(): readonly Row[] {
  const wanted = Deno.env.get("DENOCNI_ROWS") ?? "";
  return rows.filter(({ name }) => name.includes(wanted));
}

/** How many types the rows to run have, in all kernels together. */
export function countTypes(): number {
  return new Set(namedRows().map(({ type }) => type)).size;
}

/** One of the chosen rows of each type: enough for what does not depend on the configuration. */
export function firstRows(filter: (row: Row) => boolean = () => true): readonly Row[] {
  return firstOf(chosenRows().filter(filter));
}

function firstOf(rows: readonly Row[]): readonly Row[] {
  const backwards = rows.toReversed();
  return [...new Map(backwards.map((row) => [row.type, row])).values()].reverse();
}

/** The chosen row of each type that does the most here, by what it leaves behind. */
export function richRows(): readonly Row[] {
  return pick(chosenRows(), richest);
}

/**
 * Of the chosen rows one for each thing that a plugin does, told by what it needs of the
 * host: a back end, a kind of link; for guests one of each type, with `plain` the first.
 * All, where `DENOCNI_ROWS` names some.
 */
export function distinctRows({ plain = false } = {}): readonly Row[] {
  const rows = chosenRows();
  if (Deno.env.get("DENOCNI_ROWS")) return rows;
  if (plain && isListing()) return firstOf(rows.filter(isLacking));
  return pick(
    rows,
    (rows) => richest(rows, ({ type, needs }) => `${type} ${needs.filter(isOfHost).sort()}`),
  );
}

function isOfHost(need: Need): boolean {
  return !need.startsWith("plugin:");
}

/** Rows for what is the same code for all of them: natively every one, for guests the first. */
export function alike(rows: readonly Row[]): readonly Row[] {
  return isListing() ? rows.filter(isLacking).slice(0, 1) : rows;
}

/** Picks natively, and among what guests are there for when their list is made; a guest has its list. */
function pick(
  rows: readonly Row[],
  natively: (rows: readonly Row[]) => readonly Row[],
): readonly Row[] {
  if (isGuest()) return rows;
  return isListing() ? richest(rows.filter(isLacking)) : natively(rows);
}

/** A queueing discipline is an option of what runs natively without it. */
function isLacking({ needs }: Row): boolean {
  return unmet(needs).some(({ need }) => !need.startsWith("qdisc:"));
}

function richest(
  rows: readonly Row[],
  group: (row: Row) => string = ({ type }) => type,
): readonly Row[] {
  const size = ({ residue, needs }: Row) =>
    unmet(["private", ...needs]).length > 0 ? 0 : residue.length + needs.length;
  return [...Map.groupBy(rows, group).values()].map((rows) =>
    rows.reduce((best, row) => size(row) >= size(best) ? row : best)
  );
}
