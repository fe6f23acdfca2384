import { assertEquals } from "@std/assert";
import type { Command } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { hostPrefix, parseCidr } from "../../host/ip.ts";
import type { NftListing } from "../../host/nft.ts";
import { emptyListing } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import { nftOwner, staleIdentities } from "../../recipes/nft_owner.ts";
import type { ChainName } from "./conf.ts";
import type { NftFirewall } from "./nftables_rules.ts";
import {
  attachmentElements,
  compareNftFirewall,
  firewallChains,
  isEntered,
  planJump,
  planNftFirewall,
  planNftFirewallGc,
  planNftFirewallRemoval,
  replanNftFirewall,
} from "./nftables_rules.ts";

const owner = await nftOwner({ network: "net", containerId: "c1", ifName: "eth0" });
const other = await nftOwner({ network: "net", containerId: "c2", ifName: "eth0" });
const remark = `comment "${owner.comment}"`;
const table = "inet denocni_firewall";

function plan(keys: Partial<NftFirewall> = {}): NftFirewall {
  return {
    owner,
    addresses: [hostPrefix(parseCidr("10.0.0.2/24")!), hostPrefix(parseCidr("2001:db8::2/64")!)],
    mark: undefined,
    insertInto: [],
    ingress: undefined,
    ...keys,
  };
}

const place: ChainName = { family: "inet", table: "filter", chain: "forward" };
const isolated = { policy: "isolated", bridge: "br0", ports: ["veth1"] } as const;
const stdin = (action: Step["do"] | undefined) => (action as Command | undefined)?.stdin ?? "";
const lines = (steps: readonly Step[]) => steps.map((step) => stdin(step.do)).join("").split("\n");
const added = (steps: readonly Step[], start: string) =>
  lines(steps).filter((line) => line.startsWith(start)).map((line) => line.slice(start.length + 1));
const undone = ([step]: readonly Step[]) => stdin(step!.undo).split("\n").filter(Boolean);

Deno.test("an attachment is one process and an element for each address", () => {
  const steps = planNftFirewall(plan());
  assertEquals(processes(steps), 1);
  assertEquals(added(steps, "create element"), [
    `${table} addresses4 { 10.0.0.2 ${remark} }`,
    `${table} addresses6 { 2001:db8::2 ${remark} }`,
  ]);
  assertEquals(undone(steps), [
    `delete element ${table} addresses4 { 10.0.0.2 }`,
    `delete element ${table} addresses6 { 2001:db8::2 }`,
  ]);
});

Deno.test("the administrator's chain is made, entered first, and never written", () => {
  const all = lines(planNftFirewall(plan()));
  assertEquals(all.filter((line) => / admin\b/.test(line)), [
    `add chain ${table} admin`,
    `add rule ${table} containers jump admin`,
  ]);
  assertEquals(firewallChains(plan()).find(({ name }) => name === "containers")!.rules, [
    "jump admin",
    "ct state established,related ip daddr @addresses4 accept",
    "ct status dnat ip daddr @addresses4 accept",
    "ip saddr @addresses4 accept",
    "ct state established,related ip6 daddr @addresses6 accept",
    "ct status dnat ip6 daddr @addresses6 accept",
    "ip6 saddr @addresses6 accept",
  ]);
});

Deno.test("hooks come before the host's own, policies first", () => {
  const hooks = firewallChains(plan({ mark: 0x100000, ingress: isolated }))
    .flatMap(({ table, name, hook }) => hook ? [`${table} ${name}: ${hook}`] : []);
  assertEquals(hooks, [
    `${table} forward: type filter hook forward priority -10;`,
    `${table} mark_0x00100000_forward: type filter hook forward priority -5;`,
    `${table} mark_0x00100000_input: type filter hook input priority -5;`,
    `${table} ingress: type filter hook forward priority -20;`,
    "bridge denocni_firewall forward: type filter hook forward priority -20;",
  ]);
});

