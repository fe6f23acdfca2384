import { assertEquals } from "@std/assert";
import type { Reason } from "./reason.ts";
import { classify, firstLine } from "./reason.ts";

/**
 * Recorded with iproute2 6.1, nftables 1.0.6, iptables 1.8.9, conntrack 1.4.7 and dash; the lines
 * on "Exclusivity", "Exchange full", the xtables lock and busybox are from their sources.
 */
const samples: readonly [string, Reason][] = [
  ["RTNETLINK answers: File exists", "exists"],
  ["Error: ipv4: Address already assigned.", "exists"],
  ["Error: ipv6: address already assigned.", "exists"],
  ["Error: Address already assigned to an ipvlan device.", "exists"],
  ["Error: An interface with the altname enp9s0 exists in the target netns.", "exists"],
  ["Error: The interface netns is immutable.", "other"],
  ["Error: 8021q: VLAN device already exists.", "exists"],
  ["RTNETLINK answers: Address already in use", "exists"],
  ["iptables: Chain already exists.", "exists"],
  ["Error: NLM_F_REPLACE needed to override.", "exists"],
  ["Error: Exclusivity flag on, cannot modify.", "exists"],
  ["ioctl(TUNSETIFF): Device or resource busy", "exists"],
  [
    "Error: Could not process rule: File exists\ncreate table ip t\n                ^\n",
    "exists",
  ],

  ["Error: ipv4: Address not found.", "missing"],
  ["Error: ipv6: address not found.", "missing"],
  ["RTNETLINK answers: Cannot assign requested address", "missing"],
  ["RTNETLINK answers: No such process", "missing"],
  ["RTNETLINK answers: No such file or directory", "missing"],
  ["RTNETLINK answers: No such device", "missing"],
  ['Device "x" does not exist.', "missing"],
  ['Cannot find device "x"', "missing"],
  ['Cannot find device "x"\nCommand failed -:1\n', "missing"],
  ['Cannot find bridge device "x"', "missing"],
  ["Error: Cannot find specified qdisc on specified device.", "missing"],
  ["Error: Cannot delete qdisc with handle of zero.", "missing"],
  ["Error: Exclusivity flag on, cannot modify.\nWe have an error talking to the kernel", "exists"],
  [
    "Error: Failed to load TC action module.\nWe have an error talking to the kernel",
    "unsupported",
  ],
  ["Error: TC classifier not found.\nWe have an error talking to the kernel", "unsupported"],
  ['Cannot open network namespace "x": No such file or directory', "missing"],
  [
    'Error: argument "/run/netns/x" is wrong: Invalid "netns" value\n\n',
    "missing",
  ],
  ["nsenter: cannot open /run/netns/x: No such file or directory", "missing"],
  ["Error: No such file or directory\nlist table inet x\n                ^\n", "missing"],
  [
    "/dev/stdin:1:17-20: Error: Could not process rule: No such file or directory\ndelete table ip x\n",
    "missing",
  ],
  ["iptables: Bad rule (does a matching rule exist in that chain?).", "missing"],
  ["Call failed: ZONE_ALREADY_SET: '10.0.0.2/32' already bound to 'trusted'", "exists"],
  ["Call failed: ZONE_CONFLICT: '10.0.0.2/32' already bound to a zone", "other"],
  ["Call failed: UNKNOWN_SOURCE: '10.0.0.2/32' is not in any zone", "missing"],
  ["Call failed: INVALID_ZONE: nosuch", "missing"],
  ['Call failed: Name "org.fedoraproject.FirewallD1" does not exist', "missing"],
  [
    "iptables-restore: line 2 failed: Bad rule (does a matching rule exist in that chain?).",
    "missing",
  ],
  ["iptables: No chain/target/match by that name.", "missing"],
  [
    "iptables v1.8.9 (nf_tables): Chain 'C9' does not exist\nTry `iptables -h' or 'iptables --help' for more information.",
    "missing",
  ],
  [
    "iptables-restore v1.8.9 (nf_tables): \nline 5: CHAIN_DEL failed (No such file or directory): chain X\n",
    "missing",
  ],
  ["conntrack v1.4.7 (conntrack-tools): 0 flow entries have been deleted.", "missing"],
  [
    "sh: 6: cannot create /proc/sys/net/ipv4/conf/x/forwarding: Directory nonexistent",
    "missing",
  ],
  ["sh: 1: cannot open /proc/sys/net/x: No such file", "missing"],
  ["sh: can't create /proc/sys/net/x: nonexistent directory", "missing"],

  ["RTNETLINK answers: Device or resource busy", "busy"],
  [
    "iptables v1.8.9 (nf_tables):  CHAIN_DEL failed (Device or resource busy): chain C1",
    "busy",
  ],
  [
    "Another app is currently holding the xtables lock; still 3s 0us time ahead to have a chance to grab the lock...",
    "busy",
  ],

  ["RTNETLINK answers: Operation not permitted", "denied"],
  [
    "iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
    "denied",
  ],
  [
    "Operation not permitted (you must be root)\nnetlink: Error: cache initialization failed: Operation not permitted",
    "denied",
  ],
  ["sh: 1: cannot create /proc/sys/net/ipv4/ip_forward: Read-only file system", "denied"],
  ["Step skipped 1\nStep skipped 2\nRTNETLINK answers: File exists\n", "exists"],

  ["Error: Unknown device type.", "unsupported"],
  ["Error: Specified qdisc kind is unknown.", "unsupported"],
  ["RTNETLINK answers: Operation not supported", "unsupported"],
  // Of `ip tuntap`, on `/dev/net/tun`.
  ["open: No such file or directory", "unsupported"],
  ["open: No such device", "unsupported"],
  ["open: No such device or address", "unsupported"],

  ["RTNETLINK answers: Exchange full", "full"],
  ["No space left on device (os error 28)", "full"],

  ["RTNETLINK answers: Invalid argument", "invalid"],
  ["RTNETLINK answers: Invalid argument\nCommand failed -:1\n", "invalid"],

  ["Error: Attribute failed policy validation.", "other"],
  ["Error: Nexthop has invalid gateway.", "other"],
  ["Error: Device for nexthop is not up.", "other"],
  ["Error: mtu less than device minimum.", "other"],
  ['Error: argument "abcdefghijklmnopq" is wrong: "name" not a valid ifname', "other"],
  ["nsenter: reassociate to namespace 'ns/net' failed: Invalid argument", "other"],
  ["sh: 1: printf: printf: I/O error", "other"],
  ["", "other"],
];
for (const [stderr, reason] of samples) {
  Deno.test(`${reason}: ${stderr.split("\n")[0]}`, () => assertEquals(classify(stderr), reason));
}

