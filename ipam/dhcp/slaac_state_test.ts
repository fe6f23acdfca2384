import { assertEquals } from "@std/assert";
import type { IpOutput, SlaacState } from "./slaac_state.ts";
import { readSlaacState } from "./slaac_state.ts";

const local = {
  family: "inet6",
  local: "fe80::ff:fe00:1",
  prefixlen: 64,
  scope: "link",
  valid_life_time: 4294967295,
  preferred_life_time: 4294967295,
};
const global = {
  family: "inet6",
  local: "2001:db8::ff:fe00:1",
  prefixlen: 64,
  scope: "global",
  dynamic: true,
  mngtmpaddr: true,
  valid_life_time: 86399,
  preferred_life_time: 14399,
};
const given = { family: "inet6", local: "fd00::2", prefixlen: 64, scope: "global" };
const onLink = {
  dst: "2001:db8::/64",
  dev: "eth0",
  protocol: "kernel",
  metric: 256,
  flags: [],
  expires: 86399,
  pref: "medium",
};
const ofLocal = { dst: "fe80::/64", dev: "eth0", protocol: "kernel", metric: 256, flags: [] };
const ofGiven = { ...ofLocal, dst: "fd00::/64" };
const router = {
  dst: "default",
  gateway: "fe80::1",
  dev: "eth0",
  protocol: "ra",
  metric: 1024,
  flags: [],
  expires: 1799,
  pref: "medium",
};
const up = ["BROADCAST", "MULTICAST", "UP", "LOWER_UP"];

/** What iproute2 prints for a link with these. */
function printed(
  addresses: readonly object[],
  routes: readonly object[],
  flags: readonly string[] = up,
): IpOutput {
  return {
    addresses: JSON.stringify([{ ifindex: 2, ifname: "eth0", flags, addr_info: addresses }]),
    routes: JSON.stringify(routes),
  };
}

/** In full, as iproute2 6.1 prints it, which does not tell who gave an address. */
const whole: IpOutput = {
  addresses: '[{"ifindex":2,"ifname":"eth0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],' +
    '"mtu":1500,"operstate":"UP","txqlen":1000,"addr_info":[{"family":"inet6",' +
    '"local":"2001:db8::ff:fe00:1","prefixlen":64,"scope":"global","dynamic":true,' +
    '"mngtmpaddr":true,"valid_life_time":86399,"preferred_life_time":14399},{"family":"inet6",' +
    '"local":"fe80::ff:fe00:1","prefixlen":64,"scope":"link","valid_life_time":4294967295,' +
    '"preferred_life_time":4294967295}]}]\n',
  routes: '[{"dst":"2001:db8::/64","dev":"eth0","protocol":"kernel","metric":256,"flags":[],' +
    '"expires":86399,"pref":"medium"},{"dst":"fe80::/64","dev":"eth0","protocol":"kernel",' +
    '"metric":256,"flags":[],"pref":"medium"},{"dst":"default","gateway":"fe80::1",' +
    '"dev":"eth0","protocol":"ra","metric":1024,"flags":[],"expires":1799,"pref":"medium"}]\n',
};

const address = "2001:db8::ff:fe00:1/64";
const usual: SlaacState = { kind: "ready", ips: [{ address, gateway: "fe80::1" }] };
const alone: SlaacState = { kind: "ready", ips: [{ address }] };
/** The same by another router. */
const by = (gateway: string): SlaacState => ({ kind: "ready", ips: [{ address, gateway }] });
const routes = [onLink, ofLocal, router];

