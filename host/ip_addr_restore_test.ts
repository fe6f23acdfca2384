import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import {
  parseRestorableAddresses,
  removeIpv6Address,
  replaceIpv6Address,
} from "./ip_addr_restore.ts";

const netns = { path: "/run/netns/c1" };
const forever = { valid_life_time: 4294967295, preferred_life_time: 4294967295 };

// What iproute2 6.1 prints of addresses that were given by the lines of the next test.
const shown = [{
  ifname: "eth0",
  addr_info: [
    { family: "inet", local: "10.0.0.2", prefixlen: 24, scope: "0", label: "eth0", ...forever },
    {
      family: "inet6",
      local: "fd00:3::2",
      prefixlen: 64,
      scope: "0",
      nodad: true,
      dynamic: true,
      mngtmpaddr: true,
      valid_life_time: 998,
      preferred_life_time: 498,
    },
    {
      family: "inet6",
      local: "fd00:3::77",
      prefixlen: 64,
      scope: "0",
      temporary: true,
      dynamic: true,
      valid_life_time: 998,
      preferred_life_time: 498,
    },
    {
      family: "inet6",
      local: "fd00:2::2",
      address: "fd00:2::3",
      prefixlen: 128,
      scope: "0",
      nodad: true,
      ...forever,
    },
    {
      family: "inet6",
      local: "fd00:1::2",
      prefixlen: 64,
      metric: 50,
      noprefixroute: true,
      scope: "0",
      ...forever,
    },
    { family: "inet6", local: "fd00::2", prefixlen: 64, scope: "0", tentative: true, ...forever },
    { family: "inet6", local: "fe80::1", prefixlen: 64, scope: "253", dadfailed: true, ...forever },
  ],
}];

Deno.test("replaceIpv6Address() gives what parseRestorableAddresses() has read", () => {
  const whole = parseRestorableAddresses(JSON.stringify(shown), "eth0");
  assertEquals(whole.map((address) => shellLine(replaceIpv6Address("eth0", address))), [
    "ip addr replace fd00:3::2/64 mngtmpaddr valid_lft 998 preferred_lft 498 nodad dev eth0",
    "ip addr replace fd00:2::2 peer fd00:2::3/128 nodad dev eth0",
    "ip addr replace fd00:1::2/64 metric 50 noprefixroute dev eth0",
    "ip addr replace fd00::2/64 dev eth0",
    "ip addr replace fe80::1/64 dev eth0",
  ]);
  assertEquals(whole.slice(0, 3).map((address) => shellLine(removeIpv6Address("eth0", address))), [
    "ip addr del fd00:3::2/64 dev eth0",
    "ip addr del fd00:2::2 peer fd00:2::3/128 dev eth0",
    "ip addr del fd00:1::2/64 dev eth0",
  ]);
  assertEquals(whole.map(({ dynamic }) => dynamic), [true, false, false, false, false]);
  assertEquals(whole.map(({ tentative }) => tentative), [false, false, false, true, true]);
  assertEquals(
    shellLine(replaceIpv6Address("eth0", { words: ["fd00::2/64"], nodad: true, netns })),
    "nsenter --net=/run/netns/c1 ip addr replace fd00::2/64 nodad dev eth0",
  );
});

Deno.test("parseRestorableAddresses() of another link, or of nothing, is nothing", () => {
  assertEquals(parseRestorableAddresses(JSON.stringify(shown), "eth1"), []);
  assertEquals(parseRestorableAddresses("[{}]", "eth0"), []);
  assertEquals(parseRestorableAddresses("", "eth0"), []);
});
