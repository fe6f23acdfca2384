import { assertEquals } from "@std/assert";
import type { Command } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { parseCidr } from "../../host/ip.ts";
import { parseListing } from "../../host/nft.ts";
import { compareNftMasquerade, planNftMasquerade } from "./nftables.ts";
import { identityLength, nftOwner } from "../nft_owner.ts";

function cidrs(...texts: readonly string[]) {
  return texts.map((text) => parseCidr(text)!);
}

const table = "inet cni_plugins_masquerade";

async function ruleLines(
  attachment: { network: string; ifName: string; containerId: string },
  ...addresses: readonly string[]
): Promise<string[]> {
  const steps = planNftMasquerade(await nftOwner(attachment), cidrs(...addresses));
  assertEquals(processes(steps), 1);
  return (steps[0]!.do as Command).stdin!.trimEnd().split("\n");
}

Deno.test("ADD writes the reference's table and looks at what was there, in one process", async () => {
  const one = { network: "unit-test", ifName: "eth0", containerId: "one" };
  assertEquals(await ruleLines(one, "192.168.1.1/24"), [
    `add table ${table} { comment "Masquerading for plugins from github.com/containernetworking/plugins"; }`,
    `add chain ${table} masq_checks { comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"; }`,
    `add chain ${table} postrouting { type nat hook postrouting priority 100; }`,
    `flush chain ${table} postrouting`,
    `add rule ${table} postrouting ip daddr 224.0.0.0/4 return`,
    `add rule ${table} postrouting ip6 daddr ff00::/8 return`,
    `add rule ${table} postrouting goto masq_checks`,
    `add rule ${table} masq_checks ip saddr 192.168.1.1 ip daddr != 192.168.1.0/24 masquerade comment "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one"`,
    `list chain ${table} masq_checks`,
  ]);
});

Deno.test("ADD writes a rule for each address of the reference's population", async () => {
  const rules = async (containerId: string, network: string, ...addresses: string[]) =>
    (await ruleLines(
      { network, ifName: network === "alternate" ? "net1" : "eth0", containerId },
      ...addresses,
    )).filter((line) => line.startsWith(`add rule ${table} masq_checks`))
      .map((line) => line.replace(/^.* masq_checks (.*) masquerade comment .*$/, "$1"));
  assertEquals(await rules("two", "unit-test", "192.168.1.2/24", "2001:db8::2/64"), [
    "ip saddr 192.168.1.2 ip daddr != 192.168.1.0/24",
    "ip6 saddr 2001:db8::2 ip6 daddr != 2001:db8::/64",
  ]);
  assertEquals(
    await rules(
      "three",
      "alternate",
      ...["10.0.0.5/24", "10.0.0.6/24", "10.0.1.7/24"],
      ...["2001:db8::5/64", "2001:db8::6/64", "2001:db8:1::7/64"],
    ),
    [
      "ip saddr 10.0.0.5 ip daddr != 10.0.0.0/24",
      "ip saddr 10.0.0.6 ip daddr != 10.0.0.0/24",
      "ip saddr 10.0.1.7 ip daddr != 10.0.1.0/24",
      "ip6 saddr 2001:db8::5 ip6 daddr != 2001:db8::/64",
      "ip6 saddr 2001:db8::6 ip6 daddr != 2001:db8::/64",
      "ip6 saddr 2001:db8:1::7 ip6 daddr != 2001:db8:1::/64",
    ],
  );
});

Deno.test("a comment fits into nft and keeps its identity", async () => {
  const long = { network: "n".repeat(200), ifName: "eth0", containerId: "c" };
  const owner = await nftOwner(long);
  const rule = (await ruleLines(long, "10.0.0.5/24")).at(-2)!;
  const [, text] = /comment "(.*)"$/.exec(rule)!;
  assertEquals(text!.length, 128);
  assertEquals(text!.slice(0, identityLength), owner.identity);
});

const match = (op: string, field: string, right: unknown) => ({
  match: { op, left: { payload: { protocol: "ip", field } }, right },
});

function listing(...rules: readonly { chain: string; comment?: string; expr: unknown[] }[]) {
  const common = { family: "inet", table: "cni_plugins_masquerade", handle: 1 };
  const nftables = rules.map((rule) => ({ rule: { ...common, ...rule } }));
  return parseListing(JSON.stringify({ nftables }));
}

Deno.test("CHECK names what is missing", async () => {
  const owner = await nftOwner({ network: "unit-test", ifName: "eth0", containerId: "one" });
  const goal = { owner, addresses: cidrs("192.168.1.1/24") };
  const entry = { chain: "postrouting", expr: [{ goto: { target: "masq_checks" } }] };
  const subnet = { prefix: { addr: "192.168.1.0", len: 24 } };
  const rule = (comment: string, right: unknown = subnet) => ({
    chain: "masq_checks",
    comment,
    expr: [match("==", "saddr", "192.168.1.1"), match("!=", "daddr", right), { masquerade: null }],
  });
  const missing =
    `rule "ip saddr 192.168.1.1 ip daddr != 192.168.1.0/24 masquerade" is missing from chain "${table} masq_checks" of nft`;
  assertEquals(compareNftMasquerade(listing(entry, rule(owner.comment)), goal), []);
  assertEquals(compareNftMasquerade(listing(entry), goal), [missing]);
  assertEquals(compareNftMasquerade(listing(entry, rule("of another")), goal), [missing]);
  const wider = { prefix: { addr: "192.168.0.0", len: 16 } };
  assertEquals(compareNftMasquerade(listing(entry, rule(owner.comment, wider)), goal), [missing]);
  assertEquals(compareNftMasquerade(listing(rule(owner.comment)), goal), [
    `chain "postrouting" of table "${table}" does not enter "masq_checks"`,
  ]);
  assertEquals(compareNftMasquerade(undefined, goal), [`table "${table}" of nft is missing`]);
});

Deno.test("CHECK reads a single address in place of a subnet", async () => {
  const owner = await nftOwner({ network: "unit-test", ifName: "eth0", containerId: "one" });
  const entry = { chain: "postrouting", expr: [{ goto: { target: "masq_checks" } }] };
  const rule = {
    chain: "masq_checks",
    comment: owner.comment,
    expr: [
      match("==", "saddr", "10.0.0.1"),
      match("!=", "daddr", "10.0.0.1"),
      { masquerade: null },
    ],
  };
  const goal = { owner, addresses: cidrs("10.0.0.1/32") };
  assertEquals(compareNftMasquerade(listing(entry, rule), goal), []);
});