const ready: readonly (readonly [what: string, IpOutput, SlaacState])[] = [
  ["an address and a router", whole, usual],
  ["the address alone, of a prefix without a router", printed([global, local], [onLink]), alone],
  ["an address of no end", printed([{ ...global, valid_life_time: 4294967295 }], routes), usual],
  [
    "an address that the kernel says it has made",
    printed([{ ...global, protocol: "kernel_ra" }, { ...local, protocol: "kernel_ll" }], routes),
    usual,
  ],
  [
    "numbers in place of names",
    printed([{ ...global, scope: "0", protocol: "2" }, local], [
      { ...onLink, protocol: "2", table: "254", type: "1" },
      { ...router, protocol: "9", table: "254", type: "1" },
    ]),
    usual,
  ],
  ["names in full", printed([global], [{ ...router, table: "main", type: "unicast" }]), usual],
  [
    "all addresses, in their order",
    printed([{ ...global, local: "fd00::5" }, global, local], routes),
    {
      kind: "ready",
      ips: [{ address: "fd00::5/64", gateway: "fe80::1" }, { address, gateway: "fe80::1" }],
    },
  ],
  [
    "an address beside one that is no longer preferred",
    printed([{ ...global, local: "2001:db8:1::5", deprecated: true }, global], routes),
    usual,
  ],
  [
    "an address beside a temporary one",
    printed(
      [{ ...global, local: "2001:db8::77", temporary: true, tentative: true }, global],
      routes,
    ),
    usual,
  ],
  ["an address beside a given one", printed([given, global, local], [ofGiven, ...routes]), usual],
  [
    "an address beside one that a lease gave",
    printed([{ ...global, local: "2001:db8::5", prefixlen: 128, tentative: true }, global], routes),
    usual,
  ],
  [
    "an address beside one that something else gave",
    printed([
      { ...global, local: "2001:db8::5", tentative: true },
      { ...global, protocol: "kernel_ra" },
    ], routes),
    usual,
  ],
  [
    "the router of another link left out",
    printed([global], [{ ...router, dev: "eth1", gateway: "fe80::2", metric: 1 }, router]),
    usual,
  ],
  [
    "the router of another table left out",
    printed([global], [{ ...router, gateway: "fe80::2", table: "100", metric: 1 }, router]),
    usual,
  ],
  [
    "a route that leads nowhere left out",
    printed([global], [{ ...router, gateway: "fe80::2", type: "unreachable", metric: 1 }, router]),
    usual,
  ],
  [
    "a default route that somebody gave left out",
    printed([global], [{ ...router, gateway: "fe80::2", protocol: "static", metric: 1 }]),
    alone,
  ],
  [
    "a default route without protocol left out",
    printed([global], [{ dst: "default", gateway: "fe80::2", dev: "eth0" }]),
    alone,
  ],
  [
    "a router that is not link-local left out",
    printed([global], [{ ...router, gateway: "2001:db8::1" }]),
    alone,
  ],
  [
    "a prefix by a router left out",
    printed([global], [{ ...router, dst: "2001:db8:5::/48" }]),
    alone,
  ],
  [
    "the router that is preferred",
    printed([global], [
      { ...router, gateway: "fe80::3", pref: "low" },
      router,
      { ...router, gateway: "fe80::2", pref: "high" },
    ]),
    by("fe80::2"),
  ],
  [
    "the router of medium preference before one of low",
    printed([global], [{ ...router, gateway: "fe80::3", pref: "low" }, router]),
    usual,
  ],
  [
    "the router of the lowest metric, whatever is preferred",
    printed([global], [
      { ...router, pref: "high" },
      { ...router, gateway: "fe80::2", metric: 512, pref: "low" },
    ]),
    by("fe80::2"),
  ],
  [
    "the usual metric where none is told",
    printed([global], [
      { ...router, gateway: "fe80::2", metric: 1025 },
      { ...router, metric: undefined },
    ]),
    usual,
  ],
  ["the first of equal routers", printed([global], [router, { ...router, gateway: "fe80::2" }]), {
    ...usual,
  }],
  [
    "the first next hop over the link",
    printed([global], [{
      ...router,
      gateway: undefined,
      dev: undefined,
      nexthops: [
        { gateway: "fe80::9", dev: "eth1" },
        { gateway: "fe80::2", dev: "eth0" },
        { gateway: "fe80::3", dev: "eth0" },
      ],
    }]),
    by("fe80::2"),
  ],
  [
    "a router with an odd address",
    printed([global], [{ ...router, gateway: "febf::1" }]),
    by("febf::1"),
  ],
  ["::/0 in place of default", printed([global], [{ ...router, dst: "::/0" }]), usual],
];

for (const [what, from, expected] of ready) {
  Deno.test(`ready: ${what}`, () => assertEquals(readSlaacState("eth0", from), expected));
}

const cannot = 'Cannot autoconfigure an address on "eth0": ';
const noRouter = "no router advertisement was received; " +
  "is a router on this link, and is net.ipv6.conf.eth0.accept_ra on?";
const noPrefix =
  " advertised no prefix with the autonomous flag, or another host has the address; " +
  "does this network want DHCPv6, and is net.ipv6.conf.eth0.autoconf on?";
const unfinished = "duplicate address detection has not ended for ";

