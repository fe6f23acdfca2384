import { assertEquals } from "@std/assert";
import { shellLine } from "./command.ts";
import { parseCidr } from "./ip.ts";
import type { AddressOptions } from "./ip_addr.ts";
import { addAddress, deleteAddress } from "./ip_addr.ts";

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

Deno.test("deleteAddress()", () => {
  const cidr = parseCidr("10.1.0.2/24")!;
  assertEquals(shellLine(deleteAddress("eth0", { cidr })), "ip addr del 10.1.0.2/24 dev eth0");
  assertEquals(
    shellLine(deleteAddress("eth0", { cidr, netns })),
    "nsenter --net=/run/netns/c1 ip addr del 10.1.0.2/24 dev eth0",
  );
});
