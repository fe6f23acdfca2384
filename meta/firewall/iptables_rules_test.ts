import { assertEquals } from "@std/assert";
import type { Command } from "../../host/command.ts";
import { processes } from "../../host/fold.ts";
import { hostPrefix, parseCidr } from "../../host/ip.ts";
import { parseSave } from "../../host/iptables.ts";
import type { Step } from "../../host/step.ts";
import type { IptablesFirewall } from "./iptables_rules.ts";
import {
  compareFirewall,
  planFirewall,
  planFirewallAssertion,
  planFirewallRemoval,
  replanFirewall,
} from "./iptables_rules.ts";

const address = (text: string) => hostPrefix(parseCidr(text)!);

function plan(keys: Partial<IptablesFirewall> = {}): IptablesFirewall {
  return { family: 4, addresses: [address("10.0.0.2/24")], adminChain: "CNI-ADMIN", ...keys };
}

const isolated = { policy: "isolated", bridge: "br0", ports: ["veth1"] } as const;

const plan6 = plan({ family: 6, addresses: [address("2001:db8:1:2::1/64")] });

const stdin = (action: Step["do"] | undefined) => (action as Command | undefined)?.stdin ?? "";
const lines = (steps: readonly Step[]) => steps.map((step) => stdin(step.do)).join("").split("\n");
const undone = (steps: readonly Step[]) =>
  steps.map(({ undo }) => stdin(undo)).join("").split("\n");

const entry = '-m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD';
const admin = '-m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN';
const back = "-d 10.0.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
const out = "-s 10.0.0.2/32 -j ACCEPT";
const common =
  '-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)"';
const own = '-m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)"';

