import { assertEquals } from "@std/assert";
import type { Command } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { parseCidr } from "../../host/ip.ts";
import { parseSave } from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import { decodeOrThrow } from "../../cni/decode.ts";
import type { JsonObject } from "../../cni/types.ts";
import { conf } from "./conf.ts";
import type { IptablesPortmap } from "./iptables_rules.ts";
import {
  chainRules,
  containerChains,
  entryRules,
  expectedRules,
  guardRules,
  planPortmap,
  planPortmapRemoval,
  replanPortmap,
  sharedPortmapRules,
  staleChains,
} from "./iptables_rules.ts";

/** The reference's test container, 128 characters long. */
const containerId =
  "icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7shaoX6vai3vuf0ahfaeng8yohb9ceu0daez5hashee8ooYai5wa3y";
const chain = "CNI-DN-bfd599665540dd91d5d28";

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

function mappingsOf(portMappings: readonly JsonObject[]) {
  const config = { runtimeConfig: { portMappings: [...portMappings] } };
  return decodeOrThrow(conf, config, "it").runtimeConfig.portMappings;
}

function plan(
  keys: Partial<IptablesPortmap> = {},
  portMappings: readonly JsonObject[] = eight,
): IptablesPortmap {
  return {
    network: "testNetName",
    containerId,
    chain,
    target: parseCidr("10.0.0.2/24")!,
    mappings: mappingsOf(portMappings),
    snat: true,
    masqAll: false,
    markBit: 13,
    conditions: ["-a", "b"],
    ...keys,
  };
}

const target6 = parseCidr("2001:db8::2/64")!;

function texts(rules: readonly { readonly text: string }[]): string[] {
  return rules.map(({ text }) => text);
}

Deno.test("chains are called as the reference calls them", async () => {
  assertEquals((await containerChains("testNetName", containerId)).dnat, chain);
  assertEquals((await containerChains("test", containerId)).dnat, "CNI-DN-67e92b96e692a494b6b85");
  assertEquals((await containerChains("test", "1234")).snat, "CNI-SN-2bbe0c48b91a7d1b8a675");
});

Deno.test("entry rules name all ports by protocol, with the conditions", () => {
  const remark = `-m comment --comment "dnat name: \\"testNetName\\" id: \\"${containerId}\\""`;
  const expected = [
    `${remark} -m multiport -p tcp --destination-ports 8080,8081,8083,8084,8085,8086 -a b -j ${chain}`,
    `${remark} -m multiport -p udp --destination-ports 8080,8082 -a b -j ${chain}`,
  ];
  assertEquals(texts(entryRules(plan())), expected);
  assertEquals(texts(entryRules(plan({ target: target6 }))), expected);
});

Deno.test("entry rules go to the head when one address of the host is mapped", () => {
  const places = (all: readonly JsonObject[]) =>
    entryRules(plan({}, all)).map(({ first }) => first);
  assertEquals(places(eight.slice(0, 4)), [undefined, undefined]);
  assertEquals(places(eight), [true, true]);
});

Deno.test("entry rules hold 15 ports each, a range counts for two", () => {
  const ports = (all: readonly JsonObject[]) =>
    texts(entryRules(plan({ conditions: [] }, all)))
      .map((text) => /--destination-ports (\S+) -j/.exec(text)![1]!.split(","));
  const single = (hostPort: number) => ({ hostPort, containerPort: 1, protocol: "tcp" });
  const many = Array.from({ length: 31 }, (_, index) => single(1000 + index));
  assertEquals(ports(many).map((chunk) => chunk.length), [15, 15, 1]);
  const range = (first: number) => ({
    hostPort: `${first}-${first + 9}`,
    containerPort: first,
    protocol: "tcp",
  });
  const mixed = [...Array.from({ length: 8 }, (_, index) => range(2000 + 10 * index)), single(1)];
  assertEquals(ports(mixed).map((chunk) => chunk.length), [7, 2]);
  assertEquals(ports(mixed)[1], ["2070:2079", "1"]);
});

Deno.test("protocols stand in alphabetical order", () => {
  const all = ["udp", "tcp", "sctp"].map((protocol) => ({
    hostPort: 80,
    containerPort: 80,
    protocol,
  }));
  assertEquals(
    texts(entryRules(plan({}, all))).map((text) => / -p (\w+)/.exec(text)![1]),
    ["sctp", "tcp", "udp"],
  );
});

