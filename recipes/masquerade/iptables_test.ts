import { assertEquals } from "@std/assert";
import type { Command } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { parseCidr } from "../../host/ip.ts";
import { parseSave } from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import type { IptablesMasquerade } from "./iptables.ts";
import {
  masqueradeChain,
  planMasquerade,
  planMasqueradeGc,
  planMasqueradeRemoval,
  replanMasquerade,
} from "./iptables.ts";

const chain = "CNI-1b29d9511ed2bb3134d925d5";
const remark = `-m comment --comment "name: \\"mynet\\" id: \\"dummy\\""`;

function cidrs(...texts: readonly string[]) {
  return texts.map((text) => parseCidr(text)!);
}

function plan(...addresses: readonly string[]): IptablesMasquerade {
  const parsed = cidrs(...addresses);
  return {
    family: parsed[0]!.family,
    network: "mynet",
    containerId: "dummy",
    chain,
    addresses: parsed,
  };
}

/** Lines between the table's name and COMMIT. */
function lines(step: Step | undefined, action: "do" | "undo" = "do"): string[] {
  const text = (step?.[action] as Command | undefined)?.stdin?.trimEnd().split("\n") ?? [];
  assertEquals([text[0], text.at(-1)], ["*nat", "COMMIT"]);
  return text.slice(1, -1);
}

function saved(...rules: readonly string[]) {
  return parseSave(`*nat\n:POSTROUTING ACCEPT [0:0]\n${rules.join("\n")}\nCOMMIT\n`);
}

Deno.test("masqueradeChain() is the reference's", async () => {
  assertEquals(await masqueradeChain("mynet", "dummy"), chain);
});

Deno.test("ADD writes the reference's rules in one process and takes back exactly them", () => {
  const steps = planMasquerade(plan("10.1.2.3/24"));
  assertEquals(processes(steps), 1);
  assertEquals((steps[0]!.do as Command).tool, "iptables-restore");
  assertEquals(lines(steps[0]), [
    `-N ${chain}`,
    `-A ${chain} -d 10.1.2.0/24 -j ACCEPT ${remark}`,
    `-A ${chain} ! -d 224.0.0.0/4 -j MASQUERADE ${remark}`,
    `-A POSTROUTING -s 10.1.2.3 -j ${chain} ${remark}`,
  ]);
  assertEquals(lines(steps[0], "undo"), [
    `-D POSTROUTING -s 10.1.2.3 -j ${chain} ${remark}`,
    `-F ${chain}`,
    `-X ${chain}`,
  ]);
});

Deno.test("IPv6 goes to ip6tables", () => {
  const [step] = planMasquerade(plan("2001:db8::2/64"));
  assertEquals((step!.do as Command).tool, "ip6tables-restore");
  assertEquals(lines(step), [
    `-N ${chain}`,
    `-A ${chain} -d 2001:db8::/64 -j ACCEPT ${remark}`,
    `-A ${chain} ! -d ff00::/8 -j MASQUERADE ${remark}`,
    `-A POSTROUTING -s 2001:db8::2 -j ${chain} ${remark}`,
  ]);
});

Deno.test("every subnet is spared before anything is masqueraded", () => {
  const [step] = planMasquerade(plan("10.1.2.3/24", "10.1.2.4/24", "10.9.0.1/16"));
  assertEquals(lines(step), [
    `-N ${chain}`,
    `-A ${chain} -d 10.1.2.0/24 -j ACCEPT ${remark}`,
    `-A ${chain} -d 10.9.0.0/16 -j ACCEPT ${remark}`,
    `-A ${chain} ! -d 224.0.0.0/4 -j MASQUERADE ${remark}`,
    `-A POSTROUTING -s 10.1.2.3 -j ${chain} ${remark}`,
    `-A POSTROUTING -s 10.1.2.4 -j ${chain} ${remark}`,
    `-A POSTROUTING -s 10.9.0.1 -j ${chain} ${remark}`,
  ]);
});

Deno.test("a comment fits into the kernel", () => {
  const [step] = planMasquerade({ ...plan("10.1.2.3/24"), network: "n".repeat(300) });
  const [, text] = /--comment "((?:\\.|[^"\\])*)"/.exec(lines(step)[1]!)!;
  assertEquals(text!.replaceAll("\\", "").length, 255);
});

const own = `-A POSTROUTING -s 10.1.2.3/32 ${remark} -j ${chain}`;
const twin = `-A POSTROUTING -s 10.1.2.9/32 ${remark} -j ${chain}`;
const inside = [
  `-A ${chain} -d 10.1.2.0/24 ${remark} -j ACCEPT`,
  `-A ${chain} ! -d 224.0.0.0/4 ${remark} -j MASQUERADE`,
];