const waiting: readonly (readonly [what: string, IpOutput, missing: string])[] = [
  ["nothing printed", { addresses: "", routes: "" }, "there is no such link"],
  [
    "another link",
    { ...whole, addresses: whole.addresses.replace("eth0", "eth1") },
    "there is no such link",
  ],
  ["a link that is down", printed([], [], ["BROADCAST", "MULTICAST"]), "the link is down"],
  ["no carrier", printed([local], [], ["NO-CARRIER", "UP"]), "the link has no carrier"],
  [
    "no link-local address",
    printed([given], []),
    "it has no link-local address; is IPv6 switched off?",
  ],
  [
    "a link-local address of IPv4",
    printed([{ ...local, family: "inet", local: "169.254.0.1", prefixlen: 16 }], []),
    "it has no link-local address; is IPv6 switched off?",
  ],
  [
    "a tentative link-local address",
    printed([{ ...local, tentative: true }], []),
    `${unfinished}"fe80::ff:fe00:1"`,
  ],
  [
    "a tentative link-local address beside another",
    printed([{ ...local, tentative: true }, { ...local, local: "fe80::5" }], []),
    noRouter,
  ],
  [
    "a tentative address",
    printed([{ ...global, tentative: true }, local], routes),
    `${unfinished}"2001:db8::ff:fe00:1"`,
  ],
  [
    "a tentative address beside a usable one",
    printed([global, { ...global, local: "fd00::5", tentative: true }, local], routes),
    `${unfinished}"fd00::5"`,
  ],
  [
    "an address that is no longer preferred",
    printed([{ ...global, deprecated: true }, local], routes),
    'the prefix of "2001:db8::ff:fe00:1/64" is no longer preferred',
  ],
  ["no router", printed([local], [ofLocal]), noRouter],
  ["no router, a given address", printed([given, local], [ofGiven, ofLocal]), noRouter],
  [
    "no router, a given default route",
    printed([given, local], [ofGiven, { ...router, gateway: "fd00::1", protocol: undefined }]),
    noRouter,
  ],
  [
    "no router, a route to a host",
    printed([local], [{ ...ofGiven, dst: "2001:db8::9" }]),
    noRouter,
  ],
  ["a router of another link", printed([local], [{ ...router, dev: "eth1" }]), noRouter],
  ["a router", printed([local], [ofLocal, router]), `the router "fe80::1"${noPrefix}`],
  [
    "a router and its prefix",
    printed([local], [onLink, ofLocal, router]),
    `the router "fe80::1"${noPrefix}`,
  ],
  ["a prefix that is on the link", printed([local], [onLink]), `a router${noPrefix}`],
  [
    "a prefix of no end that is on the link",
    printed([given, local], [ofGiven, { ...onLink, expires: undefined }]),
    `a router${noPrefix}`,
  ],
  [
    "a prefix that ends, beside a given address of it",
    printed([given, local], [{ ...ofGiven, expires: 100 }]),
    `a router${noPrefix}`,
  ],
  [
    "a prefix by a router",
    printed([local], [{ ...router, dst: "2001:db8:5::/48" }]),
    `the router "fe80::1"${noPrefix}`,
  ],
  [
    "a lease in place of an address of its own",
    printed([{ ...global, prefixlen: 128 }, local], [router]),
    `the router "fe80::1"${noPrefix}`,
  ],
  [
    "an address that something else gave",
    printed([global, { ...local, protocol: "kernel_ll" }], [router]),
    `the router "fe80::1"${noPrefix}`,
  ],
  [
    "a temporary address alone",
    printed([{ ...global, temporary: true }, local], [router]),
    `the router "fe80::1"${noPrefix}`,
  ],
];

for (const [what, from, missing] of waiting) {
  Deno.test(`waiting: ${what}`, () => {
    assertEquals(readSlaacState("eth0", from), { kind: "waiting", message: cannot + missing });
  });
}

const duplicates: readonly (readonly [what: string, IpOutput, address: string])[] = [
  [
    "the address",
    printed([{ ...global, tentative: true, dadfailed: true }, local], routes),
    "2001:db8::ff:fe00:1",
  ],
  [
    "one of two addresses",
    printed([global, { ...global, local: "fd00::5", dadfailed: true }, local], routes),
    "fd00::5",
  ],
  [
    "the link-local address",
    printed([global, { ...local, tentative: true, dadfailed: true }], routes),
    "fe80::ff:fe00:1",
  ],
];

for (const [what, from, address] of duplicates) {
  Deno.test(`duplicate: ${what}`, () => {
    assertEquals(readSlaacState("eth0", from), {
      kind: "duplicate",
      message: `Cannot use the address "${address}" of "eth0": another host on the link has it ` +
        "(duplicate address detection failed)",
    });
  });
}

Deno.test("a duplicate of an address that somebody gave is not ours to tell", () => {
  const from = printed([{ ...given, dadfailed: true }, global, local], routes);
  assertEquals(readSlaacState("eth0", from), usual);
});
