import { assertEquals } from "@std/assert";
import { describe } from "../../host/step.ts";
import { parseRouterSettings, planRouterSettings } from "./autoconf.ts";

const inside = { netns: { path: "/run/netns/c1" }, ifName: "eth0" };

/** What the script prints: variables by name, and the link. */
function printed(
  variables: Readonly<Record<string, number>>,
  { up = true, addresses = ["fe80::1"] } = {},
): string {
  const addr_info = addresses.map((local) => ({
    family: "inet6",
    local,
    prefixlen: 64,
    scope: local.startsWith("fe80") ? "link" : "global",
  }));
  const flags = up ? ["UP"] : [];
  const link = { ifname: "eth0", ifindex: 2, link_type: "ether", mtu: 1500, flags, addr_info };
  const lines = Object.entries(variables).map(([name, value]) => `${name} ${value}\n`);
  return `${lines.join("")}${JSON.stringify([link])}\n`;
}

const usual = { disable_ipv6: 0, forwarding: 0, accept_ra: 1, autoconf: 1 };

/** The commands of the plan, shortened: `accept_ra=1`. */
function commands(text: string, autoconf = true): string[] {
  return planRouterSettings(inside, { heed: parseRouterSettings(text), autoconf }).map((
    { do: action },
  ) =>
    action.kind === "sysctl" ? `${action.key.split("/").at(-1)}=${action.value}` : describe(action)
  );
}

const again = ["disable_ipv6=1", "disable_ipv6=0"];
const cases: readonly [what: string, text: string, plan: string[], autoconf?: boolean][] = [
  ["a kernel that heeds routers", printed(usual), []],
  ["one that heeds them although it forwards", printed({ ...usual, accept_ra: 2 }), []],
  ["no heed", printed({ ...usual, accept_ra: 0 }), ["accept_ra=1", ...again]],
  ["a forwarder", printed({ ...usual, forwarding: 1 }), ["accept_ra=2", ...again]],
  ["no autoconf", printed({ ...usual, autoconf: 0 }), ["autoconf=1", ...again]],
  ["no autoconf, and none wanted", printed({ ...usual, autoconf: 0 }), [], false],
  ["no IPv6 on the interface", printed({ ...usual, disable_ipv6: 1, accept_ra: 0 }), [
    "accept_ra=1",
    "disable_ipv6=0",
  ]],
  [
    "an address that IPv6 anew would take away",
    printed({ ...usual, accept_ra: 0 }, { addresses: ["fe80::1", "2001:db8::5"] }),
    ["accept_ra=1"],
  ],
  ["a link that is down", printed({ ...usual, accept_ra: 0 }, { up: false }), [
    "accept_ra=1",
    "nsenter --net=/run/netns/c1 ip link set dev eth0 up",
  ]],
  ["a kernel without IPv6", printed({}), []],
];

for (const [what, text, plan, autoconf] of cases) {
  Deno.test(`heeding routers: ${what}`, () => assertEquals(commands(text, autoconf), plan));
}

Deno.test("a rollback puts back what was changed, and nothing of the way there", () => {
  const heed = parseRouterSettings(printed({ ...usual, accept_ra: 0, autoconf: 0 }));
  const undone = planRouterSettings(inside, { heed, autoconf: true })
    .flatMap(({ undo }) => undo?.kind === "sysctl" ? [`${undo.key}=${undo.value}`] : []);
  assertEquals(undone, [
    "net/ipv6/conf/eth0/accept_ra=0",
    "net/ipv6/conf/eth0/autoconf=0",
  ]);
});
