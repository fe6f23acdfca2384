import { assertEquals } from "@std/assert";
import { decodeOrThrow } from "../../cni/decode.ts";
import type { JsonObject } from "../../cni/types.ts";
import type { Command } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { parseCidr } from "../../host/ip.ts";
import type { NftElement, NftListing } from "../../host/nft.ts";
import { emptyListing } from "../../host/nft.ts";
import type { Step } from "../../host/step.ts";
import { conf } from "./conf.ts";
import type { NftPortmap } from "./nftables_elements.ts";
import { portmapElements } from "./nftables_elements.ts";
import {
  compareNftPortmap,
  isCoveredByReference,
  isOfContainer,
  planNftPortmap,
  planNftPortmapRemoval,
  portmapChains,
  replanNftPortmap,
} from "./nftables_rules.ts";

const owner = {
  identity: "6fd94d501e58f0aa-287fc69eff0574a2",
  comment: "6fd94d501e58f0aa-287fc69eff0574a2, net: unit-test, if: eth0, id: one",
};
const other = "6fd94d501e58f0aa-d750b2c8f0f25d5f, net: unit-test, if: eth0, id: two";
const table = "inet denocni_hostport";

/** The reference's test mappings. */
const eight = [
  { hostPort: 8080, containerPort: 80, protocol: "tcp" },
  { hostPort: 8081, containerPort: 80, protocol: "tcp" },
  { hostPort: 8080, containerPort: 81, protocol: "udp" },
  { hostPort: 8082, containerPort: 82, protocol: "udp" },
  { hostPort: 8083, containerPort: 83, protocol: "tcp", hostIP: "192.168.0.2" },
  { hostPort: 8084, containerPort: 84, protocol: "tcp", hostIP: "0.0.0.0" },
  { hostPort: 8085, containerPort: 85, protocol: "tcp", hostIP: "2001:db8:a::1" },
  { hostPort: 8086, containerPort: 86, protocol: "tcp", hostIP: "::" },
];

const target4 = parseCidr("10.0.0.2/24")!;
const target6 = parseCidr("2001:db8::2/64")!;

function plan(
  keys: Partial<NftPortmap> = {},
  portMappings: readonly JsonObject[] = eight,
): NftPortmap {
  const config = { runtimeConfig: { portMappings: [...portMappings] } };
  return {
    owner,
    targets: [target4, target6],
    mappings: decodeOrThrow(conf, config, "it").runtimeConfig.portMappings,
    snat: true,
    masqAll: false,
    conditions: { 4: [], 6: [] },
    ...keys,
  };
}

function short(plan: NftPortmap): string[] {
  return portmapElements(plan).map(({ set, key, value }) =>
    `${set} { ${key}${value === undefined ? "" : ` : ${value}`} }`
  );
}

function lines(steps: readonly Step[], action: "do" | "undo" = "do"): string[] {
  assertEquals(processes(steps), 1);
  return (steps[0]![action] as Command).stdin!.trimEnd().split("\n");
}

const elements4 = [
  "ports4 { 6 . 8080 : 10.0.0.2 . 80 }",
  "ports4 { 6 . 8081 : 10.0.0.2 . 80 }",
  "ports4 { 17 . 8080 : 10.0.0.2 . 81 }",
  "ports4 { 17 . 8082 : 10.0.0.2 . 82 }",
  "hostip_ports4 { 192.168.0.2 . 6 . 8083 : 10.0.0.2 . 83 }",
  "ports4 { 6 . 8084 : 10.0.0.2 . 84 }",
];
const elements6 = [
  "ports6 { 6 . 8080 : 2001:db8::2 . 80 }",
  "ports6 { 6 . 8081 : 2001:db8::2 . 80 }",
  "ports6 { 17 . 8080 : 2001:db8::2 . 81 }",
  "ports6 { 17 . 8082 : 2001:db8::2 . 82 }",
  "hostip_ports6 { 2001:db8:a::1 . 6 . 8085 : 2001:db8::2 . 85 }",
  "ports6 { 6 . 8086 : 2001:db8::2 . 86 }",
];

Deno.test("each mapping is one element in each family that it is for", () => {
  assertEquals(short(plan()), [
    ...elements4,
    "masquerade4 { 10.0.0.0/24 . 10.0.0.2 }",
    "masquerade4 { 127.0.0.0/8 . 10.0.0.2 }",
    ...elements6,
    "masquerade6 { 2001:db8::/64 . 2001:db8::2 }",
  ]);
  assertEquals(short(plan({ snat: false })), [...elements4, ...elements6]);
});