/** They hold the words of another class. */
const traps: readonly [string, string, Reason][] = [
  [
    "a missing match is a missing feature, whatever file it was not found in",
    "iptables v1.8.9 (nf_tables): Couldn't load match `nope':No such file or directory\n",
    "unsupported",
  ],
  [
    "a namespace that may not be opened is not a missing one",
    "nsenter: cannot open /proc/1/ns/net: Permission denied",
    "denied",
  ],
  [
    "a namespace that cannot be opened for want of files is not a missing one",
    "nsenter: cannot open /run/netns/x: Too many open files",
    "other",
  ],
  [
    "a variable that may not be written is not a missing one",
    "sh: 1: cannot create /proc/sys/kernel/osrelease: Permission denied",
    "denied",
  ],
  ["a missing program is no missing object", "sh: 12: exec: ip: not found", "other"],
  [
    "a warning before the error does not count",
    "# Warning: iptables-legacy tables present, use iptables-legacy to see them\nRTNETLINK answers: File exists",
    "exists",
  ],
  [
    "a list that changed while a name was looked up does not count",
    "Dump was interrupted and may be inconsistent.\nRTNETLINK answers: File exists",
    "exists",
  ],
  [
    "what follows the first line does not count",
    "Error: Nexthop has invalid gateway.\nNo such file or directory\n",
    "other",
  ],
  [
    "a device without its driver is a missing feature",
    "open: No such device or address",
    "unsupported",
  ],
];
for (const [name, stderr, reason] of traps) {
  Deno.test(`trap: ${name}`, () => assertEquals(classify(stderr), reason));
}

const firstLines: readonly [string, string][] = [
  ["", ""],
  ["\n\n  Error: x.  \nmore\n", "Error: x."],
  ["Warning: old\nError: x.", "Error: x."],
  ["# Warning: tables present", "# Warning: tables present"],
  [
    "Dump was interrupted and may be inconsistent.\nRTNETLINK answers: File exists",
    "RTNETLINK answers: File exists",
  ],
  [
    "iptables-restore v1.8.9 (nf_tables): \nline 2: RULE_APPEND failed (x)\n",
    "line 2: RULE_APPEND failed (x)",
  ],
];
for (const [stderr, line] of firstLines) {
  Deno.test(`firstLine of ${JSON.stringify(stderr)}`, () => assertEquals(firstLine(stderr), line));
}