Deno.test("the chain of an IPv4 container has 18 rules in the order of the mappings", () => {
  const three = (base: string, port: number) => [
    `${base} -s 10.0.0.2/24 -j CNI-HOSTPORT-SETMARK`,
    `${base} -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK`,
    `${base} -j DNAT --to-destination 10.0.0.2:${port}`,
  ];
  assertEquals(texts(chainRules(plan())), [
    ...three("-p tcp --dport 8080", 80),
    ...three("-p tcp --dport 8081", 80),
    ...three("-p udp --dport 8080", 81),
    ...three("-p udp --dport 8082", 82),
    ...three("-p tcp --dport 8083 -d 192.168.0.2", 83),
    ...three("-p tcp --dport 8084", 84),
  ]);
});

Deno.test("the chain of an IPv6 container has 12 rules and none for localhost", () => {
  const two = (base: string, port: number) => [
    `${base} -s 2001:db8::2/64 -j CNI-HOSTPORT-SETMARK`,
    `${base} -j DNAT --to-destination [2001:db8::2]:${port}`,
  ];
  assertEquals(texts(chainRules(plan({ target: target6 }))), [
    ...two("-p tcp --dport 8080", 80),
    ...two("-p tcp --dport 8081", 80),
    ...two("-p udp --dport 8080", 81),
    ...two("-p udp --dport 8082", 82),
    ...two("-p tcp --dport 8085 -d 2001:db8:a::1", 85),
    ...two("-p tcp --dport 8086", 86),
  ]);
});

Deno.test("without snat there are only DNAT rules, and nothing marks or guards", () => {
  const without = plan({ snat: false });
  assertEquals(texts(chainRules(without)).filter((text) => !text.includes("DNAT")), []);
  assertEquals(chainRules(without).length, 6);
  assertEquals(sharedPortmapRules(without).map((rule) => rule.chain), ["PREROUTING", "OUTPUT"]);
  assertEquals(guardRules(without), []);
});

Deno.test("masqAll marks every source", () => {
  const marks = (target: IptablesPortmap["target"]) =>
    texts(chainRules(plan({ masqAll: true, target }, eight.slice(0, 1))))
      .filter((text) => text.includes("SETMARK"));
  assertEquals(marks(plan().target), ["-p tcp --dport 8080 -s 0.0.0.0/0 -j CNI-HOSTPORT-SETMARK"]);
  assertEquals(marks(target6), ["-p tcp --dport 8080 -s ::/0 -j CNI-HOSTPORT-SETMARK"]);
});

Deno.test("a mark chain of others is used and none is made", () => {
  const external = plan({ externalSetMarkChain: "PLZ-SET-MARK" }, eight.slice(0, 1));
  assertEquals(texts(chainRules(external)), [
    "-p tcp --dport 8080 -s 10.0.0.2/24 -j PLZ-SET-MARK",
    "-p tcp --dport 8080 -s 127.0.0.1 -j PLZ-SET-MARK",
    "-p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80",
  ]);
  assertEquals(sharedPortmapRules(external).map((rule) => rule.chain), ["PREROUTING", "OUTPUT"]);
});

Deno.test("shared rules: marks, masquerade first of all, and the ways in last of all", () => {
  const shared = (markBit: number) =>
    sharedPortmapRules(plan({ markBit })).map(({ chain, text, first }) =>
      `${first ? "-I" : "-A"} ${chain} ${text}`
    );
  assertEquals(shared(5), [
    '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x20/0x20',
    "-A CNI-HOSTPORT-MASQ -m mark --mark 0x20/0x20 -j MASQUERADE",
    '-I POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
    "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
    "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
  ]);
  assertEquals(shared(13)[1], "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE");
  assertEquals(
    shared(31)[1],
    "-A CNI-HOSTPORT-MASQ -m mark --mark 0x80000000/0x80000000 -j MASQUERADE",
  );
});

Deno.test("a range is one rule, whether its ports stay or move", () => {
  const range = (hostPort: string, containerPort: number | string) =>
    texts(chainRules(plan({ snat: false }, [{ hostPort, containerPort, protocol: "tcp" }])));
  assertEquals(range("30000-31000", "30000-31000"), [
    "-p tcp --dport 30000:31000 -j DNAT --to-destination 10.0.0.2",
  ]);
  assertEquals(range("30000-31000", 40000), [
    "-p tcp --dport 30000:31000 -j DNAT --to-destination 10.0.0.2:40000-41000/30000",
  ]);
  const six = plan({ snat: false, target: target6 }, [{
    hostPort: "30000-31000",
    containerPort: 40000,
    protocol: "udp",
  }]);
  assertEquals(texts(chainRules(six)), [
    "-p udp --dport 30000:31000 -j DNAT --to-destination [2001:db8::2]:40000-41000/30000",
  ]);
});