Deno.test("masqAll is one element in each family", () => {
  assertEquals(short(plan({ masqAll: true })).filter((text) => text.startsWith("masquerade")), [
    "masquerade4 { 0.0.0.0/0 . 10.0.0.2 }",
    "masquerade6 { ::/0 . 2001:db8::2 }",
  ]);
});

Deno.test("an address of full length stands without it, as nft prints it", () => {
  const targets = [parseCidr("10.0.0.2/32")!, parseCidr("2001:db8::2/128")!];
  assertEquals(
    short(plan({ targets }, eight.slice(0, 1))).filter((text) => text.startsWith("masquerade")),
    [
      "masquerade4 { 10.0.0.2 . 10.0.0.2 }",
      "masquerade4 { 127.0.0.0/8 . 10.0.0.2 }",
      "masquerade6 { 2001:db8::2 . 2001:db8::2 }",
    ],
  );
});

Deno.test("a family that no mapping is for gets nothing", () => {
  assertEquals(short(plan({}, [eight[5]!])).filter((text) => text.includes("2001")), []);
});

Deno.test("a range is one element, and one for each port when it moves", () => {
  const range = (keys: JsonObject) =>
    short(plan({ snat: false, targets: [target4] }, [{ protocol: "tcp", ...keys } as JsonObject]));
  assertEquals(range({ hostPort: "30000-31000", containerPort: 30000 }), [
    "ranges4 { 0.0.0.0/0 . 6 . 30000-31000 : 10.0.0.2 }",
  ]);
  assertEquals(range({ hostPort: "30000-31000", containerPort: 30000, hostIP: "192.0.2.1" }), [
    "ranges4 { 192.0.2.1 . 6 . 30000-31000 : 10.0.0.2 }",
  ]);
  assertEquals(range({ hostPort: "30000-30002", containerPort: 7 }), [
    "ports4 { 6 . 30000 : 10.0.0.2 . 7 }",
    "ports4 { 6 . 30001 : 10.0.0.2 . 8 }",
    "ports4 { 6 . 30002 : 10.0.0.2 . 9 }",
  ]);
});

Deno.test("ADD is one transaction in which elements must be new", () => {
  const one = plan({ targets: [target4] }, eight.slice(0, 1));
  const all = lines(planNftPortmap(one));
  assertEquals(all.slice(-3), [
    `create element ${table} ports4 { 6 . 8080 comment "${owner.comment}" : 10.0.0.2 . 80 }`,
    `create element ${table} masquerade4 { 10.0.0.0/24 . 10.0.0.2 comment "${owner.comment}" }`,
    `create element ${table} masquerade4 { 127.0.0.0/8 . 10.0.0.2 comment "${owner.comment}" }`,
  ]);
  assertEquals(all[0], `add table ${table} { comment "Port mappings of denocni"; }`);
  assertEquals(all.filter((line) => /^(create|delete|destroy)/.test(line)).length, 3);
  assertEquals(lines(planNftPortmap(one), "undo"), [
    `delete element ${table} ports4 { 6 . 8080 }`,
    `delete element ${table} masquerade4 { 10.0.0.0/24 . 10.0.0.2 }`,
    `delete element ${table} masquerade4 { 127.0.0.0/8 . 10.0.0.2 }`,
  ]);
});

Deno.test("DNAT is for this host only, after services; masquerade before the general one", () => {
  const chains = new Map(portmapChains(plan()).map((chain) => [chain.name, chain]));
  for (const hook of ["prerouting", "output"]) {
    assertEquals(chains.get(hook), {
      name: hook,
      hook: `type nat hook ${hook} priority -90;`,
      rules: ["fib daddr type local jump hostports"],
    });
  }
  assertEquals(chains.get("postrouting")!.hook, "type nat hook postrouting priority 90;");
  assertEquals(chains.get("guard")!.rules, [
    'iifname != "lo" ip daddr 127.0.0.0/8 drop',
    'iifname != "lo" ip saddr 127.0.0.0/8 drop',
  ]);
  assertEquals(chains.get("hostports4")!.rules.map((rule) => /@(\w+)/.exec(rule)![1]), [
    "hostip_ports4",
    "ranges4",
    "ports4",
  ]);
});

