/**
 * What may stay after the last DEL, by design, and why. Anything else that
 * differs is a defect. A row of the table names a change by sign, section and
 * line: `+host/links: bridge0 bridge up …`.
 *
 * @module
 */

interface Residue {
  readonly pattern: RegExp;
  readonly reason: string;
  /** The shell's way to take it away, where an ADD that finds it has less to do. */
  readonly removal?: string;
}

/** Name of the bridge in all tests. */
export const bridgeName = "bridge0";

/** What an administrator has loaded where a test has one, for `nft`. */
export const administratorsChain = "add table inet filter; " +
  "add chain inet filter forward { type filter hook forward priority 0; policy drop; }";

/** Removes tables, those that are missing, too. */
function noTables(...tables: readonly string[]): string {
  const lines = tables.map((table) => `add table ${table}; delete table ${table}`);
  return `nft '${lines.join("; ")}'`;
}

/** The lock file of a shared link, and its folders. */
const linkLocks = String
  .raw`^\+files: /run/cni/((denocni/)?(links/)? 755|denocni/links/[^/]+\.lock 600 "")$`;

const table = {
  loopback: {
    pattern: /^\+(?!host)[^/]+\/(addresses|routes|qdiscs): .*\blo\b/,
    reason: "the kernel gives lo its addresses when it first comes up and never takes them back",
  },
  bridge: {
    pattern: new RegExp(
      String
        .raw`^\+host/(links|addresses|routes|qdiscs|sysctls|vlans): .*\b${bridgeName}\b|${linkLocks}`,
    ),
    reason: "a bridge is shared by all containers of the host and of other networks",
    removal: `ip -o link show master ${bridgeName} | grep -q . || ip link del dev ${bridgeName}`,
  },
  vlanGateway: {
    pattern: /^\+host\/(links|qdiscs|sysctls|vlans): .*\bvethd4d33f5c\b/,
    reason: "the port of bridge0.100, the gateway of all containers of VLAN 100",
    removal: "ip link del dev vethd4d33f5c",
  },
  linkLocks: {
    pattern: new RegExp(linkLocks),
    reason: "lock files are never removed, so that nobody waits for a file that is gone",
  },
  flannelDir: {
    pattern: /^\+files: \/var\/lib\/cni\/flannel\/ 700$/,
    reason: "the folder of the delegates' configurations",
  },
  deviceRecords: {
    pattern: /^\+files: \/run\/cni\/(denocni\/(devices\/)?)? 755$/,
    reason: "the folder for records of devices that containers have",
  },
  theirAlias: {
    pattern: /^[-+]host\/links: (card0 .*?)( alias "card0")?( qlen \d+)?$/,
    reason: "release 1.1.1 of the reference leaves its mark on a device that it has given back",
  },
  voidDeviceRecord: {
    pattern: /^\+files: \/run\/cni\/denocni\/devices\/[0-9a-f]{32}\.json 600 /,
    reason: "the reference does not know of records; one is void when its device is on the host",
  },
  promiscuousMaster: {
    pattern: /^[-+]host\/links: out0 veth up mtu \d+ mac \S+( promiscuity 1)? qlen \d+$/,
    reason: "the kernel lets a master receive everything while a macvlan link is up in a container",
  },
  forwarding4: {
    pattern: /^[-+]host\/sysctls: net\/ipv4\/ip_forward=/,
    reason: "forwarding may have been switched on by others meanwhile",
  },
  forwarding6: {
    pattern: /^([-+]host\/sysctls: net\/ipv6\/conf\/all\/forwarding=|\+host\/routes: anycast )/,
    reason: "as forwarding4; a forwarding host also gets anycast routes",
  },
  routeLocalnet: {
    pattern: /^[-+]host\/sysctls: net\/ipv4\/conf\/[^/]+\/route_localnet=/,
    reason: "other containers behind the same link may need it",
    removal: "for it in /proc/sys/net/ipv4/conf/*/route_localnet; do echo 0 >$it; done",
  },
  iptablesTables: {
    pattern:
      /^\+host\/iptables(-legacy)?: \w+ :(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT$/,
    reason: "iptables makes a table's built-in chains on first use and never removes them",
    // Of a table that it is given without a line it removes every rule and chain.
    removal: `for ip in ip ip6; do
  printf '*%s\nCOMMIT\n' nat raw filter | \${ip}tables-restore -w
done`,
  },
  hostportChains: {
    pattern:
      /^\+host\/iptables(-legacy)?: (nat|raw) (:CNI-HOSTPORT-(SETMARK|MASQ|DNAT|GUARD) -|-A CNI-HOSTPORT-(SETMARK|MASQ|GUARD) |-A (PREROUTING|OUTPUT|POSTROUTING) .* -j CNI-HOSTPORT-(DNAT|MASQ|GUARD))/,
    reason: "shared by the port mappings of all containers",
  },
  portClaims: {
    pattern:
      /^\+files: \/run\/cni\/(denocni\/((ports|port-ranges)\/ 755|portmap\.lock 600 "")|(denocni\/)? 755)/,
    reason: "folders for claims of host ports; the lock file is never removed",
  },
  leases: {
    pattern: /^\+files: \/run\/cni\/(denocni\/(dhcp\/)?)? 755$/,
    reason: "the folder of leases",
  },
  lanPorts: {
    pattern: /^\+server\/(links|addresses|routes|qdiscs|sysctls|vlans): .*\b[a-z][a-z0-9]*-eth0\b/,
    reason: "ports of the server's bridge, to which the test itself has joined containers",
  },
  voidPortClaims: {
    pattern: /^\+files: \/run\/cni\/denocni\/ports\/[46]-(tcp|udp)-(8080-8080|8053-8053)-any 600 /,
    reason: "the reference does not know of claims; one is void when its container is gone",
  },
  firewallRecords: {
    pattern:
      /^\+files: \/run\/cni\/(denocni\/(firewall\/ 755|firewall\.lock 600 "")|(denocni\/)? 755)$/,
    reason: "the folder of records; the lock file is never removed",
  },
  voidFirewallRecords: {
    pattern: /^\+files: \/run\/cni\/denocni\/firewall\/[0-9a-f]{32}\.json 600 /,
    reason: "the reference does not know of records; one is void when the address is another's",
  },
  firewallChains: {
    pattern:
      /^\+host\/iptables(-legacy)?: filter (:CNI-(FORWARD|ADMIN|ISOLATION-STAGE-[12]) -|-A CNI-ISOLATION-STAGE-[12] |-A (FORWARD|CNI-FORWARD) .* -j (CNI-(FORWARD|ADMIN|ISOLATION-STAGE-1)|NOMAD-ADMIN)$)/,
    reason: "shared by all containers; a bridge keeps its policy",
  },
  nftFirewall: {
    pattern:
      /^\+host\/nft: \{"(table":\{"family":"(inet|bridge)","name":"denocni_firewall"|(set|chain)":\{"family":"(inet|bridge)",("name":"\w+",)?"table":"denocni_firewall"(?!.*"elem":.*net: )|rule":\{"family":"(inet|bridge)","table":"denocni_firewall")/,
    reason: "chains and sets that all containers share; a bridge keeps its policy",
    removal: noTables("inet denocni_firewall", "bridge denocni_firewall"),
  },
  nftEntry: {
    pattern:
      /^\+host\/nft: \{"((set|chain)":\{"family":"inet",("name":"denocni_\w+",)?"table":"filter"(,"name":"denocni_\w+")?(?!.*"elem":)|rule":\{"family":"inet","table":"filter","chain":"(denocni_containers"|forward","comment":"denocni"))/,
    reason: "what a chain of the administrator leads to, shared by all containers",
    removal: `${noTables("inet filter")}\nnft '${administratorsChain}'`,
  },
  nftMasquerade: {
    pattern:
      /^\+host\/nft: \{"(table":\{"family":"inet","name":"cni_plugins_masquerade"|chain":\{"family":"inet","table":"cni_plugins_masquerade"|rule":\{"family":"inet","table":"cni_plugins_masquerade","chain":"postrouting")/,
    reason: "base chains of the masquerade, shared by all networks",
    removal: noTables("inet cni_plugins_masquerade"),
  },
  nftHostports: {
    pattern:
      /^\+host\/nft: \{"(table":\{"family":"ip6?","name":"cni_hostport"|chain":\{"family":"ip6?","table":"cni_hostport"|rule":\{"family":"ip6?","table":"cni_hostport","chain":"(prerouting|output|hostports_all)"|table":\{"family":"inet","name":"denocni_hostport"|(map|set|chain)":\{"family":"inet",("name":"\w+",)?"table":"denocni_hostport"(?!.*"elem":)|rule":\{"family":"inet","table":"denocni_hostport","chain":"(?!conditional|c-))/,
    reason: "base chains of the port map, shared by all containers",
    removal: noTables("ip cni_hostport", "ip6 cni_hostport", "inet denocni_hostport"),
  },
  nftSpoofCheck: {
    pattern:
      /^\+host\/nft: \{"(table":\{"family":"bridge","name":"nat"|chain":\{"family":"bridge","table":"nat","name":"PREROUTING")/,
    reason: "base chain of the spoof check, shared by all ports",
    removal: noTables("bridge nat"),
  },
  hostLocal: {
    pattern:
      /^[-+]files: (TEST\/[^/]+|\/var\/lib\/cni\/networks)(\/[^/]+)?(\/ 755|\/lock \d+ ""|\/last_reserved_ip\.\d+ 6[04][04] ".*"|\/[^/]+\/((by-key\/)? 755|stamp 600 ".*"))$/,
    reason:
      "round robin goes on from the last address; the lock file is never removed, so that nobody waits for a file that is gone; the index stays, empty",
  },
  tuningFolders: {
    // The reference makes the first one with another mode.
    pattern: /^\+files: \/run\/cni\/(tuning\/ 600|(tuning\/|(denocni\/(tuning\/)?)?) 755)$/,
    reason: "folders for what interfaces and variables were before",
  },
  sbrFolders: {
    pattern: /^\+files: \/run\/cni\/(denocni\/(sbr\/)?)? 755$/,
    reason: "folders for what was added to rules and routes",
  },
  voidSbrRecord: {
    pattern: /^\+files: \/run\/cni\/denocni\/sbr\/[0-9a-f]{32}\.json 600 /,
    reason: "the reference does not know of records; GC removes one",
  },
  vrfFolders: {
    pattern: /^\+files: \/run\/cni\/(denocni\/(vrf\/)?)? 755$/,
    reason: "folders for what interfaces had before they were in a VRF",
  },
  vrfRules: {
    pattern: /^\+(?!host\/)[^/]+\/rules: 1000:\tfrom all lookup \[l3mdev-table\]$/,
    reason: "the kernel adds them with the first VRF, and once only",
  },
  voidVrfRecord: {
    pattern: /^\+files: \/run\/cni\/denocni\/vrf\/[0-9a-f]{32}\.json 600 /,
    reason: "the reference does not know of records; GC removes one",
  },
  voidTuningRecord: {
    pattern: /^\+files: \/run\/cni\/denocni\/tuning\/[0-9a-f]{32}\.json 600 /,
    reason: "the reference does not know of records; GC removes one",
  },
  temporaryFile: {
    pattern: /^\+files: TEST\/networks\/[^/]+\/\.denocni-tmp 600 /,
    reason: "a killed plugin leaves at most this one file, which the next write replaces",
  },
  voidIndexEntries: {
    pattern: /^\+files: TEST\/networks\/\.denocni\/[^/ ]+\/by-key\/[^/ ]+ 600 ".*"$/,
    reason: "the reference does not know of the index; the stamp tells that it is out of date",
  },
} as const satisfies Record<string, Residue>;

/** Name of something that may stay. */
export type ResidueId = keyof typeof table;

/** Everything that may stay somewhere. */
export const allResidue = Object.keys(table) as readonly ResidueId[];

/** What a failed ADD may leave of these: nothing that takes part in anything. */
export function inert(ids: readonly ResidueId[]): ResidueId[] {
  const rest = ids.filter((id) => !/^(bridge|routeLocalnet)$/.test(id));
  return ids.includes("bridge") ? [...rest, "linkLocks"] : rest;
}

/** A script that takes away, the last first, what another ADD would find of this. */
export function removalOf(ids: readonly ResidueId[]): string {
  const residues: readonly Residue[] = ids.map((id) => table[id]);
  return residues.toReversed().flatMap(({ removal }) => removal ?? []).join("\n");
}

/** Why a change is none, or `undefined` when it is one. */
export function residueReason(
  change: string,
  allow: readonly ResidueId[],
): string | undefined {
  const id = allow.find((id) => table[id].pattern.test(change));
  return id && table[id].reason;
}
