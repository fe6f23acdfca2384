import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import { parseCidr } from "./ip.ts";
import type { AddressOptions } from "./ip_addr.ts";
import {
  addAddress,
  addConfiguredAddress,
  deleteAddress,
  parseConfiguredAddresses,
  replaceAddress,
} from "./ip_addr.ts";

const netns = { path: "/run/netns/c1" };

function add(address: string, options: AddressOptions = {}): string {
  return shellLine(addAddress("eth0", { cidr: parseCidr(address)!, ...options }));
}

Deno.test("addAddress() sets a broadcast address where there is room for one", () => {
  assertEquals(add("10.1.0.2/24"), "ip addr add 10.1.0.2/24 brd + dev eth0");
  assertEquals(add("10.1.0.2/30"), "ip addr add 10.1.0.2/30 brd + dev eth0");
  assertEquals(add("10.1.0.2/31"), "ip addr add 10.1.0.2/31 dev eth0");
  assertEquals(add("10.1.0.2/32"), "ip addr add 10.1.0.2/32 dev eth0");
  assertEquals(add("fd00::2/64"), "ip addr add fd00::2/64 dev eth0");
});

Deno.test("addAddress() leaves out duplicate address detection of IPv6 alone", () => {
  assertEquals(add("fd00::2/64", { nodad: true }), "ip addr add fd00::2/64 dev eth0 nodad");
  assertEquals(add("10.1.0.2/32", { nodad: true }), "ip addr add 10.1.0.2/32 dev eth0");
  assertEquals(add("fd00::2/64", { nodad: false }), "ip addr add fd00::2/64 dev eth0");
});

Deno.test("addAddress() leaves out the route to the prefix", () => {
  assertEquals(
    add("fd00::2/64", { nodad: true, noprefixroute: true, netns }),
    "nsenter --net=/run/netns/c1 ip addr add fd00::2/64 dev eth0 nodad noprefixroute",
  );
});

Deno.test("replaceAddress() says how long", () => {
  const cidr = parseCidr("fd00::2/128")!;
  const line = (valid: number, preferred: number) =>
    shellLine(replaceAddress("eth0", { cidr, lifetimes: { valid, preferred } }));
  const start = "ip addr replace fd00::2/128 dev eth0";
  assertEquals(line(120, 0), `${start} valid_lft 120 preferred_lft 0`);
  assertEquals(line(Infinity, 60), `${start} valid_lft forever preferred_lft 60`);
});

Deno.test("deleteAddress()", () => {
  const cidr = parseCidr("10.1.0.2/24")!;
  assertEquals(shellLine(deleteAddress("eth0", { cidr })), "ip addr del 10.1.0.2/24 dev eth0");
  assertEquals(
    shellLine(deleteAddress("eth0", { cidr, netns })),
    "nsenter --net=/run/netns/c1 ip addr del 10.1.0.2/24 dev eth0",
  );
});

// What iproute2 6.1 prints of addresses that were given by the lines of the next test.
const shown = [{
  ifname: "dev0",
  addr_info: [
    {
      family: "inet",
      local: "10.8.0.1",
      address: "10.8.0.2",
      prefixlen: 32,
      scope: "link",
      label: "dev0",
    },
    {
      family: "inet",
      local: "10.9.0.5",
      prefixlen: 24,
      metric: 50,
      broadcast: "10.9.0.255",
      scope: "global",
      secondary: true,
      noprefixroute: true,
      label: "dev0:1",
      valid_life_time: 4294967295,
    },
    { family: "inet6", local: "fd00::1", prefixlen: 64, metric: 100, scope: "global", nodad: true },
    { family: "inet6", local: "fd00::7", prefixlen: 64, scope: "global", dynamic: true },
    { family: "inet", local: "10.7.0.7", prefixlen: 24, scope: "global", dynamic: true },
    { family: "inet6", local: "fe80::5", prefixlen: 64, scope: "link" },
  ],
}];

Deno.test("addConfiguredAddress() gives what parseConfiguredAddresses() has read", () => {
  const given = parseConfiguredAddresses(JSON.stringify(shown), "dev0");
  assertEquals(given.map((address) => shellLine(addConfiguredAddress("dev0", address))), [
    "ip addr add 10.8.0.1 peer 10.8.0.2/32 scope link dev dev0",
    "ip addr add 10.9.0.5/24 brd 10.9.0.255 label dev0:1 scope global metric 50 noprefixroute dev dev0",
    "ip addr add fd00::1/64 scope global metric 100 nodad dev dev0",
  ]);
});

Deno.test("parseConfiguredAddresses() of another link, or of nothing, is nothing", () => {
  assertEquals(parseConfiguredAddresses(JSON.stringify(shown), "dev1"), []);
  assertEquals(parseConfiguredAddresses("[{}]", "dev0"), []);
  assertEquals(parseConfiguredAddresses("", "dev0"), []);
});
