import { assertEquals, assertNotEquals } from "@std/assert";
import type { Link } from "../../host/ip_link.ts";
import { parseLinks } from "../../host/ip_link.ts";
import { ifbNames, isOwnIfb, isReferenceIfb, nameToFind, nameToMake } from "./names.ts";

const names = await ifbNames({
  network: "cni-plugin-bandwidth-test",
  containerId: "dummy",
  ifName: "eth0",
});

function ifb(name: string, rest: { ifalias?: string; address?: string } = {}): Link {
  const link = { ifname: name, ifindex: 7, flags: [], mtu: 1500, linkinfo: { info_kind: "ifb" } };
  return parseLinks(JSON.stringify([{ ...link, ...rest }]))[0]!;
}

const others = { ifalias: "cni:cni-plugin-bandwidth-test/dummy/net1" };
const ours = { ifalias: names.alias };

Deno.test("the reference's name, and names of its own for each interface", async () => {
  assertEquals(names.reference, "bwpa8eda89404b7");
  const second = await ifbNames({
    network: "cni-plugin-bandwidth-test",
    containerId: "dummy",
    ifName: "net1",
  });
  assertEquals(second.reference, names.reference);
  for (const key of ["from", "to", "mac", "alias"] as const) {
    assertNotEquals(second[key], names[key]);
  }
  assertEquals([names.from.length, names.to.length], [15, 15]);
  assertNotEquals(names.from, names.reference);
});

Deno.test("an own device is known by its mark, and before that by its address", () => {
  const { reference } = names;
  assertEquals(isOwnIfb(ifb(reference, ours), names), true);
  assertEquals(isOwnIfb(ifb(reference, { address: names.mac }), names), true);
  assertEquals(isOwnIfb(ifb(reference, { address: "02:00:00:00:00:01" }), names), false);
  assertEquals(isOwnIfb(ifb(reference, { ...others, address: names.mac }), names), false);
});

Deno.test("the reference's device has its name and no mark", () => {
  assertEquals(isReferenceIfb(ifb(names.reference), names), true);
  assertEquals(isReferenceIfb(ifb(names.reference, others), names), false);
  assertEquals(isReferenceIfb(ifb(names.from), names), false);
});

Deno.test("an ADD takes the reference's name unless somebody else has it", () => {
  const { reference, from } = names;
  assertEquals(nameToMake([], names), reference);
  assertEquals(nameToMake([ifb(reference, ours)], names), reference);
  assertEquals(nameToMake([ifb(reference, others)], names), from);
  assertEquals(nameToMake([ifb(reference)], names), from);
});

Deno.test("a CHECK finds what an ADD has made, of ours or of the reference's", () => {
  const { reference, from } = names;
  assertEquals(nameToFind([], names), reference);
  assertEquals(nameToFind([ifb(reference)], names), reference);
  assertEquals(nameToFind([ifb(reference, others)], names), from);
  assertEquals(nameToFind([ifb(reference), ifb(from, ours)], names), from);
});