/** A host in use, as iptables-save prints it. */
const inUse = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [3:4]
:OUTPUT ACCEPT [0:0]
:CNI-ADMIN - [0:0]
:CNI-FORWARD - [0:0]
-A FORWARD ${entry}
-A CNI-FORWARD ${admin}
-A CNI-FORWARD -d 10.0.0.9/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A CNI-FORWARD -s 10.0.0.9/32 -j ACCEPT
COMMIT
`;

const policies = `:CNI-ISOLATION-STAGE-1 - [0:0]
:CNI-ISOLATION-STAGE-2 - [0:0]
-A CNI-ISOLATION-STAGE-1 -i br0 -o br0 ${own} -j DROP
-A CNI-ISOLATION-STAGE-1 -i br0 ! -o br0 ${own} -j CNI-ISOLATION-STAGE-2
-A CNI-ISOLATION-STAGE-1 ${common} -j RETURN
-A CNI-ISOLATION-STAGE-2 -o br0 ${common} -j DROP
-A CNI-ISOLATION-STAGE-2 ${common} -j RETURN
`;

const saved = (text: string) => parseSave(text);

Deno.test("a container on a host in use takes one process for each family", () => {
  const steps = planFirewall(plan());
  assertEquals(processes(steps), 1);
  assertEquals(lines(steps), [
    "*filter",
    `-C FORWARD ${entry}`,
    `-C CNI-FORWARD ${admin}`,
    `-A CNI-FORWARD ${back}`,
    `-A CNI-FORWARD ${out}`,
    "COMMIT",
    "",
  ]);
  assertEquals(undone(steps).slice(1, 3), [`-D CNI-FORWARD ${back}`, `-D CNI-FORWARD ${out}`]);
  assertEquals(processes([...steps, ...planFirewall(plan6)]), 2);
  assertEquals(lines(planFirewall(plan6))[4], "-A CNI-FORWARD -s 2001:db8:1:2::1/128 -j ACCEPT");
});

Deno.test("the first container makes chains and jumps, and names them as it is told", () => {
  const steps = replanFirewall(plan({ adminChain: "CNI-foobar" }), saved("*filter\nCOMMIT\n"));
  assertEquals(lines(steps), [
    "*filter",
    "-N CNI-FORWARD",
    "-N CNI-foobar",
    `-I FORWARD ${entry}`,
    `-I CNI-FORWARD ${admin.replace("CNI-ADMIN", "CNI-foobar")}`,
    `-A CNI-FORWARD ${back}`,
    `-A CNI-FORWARD ${out}`,
    "COMMIT",
    "",
  ]);
});

Deno.test("policies stand first, in the reference's order", () => {
  const steps = replanFirewall(plan({ ingress: isolated }), saved(inUse));
  assertEquals(lines(steps).slice(1, -4), [
    "-N CNI-ISOLATION-STAGE-1",
    "-N CNI-ISOLATION-STAGE-2",
    `-I FORWARD -j CNI-ISOLATION-STAGE-1 ${common}`,
    `-I CNI-ISOLATION-STAGE-1 -i br0 ! -o br0 -j CNI-ISOLATION-STAGE-2 ${own}`,
    `-I CNI-ISOLATION-STAGE-1 -i br0 -o br0 -j DROP ${own}`,
    `-A CNI-ISOLATION-STAGE-1 -j RETURN ${common}`,
    `-I CNI-ISOLATION-STAGE-2 -o br0 -j DROP ${common}`,
    `-A CNI-ISOLATION-STAGE-2 -j RETURN ${common}`,
  ]);
  const open = replanFirewall(
    plan({ ingress: { ...isolated, policy: "same-bridge" } }),
    saved(inUse),
  );
  assertEquals(lines(open).some((line) => line.includes("-i br0 -o br0")), false);
});

Deno.test("a jump that comes back does not overtake the policies", () => {
  const text = `*filter\n:CNI-FORWARD - [0:0]\n:CNI-ADMIN - [0:0]\n${policies}` +
    `-A FORWARD ${common} -j CNI-ISOLATION-STAGE-1\n-A CNI-FORWARD ${admin}\nCOMMIT\n`;
  assertEquals(lines(replanFirewall(plan(), saved(text))).slice(1, 4), [
    `-I FORWARD ${entry}`,
    `-D FORWARD ${common} -j CNI-ISOLATION-STAGE-1`,
    `-I FORWARD ${common} -j CNI-ISOLATION-STAGE-1`,
  ]);
});

Deno.test("policies that come too late are noticed and moved", () => {
  const late = inUse.replace("COMMIT\n", "") + policies +
    `-A FORWARD ${common} -j CNI-ISOLATION-STAGE-1\nCOMMIT\n`;
  const wanted = plan({ addresses: [address("10.0.0.9/24")], ingress: isolated });
  assertEquals(compareFirewall(wanted, saved(late)), [
    'table "filter" of iptables enters "CNI-FORWARD" before "CNI-ISOLATION-STAGE-1"',
  ]);
  assertEquals(lines(replanFirewall(wanted, saved(late))).slice(1, 3), [
    `-D FORWARD ${common} -j CNI-ISOLATION-STAGE-1`,
    `-I FORWARD ${common} -j CNI-ISOLATION-STAGE-1`,
  ]);
});

Deno.test("rules of other releases of the reference count, whatever their comment", () => {
  const older = inUse.replace("COMMIT\n", "") +
    policies.replaceAll("same-bridge|isolated", "same-bridge").replaceAll(
      "(ingressPolicy: isolated)",
      "(ingressPolicy: same-bridge)",
    ) + "COMMIT\n";
  const moved = older.replace(
    `-A FORWARD ${entry}`,
    `-A FORWARD -m comment --comment x -j CNI-ISOLATION-STAGE-1\n-A FORWARD ${entry}`,
  );
  const wanted = plan({ addresses: [address("10.0.0.9/24")], ingress: isolated });
  assertEquals(compareFirewall(wanted, saved(moved)), []);
  assertEquals(replanFirewall(wanted, saved(moved)), []);
});

Deno.test("a bridge that two networks have a policy for keeps the stricter one", () => {
  const jump = `-A FORWARD ${common} -j CNI-ISOLATION-STAGE-1\n`;
  const strict = inUse.replace("-A FORWARD", `${jump}-A FORWARD`)
    .replace("COMMIT\n", `${policies}COMMIT\n`);
  const wanted = (policy: "same-bridge" | "isolated") =>
    plan({ addresses: [address("10.0.0.9/24")], ingress: { ...isolated, policy } });
  assertEquals(compareFirewall(wanted("same-bridge"), saved(strict)), []);
  assertEquals(replanFirewall(wanted("same-bridge"), saved(strict)), []);
  const loose = strict.replace(/^.* -i br0 -o br0 .*\n/m, "");
  assertEquals(lines(replanFirewall(wanted("isolated"), saved(loose))).slice(1, -2), [
    `-I CNI-ISOLATION-STAGE-1 -i br0 -o br0 -j DROP ${own}`,
  ]);
});

Deno.test("an ADD that is repeated asserts everything and takes nothing back", () => {
  const steps = planFirewallAssertion(plan());
  assertEquals(
    lines(steps).filter((line) => line.startsWith("-")).map((line) => line.slice(0, 2)),
    [
      "-C",
      "-C",
      "-C",
      "-C",
    ],
  );
  assertEquals(steps.map(({ undo }) => undo), [undefined]);
});

Deno.test("what is there is not added again, and not taken back", () => {
  const wanted = plan({ addresses: [address("10.0.0.9/24"), address("10.0.0.2/24")] });
  const steps = replanFirewall(wanted, saved(inUse));
  assertEquals(lines(steps).slice(1, -2), [`-A CNI-FORWARD ${back}`, `-A CNI-FORWARD ${out}`]);
  assertEquals(undone(steps).slice(1, -2), [`-D CNI-FORWARD ${back}`, `-D CNI-FORWARD ${out}`]);
});

Deno.test("CHECK names every rule that is missing", () => {
  assertEquals(compareFirewall(plan(), saved(inUse)), [
    `rule "-A CNI-FORWARD ${back}" is missing from table "filter" of iptables`,
    `rule "-A CNI-FORWARD ${out}" is missing from table "filter" of iptables`,
  ]);
  assertEquals(compareFirewall(plan6, undefined), ['table "filter" of ip6tables is missing']);
  assertEquals(compareFirewall(plan(), saved("*filter\nCOMMIT\n")).length, 4);
});

Deno.test("DEL removes the address's rules as often as they are there, and nothing else", () => {
  const twice = inUse.replace("COMMIT\n", "") +
    `-A CNI-FORWARD ${back}\n-A CNI-FORWARD ${out}\n`.repeat(2) +
    "-A CNI-FORWARD -s 10.0.0.2/32 -j DROP\n-A CNI-ADMIN -s 10.0.0.2/32 -j ACCEPT\nCOMMIT\n";
  const steps = planFirewallRemoval(saved(twice), plan());
  assertEquals(processes(steps), 1);
  assertEquals(lines(steps).slice(1, -2).toSorted(), [
    `-D CNI-FORWARD ${back}`,
    `-D CNI-FORWARD ${back}`,
    `-D CNI-FORWARD ${out}`,
    `-D CNI-FORWARD ${out}`,
  ]);
  assertEquals(planFirewallRemoval(saved(inUse), plan()), []);
});

Deno.test("beside another back end iptables has the policies alone", () => {
  const wanted = plan({ ingress: isolated, ingressOnly: true });
  assertEquals(lines(planFirewall(wanted)).filter((line) => /CNI-(FORWARD|ADMIN)/.test(line)), []);
  assertEquals(planFirewall(wanted)[0]!.undo, undefined);
});