Deno.test("the guard goes with localhost", () => {
  const names = (keys: Partial<NftPortmap>) => portmapChains(plan(keys)).map(({ name }) => name);
  assertEquals(names({}).includes("guard"), true);
  assertEquals(names({ snat: false }).includes("guard"), false);
  assertEquals(names({ targets: [target6] }).includes("guard"), false);
});

Deno.test("conditions stand in a chain of the container's own", () => {
  const words = { 4: ["ip", "saddr", "!=", "192.0.2.9"], 6: [] };
  const some = plan({ conditions: words, targets: [target4] }, [eight[0]!, eight[4]!]);
  const chain = `${table} c-${owner.identity}`;
  assertEquals(lines(planNftPortmap(some)).slice(-4), [
    `create chain ${chain}`,
    `add rule ${chain} meta nfproto ipv4 ip saddr != 192.0.2.9 tcp dport 8080 dnat ip to 10.0.0.2:80`,
    `add rule ${chain} meta nfproto ipv4 ip saddr != 192.0.2.9 ip daddr 192.168.0.2 tcp dport 8083 dnat ip to 10.0.0.2:83`,
    `add rule ${table} conditional jump c-${owner.identity} comment "${owner.comment}"`,
  ]);
  assertEquals(short(some).filter((text) => text.startsWith("ports")), []);
  // The other family has none and keeps its elements.
  assertEquals(
    short({ ...some, targets: [target4, target6] }).filter((text) => /^ports/.test(text)),
    ["ports6 { 6 . 8080 : 2001:db8::2 . 80 }"],
  );
});

const element = (set: string, key: string, comment: string, value?: string): NftElement => ({
  set,
  key,
  comment,
  value,
});

Deno.test("a repeated ADD replaces what it had, keeps what another attachment has", () => {
  const one = plan({ targets: [target4] }, eight.slice(0, 2));
  const kept = element("ports4", "6 . 8081", "of another network", "10.9.0.2 . 80");
  const replaced = element("masquerade4", "10.0.0.0/24 . 10.0.0.2", other);
  const listing: NftListing = {
    ...emptyListing,
    elements: [
      element("ports4", "6 . 9999", owner.comment, "10.0.0.2 . 99"),
      element("ports4", "6 . 7777", other, "10.0.0.3 . 77"),
      kept,
      replaced,
    ],
  };
  const all = lines(replanNftPortmap(one, { listing, kept: [kept], replaced: [replaced] }));
  assertEquals(all.filter((line) => /^(delete|create) /.test(line)), [
    `delete element ${table} ports4 { 6 . 9999 }`,
    `delete element ${table} masquerade4 { 10.0.0.0/24 . 10.0.0.2 }`,
    `create element ${table} ports4 { 6 . 8080 comment "${owner.comment}" : 10.0.0.2 . 80 }`,
    `create element ${table} masquerade4 { 10.0.0.0/24 . 10.0.0.2 comment "${owner.comment}" }`,
    `create element ${table} masquerade4 { 127.0.0.0/8 . 10.0.0.2 comment "${owner.comment}" }`,
  ]);
});

const rule = (
  chain: string,
  handle: number,
  comment: string,
  family = "inet",
  name = "denocni_hostport",
) => ({ family, table: name, chain, handle, comment, expr: [] });

