import { assertEquals } from "@std/assert";
import type { Command } from "../host/command.ts";
import { processes } from "../host/fold.ts";
import { parseListing } from "../host/nft.ts";
import {
  compareSpoofCheck,
  planSpoofCheck,
  planSpoofCheckRemoval,
  spoofCheckNames,
  stalePorts,
} from "./spoof_check.ts";

const names = spoofCheckNames({ containerId: "container99", ifName: "net1" });
const iface = "cni-br-iface-container99-net1";
const remark = `comment "macspoofchk-container99-net1"`;

Deno.test("ADD writes the reference's chains and rules in one process", () => {
  const steps = planSpoofCheck(names, { hostVeth: "net0", mac: "02:00:00:00:12:34" });
  assertEquals(processes(steps), 1);
  assertEquals((steps[0]!.do as Command).stdin!.trimEnd().split("\n"), [
    "add table bridge nat",
    "add chain bridge nat PREROUTING { type filter hook prerouting priority -300; policy accept; }",
    `add chain bridge nat ${iface}`,
    `add chain bridge nat ${iface}-mac`,
    `flush chain bridge nat ${iface}`,
    `flush chain bridge nat ${iface}-mac`,
    `add rule bridge nat PREROUTING iifname "net0" jump ${iface} ${remark}`,
    `add rule bridge nat ${iface} jump ${iface}-mac ${remark}`,
    `add rule bridge nat ${iface}-mac ether saddr 02:00:00:00:12:34 return ${remark}`,
    `add rule bridge nat ${iface}-mac drop ${remark}`,
    "list chain bridge nat PREROUTING",
  ]);
});

/** Recorded with nftables 1.0.6, but for the handles. */
const recorded = parseListing(JSON.stringify({
  nftables: [
    { chain: { family: "bridge", table: "nat", name: "PREROUTING", hook: "prerouting" } },
    { chain: { family: "bridge", table: "nat", name: iface } },
    { chain: { family: "bridge", table: "nat", name: `${iface}-mac` } },
    rule("PREROUTING", 7, [
      { match: { op: "==", left: { meta: { key: "iifname" } }, right: "net0" } },
      { jump: { target: iface } },
    ]),
    rule("PREROUTING", 8, [
      { match: { op: "==", left: { meta: { key: "iifname" } }, right: "net0" } },
      { jump: { target: iface } },
    ]),
    rule(iface, 9, [{ jump: { target: `${iface}-mac` } }]),
    rule(`${iface}-mac`, 10, [{ return: null }]),
    rule(`${iface}-mac`, 11, [{ drop: null }]),
  ],
}));

function rule(chain: string, handle: number, expr: unknown[]) {
  const comment = "macspoofchk-container99-net1";
  return { rule: { family: "bridge", table: "nat", chain, handle, comment, expr } };
}

function lines(steps: ReturnType<typeof planSpoofCheckRemoval>): string[] {
  assertEquals(processes(steps), 1);
  return (steps[0]!.do as Command).stdin!.trimEnd().split("\n");
}

Deno.test("DEL removes every jump and both chains at once", () => {
  assertEquals(lines(planSpoofCheckRemoval(recorded, [iface])), [
    "delete rule bridge nat PREROUTING handle 7",
    "delete rule bridge nat PREROUTING handle 8",
    `add chain bridge nat ${iface}`,
    `flush chain bridge nat ${iface}`,
    `add chain bridge nat ${iface}-mac`,
    `flush chain bridge nat ${iface}-mac`,
    `delete chain bridge nat ${iface}`,
    `delete chain bridge nat ${iface}-mac`,
  ]);
});

Deno.test("DEL finishes what was left half done, and runs nothing for nothing", () => {
  const half = { ...recorded, rules: [], chains: [`${iface}-mac`] };
  assertEquals(lines(planSpoofCheckRemoval(half, [iface])), [
    `add chain bridge nat ${iface}-mac`,
    `flush chain bridge nat ${iface}-mac`,
    `delete chain bridge nat ${iface}-mac`,
  ]);
  assertEquals(planSpoofCheckRemoval(recorded, ["cni-br-iface-other-net1"]), []);
});

Deno.test("GC takes ports whose link is gone, and nothing of others", () => {
  assertEquals(stalePorts(recorded, ["net0", "lo"]), []);
  assertEquals([...new Set(stalePorts(recorded, ["lo"]))], [iface]);
  const foreign = recorded.rules.map((rule) => ({ ...rule, comment: "of another program" }));
  assertEquals(stalePorts({ ...recorded, rules: foreign }, ["lo"]), []);
});

Deno.test("CHECK names the chains whose rules are missing", () => {
  assertEquals(compareSpoofCheck(recorded, names), []);
  const without = recorded.rules.filter(({ handle }) => handle !== 11);
  assertEquals(compareSpoofCheck({ ...recorded, rules: without }, names), [
    `rules "macspoofchk-container99-net1" are missing from chain "bridge nat ${iface}-mac" of nft`,
  ]);
  assertEquals(compareSpoofCheck(undefined, names).length, 3);
});