Deno.test("a mark has sets and chains of its own, and keeps other bits", () => {
  const marked = plan({ mark: 0x100000 });
  assertEquals(attachmentElements(marked).map(({ set }) => set), [
    "addresses4",
    "addresses6",
    "mark_0x00100000_addresses4",
    "mark_0x00100000_addresses6",
  ]);
  const { rules } = firewallChains(marked).find(({ name }) => name === "mark_0x00100000")!;
  assertEquals(
    rules[2],
    "ip saddr @mark_0x00100000_addresses4 meta mark set meta mark or 0x100000",
  );
});

Deno.test("a place gets sets and chains in its own table, which is not made", () => {
  const steps = planNftFirewall(plan({ insertInto: [place] }));
  assertEquals(added(steps, "add table"), [`${table} { comment "Firewall of denocni"; }`]);
  assertEquals(added(steps, "create element").slice(2), [
    `inet filter denocni_addresses4 { 10.0.0.2 ${remark} }`,
    `inet filter denocni_addresses6 { 2001:db8::2 ${remark} }`,
  ]);
  assertEquals(lines(steps).at(-2), "list chain inet filter forward");
});

Deno.test("a place of one family gets the addresses of that family", () => {
  for (
    const [family, set] of [["ip", "denocni_addresses4"], ["ip6", "denocni_addresses6"]] as const
  ) {
    const sets = attachmentElements(plan({ insertInto: [{ ...place, family }] })).slice(2);
    assertEquals(sets.map((element) => element.set), [set]);
  }
});

const printed = (rule: string, chain = "forward", name = "inet filter") =>
  `add rule inet filter denocni_containers jump denocni_admin # handle 9
table ${name} {
	chain ${chain} { # handle 1
		type filter hook forward priority filter; policy drop;
		${rule} # handle 5
	}
}
`;

Deno.test("isEntered() sees a jump in the chain, whoever made it", () => {
  assertEquals(isEntered(printed('jump denocni_containers comment "denocni"'), place), true);
  assertEquals(isEntered(printed("iifname eth9 goto denocni_containers"), place), true);
  assertEquals(isEntered(printed("jump denocni_containers2"), place), false);
  assertEquals(isEntered(printed("accept"), place), false);
  assertEquals(isEntered(printed("jump denocni_containers", "input"), place), false);
  assertEquals(isEntered(printed("jump denocni_containers", "forward", "ip filter"), place), false);
  assertEquals(isEntered("", place), false);
});

Deno.test("planJump() fails as a whole where a jump is, and that is as good", () => {
  const [step] = planJump(place);
  assertEquals(step!.tolerate, ["busy"]);
  const all = lines([step!]);
  assertEquals(all.slice(0, 3), [
    "flush chain inet filter denocni_containers",
    "delete chain inet filter denocni_containers",
    "create chain inet filter denocni_containers",
  ]);
  assertEquals(
    all.at(-2),
    'insert rule inet filter forward jump denocni_containers comment "denocni"',
  );
});

Deno.test("an isolated bridge has pairs of links, and the container's port", () => {
  const steps = planNftFirewall(plan({ ingress: isolated }));
  assertEquals(added(steps, "add element"), [
    `${table} bridges { "br0" }`,
    `${table} isolated { "br0" . "br0" }`,
  ]);
  assertEquals(
    added(steps, "create element").at(-1),
    `bridge denocni_firewall isolated { "veth1" ${remark} }`,
  );
  const same = planNftFirewall(plan({ ingress: { ...isolated, policy: "same-bridge" } }));
  assertEquals(added(same, "add element").at(-1), `${table} same { "br0" . "br0" }`);
  assertEquals(lines(same).some((line) => line.includes("bridge denocni_firewall")), false);
});

Deno.test("of two policies for one bridge the stricter one is asked first, whoever comes last", () => {
  for (const policy of ["isolated", "same-bridge"] as const) {
    const chains = firewallChains(plan({ ingress: { ...isolated, policy } }));
    assertEquals(chains.find(({ name }) => name === "ingress")!.rules, [
      "iifname . oifname @isolated drop",
      "iifname . oifname @same return",
      "iifname @bridges oifname @bridges drop",
    ]);
    const removed = lines(planNftFirewall(plan({ ingress: { ...isolated, policy } })))
      .filter((line) => /^(delete|flush set)/.test(line));
    assertEquals(removed, []);
  }
});