Deno.test("DEL removes what carries the attachment's name, in all tables", () => {
  const own: NftListing = {
    ...emptyListing,
    chains: ["conditional", `c-${owner.identity}`],
    elements: [
      element("ports4", "6 . 8080", owner.comment, "10.0.0.2 . 80"),
      element("ports4", "6 . 8081", other, "10.0.0.3 . 80"),
      element("masquerade6", "2001:db8::/64 . 2001:db8::2", owner.comment),
    ],
    rules: [rule("conditional", 7, owner.comment), rule("conditional", 8, other)],
  };
  const reference = ["ip", "ip6"].map((family) => ({
    ...emptyListing,
    rules: [
      rule("hostports", 3, "one", family, "cni_hostport"),
      rule("hostip_hostports", 4, "one", family, "cni_hostport"),
      rule("masquerading", 5, "one", family, "cni_hostport"),
      rule("hostports", 6, "two", family, "cni_hostport"),
      rule("prerouting", 9, "one", family, "cni_hostport"),
    ],
  }));
  const goal = { identities: [owner.identity], containerId: "one" };
  assertEquals(lines(planNftPortmapRemoval({ own, reference }, goal)), [
    `delete element ${table} ports4 { 6 . 8080 }`,
    `delete element ${table} masquerade6 { 2001:db8::/64 . 2001:db8::2 }`,
    `delete rule ${table} conditional handle 7`,
    `add chain ${table} c-${owner.identity}`,
    `flush chain ${table} c-${owner.identity}`,
    `delete chain ${table} c-${owner.identity}`,
    "delete rule ip cni_hostport hostports handle 3",
    "delete rule ip cni_hostport hostip_hostports handle 4",
    "delete rule ip cni_hostport masquerading handle 5",
    "delete rule ip6 cni_hostport hostports handle 3",
    "delete rule ip6 cni_hostport hostip_hostports handle 4",
    "delete rule ip6 cni_hostport masquerading handle 5",
  ]);
  assertEquals(planNftPortmapRemoval({ own: emptyListing, reference: [] }, goal), []);
  // GC knows nothing of the reference's rules: they name a container and no network.
  assertEquals(planNftPortmapRemoval({ own: emptyListing, reference }, { identities: [] }), []);
});

Deno.test("isOfContainer() knows a container by a comment that may be cut", () => {
  assertEquals(isOfContainer(owner.comment, "one"), true);
  assertEquals(isOfContainer(owner.comment.slice(0, -1), "one"), true);
  assertEquals(isOfContainer(other, "one"), false);
  assertEquals(isOfContainer("identity, net: n, if: eth0, id: ", "one"), false);
  assertEquals(isOfContainer(undefined, "one"), false);
});

/** A listing as an ADD leaves it. */
function complete(plan: NftPortmap): NftListing {
  const chains = portmapChains(plan);
  return {
    ...emptyListing,
    chains: chains.map(({ name }) => name),
    rules: chains.flatMap(({ name, rules }) => rules.map((_, index) => rule(name, index, ""))),
    elements: portmapElements(plan).map((one) => ({ ...one, comment: owner.comment })),
  };
}

Deno.test("CHECK names every difference", () => {
  const one = plan({ targets: [target4] }, eight.slice(0, 2));
  const good = complete(one);
  assertEquals(compareNftPortmap(good, one, "one"), []);
  assertEquals(compareNftPortmap(undefined, one, "one"), [`table "${table}" of nft is missing`]);
  const [first, second, ...rest] = good.elements as [NftElement, NftElement, ...NftElement[]];
  const bad: NftListing = {
    ...good,
    chains: good.chains.filter((name) => name !== "output"),
    elements: [
      { ...first, value: "10.0.0.9 . 80" },
      { ...second, comment: other },
      ...rest.slice(1),
    ],
  };
  assertEquals(compareNftPortmap(bad, one, "one"), [
    `rules are missing from chain "${table} output" of nft`,
    `element "6 . 8080" of "${table} ports4" leads to "10.0.0.9 . 80", expected "10.0.0.2 . 80"`,
    `element "6 . 8081" of "${table} ports4" belongs to ${other}`,
    `element "10.0.0.0/24 . 10.0.0.2" of "${table} masquerade4" is missing`,
  ]);
});

Deno.test("CHECK takes the reference's rules by their number", () => {
  const listing = (family: string, hostports: number, masquerading: number) => ({
    ...emptyListing,
    rules: [
      ...Array.from({ length: hostports }, () => rule("hostports", 1, "one", family)),
      ...Array.from({ length: masquerading }, () => rule("masquerading", 1, "one", family)),
    ],
  });
  const covered = (four: number, masq4: number, six: number, masq6: number, keys = {}) =>
    isCoveredByReference(
      [listing("ip", four, masq4), listing("ip6", six, masq6)],
      plan(keys),
      "one",
    );
  assertEquals(covered(6, 2, 6, 1), true);
  assertEquals(covered(5, 2, 6, 1), false);
  assertEquals(covered(6, 1, 6, 1), false);
  assertEquals(covered(6, 2, 6, 0), false);
  assertEquals(covered(6, 1, 6, 1, { masqAll: true }), true);
  assertEquals(covered(6, 0, 6, 0, { snat: false }), true);
});
