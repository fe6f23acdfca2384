import { assertEquals, assertRejects } from "@std/assert";
import type { Host } from "../../../ns/machine.ts";
import { CniError, codes } from "../../../cni/error.ts";
import { Machine } from "../../../ns/machine.ts";
import { duid } from "../codec/testing_message6.ts";
import { runExchange6 } from "./run_exchange6.ts";

const local = { family: "inet6", local: "fe80::1", prefixlen: 64, scope: "link" };

/** Holds an exchange on a link with such addresses; without a program, it cannot go far. */
async function hold(addresses: readonly object[]) {
  const host: Host = new Machine();
  host.query = () =>
    Promise.resolve(JSON.stringify([{ ifname: "eth0", ifindex: 2, addr_info: addresses }]));
  return await runExchange6(host, {
    netns: { path: "/proc/self/ns/net" },
    dev: "eth0",
    goal: { kind: "acquire" },
    client: { duid, iaid: 1, requested: [], provided: [] },
    within: 1000,
  }, { program: { argv: ["false"], env: {} }, signal: AbortSignal.abort() });
}

const unusable: readonly [what: string, addresses: object[], code: number, state: string][] = [
  ["no address", [], codes.refused, "its IPv6 is switched off, or gives it no link-local address"],
  ["a global address alone", [{ ...local, scope: "global" }], codes.refused, "switched off"],
  ["IPv4 alone", [{ ...local, family: "inet" }], codes.refused, "switched off"],
  ["a tentative address", [{ ...local, tentative: true }], codes.tryAgainLater, "makes sure"],
  [
    "an address that another host has",
    [{ ...local, tentative: true, dadfailed: true }],
    codes.refused,
    "its link-local address is another host's, too",
  ],
  [
    "one of another host and a tentative one",
    [{ ...local, tentative: true, dadfailed: true }, { ...local, tentative: true }],
    codes.tryAgainLater,
    "makes sure",
  ],
];

for (const [what, addresses, code, state] of unusable) {
  Deno.test(`a link with ${what} speaks no DHCPv6`, async () => {
    const error = await assertRejects(() => hold(addresses), CniError, state);
    assertEquals(error.code, code);
  });
}

Deno.test("a link whose address is usable speaks DHCPv6", async () => {
  assertEquals(await hold([{ ...local, tentative: true }, local]), { kind: "cancelled" });
});