Deno.test("one address goes before any address only where that would hide it", () => {
  const order = (...all: readonly JsonObject[]) =>
    texts(chainRules(plan({ snat: false }, all))).map((text) => /:(\d+)$/.exec(text)![1]);
  const any = { hostPort: 80, containerPort: 1, protocol: "tcp" };
  const one = { hostPort: 80, containerPort: 2, protocol: "tcp", hostIP: "192.168.0.2" };
  assertEquals(order(any, one), ["2", "1"]);
  assertEquals(order(any, { ...one, hostPort: 81 }), ["1", "2"]);
});

/** Lines of the tables of a step. */
function tables(step: Step | undefined, action: "do" | "undo" = "do"): Record<string, string[]> {
  const text = (step?.[action] as Command).stdin!;
  return Object.fromEntries(
    [...text.matchAll(/^\*(\w+)\n([^]*?)^COMMIT\n/gm)]
      .map(([, table, lines]) => [table!, lines!.trimEnd().split("\n")]),
  );
}

const small = plan({ conditions: [], containerId: "c1" }, eight.slice(0, 1));
const remark = '-m comment --comment "dnat name: \\"testNetName\\" id: \\"c1\\""';
const entry =
  `CNI-HOSTPORT-DNAT ${remark} -m multiport -p tcp --destination-ports 8080 -j ${chain}`;
const inside = [
  `${chain} -p tcp --dport 8080 -s 10.0.0.2/24 -j CNI-HOSTPORT-SETMARK`,
  `${chain} -p tcp --dport 8080 -s 127.0.0.1 -j CNI-HOSTPORT-SETMARK`,
  `${chain} -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80`,
];
const shared = [
  'CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
  "CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
  'POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
  "PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
  "OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
];
const guard = [
  "CNI-HOSTPORT-GUARD -d 127.0.0.0/8 -j DROP",
  "CNI-HOSTPORT-GUARD -s 127.0.0.0/8 -j DROP",
  "PREROUTING ! -i lo -j CNI-HOSTPORT-GUARD",
];

Deno.test("ADD is one process that asserts what is shared and that nothing is stale", () => {
  const steps = planPortmap(small);
  assertEquals(processes(steps), 1);
  assertEquals(tables(steps[0]), {
    raw: guard.map((rule) => `-C ${rule}`),
    nat: [
      ...shared.map((rule) => `-C ${rule}`),
      `-N ${chain}`,
      ...inside.map((rule) => `-A ${rule}`),
      `-A ${entry}`,
    ],
  });
  assertEquals(tables(steps[0], "undo"), {
    nat: [`-D ${entry}`, `-F ${chain}`, `-X ${chain}`],
  });
});

Deno.test("IPv6 has no localhost to guard", () => {
  assertEquals(Object.keys(tables(planPortmap({ ...small, target: target6 })[0])), ["nat"]);
});

const empty = parseSave("");

Deno.test("the first ADD of a host makes everything once", () => {
  const steps = replanPortmap(small, { nat: empty, raw: empty });
  assertEquals(processes(steps), 1);
  assertEquals(tables(steps[0]), {
    raw: [
      "-N CNI-HOSTPORT-GUARD",
      ...guard.map((rule) => `-A ${rule}`),
    ],
    nat: [
      "-N CNI-HOSTPORT-SETMARK",
      "-N CNI-HOSTPORT-MASQ",
      "-N CNI-HOSTPORT-DNAT",
      `-A ${shared[0]}`,
      `-A ${shared[1]}`,
      `-I ${shared[2]}`,
      `-A ${shared[3]}`,
      `-A ${shared[4]}`,
      `:${chain} - [0:0]`,
      ...inside.map((rule) => `-A ${rule}`),
      `-A ${entry}`,
    ],
  });
});