Deno.test("beside another back end nftables has the policies alone", () => {
  const steps = planNftFirewall(plan({ ingress: isolated, ingressOnly: true }));
  assertEquals(lines(steps).filter((line) => /addresses|containers|admin/.test(line)), []);
  assertEquals(undone(steps), ['delete element bridge denocni_firewall isolated { "veth1" }']);
});

function listing(...elements: readonly [set: string, key: string, comment: string][]): NftListing {
  return {
    ...emptyListing,
    elements: elements.map(([set, key, comment]) => ({ set, key, comment, value: undefined })),
  };
}

Deno.test("again, own elements stay and those of others go over to the attachment", () => {
  const listings = new Map([[
    table,
    listing(["addresses4", "10.0.0.2", owner.comment], [
      "addresses6",
      "2001:db8::2",
      other.comment,
    ]),
  ]]);
  const steps = replanNftFirewall(plan(), listings);
  assertEquals(added(steps, "delete element"), [`${table} addresses6 { 2001:db8::2 }`]);
  assertEquals(added(steps, "create element"), [`${table} addresses6 { 2001:db8::2 ${remark} }`]);
  assertEquals(undone(steps), [`delete element ${table} addresses6 { 2001:db8::2 }`]);
});

Deno.test("DEL deletes what carries the attachment's name, and quotes links", () => {
  const listings = new Map([
    [
      table,
      listing(
        ["addresses4", "10.0.0.2", owner.comment],
        ["addresses4", "10.0.0.3", other.comment],
      ),
    ],
    ["bridge denocni_firewall", listing(["isolated", "veth1", owner.comment])],
  ]);
  const steps = planNftFirewallRemoval(listings, [owner.identity]);
  assertEquals(processes(steps), 1);
  assertEquals(lines(steps).slice(0, -1), [
    `delete element ${table} addresses4 { 10.0.0.2 }`,
    'delete element bridge denocni_firewall isolated { "veth1" }',
  ]);
  assertEquals(planNftFirewallRemoval(listings, ["nobody"]), []);
});

Deno.test("GC knows a network's elements by their names", () => {
  const listings = new Map([[
    table,
    listing(
      ["addresses4", "10.0.0.2", owner.comment],
      ["addresses4", "10.0.0.3", other.comment],
      ["addresses4", "10.0.0.4", "by hand"],
    ),
  ]]);
  const first = owner.identity.slice(0, 16);
  const { elements } = listings.get(table)!;
  const valid = { network: first, keep: new Set([owner.identity]) };
  assertEquals(staleIdentities(elements, valid), [
    other.identity,
  ]);
  assertEquals(staleIdentities(elements, { network: "0".repeat(16), keep: new Set() }), []);
  assertEquals(
    planNftFirewallGc(listings, valid),
    planNftFirewallRemoval(listings, [other.identity]),
  );
});

Deno.test("CHECK names chains, elements and jumps that are missing", () => {
  const wanted = plan({ insertInto: [place], ingress: isolated });
  const problems = compareNftFirewall(wanted, new Map());
  assertEquals(
    problems.includes(`rules are missing from chain "${table} containers" of nft`),
    true,
  );
  assertEquals(problems.includes(`element "10.0.0.2" of "${table} addresses4" is missing`), true);
  assertEquals(problems.includes(`element "br0 . br0" of "${table} isolated" is missing`), true);
  assertEquals(
    problems.includes('chain "inet filter forward" of nft does not enter "denocni_containers"'),
    true,
  );
  const foreign = new Map([[table, listing(["addresses4", "10.0.0.2", other.comment])]]);
  assertEquals(
    compareNftFirewall(plan(), foreign).includes(
      `element "10.0.0.2" of "${table} addresses4" belongs to others`,
    ),
    true,
  );
});