Deno.test("a stale chain of the same address is written anew", () => {
  const [step] = replanMasquerade(
    plan("10.1.2.3/24"),
    saved(`:${chain} - [0:0]`, own, ...inside),
  );
  assertEquals(lines(step), [
    `:${chain} - [0:0]`,
    `-A ${chain} -d 10.1.2.0/24 -j ACCEPT ${remark}`,
    `-A ${chain} ! -d 224.0.0.0/4 -j MASQUERADE ${remark}`,
    `-D POSTROUTING -s 10.1.2.3/32 ${remark} -j ${chain}`,
    `-A POSTROUTING -s 10.1.2.3 -j ${chain} ${remark}`,
  ]);
});

Deno.test("a chain that another attachment uses only gets what it lacks", () => {
  const state = saved(`:${chain} - [0:0]`, twin, ...inside);
  const [step] = replanMasquerade(plan("10.1.2.3/24"), state);
  assertEquals(lines(step), [`-A POSTROUTING -s 10.1.2.3 -j ${chain} ${remark}`]);
  assertEquals(lines(step, "undo"), [`-D POSTROUTING -s 10.1.2.3 -j ${chain} ${remark}`]);
  const [wider] = replanMasquerade(plan("10.7.0.1/16"), state);
  assertEquals(lines(wider), [
    `-A POSTROUTING -s 10.7.0.1 -j ${chain} ${remark}`,
    `-I ${chain} -d 10.7.0.0/16 -j ACCEPT ${remark}`,
  ]);
});

Deno.test("what vanished in the meantime is made as if it had never been", () => {
  assertEquals(
    replanMasquerade(plan("10.1.2.3/24"), saved()),
    planMasquerade(plan("10.1.2.3/24")),
  );
});

Deno.test("DEL removes all jumps before the chain, without knowing addresses", () => {
  const state = saved(`:${chain} - [0:0]`, own, twin, ...inside);
  const [step] = planMasqueradeRemoval(state, { family: 4, chain, addresses: undefined });
  assertEquals(lines(step), [
    own.replace("-A", "-D"),
    twin.replace("-A", "-D"),
    `-F ${chain}`,
    `-X ${chain}`,
  ]);
});

Deno.test("DEL of known addresses leaves another attachment its rules", () => {
  const state = saved(`:${chain} - [0:0]`, own, twin, ...inside);
  const [step] = planMasqueradeRemoval(state, {
    family: 4,
    chain,
    addresses: cidrs("10.1.2.3/24"),
  });
  assertEquals(lines(step), [own.replace("-A", "-D")]);
});

Deno.test("DEL knows the form of early releases, with the subnet as source", () => {
  const old = `-A POSTROUTING -s 10.1.2.0/24 ${remark} -j ${chain}`;
  const state = saved(`:${chain} - [0:0]`, old, ...inside);
  const [step] = planMasqueradeRemoval(state, {
    family: 4,
    chain,
    addresses: cidrs("10.1.2.3/24"),
  });
  assertEquals(lines(step), [old.replace("-A", "-D"), `-F ${chain}`, `-X ${chain}`]);
});

Deno.test("DEL where nothing is runs nothing; a chain without jumps goes", () => {
  const goal = { family: 4, chain, addresses: cidrs("10.1.2.3/24") } as const;
  assertEquals(planMasqueradeRemoval(saved(), goal), []);
  const [step] = planMasqueradeRemoval(saved(`:${chain} - [0:0]`, ...inside), goal);
  assertEquals(lines(step), [`-F ${chain}`, `-X ${chain}`]);
});

Deno.test("GC removes a network's chains but for those of valid containers", async () => {
  const rules = async (network: string, id: string) => {
    const name = await masqueradeChain(network, id);
    const text = `-m comment --comment "name: \\"${network}\\" id: \\"${id}\\""`;
    return [
      `:${name} - [0:0]`,
      `-A POSTROUTING -s 10.0.0.1/32 ${text} -j ${name}`,
      `-A ${name} -d 10.0.0.0/24 ${text} -j ACCEPT`,
    ];
  };
  const state = saved(
    ...await rules("mynet", "dead"),
    ...await rules("mynet", "dummy"),
    ...await rules("mynet2", "dead"),
    ":KUBE-X - [0:0]",
    `-A POSTROUTING -m comment --comment "name: \\"mynet\\" id: \\"x\\"" -j KUBE-X`,
  );
  const dead = await masqueradeChain("mynet", "dead");
  const goal = { family: 4, network: "mynet" } as const;
  const [step] = planMasqueradeGc(state, { ...goal, keep: new Set([chain]) });
  assertEquals(lines(step), [
    `-D POSTROUTING -s 10.0.0.1/32 -m comment --comment "name: \\"mynet\\" id: \\"dead\\"" -j ${dead}`,
    `-F ${dead}`,
    `-X ${dead}`,
  ]);
  assertEquals(planMasqueradeGc(state, { ...goal, keep: new Set([chain, dead]) }), []);
});