/** As iptables 1.8.9 prints what the first ADD has made. */
const savedNat = `*nat
:PREROUTING ACCEPT [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
:${chain} - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A CNI-HOSTPORT-DNAT -p tcp ${remark} -m multiport --dports 8080 -j ${chain}
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
-A ${chain} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
COMMIT
`;
const savedRaw = `*raw
:PREROUTING ACCEPT [0:0]
:CNI-HOSTPORT-GUARD - [0:0]
-A PREROUTING ! -i lo -j CNI-HOSTPORT-GUARD
-A CNI-HOSTPORT-GUARD -d 127.0.0.0/8 -j DROP
-A CNI-HOSTPORT-GUARD -s 127.0.0.0/8 -j DROP
COMMIT
`;

Deno.test("a repeated ADD replaces the container's own rules and nothing else", () => {
  const saved = { nat: parseSave(savedNat), raw: parseSave(savedRaw) };
  assertEquals(tables(replanPortmap(small, saved)[0]), {
    nat: [
      `-D CNI-HOSTPORT-DNAT -p tcp ${remark} -m multiport --dports 8080 -j ${chain}`,
      `:${chain} - [0:0]`,
      ...inside.map((rule) => `-A ${rule}`),
      `-A ${entry}`,
    ],
  });
});

Deno.test("another mark bit adds its own two rules", () => {
  const saved = { nat: parseSave(savedNat), raw: parseSave(savedRaw) };
  const lines = tables(replanPortmap({ ...small, markBit: 5 }, saved)[0])["nat"]!;
  assertEquals(lines.slice(0, 2), [
    '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x20/0x20',
    "-A CNI-HOSTPORT-MASQ -m mark --mark 0x20/0x20 -j MASQUERADE",
  ]);
});

Deno.test("rules that others have flushed are made again", () => {
  const flushed = savedNat.replace(/^-A (PREROUTING|POSTROUTING) .*\n/gm, "");
  const saved = { nat: parseSave(flushed), raw: parseSave(savedRaw) };
  assertEquals(tables(replanPortmap(small, saved)[0])["nat"]!.slice(0, 2), [
    `-I ${shared[2]}`,
    `-A ${shared[3]}`,
  ]);
});

Deno.test("without table raw there is no guard to write", () => {
  const tablesOf = tables(replanPortmap(small, { nat: empty })[0]);
  assertEquals(Object.keys(tablesOf), ["nat"]);
});

Deno.test("DEL removes every jump before the chains, the early releases' too", () => {
  const snat = chain.replace("DN", "SN");
  const old = parseSave(
    savedNat.replace(
      "COMMIT",
      `:CNI-HOSTPORT-SNAT - [0:0]\n:${snat} - [0:0]\n-A CNI-HOSTPORT-SNAT -j ${snat}\nCOMMIT`,
    ),
  );
  const [step] = planPortmapRemoval(old, { family: 4, chains: [chain, snat] });
  assertEquals(tables(step), {
    nat: [
      `-D CNI-HOSTPORT-DNAT -p tcp ${remark} -m multiport --dports 8080 -j ${chain}`,
      `-D CNI-HOSTPORT-SNAT -j ${snat}`,
      `-F ${chain}`,
      `-F ${snat}`,
      `-X ${chain}`,
      `-X ${snat}`,
    ],
  });
  assertEquals(planPortmapRemoval(empty, { family: 4, chains: [chain, snat] }), []);
});

Deno.test("GC takes a network's chains but for those of valid containers", async () => {
  const chains = {
    dead: (await containerChains("net", "dead")).dnat,
    alive: (await containerChains("net", "alive")).dnat,
    other: (await containerChains("net2", "dead")).dnat,
  };
  const rule = (network: string, id: string, target: string) =>
    `-A CNI-HOSTPORT-DNAT -m comment --comment "dnat name: \\"${network}\\" id: \\"${id}\\"" -j ${target}`;
  const nat = parseSave([
    rule("net", "dead", chains.dead),
    rule("net", "alive", chains.alive),
    rule("net2", "dead", chains.other),
    rule("net", "x", "SOMEWHERE"),
    rule("net", "dead", chains.other).replace("CNI-HOSTPORT-DNAT", "FOREIGN"),
  ].join("\n"));
  const keep = new Set([chains.alive]);
  assertEquals(staleChains(nat, { network: "net", keep }), [chains.dead]);
  assertEquals(staleChains(nat, { network: "net2", keep }), [chains.other]);
  assertEquals(staleChains(nat, { network: "net3", keep }), []);
});

Deno.test("CHECK wants every rule but the guard, which the reference does not make", () => {
  assertEquals(expectedRules(small), [...shared, ...inside, entry]);
});
